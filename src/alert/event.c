#include "alert/event.h"
#include "alert/json.h"
#include "util/clock.h"
#include "util/text.h"
#include "util/uuid.h"
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Pixels to the hundredth, everything else to the millionth.
enum { PIXEL_STEPS = 100, FINE_STEPS = 1000000 };

enum kind { KIND_FACE, KIND_CAMERA, KIND_WORKER };

struct type {
    const char *name;
    enum kind kind;
};

static const struct type types[] = {
    {FW_EVENT_FACE_APPEARED, KIND_FACE},    {FW_EVENT_FACE_LEFT, KIND_FACE},
    {FW_EVENT_CAMERA_ONLINE, KIND_CAMERA},  {FW_EVENT_CAMERA_OFFLINE, KIND_CAMERA},
    {FW_EVENT_CAMERA_STALLED, KIND_CAMERA}, {FW_EVENT_CAMERA_TAMPERED, KIND_CAMERA},
    {FW_EVENT_WORKER_STARTED, KIND_WORKER}, {FW_EVENT_WORKER_HEARTBEAT, KIND_WORKER},
};

// What the functions below hand out, with the count that others need not see.
struct event_owner {
    struct fw_event event;
    atomic_int references;
};

static const struct type *type_of(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

static const struct type *type_of_kind(const char *name, enum kind kind)
{
    const struct type *type = type_of(name);

    return type != NULL && type->kind == kind ? type : NULL;
}

// The last word of TYPE's name, "offline".
static const char *last_word(const struct type *type)
{
    return strrchr(type->name, '.') + 1;
}

static void destroy(struct event_owner *owner)
{
    if (owner == NULL)
        return;
    free(owner->event.camera_id);
    free(owner->event.json);
    free(owner);
}

// An event without its JSON. NULL when memory is out.
static struct event_owner *create(const struct type *type, const char *camera_id,
                                  int64_t time_utc_us)
{
    struct event_owner *owner = calloc(1, sizeof(*owner));

    if (owner == NULL)
        return NULL;
    atomic_init(&owner->references, 1);
    owner->event.type = type->name;
    owner->event.time_utc_us = time_utc_us;
    owner->event.camera_id = fw_strdup(camera_id);
    if (owner->event.camera_id == NULL) {
        destroy(owner);
        return NULL;
    }
    return owner;
}

// OWNER's event with ROOT as its JSON, whole or not at all; both are taken over.
static struct fw_event *finish(struct event_owner *owner, const struct fw_json_builder *builder,
                               json_t *root)
{
    if (!builder->failed)
        owner->event.json = fw_json_line(root);
    json_decref(root);
    if (owner->event.json == NULL) {
        destroy(owner);
        return NULL;
    }
    owner->event.json_length = strlen(owner->event.json);
    return &owner->event;
}

static json_t *formatted(struct fw_text *text)
{
    json_t *value = text->failed ? NULL : fw_json_text(fw_text_get(text));

    fw_text_free(text);
    return value;
}

static json_t *number(double value, int steps)
{
    if (!isfinite(value)) // JSON has no such numbers
        value = 0;
    return json_real(round(value * steps) / steps);
}

static json_t *box_of(struct fw_json_builder *builder, struct fw_box box, double width,
                      double height, int steps)
{
    json_t *array = json_array();

    fw_json_push(builder, array, number((double)box.x / width, steps));
    fw_json_push(builder, array, number((double)box.y / height, steps));
    fw_json_push(builder, array, number((double)box.w / width, steps));
    fw_json_push(builder, array, number((double)box.h / height, steps));
    return array;
}

static json_t *landmarks_of(struct fw_json_builder *builder, const struct fw_face *face)
{
    json_t *array = json_array();

    for (int i = 0; face->has_landmarks && i < FW_LANDMARKS; i++) {
        json_t *point = json_array();
        fw_json_push(builder, point, number((double)face->landmarks[i].x, PIXEL_STEPS));
        fw_json_push(builder, point, number((double)face->landmarks[i].y, PIXEL_STEPS));
        fw_json_push(builder, array, point);
    }
    return array;
}

static json_t *face_of(struct fw_json_builder *builder, const struct fw_event_face *face,
                       const struct fw_event_input *input)
{
    json_t *object = json_object();
    double width = input->frame_width, height = input->frame_height;

    fw_json_put(builder, object, "track", json_integer((json_int_t)face->track));
    fw_json_put(builder, object, "box", box_of(builder, face->face.box, 1, 1, PIXEL_STEPS));
    fw_json_put(builder, object, "box_fraction",
                box_of(builder, face->face.box, width, height, FINE_STEPS));
    fw_json_put(builder, object, "score", number((double)face->face.score, FINE_STEPS));
    fw_json_put(builder, object, "landmarks", landmarks_of(builder, &face->face));
    fw_json_put(builder, object, "quality",
                face->quality < 0 ? json_null() : number((double)face->quality, FINE_STEPS));
    return object;
}

static json_t *faces_of(struct fw_json_builder *builder, const struct fw_event_input *input)
{
    json_t *array = json_array();

    for (size_t i = 0; i < input->face_count; i++)
        fw_json_push(builder, array, face_of(builder, &input->faces[i], input));
    return array;
}

static json_t *camera_of(struct fw_json_builder *builder, const struct fw_event_camera *camera)
{
    json_t *object = json_object();

    fw_json_put(builder, object, "id", fw_json_text(camera->camera_id));
    fw_json_put(builder, object, "name",
                fw_json_text(camera->name != NULL ? camera->name : camera->camera_id));
    fw_json_put(builder, object, "location", fw_json_text(camera->location));
    return object;
}

static void put_picture(struct fw_json_builder *builder, json_t *snapshot, const char *kind,
                        const struct fw_event_picture *picture)
{
    json_t *object;

    if (picture->key == NULL)
        return;
    object = json_object();
    fw_json_put(builder, object, "key", fw_json_text(picture->key));
    fw_json_put(builder, object, "url", fw_json_text(picture->url));
    fw_json_put(builder, object, "sha256", fw_json_text(picture->sha256));
    fw_json_put(builder, object, "width", json_integer(picture->width));
    fw_json_put(builder, object, "height", json_integer(picture->height));
    fw_json_put(builder, object, "bytes", json_integer((json_int_t)picture->length));
    fw_json_put(builder, snapshot, kind, object);
}

static json_t *snapshot_of(struct fw_json_builder *builder,
                           const struct fw_event_snapshot *snapshot)
{
    json_t *object;

    if (snapshot == NULL)
        return json_null();
    object = json_object();
    fw_json_put(builder, object, "state", fw_json_text(snapshot->state));
    put_picture(builder, object, "full", &snapshot->full);
    put_picture(builder, object, "full_annotated", &snapshot->full_annotated);
    put_picture(builder, object, "face", &snapshot->face);
    put_picture(builder, object, "face_annotated", &snapshot->face_annotated);
    return object;
}

static json_t *source_of(const char *worker_id, const char *camera_id)
{
    struct fw_text text = FW_TEXT_INIT;

    fw_text_append(&text, "/workers/");
    fw_text_append_percent(&text, worker_id, NULL);
    if (camera_id != NULL) {
        fw_text_append(&text, "/cameras/");
        fw_text_append_percent(&text, camera_id, NULL);
    }
    return formatted(&text);
}

static json_t *subject_of(const char *camera_id, uint64_t track)
{
    struct fw_text text = FW_TEXT_INIT;

    fw_text_append(&text, "cameras/");
    fw_text_append_percent(&text, camera_id, NULL);
    if (track > 0)
        fw_text_appendf(&text, "/tracks/%llu", (unsigned long long)track);
    return formatted(&text);
}

// CloudEvents' own fields. CAMERA_ID is NULL for events of the worker.
static json_t *envelope_of(struct fw_json_builder *builder, const struct fw_event *event,
                           const char *worker_id, const char *camera_id)
{
    json_t *root = json_object();

    fw_json_put(builder, root, "specversion", json_string("1.0"));
    fw_json_put(builder, root, "id", json_string(event->id));
    fw_json_put(builder, root, "source", source_of(worker_id, camera_id));
    fw_json_put(builder, root, "type", json_string(event->type));
    if (camera_id != NULL)
        fw_json_put(builder, root, "subject", subject_of(camera_id, event->track));
    fw_json_put(builder, root, "time", fw_json_time(event->time_utc_us));
    fw_json_put(builder, root, "datacontenttype", json_string("application/json"));
    return root;
}

static json_t *face_data_of(struct fw_json_builder *builder, const struct fw_event *event,
                            const struct fw_event_input *input)
{
    int64_t duration_us = input->last_seen_utc_us - input->first_seen_utc_us;
    json_t *data = json_object(), *frame = json_object();

    fw_json_put(builder, frame, "width", json_integer(input->frame_width));
    fw_json_put(builder, frame, "height", json_integer(input->frame_height));
    fw_json_put(builder, data, "camera", camera_of(builder, &input->camera));
    fw_json_put(builder, data, "track", json_integer((json_int_t)input->track));
    fw_json_put(builder, data, "appeared_id", json_string(event->appeared_id));
    fw_json_put(builder, data, "zone", fw_json_text(input->zone));
    fw_json_put(builder, data, "frame", frame);
    fw_json_put(builder, data, "faces", faces_of(builder, input));
    fw_json_put(builder, data, "first_seen", fw_json_time(input->first_seen_utc_us));
    fw_json_put(builder, data, "last_seen", fw_json_time(input->last_seen_utc_us));
    fw_json_put(builder, data, "duration_s", number((double)duration_us / FW_US_PER_S, 1000));
    if (input->reason != NULL)
        fw_json_put(builder, data, "reason", fw_json_text(input->reason));
    fw_json_put(builder, data, "snapshot", snapshot_of(builder, input->snapshot));
    return data;
}

static bool is_whole(const struct fw_event_input *input, const struct type *type)
{
    bool is_left = strcmp(type->name, FW_EVENT_FACE_LEFT) == 0;

    return input->frame_width > 0 && input->frame_height > 0 && input->track > 0 &&
           is_left == (input->appeared_id != NULL) && is_left == (input->reason != NULL);
}

static void copy_id(char to[FW_UUID_TEXT_SIZE], const char *id)
{
    (void)snprintf(to, FW_UUID_TEXT_SIZE, "%s", id);
}

struct fw_event *fw_event_create(const struct fw_event_input *input)
{
    const struct type *type = type_of_kind(input->type, KIND_FACE);
    struct fw_json_builder builder = {false};
    struct event_owner *owner;
    struct fw_event *event;
    json_t *root;

    if (type == NULL || !is_whole(input, type))
        return NULL;
    owner = create(type, input->camera.camera_id, input->time_utc_us);
    if (owner == NULL)
        return NULL;
    event = &owner->event;
    fw_uuid7(fw_utc_us(), event->id);
    event->track = input->track;
    copy_id(event->appeared_id, input->appeared_id != NULL ? input->appeared_id : event->id);
    root = envelope_of(&builder, event, input->camera.worker_id, input->camera.camera_id);
    fw_json_put(&builder, root, "data", face_data_of(&builder, event, input));
    return finish(owner, &builder, root);
}

struct fw_event *fw_event_create_state(const struct fw_event_state_input *input)
{
    const struct type *type = type_of_kind(input->type, KIND_CAMERA);
    struct fw_json_builder builder = {false};
    struct event_owner *owner =
        type == NULL ? NULL : create(type, input->camera.camera_id, input->time_utc_us);
    json_t *root, *data;

    if (owner == NULL)
        return NULL;
    fw_uuid7(fw_utc_us(), owner->event.id);
    root = envelope_of(&builder, &owner->event, input->camera.worker_id, input->camera.camera_id);
    data = json_object();
    fw_json_put(&builder, data, "camera", camera_of(&builder, &input->camera));
    fw_json_put(&builder, data, "state", json_string(last_word(type)));
    fw_json_put(&builder, data, "previous", fw_json_text(input->previous));
    fw_json_put(&builder, data, "reason", fw_json_text(input->reason));
    fw_json_put(&builder, root, "data", data);
    return finish(owner, &builder, root);
}

struct fw_event *fw_event_create_worker(const struct fw_event_worker_input *input)
{
    const struct type *type = type_of_kind(input->type, KIND_WORKER);
    int64_t uptime_us = input->time_utc_us - input->started_utc_us;
    struct fw_json_builder builder = {false};
    struct event_owner *owner = type == NULL ? NULL : create(type, "", input->time_utc_us);
    json_t *root, *data, *worker;

    if (owner == NULL)
        return NULL;
    fw_uuid7(fw_utc_us(), owner->event.id);
    root = envelope_of(&builder, &owner->event, input->worker_id, NULL);
    worker = json_object();
    fw_json_put(&builder, worker, "id", fw_json_text(input->worker_id));
    fw_json_put(&builder, worker, "version", fw_json_text(input->version));
    data = json_object();
    fw_json_put(&builder, data, "worker", worker);
    fw_json_put(&builder, data, "started", fw_json_time(input->started_utc_us));
    fw_json_put(&builder, data, "uptime_s", number((double)uptime_us / FW_US_PER_S, 1000));
    fw_json_put(&builder, data, "cameras", json_integer((json_int_t)input->cameras));
    fw_json_put(&builder, data, "cameras_live", json_integer((json_int_t)input->cameras_live));
    fw_json_put(&builder, data, "events_waiting", json_integer((json_int_t)input->events_waiting));
    fw_json_put(&builder, root, "data", data);
    return finish(owner, &builder, root);
}

// Reading

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static bool is_id(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (text == NULL || strlen(text) != sizeof(form) - 1)
        return false;
    for (size_t i = 0; form[i] != '\0'; i++)
        if (form[i] == '-' ? text[i] != '-' : strchr("0123456789abcdef", text[i]) == NULL)
            return false;
    return true;
}

// What of an event's JSON stands beside it in struct fw_event. Borrowed from the JSON.
struct summary {
    const struct type *type;
    const char *id, *camera_id, *appeared_id;
    uint64_t track;
    int64_t time_utc_us;
};

static bool summarise(const json_t *root, struct summary *summary)
{
    const json_t *data = json_object_get(root, "data");
    const char *time = text_at(root, "time");
    json_int_t track;

    *summary = (struct summary){type_of(text_at(root, "type")), text_at(root, "id"), "", "", 0, 0};
    if (summary->type == NULL || !is_id(summary->id) || !json_is_object(data) || time == NULL ||
        !fw_utc_parse(time, &summary->time_utc_us))
        return false;
    if (summary->type->kind == KIND_WORKER)
        return true;
    summary->camera_id = text_at(json_object_get(data, "camera"), "id");
    if (summary->camera_id == NULL || summary->type->kind == KIND_CAMERA)
        return summary->camera_id != NULL;
    track = json_integer_value(json_object_get(data, "track"));
    summary->track = track > 0 ? (uint64_t)track : 0;
    summary->appeared_id = text_at(data, "appeared_id");
    return track > 0 && is_id(summary->appeared_id);
}

static struct event_owner *owner_from(const struct summary *summary)
{
    struct event_owner *owner = create(summary->type, summary->camera_id, summary->time_utc_us);

    if (owner == NULL)
        return NULL;
    copy_id(owner->event.id, summary->id);
    copy_id(owner->event.appeared_id, summary->appeared_id);
    owner->event.track = summary->track;
    return owner;
}

static int take_json(struct event_owner *owner, const char *json, size_t length)
{
    owner->event.json = malloc(length + 1);
    if (owner->event.json == NULL)
        return FW_ENOMEM;
    memcpy(owner->event.json, json, length);
    owner->event.json[length] = '\0';
    owner->event.json_length = length;
    return FW_OK;
}

static int damaged(struct fw_error *error, const char *what)
{
    return fw_fail(error, FW_EFORMAT, "a stored event is damaged: %s", what);
}

int fw_event_parse(struct fw_event **event, const char *json, size_t length, struct fw_error *error)
{
    struct summary summary;
    struct fw_error reason = {0};
    struct event_owner *owner = NULL;
    json_t *root = NULL;
    int status = fw_json_load(&root, json, length, &reason);

    *event = NULL;
    if (status == FW_EFORMAT)
        return damaged(error, reason.message);
    if (status == FW_OK && (memchr(json, '\n', length) != NULL || !summarise(root, &summary))) {
        json_decref(root);
        return damaged(error, "it has several lines, or a field is missing or of the wrong kind");
    }
    if (status == FW_OK)
        owner = owner_from(&summary);
    json_decref(root);
    if (owner == NULL || take_json(owner, json, length) != FW_OK) {
        destroy(owner);
        return fw_fail(error, FW_ENOMEM, "out of memory");
    }
    *event = &owner->event;
    return FW_OK;
}

struct fw_event *fw_event_create_left(const struct fw_event *appeared, const char *reason,
                                      int64_t now_utc_us)
{
    const struct type *type = type_of(FW_EVENT_FACE_LEFT);
    struct fw_json_builder builder = {false};
    struct event_owner *owner = NULL;
    json_t *root, *data;

    if (strcmp(appeared->type, FW_EVENT_FACE_APPEARED) != 0 ||
        fw_json_load(&root, appeared->json, appeared->json_length, NULL) != FW_OK)
        return NULL;
    data = json_object_get(root, "data");
    if (data != NULL)
        owner = create(type, appeared->camera_id, now_utc_us);
    if (owner == NULL) {
        json_decref(root);
        return NULL;
    }
    fw_uuid7(fw_utc_us(), owner->event.id);
    copy_id(owner->event.appeared_id, appeared->appeared_id);
    owner->event.track = appeared->track;
    fw_json_put(&builder, root, "id", json_string(owner->event.id));
    fw_json_put(&builder, root, "type", json_string(type->name));
    fw_json_put(&builder, root, "time", fw_json_time(now_utc_us));
    fw_json_put(&builder, data, "reason", fw_json_text(reason));
    fw_json_put(&builder, data, "snapshot", json_null());
    return finish(owner, &builder, root);
}

// The event is its owner's first member.
static struct event_owner *owner_of(struct fw_event *event)
{
    return (struct event_owner *)(void *)event;
}

struct fw_event *fw_event_ref(struct fw_event *event)
{
    atomic_fetch_add(&owner_of(event)->references, 1);
    return event;
}

void fw_event_unref(struct fw_event *event)
{
    if (event != NULL && atomic_fetch_sub(&owner_of(event)->references, 1) == 1)
        destroy(owner_of(event));
}
