#include "app/summary.h"
#include "app/config.h"
#include "util/text.h"
#include "util/url.h"
#include <string.h>

static void append_source(struct fw_text *text, const struct fw_camera_config *camera)
{
    fw_text_append(text, camera->url->display);
    if (camera->is_test_video)
        fw_text_append(text, camera->test_video_realtime ? " (a test video, at its own speed)"
                                                         : " (a test video, as fast as it goes)");
    if (camera->max_frames > 0)
        fw_text_appendf(text, ", %lld pictures", (long long)camera->max_frames);
}

static void append_detector(struct fw_text *text, const struct fw_detector_config *detector)
{
    const struct fw_box *roi = &detector->roi;
    fw_text_appendf(text, "model %s at %d px, score from %.2f, ", detector->model,
                    detector->input_size_px, detector->min_score);
    if (detector->tile_columns * detector->tile_rows > 1)
        fw_text_appendf(text, "in %dx%d tiles, ", detector->tile_columns, detector->tile_rows);
    if (roi->x > 0 || roi->y > 0 || roi->w < 1 || roi->h < 1)
        fw_text_appendf(text, "%.3g x %.3g of the picture from %.3g, %.3g, ", (double)roi->w,
                        (double)roi->h, (double)roi->x, (double)roi->y);
}

static void append_zones(struct fw_text *text, const struct fw_camera_config *camera)
{
    for (size_t i = 0; i < camera->zone_count; i++) {
        const struct fw_zone_config *zone = &camera->zones[i];
        fw_text_appendf(text, "%s%s%s", i == 0 ? "    zones: " : ", ", zone->name,
                        zone->type == FW_ZONE_EXCLUDE ? " (ignored)" : "");
    }
    if (camera->zone_count > 0)
        fw_text_append(text, "\n");
}

static void append_days(struct fw_text *text, unsigned days)
{
    static const char *const names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    const char *comma = "";
    for (unsigned first = 0; first < 7; first++) {
        unsigned last = first;
        if ((days & 1U << first) == 0)
            continue;
        while (last < 6 && (days & 1U << (last + 1)) != 0)
            last++;
        fw_text_appendf(text, "%s%s", comma, names[first]);
        if (last > first)
            fw_text_appendf(text, "-%s", names[last]);
        comma = ",";
        first = last;
    }
}

// When faces are told, and how often.
static void append_times(struct fw_text *text, const struct fw_alerts_config *alerts)
{
    fw_text_append(text, "    tells faces ");
    for (size_t i = 0; i < alerts->span_count; i++) {
        const struct fw_schedule_span *span = &alerts->spans[i];
        append_days(text, span->days);
        fw_text_appendf(text, " %02d:%02d-%02d:%02d, ", span->from_minute / 60,
                        span->from_minute % 60, span->to_minute / 60, span->to_minute % 60);
    }
    if (alerts->span_count == 0)
        fw_text_append(text, "at any time, ");
    else
        fw_text_appendf(text, "%s time, ", alerts->time_zone != NULL ? alerts->time_zone : "local");
    if (alerts->cooldown_s > 0)
        fw_text_appendf(text, "at most one in %g s\n", alerts->cooldown_s);
    else
        fw_text_append(text, "however soon the next one comes\n");
}

static void append_camera(struct fw_text *text, const struct fw_camera_config *camera)
{
    fw_text_appendf(text, "  %s", camera->id);
    if (camera->name != NULL)
        fw_text_appendf(text, " \"%s\"", camera->name);
    if (camera->location != NULL)
        fw_text_appendf(text, ", %s", camera->location);
    if (!camera->enabled) {
        fw_text_append(text, ": not enabled\n");
        return;
    }
    fw_text_append(text, "\n    watches ");
    append_source(text, camera);
    fw_text_append(text, "\n    faces: ");
    append_detector(text, &camera->detector);
    if (camera->analyze_fps > 0)
        fw_text_appendf(text, "up to %g analyses a second", camera->analyze_fps);
    else
        fw_text_append(text, "as many analyses as the processor can do");
    if (camera->frame_skip > 0)
        fw_text_appendf(text, ", %d pictures left out between two", camera->frame_skip);
    fw_text_appendf(text, ", real when found in %d of %d\n", camera->alerts.confirm_hits,
                    camera->alerts.confirm_window);
    for (size_t i = 0; i < camera->publish.output_count; i++)
        fw_text_appendf(text, "    publishes %s to %s\n",
                        camera->overlay_enabled ? "with overlay" : "without overlay",
                        camera->publish.outputs[i]->display);
    if (camera->publish.output_count == 0)
        fw_text_append(text, "    publishes nothing\n");
    if (camera->save_snapshots)
        fw_text_append(text, "    stores snapshots\n");
    append_zones(text, camera);
    append_times(text, &camera->alerts);
}

// What is common to the brokers' addresses: the user, and how TLS is checked.
static void append_peer(struct fw_text *text, const struct fw_sink_config *sink)
{
    fw_text_append(text, sink->url->display);
    if (sink->url->username != NULL)
        fw_text_appendf(text, " as %s", sink->url->username);
    if (!sink->tls_verify)
        fw_text_append(text, ", whatever certificate it shows");
}

