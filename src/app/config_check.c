// What no single option can tell: defaults of the machine, and options that must fit together.
#include "app/config_loader.h"
#include "track/zones.h"
#include "util/secret.h"
#include "util/url.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// As many as a camera's status has room for.
#define MAX_OUTPUTS                                                                                \
    (sizeof(((struct fw_camera_status *)0)->outputs) /                                             \
     sizeof(((struct fw_camera_status *)0)->outputs[0]))

static void set_once(struct fw_loader *loader, char **field, char *value)
{
    free(*field);
    *field = value;
    loader->no_memory = loader->no_memory || value == NULL;
}

static bool is_given(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value != NULL && !json_is_null(value);
}

// --- the machine's defaults ---

// $VARIABLE/faceworker, else ROOT for the superuser, else $HOME/FALLBACK.
static char *standard_dir(const char *variable, const char *root, const char *fallback)
{
    const char *base = getenv(variable);
    // XDG's rule: what is not absolute is to be ignored.
    if (base != NULL && base[0] == '/')
        return fw_strdup_printf("%s/faceworker", base);
    if (geteuid() == 0)
        return fw_strdup(root);
    const char *home = getenv("HOME");
    return fw_strdup_printf("%s/%s", home != NULL && home[0] == '/' ? home : "/tmp", fallback);
}

char *fw_config_default_models_dir(void)
{
    char *base = standard_dir("XDG_CACHE_HOME", "/var/cache/faceworker", ".cache/faceworker");
    char *dir = base == NULL ? NULL : fw_strdup_printf("%s/models", base);
    free(base);
    return dir;
}

static char *host_id(void)
{
    char name[256] = "";
    if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
        return fw_strdup("faceworker");
    return fw_strdup(name);
}

static void fill_defaults(struct fw_loader *loader)
{
    struct fw_config *config = loader->config;
    const char *isa = getenv("FACEWORKER_ISA");
    if (config->worker.id == NULL)
        set_once(loader, &config->worker.id, host_id());
    if (config->worker.state_dir == NULL)
        set_once(loader, &config->worker.state_dir,
                 standard_dir("XDG_STATE_HOME", "/var/lib/faceworker", ".local/state/faceworker"));
    if (config->models.dir == NULL)
        set_once(loader, &config->models.dir, fw_config_default_models_dir());
    set_once(loader, &config->isa, fw_strdup(isa != NULL && *isa != '\0' ? isa : "auto"));
}

// --- the common sections ---

// The older worker had no `detector.model`: its two files mean what it did with them.
static void choose_model(struct fw_loader *loader, const json_t *root)
{
    struct fw_config *config = loader->config;
    bool has_network = config->models.prototxt != NULL;
    bool has_weights = config->models.caffemodel != NULL;
    if (is_given(json_object_get(root, "detector"), "model"))
        return;
    if (has_network && has_weights)
        set_once(loader, &config->detector.model, fw_strdup("res10"));
    else if (has_network || has_weights)
        fw_loader_report_at(loader, has_network ? "/models/prototxt" : "/models/caffemodel",
                            FW_SEVERITY_WARNING,
                            "is not used, because res10 needs both models.prototxt and "
                            "models.caffemodel; give the other too, or leave this one out");
}

// Whether TEXT is "HOST:PORT" with HOST being this very machine.
static bool is_loopback(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strlen(colon + 1) > 5 || atoi(colon + 1) > 65535)
        return false;
    size_t length = (size_t)(colon - text);
    if (length == 5 && strncmp(text, "[::1]", length) == 0)
        return true;
    unsigned last = 0;
    char rest = '\0';
    unsigned second, third;
    return sscanf(text, "127.%3u.%3u.%3u%c", &second, &third, &last, &rest) == 4 && rest == ':' &&
           second < 256 && third < 256 && last < 256;
}

static void check_listen(struct fw_loader *loader)
{
    char **listen = &loader->config->web.listen;
    if (*listen == NULL)
        return;
    if (fw_starts_with(*listen, "localhost:"))
        set_once(loader, listen, fw_strdup_printf("127.0.0.1:%s", *listen + strlen("localhost:")));
    if (*listen != NULL && !is_loopback(*listen))
        fw_loader_report_at(loader, "/web/listen", FW_SEVERITY_ERROR,
                            "is no loopback address with a port; write \"127.0.0.1:8080\" (this "
                            "version serves nobody else: reach it through ssh -L or a proxy that "
                            "asks for a password)");
}

