// The supervisor's answers to the web server: JSON and metrics, from copies of the cameras' status.
#include "alert/json.h"
#include "app/alerts.h"
#include "app/supervisor_internal.h"
#include "detect/pool.h"
#include "util/clock.h"
#include "util/queue.h"
#include "util/text.h"
#include "util/url.h"
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const enum fw_camera_state all_states[] = {
    FW_CAMERA_CONNECTING, FW_CAMERA_LIVE, FW_CAMERA_STALLED, FW_CAMERA_BACKOFF, FW_CAMERA_STOPPED};

static const char *camera_title(const struct fw_supervised_camera *camera)
{
    return camera->config->name ? camera->config->name : camera->config->id;
}

static json_t *outputs_json(const struct fw_supervised_camera *camera,
                            const struct fw_camera_status *status)
{
    json_t *list = json_array();
    for (int i = 0; i < status->output_count && i < camera->options.output_count; i++)
        json_array_append_new(list, json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:o}", "url",
                                              fw_json_text(camera->outputs[i].url->display), "open",
                                              status->outputs[i].is_open, "packets",
                                              (json_int_t)status->outputs[i].packets, "bytes",
                                              (json_int_t)status->outputs[i].bytes, "dropped",
                                              (json_int_t)status->outputs[i].dropped, "reconnects",
                                              (json_int_t)status->outputs[i].reconnects, "reason",
                                              fw_json_text(status->outputs[i].reason)));
    return list;
}

static json_t *frames_json(const struct fw_camera_status *status)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I}", "decoded", (json_int_t)status->frames_decoded, "corrupt",
        (json_int_t)status->frames_corrupt, "analysed", (json_int_t)status->frames_analysed,
        "dropped_age", (json_int_t)status->frames_dropped_age, "dropped_newer",
        (json_int_t)status->frames_dropped_newer, "encoded", (json_int_t)status->frames_encoded);
}

static json_t *camera_json(const struct fw_supervised_camera *camera)
{
    struct fw_camera_status status;
    fw_camera_get_status(camera->camera, &status);
    return json_pack(
        "{s:s, s:o, s:o?, s:s, s:o, s:o, s:o, s:i, s:i, s:f, s:f, s:i, s:o, s:I, s:I, "
        "s:f, s:o, s:o}",
        "id", camera->config->id, "name", fw_json_text(camera_title(camera)), "location",
        camera->config->location ? fw_json_text(camera->config->location) : NULL, "state",
        fw_camera_state_name(status.state), "reason", fw_json_text(status.reason), "since",
        fw_json_time(status.state_since_utc_us), "away_since",
        status.away_since_utc_us ? fw_json_time(status.away_since_utc_us) : json_null(), "width",
        status.width, "height", status.height, "fps", status.fps, "analyses_fps",
        status.analyses_fps, "faces", status.faces, "frames", frames_json(&status), "reconnects",
        (json_int_t)status.reconnects, "tracks", (json_int_t)status.tracks_confirmed, "lag_ms",
        (double)status.analysis_lag_us / (double)FW_US_PER_MS, "model",
        fw_json_text(camera->options.model), "outputs", outputs_json(camera, &status));
}

// Gives JSON away as text, compact.
static char *dump(json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(json);
    return text;
}

static char *cameras_json(void *opaque)
{
    const struct fw_supervisor *supervisor = opaque;
    json_t *cameras = json_array();
    for (size_t i = 0; i < supervisor->camera_count; i++)
        json_array_append_new(cameras, camera_json(&supervisor->cameras[i]));
    return dump(json_pack("{s:s, s:s, s:o, s:o, s:o}", "worker",
                          supervisor->options.config->worker.id, "version", FW_VERSION, "time",
                          fw_json_time(fw_utc_us()), "started",
                          fw_json_time(supervisor->started_utc_us), "cameras", cameras));
}