static void append_rabbitmq(struct fw_text *text, const struct fw_sink_config *sink)
{
    bool has_exchange = sink->exchange != NULL && *sink->exchange != '\0';
    fw_text_append(text, "to RabbitMQ at ");
    append_peer(text, sink);
    if (has_exchange)
        fw_text_appendf(text, ", exchange %s, routing key %s", sink->exchange, sink->routing_key);
    else
        fw_text_appendf(text, ", queue %s", sink->routing_key);
    if (sink->declare && has_exchange)
        fw_text_append(text, "; makes the exchange");
    if (sink->declare && sink->queue != NULL)
        fw_text_appendf(text, "%s the queue %s", has_exchange ? " and" : "; makes", sink->queue);
}

static void append_redis(struct fw_text *text, const struct fw_sink_config *sink)
{
    fw_text_append(text, "to Redis at ");
    append_peer(text, sink);
    fw_text_appendf(text, ", stream %s", sink->routing_key);
    if (sink->max_length > 0)
        fw_text_appendf(text, ", which keeps about %lld entries", (long long)sink->max_length);
}

static void append_mqtt(struct fw_text *text, const struct fw_sink_config *sink)
{
    fw_text_append(text, "to MQTT at ");
    append_peer(text, sink);
    fw_text_appendf(text, ", topic %s", sink->routing_key);
    if (sink->retain_state || sink->home_assistant)
        fw_text_append(text, ", states are kept");
    if (sink->home_assistant)
        fw_text_appendf(text, ", for Home Assistant under %s", sink->discovery_prefix);
}

static void append_http(struct fw_text *text, const struct fw_sink_config *sink)
{
    fw_text_append(text, "by POST to ");
    append_peer(text, sink);
    if (sink->token != NULL)
        fw_text_append(text, ", with a token");
    if (sink->hmac_secret != NULL)
        fw_text_append(text, ", signed");
}

static void append_sink(struct fw_text *text, const struct fw_sink_config *sink)
{
    static const struct {
        const char *type;
        void (*append)(struct fw_text *text, const struct fw_sink_config *sink);
    } kinds[] = {{"rabbitmq", append_rabbitmq},
                 {"redis", append_redis},
                 {"mqtt", append_mqtt},
                 {"http", append_http}};
    fw_text_appendf(text, "  %s: ", sink->name);
    if (sink->url == NULL)
        fw_text_appendf(text, "to the file %s", sink->path);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && sink->url != NULL; i++)
        if (strcmp(sink->type, kinds[i].type) == 0)
            kinds[i].append(text, sink);
    fw_text_append(text, sink->embed_snapshot ? ", with the pictures\n" : "\n");
}

static void append_alerts(struct fw_text *text, const struct fw_config *config)
{
    if (config->sink_count == 0) {
        fw_text_append(text, "Alerts: to the page and the log only\n");
        return;
    }
    fw_text_append(text, config->alerts.format == FW_FORMAT_PLAIN
                             ? "Alerts, faces only, in the plain format:"
                             : "Alerts:");
    if (config->sink_count > 1 && config->alerts.delivery == FW_DELIVERY_ALL)
        fw_text_append(text, " to all of these");
    else if (config->sink_count > 1)
        fw_text_appendf(text, " to the first of these, after %d ms to the next",
                        config->alerts.fallback_after_ms);
    fw_text_append(text, "\n");
    for (size_t i = 0; i < config->sink_count; i++)
        append_sink(text, &config->sinks[i]);
}

static void append_s3(struct fw_text *text, const struct fw_s3_config *s3)
{
    fw_text_appendf(text, "Snapshots: in S3, bucket %s", s3->bucket);
    if (s3->endpoint_url != NULL)
        fw_text_appendf(text, " at %s", s3->endpoint_url);
    fw_text_appendf(text, ", region %s", s3->region);
    if (*s3->prefix != '\0')
        fw_text_appendf(text, ", keys begin with %s", s3->prefix);
    if (s3->public_base_url != NULL)
        fw_text_appendf(text, "; addresses begin with %s", s3->public_base_url);
    if (s3->presign_s > 0)
        fw_text_appendf(text, "; addresses are signed for %d s", s3->presign_s);
    if (!s3->tls_verify)
        fw_text_append(text, "; whatever certificate it shows");
    fw_text_append(text, "\n");
}

static void append_snapshots(struct fw_text *text, const struct fw_config *config)
{
    if (config->snapshot_dir != NULL)
        fw_text_appendf(text, "Snapshots: in the folder %s\n", config->snapshot_dir);
    else if (config->stores_snapshots)
        append_s3(text, &config->s3);
    else
        fw_text_append(text, "Snapshots: none\n");
}

void fw_config_summary(struct fw_text *text, const struct fw_config *config)
{
    fw_text_appendf(text, "%s can be used.\n", config->path);
    fw_text_appendf(text, "Worker %s: state in %s, models in %s, page at http://%s/\n",
                    config->worker.id, config->worker.state_dir, config->models.dir,
                    config->web.listen);
    if (config->worker.heartbeat_s > 0)
        fw_text_appendf(text, "  tells that it lives every %d s\n", config->worker.heartbeat_s);
    fw_text_appendf(text, "Cameras: %zu\n", config->camera_count);
    for (size_t i = 0; i < config->camera_count; i++)
        append_camera(text, &config->cameras[i]);
    append_alerts(text, config);
    append_snapshots(text, config);
}