static bool is_http(const struct fw_url *url)
{
    return strcmp(url->scheme, "http") == 0 || strcmp(url->scheme, "https") == 0;
}

// Alerts carry it, and they are for others.
static void check_public_base_url(struct fw_loader *loader)
{
    struct fw_url *url = NULL;
    const char *text = loader->config->s3.public_base_url;
    if (text == NULL)
        return;
    int status = fw_url_parse(&url, text, NULL, NULL, loader->secrets, NULL);
    loader->no_memory = loader->no_memory || status == FW_ENOMEM;
    if (status == FW_OK && (url->username != NULL || fw_secret_is_set(url->password)))
        fw_loader_report_at(loader, "/s3/public_base_url", FW_SEVERITY_ERROR,
                            "holds a login, which every alert would tell; write it without");
    fw_url_destroy(url);
}

static const struct {
    const char *type, *schemes; // each scheme between spaces
} sink_schemes[] = {
    {"http", " http https "},
    {"rabbitmq", " amqp amqps "},
    {"redis", " redis rediss "},
    {"mqtt", " mqtt mqtts "},
};

static bool has_scheme(const char *schemes, const char *scheme)
{
    char word[32];
    return snprintf(word, sizeof(word), " %s ", scheme) < (int)sizeof(word) &&
           strstr(schemes, word) != NULL;
}

// What a sink of TYPE may be reached by: "amqp:// or amqps://". False when URL is no such address.
static bool check_sink_url(struct fw_loader *loader, const char *pointer, const char *type,
                           const struct fw_url *url)
{
    for (size_t i = 0; i < sizeof(sink_schemes) / sizeof(sink_schemes[0]); i++) {
        if (strcmp(sink_schemes[i].type, type) != 0)
            continue;
        const char *first = sink_schemes[i].schemes + 1, *second = strchr(first, ' ') + 1;
        bool is_right = has_scheme(sink_schemes[i].schemes, url->scheme);
        if (!is_right)
            fw_loader_report_at(loader, pointer, FW_SEVERITY_ERROR,
                                "is no address of a sink of type \"%s\"; write one that begins "
                                "with %.*s:// or %.*s://",
                                type, (int)strcspn(first, " "), first, (int)strcspn(second, " "),
                                second);
        else if (*url->host == '\0')
            fw_loader_report_at(loader, pointer, FW_SEVERITY_ERROR,
                                "names no host; write for example \"%.*s://localhost/\"",
                                (int)strcspn(first, " "), first);
        return is_right && *url->host != '\0';
    }
    return true;
}

// What else a broker's sink would refuse when the worker starts. It asks no peer.
static void check_broker(struct fw_loader *loader, const char *pointer,
                         const struct fw_sink_config *sink)
{
    const struct fw_sink_options options = {.type = sink->type,
                                            .name = sink->name != NULL ? sink->name : "mq",
                                            .worker_id = "",
                                            .url = sink->url,
                                            .timeout_ms = sink->timeout_ms,
                                            .exchange = sink->exchange,
                                            .routing_key = sink->routing_key,
                                            .declare = sink->declare,
                                            .queue = sink->queue,
                                            .discovery_prefix = sink->discovery_prefix};
    struct fw_sink *opened = NULL;
    struct fw_error error = {0};
    if (strcmp(sink->type, "http") == 0 || strcmp(sink->type, "file") == 0)
        return;
    int status = fw_sink_open(&opened, &options, &error);
    fw_sink_close(opened);
    loader->no_memory = loader->no_memory || status == FW_ENOMEM;
    if (status == FW_EINVAL)
        fw_loader_report_at(loader, pointer, FW_SEVERITY_ERROR, "can't be used: %s", error.message);
    if (sink->queue != NULL && !sink->declare)
        fw_loader_report_at(loader, pointer, FW_SEVERITY_WARNING,
                            "has a \"queue\", which is made and bound only with \"declare\": true; "
                            "set that, or leave the queue out");
}