static char *events_json(void *opaque, const struct fw_web_events_query *asked)
{
    const struct fw_supervisor *supervisor = opaque;
    const struct fw_outbox_query query = {
        .camera_id = asked->camera_id,
        .type = asked->type,
        .without_type = asked->without_type,
        .state = asked->state,
        .before_id = asked->before_id,
        .since_utc_us = asked->since_utc_us,
        .until_utc_us = asked->until_utc_us,
        .limit = asked->limit,
    };
    struct fw_error error = {0};
    char *json = fw_outbox_history(fw_alerts_outbox(supervisor->alerts), &query, &error);
    if (!json)
        fw_log_warning(&supervisor->log, "the history of events can't be read: %s", error.message);
    return json;
}

static void append_reason(json_t *reasons, const char *kind, const char *name, const char *state,
                          const char *why)
{
    struct fw_text text = FW_TEXT_INIT;
    fw_text_appendf(&text, "%s %s: %s%s%s", kind, name, state, *why ? ", " : "", why);
    json_array_append_new(reasons, fw_json_text(fw_text_get(&text)));
    fw_text_free(&text);
}

static const char *sink_state_name(enum fw_sink_state state)
{
    switch (state) {
    case FW_SINK_OK:
        return "ok";
    case FW_SINK_RETRYING:
        return "retrying";
    case FW_SINK_REFUSED:
        return "refused";
    }
    return "unknown";
}

static void append_alert_reasons(json_t *reasons, struct fw_alerts *alerts)
{
    struct fw_sink_status sinks[FW_MAX_SINKS];
    size_t count = fw_dispatcher_status(fw_alerts_dispatcher(alerts), sinks, FW_MAX_SINKS);
    for (size_t i = 0; i < count && i < FW_MAX_SINKS; i++)
        if (sinks[i].state != FW_SINK_OK)
            append_reason(reasons, "sink", sinks[i].name, sink_state_name(sinks[i].state),
                          sinks[i].last_error);
    struct fw_outbox_stats outbox;
    fw_outbox_get_stats(fw_alerts_outbox(alerts), &outbox);
    if (outbox.is_degraded)
        append_reason(reasons, "outbox", "events", "degraded", outbox.reason);
    struct fw_spool_stats spool = {0};
    if (fw_alerts_spool(alerts))
        fw_spool_get_stats(fw_alerts_spool(alerts), &spool);
    if (*spool.last_error)
        append_reason(reasons, "store", "snapshots", spool.is_refused ? "refused" : "retrying",
                      spool.last_error);
}

// A camera that has ended as it was told to (max_frames) is no reason to be unready.
static char *ready_json(void *opaque, int *is_ready)
{
    const struct fw_supervisor *supervisor = opaque;
    json_t *reasons = json_array();
    for (size_t i = 0; i < supervisor->camera_count; i++) {
        struct fw_camera_status status;
        fw_camera_get_status(supervisor->cameras[i].camera, &status);
        if (status.state != FW_CAMERA_LIVE && status.state != FW_CAMERA_STOPPED)
            append_reason(reasons, "camera", supervisor->cameras[i].config->id,
                          fw_camera_state_name(status.state), status.reason);
    }
    append_alert_reasons(reasons, supervisor->alerts);
    *is_ready = json_array_size(reasons) == 0;
    return dump(json_pack("{s:b, s:o}", "ready", *is_ready, "reasons", reasons));
}

// One metric of every camera: the name after "faceworker_camera_", its Prometheus type, what it is,
// and its value in a status.
struct camera_metric {
    const char *name, *type, *help;
    double (*value)(const struct fw_camera_status *status);
};

#define VALUE(field)                                                                               \
    static double value_##field(const struct fw_camera_status *status)                             \
    {                                                                                              \
        return (double)status->field;                                                              \
    }
VALUE(frames_decoded)
VALUE(frames_corrupt)
VALUE(frames_analysed)
VALUE(frames_dropped_age)
VALUE(frames_dropped_newer)
VALUE(frames_encoded)
VALUE(reconnects)
VALUE(tracks_confirmed)
VALUE(faces)
VALUE(fps)
VALUE(analyses_fps)
#undef VALUE

static double value_lag_s(const struct fw_camera_status *status)
{
    return (double)status->analysis_lag_us / (double)FW_US_PER_S;
}

