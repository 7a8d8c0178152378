// Alerts to an MQTT broker, with QoS 1: one counts as delivered once the broker has acknowledged
// it.
//
// On request the broker also keeps, as retained messages, what is the case now: the worker's
// presence (with a last will), each camera's state, and what Home Assistant needs to know.
#include "alert/home_assistant.h"
#include "alert/mqtt_client.h"
#include "alert/routing.h"
#include "alert/sink.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <jansson.h>
#include <mosquitto.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 64, MAX_CAMERAS = 1024 };

#define ONLINE  "online"
#define OFFLINE "offline"

// What the broker keeps about a camera.
struct retained {
    const char *state;        // NULL: not known
    unsigned faces;           // in view
    int64_t last_face_utc_us; // 0: none yet
};

struct camera {
    char *id, *name;
    struct retained retained; // as the broker last acknowledged it
    bool is_announced;        // to Home Assistant, on this connection
    struct camera *next;
};

struct mqtt_sink {
    struct fw_mqtt_options options;
    const char *worker_id, *routing_key, *discovery_prefix;
    int64_t timeout_ms;
    bool keeps_state, is_for_home_assistant;
    char *client_id, *prefix, *availability_topic;
    struct fw_mqtt_client *client; // NULL: not connected
    struct camera *cameras;
    size_t camera_count;
};

// One message on its way.
struct delivery {
    const struct fw_message *message;
    struct camera *camera; // NULL: there is nothing to keep
    struct retained after; // what the broker is to keep once it has acknowledged all
    struct fw_mqtt_ticket ticket;
};

static const char *host_of(const struct mqtt_sink *sink)
{
    return sink->options.peer.url->host;
}

static void hang_up(struct mqtt_sink *sink)
{
    fw_mqtt_close(sink->client);
    sink->client = NULL;
    for (struct camera *camera = sink->cameras; camera != NULL; camera = camera->next)
        camera->is_announced = false;
}

// Cameras

// The name that people gave the camera, out of the message's JSON; its id where there is none.
static char *name_in(const struct fw_message *message)
{
    json_t *root = json_loadb(message->body, message->length, 0, NULL);
    const char *name = NULL;
    char *copy;

    (void)json_unpack(root, "{s:{s:{s:s}}}", "data", "camera", "name", &name);
    copy = fw_strdup(name != NULL ? name : message->camera_id);
    json_decref(root);
    return copy;
}

static void free_camera(struct camera *camera)
{
    free(camera->id);
    free(camera->name);
    free(camera);
}

static struct camera *create_camera(const struct fw_message *message)
{
    struct camera *camera = calloc(1, sizeof(*camera));

    if (camera == NULL)
        return NULL;
    camera->id = fw_strdup(message->camera_id);
    camera->name = name_in(message);
    if (camera->id != NULL && camera->name != NULL)
        return camera;
    free_camera(camera);
    return NULL;
}

static int add_camera(struct mqtt_sink *sink, const struct fw_message *message,
                      struct camera **camera, struct fw_error *error)
{
    if (sink->camera_count == MAX_CAMERAS) {
        fw_log_warning(sink->options.log,
                       "more than %d cameras: the state of the others is not kept at %s",
                       MAX_CAMERAS, host_of(sink));
        return FW_OK;
    }
    *camera = create_camera(message);
    if (*camera == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the state of a camera");
    (*camera)->next = sink->cameras;
    sink->cameras = *camera;
    sink->camera_count++;
    return FW_OK;
}

// *CAMERA becomes MESSAGE's; NULL when there is nothing to keep.
static int find_camera(struct mqtt_sink *sink, const struct fw_message *message,
                       struct camera **camera, struct fw_error *error)
{
    *camera = NULL;
    if (!sink->keeps_state || message->camera_id[0] == '\0')
        return FW_OK;
    for (struct camera *one = sink->cameras; one != NULL; one = one->next)
        if (strcmp(one->id, message->camera_id) == 0)
            *camera = one;
    return *camera != NULL ? FW_OK : add_camera(sink, message, camera, error);
}

static const char *state_in(const char *type)
{
    if (strcmp(type, FW_EVENT_CAMERA_ONLINE) == 0)
        return ONLINE;
    if (strcmp(type, FW_EVENT_CAMERA_OFFLINE) == 0)
        return OFFLINE;
    return strcmp(type, FW_EVENT_CAMERA_STALLED) == 0 ? "stalled" : NULL;
}

// What is to be kept after MESSAGE. Nobody is in view of a camera that is away, which also mends a
// count whose `left` was dropped.
static struct retained retained_after(struct retained now, const struct fw_message *message)
{
    const char *state = state_in(message->type);
    bool has_appeared = strcmp(message->type, FW_EVENT_FACE_APPEARED) == 0;
    bool has_left = strcmp(message->type, FW_EVENT_FACE_LEFT) == 0;