static void check_file(struct fw_loader *loader, const char *prefix, const char *key,
                       const char *path)
{
    char pointer[64];
    if (path == NULL || access(path, R_OK) == 0)
        return;
    int number = errno;
    snprintf(pointer, sizeof(pointer), "%s/%s", prefix, key);
    fw_loader_report_at(loader, pointer, FW_SEVERITY_WARNING,
                        "can't be read: %s; name a PEM file that we may read", strerror(number));
}

// "redis://…" says what the broker is where `mq.type` doesn't.
static void choose_broker(struct fw_loader *loader, const json_t *root)
{
    struct fw_sink_config *mq = &loader->config->mq;
    if (mq->url == NULL || mq->type == NULL)
        return;
    bool is_type_given = is_given(json_object_get(root, "mq"), "type");
    for (size_t i = 1; i < sizeof(sink_schemes) / sizeof(sink_schemes[0]) && !is_type_given; i++)
        if (has_scheme(sink_schemes[i].schemes, mq->url->scheme))
            set_once(loader, &mq->type, fw_strdup(sink_schemes[i].type));
    if (mq->type != NULL && !loader->config->local_mocks.use_mock_mq &&
        check_sink_url(loader, "/mq/url", mq->type, mq->url))
        check_broker(loader, "/mq", mq);
}

static void check_tls_files(struct fw_loader *loader, const char *prefix,
                            const struct fw_sink_config *sink)
{
    char pointer[64];
    snprintf(pointer, sizeof(pointer), "%s/%s", prefix,
             sink->certificate_file != NULL ? "certificate_file" : "key_file");
    if ((sink->certificate_file == NULL) != (sink->key_file == NULL)) {
        fw_loader_report_at(loader, pointer, FW_SEVERITY_ERROR,
                            "is half of a pair; give both certificate_file and key_file");
        return;
    }
    check_file(loader, prefix, "ca_file", sink->ca_file);
    check_file(loader, prefix, "certificate_file", sink->certificate_file);
    check_file(loader, prefix, "key_file", sink->key_file);
}

// The keys that Amazon's own tools read, where the file has none.
static void take_environment_key(struct fw_loader *loader, struct fw_secret **field,
                                 const char *variable)
{
    const char *value = getenv(variable);
    if (*field != NULL || value == NULL || *value == '\0')
        return;
    *field = fw_secret_create(loader->secrets, value);
    loader->no_memory = loader->no_memory || *field == NULL;
}

static void check_s3_endpoint(struct fw_loader *loader)
{
    const struct fw_s3_config *s3 = &loader->config->s3;
    struct fw_url *url = NULL;
    if (s3->endpoint_url == NULL)
        return;
    int status = fw_url_parse(&url, s3->endpoint_url, NULL, NULL, loader->secrets, NULL);
    loader->no_memory = loader->no_memory || status == FW_ENOMEM;
    if (status == FW_OK && (!is_http(url) || *url->host == '\0'))
        fw_loader_report_at(loader, "/s3/endpoint_url", FW_SEVERITY_ERROR,
                            "is no http:// or https:// address; write one, for example "
                            "\"https://minio.example.com:9000\"");
    else if (status == FW_OK && url->username != NULL)
        fw_loader_report_at(loader, "/s3/endpoint_url", FW_SEVERITY_ERROR,
                            "holds a login; give access_key and secret_key instead");
    fw_url_destroy(url);
}

// Keys are paths below a folder, too, so a prefix is held to what such a path may be.
static void check_s3_prefix(struct fw_loader *loader)
{
    const char *prefix = loader->config->s3.prefix;
    bool is_right = true;
    for (const char *at = prefix; at != NULL && *at != '\0' && is_right;) {
        size_t length = strcspn(at, "/");
        is_right = length > 0 && strncmp(at, "../", length + 1) != 0 &&
                   strncmp(at, "./", length + 1) != 0 && strncmp(at, "..", length + 1) != 0;
        at += length + (at[length] == '/');
    }
    if (!is_right)
        fw_loader_report_at(
            loader, "/s3/prefix", FW_SEVERITY_ERROR,
            "is no beginning of keys: it begins with '/', or holds \"//\", \".\" or "
            "\"..\"; write for example \"gate-1/\"");
}

// Whether SECTION ("s3") has a secret under any of its spellings, or its file, right or wrong.
static bool is_secret_given(json_t *section, const char *prefix, const char *full_key)
{
    const char *key;
    json_t *value;
    json_object_foreach(section, key, value)
    {
        const struct fw_option *option;
        enum fw_key_kind kind = fw_option_find(prefix, key, &option);
        if ((kind == FW_KEY_OPTION || kind == FW_KEY_SECRET_FILE) && !json_is_null(value) &&
            strcmp(option->key, full_key) == 0)
            return true;
    }
    return false;
}