static const struct camera_metric camera_metrics[] = {
    {"frames_decoded_total", "counter", "Pictures decoded", value_frames_decoded},
    {"frames_corrupt_total", "counter", "Pictures left out as damaged", value_frames_corrupt},
    {"frames_analysed_total", "counter", "Pictures analysed", value_frames_analysed},
    {"frames_dropped_age_total", "counter", "Pictures too old to be analysed",
     value_frames_dropped_age},
    {"frames_dropped_newer_total", "counter", "Pictures replaced by a newer one before analysis",
     value_frames_dropped_newer},
    {"frames_encoded_total", "counter", "Pictures encoded for publishing", value_frames_encoded},
    {"reconnects_total", "counter", "Connections made anew", value_reconnects},
    {"tracks_total", "counter", "Faces that were confirmed", value_tracks_confirmed},
    {"faces", "gauge", "Faces now in the picture", value_faces},
    {"fps", "gauge", "Pictures decoded a second", value_fps},
    {"analyses_fps", "gauge", "Pictures analysed a second", value_analyses_fps},
    {"analysis_lag_seconds", "gauge", "From capture to the tracks of the latest analysis",
     value_lag_s},
};

// A label value as the text format wants it: backslash, quote and newline escaped.
static void append_label(struct fw_text *text, const char *name, const char *value)
{
    fw_text_appendf(text, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            fw_text_append_n(text, "\\", 1);
        if (*value == '\n')
            fw_text_append(text, "\\n");
        else
            fw_text_append_n(text, value, 1);
    }
    fw_text_append(text, "\"");
}

static void append_head(struct fw_text *text, const char *name, const char *type, const char *help)
{
    fw_text_appendf(text, "# HELP faceworker_%s %s\n# TYPE faceworker_%s %s\n", name, help, name,
                    type);
}

static void append_sample(struct fw_text *text, const char *name, const char *label,
                          const char *label_value, double value)
{
    fw_text_appendf(text, "faceworker_%s{", name);
    append_label(text, label, label_value);
    fw_text_appendf(text, "} %.17g\n", value);
}

static void append_camera_states(struct fw_text *text, const struct fw_supervisor *supervisor,
                                 const struct fw_camera_status *statuses)
{
    append_head(text, "camera_state", "gauge", "1 for the state that the camera is in");
    for (size_t i = 0; i < supervisor->camera_count; i++) {
        for (size_t s = 0; s < sizeof all_states / sizeof *all_states; s++) {
            fw_text_append(text, "faceworker_camera_state{");
            append_label(text, "camera", supervisor->cameras[i].config->id);
            fw_text_append(text, ",");
            append_label(text, "state", fw_camera_state_name(all_states[s]));
            fw_text_appendf(text, "} %d\n", statuses[i].state == all_states[s]);
        }
    }
}

static void append_watched(struct fw_text *text, const struct fw_supervisor *supervisor)
{
    append_head(text, "camera_live_watched", "gauge",
                "1 while somebody watches the live picture, which is encoded only then");
    for (size_t i = 0; i < supervisor->camera_count; i++) {
        struct fw_slot *slot = fw_camera_live_slot(supervisor->cameras[i].camera);
        append_sample(text, "camera_live_watched", "camera", supervisor->cameras[i].config->id,
                      slot && fw_slot_is_watched(slot));
        fw_slot_unref(slot);
    }
}

static void append_camera_metrics(struct fw_text *text, const struct fw_supervisor *supervisor)
{
    struct fw_camera_status *statuses = calloc(supervisor->camera_count, sizeof *statuses);
    if (!statuses) {
        text->failed = true;
        return;
    }
    for (size_t i = 0; i < supervisor->camera_count; i++)
        fw_camera_get_status(supervisor->cameras[i].camera, &statuses[i]);
    append_camera_states(text, supervisor, statuses);
    for (size_t m = 0; m < sizeof camera_metrics / sizeof *camera_metrics; m++) {
        const struct camera_metric *metric = &camera_metrics[m];
        char name[64];
        snprintf(name, sizeof name, "camera_%s", metric->name);
        append_head(text, name, metric->type, metric->help);
        for (size_t i = 0; i < supervisor->camera_count; i++)
            append_sample(text, name, "camera", supervisor->cameras[i].config->id,
                          metric->value(&statuses[i]));
    }
    free(statuses);
}