    if (state != NULL)
        now.state = state;
    if (state != NULL && strcmp(state, ONLINE) != 0)
        now.faces = 0;
    if (has_appeared)
        now.faces++;
    else if (has_left && now.faces > 0)
        now.faces--;
    if (has_appeared || has_left)
        now.last_face_utc_us = message->time_utc_us;
    return now;
}

// Publishing

static char *camera_topic(const struct mqtt_sink *sink, const struct camera *camera,
                          const char *what)
{
    return fw_strdup_printf("%s/cameras/%s/%s", sink->prefix, camera->id, what);
}

// TOPIC is taken over; NULL: memory is out.
static int publish_retained(struct mqtt_sink *sink, char *topic, const char *payload,
                            struct fw_mqtt_ticket *ticket, struct fw_error *error)
{
    struct fw_mqtt_publication publication = {
        .topic = topic, .payload = payload, .length = strlen(payload), .is_retained = true};
    int status;

    if (topic == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to publish to %s", host_of(sink));
    status = fw_mqtt_publish(sink->client, &publication, ticket, error);
    free(topic);
    return status;
}

static int publish_faces(struct mqtt_sink *sink, const struct camera *camera,
                         const struct retained *retained, struct fw_mqtt_ticket *ticket,
                         struct fw_error *error)
{
    char time[FW_UTC_TEXT_SIZE], *payload;
    int status;

    fw_utc_format(retained->last_face_utc_us, time);
    payload = fw_strdup_printf("{\"present\":\"%s\",\"count\":%u,\"last\":\"%s\"}",
                               retained->faces > 0 ? "ON" : "OFF", retained->faces, time);
    if (payload == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to publish to %s", host_of(sink));
    status = publish_retained(sink, camera_topic(sink, camera, "face"), payload, ticket, error);
    free(payload);
    return status;
}

// What differs between BEFORE and AFTER.
static int publish_changes(struct mqtt_sink *sink, const struct camera *camera,
                           const struct retained *before, const struct retained *after,
                           struct fw_mqtt_ticket *ticket, struct fw_error *error)
{
    int status = FW_OK;

    if (after->state != before->state)
        status = publish_retained(sink, camera_topic(sink, camera, "state"), after->state, ticket,
                                  error);
    if (status == FW_OK && sink->is_for_home_assistant && after->last_face_utc_us != 0 &&
        (after->faces != before->faces || after->last_face_utc_us != before->last_face_utc_us))
        status = publish_faces(sink, camera, after, ticket, error);
    return status;
}

static int announce_entity(struct mqtt_sink *sink, const struct fw_home_assistant_camera *camera,
                           int index, struct fw_mqtt_ticket *ticket, struct fw_error *error)
{
    char *topic = NULL, *payload = NULL;
    int status;

    if (camera->state_topic == NULL || camera->face_topic == NULL ||
        fw_home_assistant_announce(camera, index, &topic, &payload) != FW_OK)
        return fw_fail(error, FW_ENOMEM, "no memory to announce a camera");
    status = publish_retained(sink, topic, payload, ticket, error);
    free(payload);
    return status;
}

static int announce(struct mqtt_sink *sink, struct camera *camera, struct fw_mqtt_ticket *ticket,
                    struct fw_error *error)
{
    char *state_topic = camera_topic(sink, camera, "state");
    char *face_topic = camera_topic(sink, camera, "face");
    const struct fw_home_assistant_camera announced = {
        .discovery_prefix = sink->discovery_prefix,
        .worker_id = sink->worker_id,
        .camera_id = camera->id,
        .camera_name = camera->name,
        .availability_topic = sink->availability_topic,
        .state_topic = state_topic,
        .face_topic = face_topic,
    };
    int status = FW_OK;