static void check_s3_keys(struct fw_loader *loader, json_t *section)
{
    const struct fw_s3_config *s3 = &loader->config->s3;
    bool has_access_key =
        s3->access_key != NULL || is_secret_given(section, "s3.", "s3.access_key");
    bool has_secret_key =
        s3->secret_key != NULL || is_secret_given(section, "s3.", "s3.secret_key");
    if (!has_access_key || !has_secret_key)
        fw_loader_report_at(loader, "/s3", FW_SEVERITY_ERROR,
                            "has no keys; give access_key and secret_key (or their _file), or set "
                            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
}

static void check_s3(struct fw_loader *loader, json_t *section)
{
    struct fw_s3_config *s3 = &loader->config->s3;
    check_s3_prefix(loader);
    if (!s3->enabled || loader->config->local_mocks.use_mock_s3)
        return;
    if (s3->access_key == NULL && s3->secret_key == NULL) {
        take_environment_key(loader, &s3->access_key, "AWS_ACCESS_KEY_ID");
        take_environment_key(loader, &s3->secret_key, "AWS_SECRET_ACCESS_KEY");
        take_environment_key(loader, &s3->session_token, "AWS_SESSION_TOKEN");
    }
    if (s3->bucket == NULL || *s3->bucket == '\0')
        fw_loader_report_at(loader, "/s3", FW_SEVERITY_ERROR,
                            "has no \"bucket\"; name the bucket that snapshots go to");
    check_s3_keys(loader, section);
    check_file(loader, "/s3", "ca_file", s3->ca_file);
    check_s3_endpoint(loader);
}

static void check_services(struct fw_loader *loader, const json_t *root)
{
    const struct fw_config *config = loader->config;
    choose_broker(loader, root);
    check_tls_files(loader, "/mq", &config->mq);
    check_s3(loader, json_object_get(root, "s3"));
    check_file(loader, "/backend", "ca_file", config->backend.ca_file);
    if (config->backend_alert_url != NULL)
        (void)check_sink_url(loader, "/backend_alert_url", "http", config->backend_alert_url);
}

// OBJECT is the file or a camera, whose own time zone and schedule are ALERTS'.
static void check_time_zone(struct fw_loader *loader, const struct fw_alerts_config *alerts,
                            const json_t *object)
{
    const struct fw_schedule_span always = {.days = 127, .to_minute = 24 * 60};
    struct fw_schedule *schedule = NULL;
    struct fw_error error = {0};
    if (!is_given(json_object_get(object, "alerts"), "time_zone") || alerts->time_zone == NULL)
        return;
    int status = fw_schedule_create(&schedule, &always, 1, alerts->time_zone, &error);
    loader->no_memory = loader->no_memory || status == FW_ENOMEM;
    if (status == FW_EINVAL)
        fw_loader_report_at(loader, "/alerts/time_zone", FW_SEVERITY_ERROR, "can't be used: %s",
                            error.message);
    fw_schedule_destroy(schedule);
}

void fw_config_finish_common(struct fw_loader *loader, const json_t *root)
{
    fill_defaults(loader);
    choose_model(loader, root);
    check_listen(loader);
    loader->config->stores_snapshots =
        loader->config->local_mocks.use_mock_s3 || loader->config->s3.enabled;
    check_services(loader, root);
    check_time_zone(loader, &loader->config->alerts, root);
    check_public_base_url(loader);
}

// --- cameras ---

static bool is_same_url(const struct fw_url *a, const struct fw_url *b)
{
    return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0 &&
           a->port == b->port && strcmp(a->path, b->path) == 0 &&
           strcmp(fw_secret_reveal(a->query), fw_secret_reveal(b->query)) == 0;
}

static void check_output(struct fw_loader *loader, const char *pointer, const struct fw_url *url)
{
    static const char *const schemes[] = {"rtmp", "rtmps", "rtsp", "rtsps", "file"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strcmp(url->scheme, schemes[i]) == 0)
            return;
    }
    fw_loader_report_at(loader, pointer, FW_SEVERITY_ERROR,
                        "can't be published to in this version; write an address that begins with "
                        "rtmp://, rtmps://, rtsp:// or rtsps://, or the path of a file");
}