static void append_counter(struct fw_text *text, const char *name, const char *help, uint64_t value)
{
    append_head(text, name, "counter", help);
    fw_text_appendf(text, "faceworker_%s %llu\n", name, (unsigned long long)value);
}

static double sink_is_ok(const struct fw_sink_status *sink)
{
    return sink->state == FW_SINK_OK;
}

#define SINK_VALUE(field)                                                                          \
    static double sink_##field(const struct fw_sink_status *sink)                                  \
    {                                                                                              \
        return (double)sink->field;                                                                \
    }
SINK_VALUE(delivered)
SINK_VALUE(retried)
SINK_VALUE(rejected)
SINK_VALUE(dead)
SINK_VALUE(dropped)
SINK_VALUE(waiting)
#undef SINK_VALUE

static double sink_oldest_s(const struct fw_sink_status *sink)
{
    return (double)sink->oldest_waiting_us / (double)FW_US_PER_S;
}

// One metric of every sink, as struct camera_metric.
static const struct {
    const char *name, *type, *help;
    double (*value)(const struct fw_sink_status *sink);
} sink_metrics[] = {
    {"sink_ok", "gauge", "1 while the sink takes what it is given", sink_is_ok},
    {"sink_delivered_total", "counter", "Events that the sink has confirmed", sink_delivered},
    {"sink_retried_total", "counter", "Deliveries that failed and were made again", sink_retried},
    {"sink_rejected_total", "counter", "Events that the sink refused", sink_rejected},
    {"sink_dead_total", "counter", "Events that became dead letters", sink_dead},
    {"sink_dropped_total", "counter", "Events that ended undelivered by age or for want of room",
     sink_dropped},
    {"sink_waiting", "gauge", "Events that wait for the sink", sink_waiting},
    {"sink_oldest_waiting_seconds", "gauge", "Age of the oldest of them", sink_oldest_s},
};

static void append_sink_metrics(struct fw_text *text, struct fw_alerts *alerts)
{
    struct fw_sink_status sinks[FW_MAX_SINKS];
    size_t count = fw_dispatcher_status(fw_alerts_dispatcher(alerts), sinks, FW_MAX_SINKS);
    for (size_t m = 0; m < sizeof sink_metrics / sizeof *sink_metrics; m++) {
        append_head(text, sink_metrics[m].name, sink_metrics[m].type, sink_metrics[m].help);
        for (size_t i = 0; i < count && i < FW_MAX_SINKS; i++)
            append_sample(text, sink_metrics[m].name, "sink", sinks[i].name,
                          sink_metrics[m].value(&sinks[i]));
    }
}

static void append_gauge(struct fw_text *text, const char *name, const char *help, double value)
{
    append_head(text, name, "gauge", help);
    fw_text_appendf(text, "faceworker_%s %.17g\n", name, value);
}

static void append_outbox_metrics(struct fw_text *text, struct fw_outbox *outbox)
{
    struct fw_outbox_stats stats;
    fw_outbox_get_stats(outbox, &stats);
    append_gauge(text, "outbox_degraded", "1 while the disk can't be written", stats.is_degraded);
    append_gauge(text, "outbox_waiting", "Records not delivered yet", (double)stats.waiting);
    append_gauge(text, "outbox_bytes", "Size of the outbox on the disk", (double)stats.bytes);
    append_counter(text, "outbox_committed_total", "Events committed to the disk", stats.committed);
    append_counter(text, "outbox_commits_total", "Transactions that committed them", stats.commits);
    append_counter(text, "outbox_expired_total", "Events removed undelivered, by age or bytes",
                   stats.expired);
    append_counter(text, "outbox_dropped_total", "Events dropped while the disk was full",
                   stats.dropped);
    append_gauge(text, "outbox_dead", "Dead letters", (double)stats.dead);
}