    for (int i = 0; status == FW_OK && i < FW_HOME_ASSISTANT_ENTITIES; i++)
        status = announce_entity(sink, &announced, i, ticket, error);
    camera->is_announced = status == FW_OK;
    free(state_topic);
    free(face_topic);
    return status;
}

// Connecting

// A broker without a store forgets what it kept when it starts anew: it is told again.
static int publish_all(struct mqtt_sink *sink, struct fw_mqtt_ticket *ticket,
                       struct fw_error *error)
{
    static const struct retained nothing = {0};
    int status = publish_retained(sink, fw_strdup(sink->availability_topic), ONLINE, ticket, error);

    for (struct camera *camera = sink->cameras; status == FW_OK && camera != NULL;
         camera = camera->next) {
        if (sink->is_for_home_assistant)
            status = announce(sink, camera, ticket, error);
        if (status == FW_OK)
            status = publish_changes(sink, camera, &nothing, &camera->retained, ticket, error);
    }
    return status;
}

static int ticket_status(const struct mqtt_sink *sink, const struct fw_mqtt_ticket *ticket,
                         const char *what, struct fw_error *error)
{
    switch (ticket->status) {
    case FW_OK:
        return FW_OK;
    case FW_EAUTH:
        return fw_fail(error, FW_EAUTH,
                       "%s does not let us publish %s; check the topic, and the user's rights",
                       host_of(sink), what);
    case FW_EREJECTED:
        return fw_fail(error, FW_EREJECTED, "%s rejected %s; it may be larger than it takes",
                       host_of(sink), what);
    default:
        return fw_fail(error, FW_EIO, "%s can't take %s now; it is asked again later",
                       host_of(sink), what);
    }
}

static int tell_everything(struct mqtt_sink *sink, struct fw_deadline *deadline,
                           struct fw_error *error)
{
    struct fw_mqtt_ticket ticket = {0};
    int status = publish_all(sink, &ticket, error);

    if (status == FW_OK)
        status = fw_mqtt_wait(sink->client, deadline, error);
    if (status == FW_OK)
        status = ticket_status(sink, &ticket, "what it is to keep", error);
    if (status != FW_OK)
        hang_up(sink);
    return status;
}

static int ensure_connected(struct mqtt_sink *sink, struct fw_cancel *cancel,
                            struct fw_error *error)
{
    struct fw_deadline deadline = {.cancel = cancel};
    int status;

    if (sink->client != NULL)
        return FW_OK;
    fw_deadline_set(&deadline, sink->timeout_ms);
    status = fw_mqtt_connect(&sink->client, &sink->options, &deadline, error);
    if (status != FW_OK || !sink->keeps_state)
        return status;
    fw_deadline_set(&deadline, sink->timeout_ms);
    return tell_everything(sink, &deadline, error);
}

// Delivering

static int publish_event(struct mqtt_sink *sink, struct delivery *delivery, struct fw_error *error)
{
    const struct fw_message *message = delivery->message;
    struct fw_text topic = FW_TEXT_INIT;
    struct fw_mqtt_publication publication;
    int status = fw_routing_fill(&topic, sink->routing_key, sink->worker_id, message);

    publication = (struct fw_mqtt_publication){.topic = fw_text_get(&topic),
                                               .payload = message->body,
                                               .length = message->length,
                                               .content_type = message->content_type};
    if (status == FW_OK)
        status = fw_mqtt_publish(sink->client, &publication, &delivery->ticket, error);
    else
        fw_fail(error, status, "no memory to publish to %s", host_of(sink));
    fw_text_free(&topic);
    return status;
}

// The retained messages that DELIVERY brings about.
static int publish_consequences(struct mqtt_sink *sink, struct delivery *delivery,
                                struct fw_error *error)
{
    struct camera *camera = delivery->camera;
    int status = FW_OK;