static void check_outputs(struct fw_loader *loader, const struct fw_camera_config *camera)
{
    if (camera->ffmpeg_output != NULL)
        check_output(loader, "/ffmpeg_output", camera->ffmpeg_output);
    for (size_t i = 0; i < camera->publish.output_count; i++) {
        char pointer[64];
        snprintf(pointer, sizeof(pointer), "/publish/outputs/%zu", i);
        check_output(loader, pointer, camera->publish.outputs[i]);
    }
    if (camera->publish.output_count + (camera->ffmpeg_output != NULL) > MAX_OUTPUTS)
        fw_loader_report_at(loader, "/publish/outputs", FW_SEVERITY_ERROR,
                            "makes more than %zu outputs; leave some out", MAX_OUTPUTS);
}

// Puts `ffmpeg_output` before the other outputs, unless it is the first of them already.
static void merge_outputs(struct fw_loader *loader, struct fw_camera_config *camera)
{
    struct fw_publish_config *publish = &camera->publish;
    if (camera->ffmpeg_output == NULL)
        return;
    if (publish->output_count > 0 && is_same_url(camera->ffmpeg_output, publish->outputs[0])) {
        fw_url_destroy(camera->ffmpeg_output);
        camera->ffmpeg_output = NULL;
        return;
    }
    struct fw_url **outputs = calloc(publish->output_count + 1, sizeof(struct fw_url *));
    if (outputs == NULL) {
        loader->no_memory = true;
        return;
    }
    outputs[0] = camera->ffmpeg_output;
    camera->ffmpeg_output = NULL;
    for (size_t i = 0; i < publish->output_count; i++)
        outputs[i + 1] = publish->outputs[i];
    free(publish->outputs);
    publish->outputs = outputs;
    publish->output_count++;
}

// After merge_outputs(): no output is written to twice, and none over what the camera watches.
static void check_merged_outputs(struct fw_loader *loader, const struct fw_camera_config *camera)
{
    struct fw_url *const *outputs = camera->publish.outputs;
    for (size_t i = 0; i < camera->publish.output_count; i++) {
        if (camera->url != NULL && is_same_url(outputs[i], camera->url))
            fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                             "publishes to the very address that it watches; give it another");
        for (size_t k = 0; k < i; k++)
            if (is_same_url(outputs[i], outputs[k]))
                fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                                 "publishes to the same output twice; leave one of the two out");
    }
}

static void choose_source(struct fw_loader *loader, struct fw_camera_config *camera,
                          const json_t *object)
{
    bool has_rtsp = is_given(object, "rtsp"), has_test_video = is_given(object, "test_video");
    if (!has_rtsp && !has_test_video)
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has neither \"rtsp\" nor \"test_video\"; give it one of the two");
    if (has_rtsp && has_test_video)
        fw_loader_report_at(loader, "/test_video", FW_SEVERITY_WARNING,
                            "is played in place of rtsp; leave one of the two out");
    if (camera->test_video == NULL)
        return;
    fw_url_destroy(camera->url);
    camera->url = camera->test_video;
    camera->test_video = NULL;
    camera->is_test_video = true;
}

static void check_zone(struct fw_loader *loader, const struct fw_camera_config *camera,
                       size_t index, const json_t *object)
{
    const struct fw_zone_config *zone = &camera->zones[index];
    if (!is_given(object, "name"))
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has no \"name\"; give it a name of its own, for example \"door\"");
    if (!is_given(object, "points"))
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has no \"points\"; give its corners, for example "
                         "[[0, 0.5], [1, 0.5], [1, 1], [0, 1]]");
    for (size_t i = 0; i < index && zone->name != NULL; i++)
        if (camera->zones[i].name != NULL && strcmp(camera->zones[i].name, zone->name) == 0)
            fw_loader_report_at(loader, "/name", FW_SEVERITY_ERROR,
                                "is that of another zone too; give each a name of its own");
}