static void append_spool_metrics(struct fw_text *text, struct fw_spool *spool)
{
    struct fw_spool_stats stats;
    if (!spool)
        return;
    fw_spool_get_stats(spool, &stats);
    append_counter(text, "snapshots_stored_total", "Pictures stored", stats.stored);
    append_counter(text, "snapshots_lost_total", "Pictures given up before they were stored",
                   stats.failed);
    append_counter(text, "snapshots_retried_total", "Uploads that failed and were made again",
                   stats.retried);
    append_gauge(text, "snapshots_pending", "Pictures that wait to be stored",
                 (double)stats.pending);
    append_gauge(text, "snapshots_bytes", "Pictures on this disk", (double)stats.bytes);
}

static void append_suppressed(struct fw_text *text, const struct fw_supervisor *supervisor)
{
    struct fw_reporter *reporter = fw_alerts_reporter(supervisor->alerts);
    append_head(text, "suppressed_total", "counter", "Faces not told, by reason");
    for (size_t i = 0; i < supervisor->camera_count; i++) {
        const struct fw_camera_config *camera = supervisor->cameras[i].config;
        for (int reason = FW_PASSED + 1; reason < FW_SUPPRESSIONS; reason++) {
            fw_text_append(text, "faceworker_suppressed_total{");
            append_label(text, "camera", camera->id);
            fw_text_append(text, ",");
            append_label(text, "reason", fw_suppression_name((enum fw_suppression)reason));
            fw_text_appendf(text, "} %llu\n",
                            (unsigned long long)fw_reporter_suppressed(
                                reporter, camera, (enum fw_suppression)reason));
        }
    }
}

static void append_reporter_metrics(struct fw_text *text, struct fw_reporter *reporter)
{
    struct fw_reporter_stats stats = fw_reporter_get_stats(reporter);
    append_counter(text, "events_total", "Events made", stats.events);
    append_counter(text, "events_lost_total", "Events lost for want of memory or time", stats.lost);
    append_counter(text, "snapshots_made_total", "Snapshots (of up to four pictures) made",
                   stats.snapshots_made);
    append_counter(text, "snapshots_failed_total", "Snapshots that could not be made or kept",
                   stats.snapshots_failed);
    append_counter(text, "snapshots_skipped_total", "Snapshots left out because many waited",
                   stats.snapshots_skipped);
}

static char *metrics_text(void *opaque)
{
    const struct fw_supervisor *supervisor = opaque;
    struct fw_text text = FW_TEXT_INIT;
    append_head(&text, "build_info", "gauge", "1, with the version as a label");
    append_sample(&text, "build_info", "version", FW_VERSION, 1);
    append_camera_metrics(&text, supervisor);
    append_watched(&text, supervisor);
    append_sink_metrics(&text, supervisor->alerts);
    append_outbox_metrics(&text, fw_alerts_outbox(supervisor->alerts));
    append_spool_metrics(&text, fw_alerts_spool(supervisor->alerts));
    append_reporter_metrics(&text, fw_alerts_reporter(supervisor->alerts));
    append_suppressed(&text, supervisor);
    return fw_text_steal(&text);
}

static struct fw_slot *live_slot(void *opaque, const char *camera_id)
{
    const struct fw_supervisor *supervisor = opaque;
    for (size_t i = 0; i < supervisor->camera_count; i++)
        if (strcmp(supervisor->cameras[i].config->id, camera_id) == 0)
            return fw_camera_live_slot(supervisor->cameras[i].camera);
    return NULL;
}

static char *snapshot_path(void *opaque, const char *key)
{
    const struct fw_supervisor *supervisor = opaque;
    struct fw_spool *spool = fw_alerts_spool(supervisor->alerts);
    return spool ? fw_spool_path(spool, key) : NULL;
}

void fw_status_source(struct fw_supervisor *supervisor, struct fw_web_source *source)
{
    *source = (struct fw_web_source){
        .opaque = supervisor,
        .cameras_json = cameras_json,
        .events_json = events_json,
        .metrics_text = metrics_text,
        .ready_json = ready_json,
        .live_slot = live_slot,
        .snapshot_path = snapshot_path,
    };
}