    delivery->after = retained_after(camera->retained, delivery->message);
    if (sink->is_for_home_assistant && !camera->is_announced)
        status = announce(sink, camera, &delivery->ticket, error);
    if (status == FW_OK)
        status = publish_changes(sink, camera, &camera->retained, &delivery->after,
                                 &delivery->ticket, error);
    return status;
}

static int start(struct mqtt_sink *sink, struct delivery *delivery, struct fw_error *error)
{
    int status = find_camera(sink, delivery->message, &delivery->camera, error);

    if (status == FW_OK)
        status = publish_event(sink, delivery, error);
    if (status == FW_OK && delivery->camera != NULL)
        status = publish_consequences(sink, delivery, error);
    return status;
}

// How many of COUNT messages may be on their way together: none of a camera after another of it,
// for the broker may refuse the first and take the second.
static size_t part_of(const struct fw_message *messages, size_t count)
{
    size_t part = 1;

    for (; part < count; part++)
        for (size_t i = 0; i < part; i++)
            if (strcmp(messages[i].camera_id, messages[part].camera_id) == 0)
                return part;
    return part;
}

static int settle(struct mqtt_sink *sink, struct delivery *delivery, int *result,
                  struct fw_error *error)
{
    *result = ticket_status(sink, &delivery->ticket, "this alert", error);
    if (*result == FW_OK && delivery->camera != NULL)
        delivery->camera->retained = delivery->after;
    return *result == FW_EREJECTED ? FW_OK : *result;
}

static int deliver_part(struct mqtt_sink *sink, const struct fw_message *messages, size_t count,
                        int *results, struct fw_cancel *cancel, struct fw_error *error)
{
    struct delivery deliveries[MAX_BATCH] = {{0}};
    struct fw_deadline deadline = {.cancel = cancel};
    int status = FW_OK;

    fw_deadline_set(&deadline, sink->timeout_ms);
    for (size_t i = 0; status == FW_OK && i < count; i++) {
        deliveries[i].message = &messages[i];
        status = start(sink, &deliveries[i], error);
    }
    if (status == FW_OK)
        status = fw_mqtt_wait(sink->client, &deadline, error);
    if (status != FW_OK) {
        // Whatever of it the broker has got, it gets once more, under the same ids.
        hang_up(sink);
        for (size_t i = 0; i < count; i++)
            results[i] = status;
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        // The sentence is about what is returned.
        int settled = settle(sink, &deliveries[i], &results[i], status == FW_OK ? error : NULL);
        status = status == FW_OK ? settled : status;
    }
    return status;
}

static int mqtt_deliver(void *state, const struct fw_message *messages, size_t count, int *results,
                        struct fw_cancel *cancel, struct fw_error *error)
{
    struct mqtt_sink *sink = state;
    int status = ensure_connected(sink, cancel, error);

