// The supervisor's answers to the web server: JSON and metrics, from copies of the cameras' status.
#include "app/reporter.h"
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

enum { MAX_SINKS = 32 };

static const enum fw_camera_state all_states[] = {
    FW_CAMERA_CONNECTING, FW_CAMERA_LIVE, FW_CAMERA_STALLED, FW_CAMERA_BACKOFF, FW_CAMERA_STOPPED};

static const char *camera_title(const struct fw_supervised_camera *camera)
{
    return camera->config->name ? camera->config->name : camera->config->id;
}

// TEXT as JSON, with what is not UTF-8 repaired: reasons are cut at a length, and some of their
// words come from the environment, from libraries and from peers.
static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    struct fw_text quoted = FW_TEXT_INIT;
    fw_text_append(&quoted, "\"");
    fw_text_append_json(&quoted, text);
    fw_text_append(&quoted, "\"");
    json = json_loads(fw_text_get(&quoted), JSON_DECODE_ANY, NULL);
    fw_text_free(&quoted);
    return json;
}

static json_t *utc_json(int64_t utc_us)
{
    char text[FW_UTC_TEXT_SIZE];
    fw_utc_format(utc_us, text);
    return json_string(text);
}

static json_t *outputs_json(const struct fw_supervised_camera *camera,
                            const struct fw_camera_status *status)
{
    json_t *list = json_array();
    for (int i = 0; i < status->output_count && i < camera->options.output_count; i++)
        json_array_append_new(list, json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:o}", "url",
                                              text_json(camera->outputs[i].url->display), "open",
                                              status->outputs[i].is_open, "packets",
                                              (json_int_t)status->outputs[i].packets, "bytes",
                                              (json_int_t)status->outputs[i].bytes, "dropped",
                                              (json_int_t)status->outputs[i].dropped, "reconnects",
                                              (json_int_t)status->outputs[i].reconnects, "reason",
                                              text_json(status->outputs[i].reason)));
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
    return json_pack("{s:s, s:o, s:o?, s:s, s:o, s:o, s:i, s:i, s:f, s:f, s:i, s:o, s:I, s:I, "
                     "s:f, s:o, s:o}",
                     "id", camera->config->id, "name", text_json(camera_title(camera)), "location",
                     camera->config->location ? text_json(camera->config->location) : NULL, "state",
                     fw_camera_state_name(status.state), "reason", text_json(status.reason),
                     "since", utc_json(status.state_since_utc_us), "width", status.width, "height",
                     status.height, "fps", status.fps, "analyses_fps", status.analyses_fps, "faces",
                     status.faces, "frames", frames_json(&status), "reconnects",
                     (json_int_t)status.reconnects, "tracks", (json_int_t)status.tracks_confirmed,
                     "lag_ms", (double)status.analysis_lag_us / (double)FW_US_PER_MS, "model",
                     text_json(camera->options.model), "outputs", outputs_json(camera, &status));
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
                          utc_json(fw_utc_us()), "started", utc_json(supervisor->started_utc_us),
                          "cameras", cameras));
}

static char *events_json(void *opaque, int limit)
{
    const struct fw_supervisor *supervisor = opaque;
    return fw_reporter_events_json(supervisor->reporter, limit);
}

static void append_reason(json_t *reasons, const char *kind, const char *name, const char *state,
                          const char *why)
{
    struct fw_text text = FW_TEXT_INIT;
    fw_text_appendf(&text, "%s %s: %s%s%s", kind, name, state, *why ? ", " : "", why);
    json_array_append_new(reasons, text_json(fw_text_get(&text)));
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
    struct fw_sink_status sinks[MAX_SINKS];
    size_t count = fw_dispatcher_status(supervisor->dispatcher, sinks, MAX_SINKS);
    for (size_t i = 0; i < count && i < MAX_SINKS; i++)
        if (sinks[i].state != FW_SINK_OK)
            append_reason(reasons, "sink", sinks[i].name, sink_state_name(sinks[i].state),
                          sinks[i].last_error);
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

static void append_sink_metrics(struct fw_text *text, const struct fw_supervisor *supervisor)
{
    struct fw_sink_status sinks[MAX_SINKS];
    size_t count = fw_dispatcher_status(supervisor->dispatcher, sinks, MAX_SINKS);
    if (count > MAX_SINKS)
        count = MAX_SINKS;
    append_head(text, "sink_ok", "gauge", "1 while the sink takes what it is given");
    for (size_t i = 0; i < count; i++)
        append_sample(text, "sink_ok", "sink", sinks[i].name, sinks[i].state == FW_SINK_OK);
    append_head(text, "sink_delivered_total", "counter", "Events that the sink has confirmed");
    for (size_t i = 0; i < count; i++)
        append_sample(text, "sink_delivered_total", "sink", sinks[i].name,
                      (double)sinks[i].delivered);
    append_head(text, "sink_dropped_total", "counter", "Events given up: no room, or rejected");
    for (size_t i = 0; i < count; i++)
        append_sample(text, "sink_dropped_total", "sink", sinks[i].name,
                      (double)(sinks[i].dropped + sinks[i].rejected));
    append_head(text, "sink_waiting", "gauge", "Events that wait for the sink");
    for (size_t i = 0; i < count; i++)
        append_sample(text, "sink_waiting", "sink", sinks[i].name, (double)sinks[i].waiting);
}

static void append_counter(struct fw_text *text, const char *name, const char *help, uint64_t value)
{
    append_head(text, name, "counter", help);
    fw_text_appendf(text, "faceworker_%s %llu\n", name, (unsigned long long)value);
}

static char *metrics_text(void *opaque)
{
    const struct fw_supervisor *supervisor = opaque;
    struct fw_text text = FW_TEXT_INIT;
    append_head(&text, "build_info", "gauge", "1, with the version as a label");
    append_sample(&text, "build_info", "version", FW_VERSION, 1);
    append_camera_metrics(&text, supervisor);
    append_watched(&text, supervisor);
    append_sink_metrics(&text, supervisor);
    struct fw_reporter_stats stats = fw_reporter_get_stats(supervisor->reporter);
    append_counter(&text, "events_total", "Events made", stats.events);
    append_counter(&text, "events_lost_total", "Events lost for want of memory or time",
                   stats.lost);
    append_counter(&text, "snapshots_stored_total", "Snapshots stored", stats.snapshots_stored);
    append_counter(&text, "snapshots_failed_total", "Snapshots that could not be stored",
                   stats.snapshots_failed);
    append_counter(&text, "snapshots_skipped_total", "Snapshots left out because many waited",
                   stats.snapshots_skipped);
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
    const char *dir = supervisor->options.config->snapshot_dir;
    if (!dir)
        return NULL;
    char *path = fw_strdup_printf("%s/%s", dir, key);
    if (!path || *path == '/')
        return path;
    char *absolute = realpath(path, NULL);
    free(path);
    return absolute;
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