static void check_zones(struct fw_loader *loader, const struct fw_camera_config *camera,
                        const json_t *object)
{
    const json_t *list = json_object_get(object, "zones");
    size_t mark = fw_loader_enter(loader, "zones"), next = 0;
    for (size_t i = 0; i < json_array_size(list) && camera->zones != NULL; i++) {
        const json_t *item = json_array_get(list, i);
        size_t inner = fw_loader_enter_item(loader, i);
        if (json_is_object(item))
            check_zone(loader, camera, next++, item);
        fw_loader_leave(loader, inner);
    }
    if (camera->zone_count > FW_ZONES_MAX)
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has %zu items, and %d are possible; leave some out", camera->zone_count,
                         FW_ZONES_MAX);
    fw_loader_leave(loader, mark);
}

void fw_config_finish_camera(struct fw_loader *loader, struct fw_camera_config *camera,
                             const json_t *object)
{
    if (!is_given(object, "id"))
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has no \"id\"; give it a name of its own, for example \"front-door\"");
    choose_source(loader, camera, object);
    check_outputs(loader, camera);
    merge_outputs(loader, camera);
    check_merged_outputs(loader, camera);
    check_zones(loader, camera, object);
    check_time_zone(loader, &camera->alerts, object);
    if (camera->save_snapshots && !loader->config->stores_snapshots)
        fw_loader_report_at(loader, "/save_snapshots", FW_SEVERITY_WARNING,
                            "has nowhere to store them; set s3.enabled, or "
                            "local_mocks.use_mock_s3 to have them in a folder");
}

// --- all cameras and sinks together ---

static bool publishes_to(const struct fw_camera_config *camera, const struct fw_url *url)
{
    for (size_t i = 0; i < camera->publish.output_count; i++) {
        if (is_same_url(camera->publish.outputs[i], url))
            return true;
    }
    return false;
}

static void check_unique(struct fw_loader *loader, size_t index)
{
    const struct fw_camera_config *cameras = loader->config->cameras, *camera = &cameras[index];
    for (size_t i = 0; i < index; i++) {
        if (camera->id != NULL && cameras[i].id != NULL && strcmp(camera->id, cameras[i].id) == 0)
            fw_loader_report_at(loader, "/id", FW_SEVERITY_ERROR,
                                "is that of cameras[%zu] too; give each camera an id of its own",
                                i);
        for (size_t k = 0; k < camera->publish.output_count; k++) {
            if (camera->enabled && cameras[i].enabled &&
                publishes_to(&cameras[i], camera->publish.outputs[k]))
                fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                                 "publishes to an output of cameras[%zu]; give each an output of "
                                 "its own",
                                 i);
        }
    }
}

static void check_cameras(struct fw_loader *loader)
{
    const struct fw_config *config = loader->config;
    size_t enabled = 0, mark = fw_loader_enter(loader, "cameras");
    for (size_t i = 0; i < config->camera_count; i++) {
        size_t item = fw_loader_enter_item(loader, i);
        check_unique(loader, i);
        fw_loader_leave(loader, item);
        enabled += config->cameras[i].enabled;
    }
    fw_loader_leave(loader, mark);
    if (config->camera_count > 0 && enabled == 0)
        fw_loader_report_at(loader, "/cameras", FW_SEVERITY_WARNING,
                            "has no camera that is enabled; enable one");
}

static void check_sink(struct fw_loader *loader, const struct fw_sink_config *sink,
                       const json_t *object)
{
    if (!is_given(object, "name"))
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has no \"name\"; give it a name of its own, for example \"archive\"");
    else if (sink->name != NULL &&
             (strcmp(sink->name, "mq") == 0 || strcmp(sink->name, "backend") == 0))
        fw_loader_report_at(loader, "/name", FW_SEVERITY_ERROR,
                            "is taken by the common sink of this name; choose another");
    if (!is_given(object, "type"))
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has no \"type\"; write \"file\", \"http\", \"rabbitmq\", \"redis\" or "
                         "\"mqtt\"");
    if (sink->type == NULL)
        return;
    bool is_file = strcmp(sink->type, "file") == 0;
    if (is_file && !is_given(object, "path"))
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has no \"path\"; name the file that alerts go to");
    if (!is_file && !is_given(object, "url"))
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has no \"url\"; give the address that alerts go to");
    if (!is_file && sink->url != NULL && check_sink_url(loader, "/url", sink->type, sink->url))
        check_broker(loader, "", sink);
    check_tls_files(loader, "", sink);
}