    for (size_t done = 0, part; status == FW_OK && done < count; done += part) {
        part = part_of(messages + done, count - done);
        status = deliver_part(sink, messages + done, part, results + done, cancel, error);
    }
    return status;
}

static int mqtt_idle(void *state, struct fw_cancel *cancel, struct fw_error *error)
{
    struct mqtt_sink *sink = state;
    int status;

    if (sink->client == NULL)
        return ensure_connected(sink, cancel, error);
    status = fw_mqtt_service(sink->client, error);
    if (status != FW_OK)
        hang_up(sink);
    return status;
}

// Opening

// Where states are kept: the words of the template that are the same for all cameras.
static char *prefix_of(const char *routing_key)
{
    size_t length = strcspn(routing_key, "{");
    char *prefix;

    while (length > 0 && strchr("/._-", routing_key[length - 1]) != NULL)
        length--;
    if (length == 0)
        return fw_strdup("faceworker");
    prefix = fw_strdup(routing_key);
    if (prefix != NULL)
        prefix[length] = '\0';
    return prefix;
}

static int check_url(const struct fw_sink_options *options, struct fw_error *error)
{
    const struct fw_url *url = options->url;

    if (url == NULL)
        return fw_fail(error, FW_EINVAL, "the sink '%s' has no URL; give it one", options->name);
    if (strcmp(url->scheme, "mqtt") != 0 && strcmp(url->scheme, "mqtts") != 0)
        return fw_fail(error, FW_EINVAL, "'%s' is no MQTT broker; use mqtt:// or mqtts://",
                       url->display);
    if (fw_secret_is_set(url->password) && (url->username == NULL || url->username[0] == '\0'))
        return fw_fail(error, FW_EINVAL, "the sink '%s' has a password but no user name; set it",
                       options->name);
    return FW_OK;
}

static int check(const struct fw_sink_options *options, struct fw_error *error)
{
    int status = check_url(options, error);

    if (status != FW_OK)
        return status;
    if (options->timeout_ms < 1)
        return fw_fail(error, FW_EINVAL, "the sink '%s' needs a timeout above 0", options->name);
    status = fw_routing_check(options->routing_key, error);
    if (status == FW_OK && mosquitto_pub_topic_check(options->routing_key) != MOSQ_ERR_SUCCESS)
        status = fw_fail(error, FW_EINVAL,
                         "routing_key '%s' is no MQTT topic: it must not have '+' or '#'; take "
                         "them out",
                         options->routing_key);
    if (status == FW_OK && options->discovery_prefix != NULL &&
        (options->discovery_prefix[0] == '\0' ||
         mosquitto_pub_topic_check(options->discovery_prefix) != MOSQ_ERR_SUCCESS))
        status =
            fw_fail(error, FW_EINVAL,
                    "discovery_prefix is no MQTT topic; use Home Assistant's, \"homeassistant\""
                    " as a rule");
    return status;
}

static int set_names(struct mqtt_sink *sink, const struct fw_sink_options *options,
                     struct fw_error *error)
{
    sink->client_id = fw_strdup_printf("faceworker-%s-%s", options->worker_id, options->name);
    sink->prefix = prefix_of(options->routing_key);
    if (sink->prefix != NULL)
        sink->availability_topic =
            fw_strdup_printf("%s/worker/%s/availability", sink->prefix, options->worker_id);
    if (sink->client_id == NULL || sink->availability_topic == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    sink->options.client_id = sink->client_id;
    if (sink->keeps_state) {
        sink->options.will_topic = sink->availability_topic;
        sink->options.will_payload = OFFLINE;
    }
    return FW_OK;
}

static int mqtt_open(void **state, const struct fw_sink_options *options, struct fw_error *error)
{
    struct mqtt_sink *sink;
    int status = check(options, error);

    if (status != FW_OK)
        return status;
    sink = calloc(1, sizeof(*sink));
    if (sink == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    *state = sink;
    sink->options.peer =
        (struct fw_peer_options){.url = options->url,
                                 .is_tls = strcmp(options->url->scheme, "mqtts") == 0,
                                 .ca_file = options->ca_file,
                                 .certificate_file = options->certificate_file,
                                 .key_file = options->key_file,
                                 .tls_verify = options->tls_verify,
                                 .resolver = options->resolver};
    sink->options.log = options->log;
    sink->worker_id = options->worker_id;
    sink->routing_key = options->routing_key;
    sink->discovery_prefix =
        options->discovery_prefix != NULL ? options->discovery_prefix : "homeassistant";
    sink->timeout_ms = options->timeout_ms;
    sink->is_for_home_assistant = options->home_assistant;
    sink->keeps_state = options->retain_state || options->home_assistant;
    return set_names(sink, options, error);
}

static void mqtt_close(void *state)
{
    struct mqtt_sink *sink = state;

    hang_up(sink);
    while (sink->cameras != NULL) {
        struct camera *next = sink->cameras->next;
        free_camera(sink->cameras);
        sink->cameras = next;
    }
    free(sink->client_id);
    free(sink->prefix);
    free(sink->availability_topic);
    free(sink);
}

const struct fw_sink_backend fw_sink_mqtt = {
    .type = "mqtt",
    .max_batch = MAX_BATCH,
    .open = mqtt_open,
    .deliver = mqtt_deliver,
    .idle = mqtt_idle,
    .close = mqtt_close,
};