static bool has_queue(const struct fw_config *config)
{
    return config->local_mocks.use_mock_mq || config->mq.url != NULL;
}

static void check_sinks(struct fw_loader *loader, const json_t *list)
{
    const struct fw_config *config = loader->config;
    size_t mark = fw_loader_enter(loader, "sinks"), next = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *object = json_array_get(list, i);
        if (!json_is_object(object))
            continue;
        const struct fw_sink_config *sink = &config->sinks[next++];
        size_t item = fw_loader_enter_item(loader, i);
        check_sink(loader, sink, object);
        for (size_t k = 0; k + 1 < next; k++) {
            if (sink->name != NULL && config->sinks[k].name != NULL &&
                strcmp(sink->name, config->sinks[k].name) == 0)
                fw_loader_report_at(loader, "/name", FW_SEVERITY_ERROR,
                                    "is that of another sink too; give each a name of its own");
        }
        fw_loader_leave(loader, item);
    }
    size_t total = next + has_queue(config) + (config->backend_alert_url != NULL ? 1 : 0);
    if (total > FW_MAX_SINKS)
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "makes %zu places that alerts go to, and %d are possible; leave some out",
                         total, FW_MAX_SINKS);
    fw_loader_leave(loader, mark);
}

// Puts SINK, whose members it takes over, before those at INDEX.
static void insert_sink(struct fw_loader *loader, size_t index, struct fw_sink_config sink)
{
    struct fw_config *config = loader->config;
    struct fw_sink_config *place = &config->sinks[index];
    memmove(place + 1, place, (config->sink_count - index) * sizeof(*place));
    config->sink_count++;
    *place = sink;
    loader->no_memory = loader->no_memory || sink.name == NULL || sink.type == NULL;
}

static void add_queue(struct fw_loader *loader)
{
    struct fw_config *config = loader->config;
    if (config->local_mocks.use_mock_mq) {
        char *path = fw_strdup_printf("%s/alerts.jsonl", config->worker.state_dir);
        loader->no_memory = loader->no_memory || path == NULL;
        insert_sink(loader, 0,
                    (struct fw_sink_config){
                        .name = fw_strdup("mq"), .type = fw_strdup("file"), .path = path});
        return;
    }
    // The sink's from now on: one owner each.
    struct fw_sink_config queue = config->mq;
    config->mq = (struct fw_sink_config){0};
    queue.name = fw_strdup("mq");
    insert_sink(loader, 0, queue);
}

static void add_backend(struct fw_loader *loader, size_t index)
{
    struct fw_config *config = loader->config;
    struct fw_backend_config *backend = &config->backend;
    insert_sink(loader, index,
                (struct fw_sink_config){
                    .name = fw_strdup("backend"),
                    .type = fw_strdup("http"),
                    .url = config->backend_alert_url,
                    .token = backend->token,
                    .hmac_secret = backend->hmac_secret,
                    .ca_file = backend->ca_file,
                    .tls_verify = backend->tls_verify,
                    .embed_snapshot = backend->embed_snapshot,
                    .timeout_ms = backend->timeout_s * 1000,
                });
    config->backend_alert_url = NULL;
    *backend = (struct fw_backend_config){.timeout_s = backend->timeout_s};
}

static void add_common_sinks(struct fw_loader *loader)
{
    struct fw_config *config = loader->config;
    bool queue = has_queue(config);
    if (queue)
        add_queue(loader);
    if (config->backend_alert_url != NULL)
        add_backend(loader, queue ? 1 : 0);
}

void fw_config_finish(struct fw_loader *loader, const json_t *root)
{
    struct fw_config *config = loader->config;
    const json_t *cameras = json_object_get(root, "cameras");
    bool is_list = json_is_array(cameras);
    if (!is_given(root, "cameras") || (is_list && json_array_size(cameras) == 0))
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "the file names no camera; write \"cameras\": [{\"id\": \"front-door\", "
                         "\"rtsp\": \"rtsp://10.0.0.5/stream1\"}]");
    check_cameras(loader);
    if (config->sinks == NULL)
        return; // said before: `sinks` is no list
    check_sinks(loader, json_object_get(root, "sinks"));
    add_common_sinks(loader);
    if (config->local_mocks.use_mock_s3)
        set_once(loader, &config->snapshot_dir,
                 fw_strdup_printf("%s/snapshots", config->worker.state_dir));
}
