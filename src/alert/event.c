#include "alert/event.h"
#include "util/clock.h"
#include "util/text.h"
#include "util/uuid.h"
#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// Pixels to the hundredth, everything else to the millionth.
enum { PIXEL_STEPS = 100, FINE_STEPS = 1000000 };

static const char *const types[] = {FW_EVENT_FACE_APPEARED, FW_EVENT_FACE_LEFT};

// What fw_event_create() hands out, with the count that others need not see.
struct event_owner {
    struct fw_event event;
    atomic_int references;
};

// A JSON value under construction: a failure anywhere fails the whole.
struct builder {
    bool failed;
};

// Puts VALUE (taken over; NULL: it could not be made) under KEY.
static void put(struct builder *builder, json_t *object, const char *key, json_t *value)
{
    if (value == NULL || json_object_set_new(object, key, value) != 0)
        builder->failed = true;
}

static void push(struct builder *builder, json_t *array, json_t *value)
{
    if (value == NULL || json_array_append_new(array, value) != 0)
        builder->failed = true;
}

// TEXT with what is not UTF-8 repaired; JSON's null for NULL.
static json_t *string_of(const char *text)
{
    struct fw_text quoted = FW_TEXT_INIT;
    json_t *value = NULL;

    if (text == NULL)
        return json_null();
    value = json_string(text);
    if (value != NULL)
        return value;
    fw_text_append(&quoted, "\"");
    fw_text_append_json(&quoted, text);
    fw_text_append(&quoted, "\"");
    if (!quoted.failed)
        value = json_loads(fw_text_get(&quoted), JSON_DECODE_ANY, NULL);
    fw_text_free(&quoted);
    return value;
}

static json_t *formatted(struct fw_text *text)
{
    json_t *value = text->failed ? NULL : string_of(fw_text_get(text));

    fw_text_free(text);
    return value;
}

static json_t *number(double value, int steps)
{
    if (!isfinite(value)) // JSON has no such numbers
        value = 0;
    return json_real(round(value * steps) / steps);
}

static json_t *time_of(int64_t utc_us)
{
    char text[FW_UTC_TEXT_SIZE];

    fw_utc_format(utc_us, text);
    return json_string(text);
}

static json_t *box_of(struct builder *builder, struct fw_box box, double width, double height,
                      int steps)
{
    json_t *array = json_array();

    push(builder, array, number((double)box.x / width, steps));
    push(builder, array, number((double)box.y / height, steps));
    push(builder, array, number((double)box.w / width, steps));
    push(builder, array, number((double)box.h / height, steps));
    return array;
}

static json_t *landmarks_of(struct builder *builder, const struct fw_face *face)
{
    json_t *array = json_array();

    for (int i = 0; face->has_landmarks && i < FW_LANDMARKS; i++) {
        json_t *point = json_array();
        push(builder, point, number((double)face->landmarks[i].x, PIXEL_STEPS));
        push(builder, point, number((double)face->landmarks[i].y, PIXEL_STEPS));
        push(builder, array, point);
    }
    return array;
}

static json_t *face_of(struct builder *builder, const struct fw_event_face *face,
                       const struct fw_event_input *input)
{
    json_t *object = json_object();
    double width = input->frame_width, height = input->frame_height;

    put(builder, object, "track", json_integer((json_int_t)face->track));
    put(builder, object, "box", box_of(builder, face->face.box, 1, 1, PIXEL_STEPS));
    put(builder, object, "box_fraction",
        box_of(builder, face->face.box, width, height, FINE_STEPS));
    put(builder, object, "score", number((double)face->face.score, FINE_STEPS));
    put(builder, object, "landmarks", landmarks_of(builder, &face->face));
    put(builder, object, "quality",
        face->quality < 0 ? json_null() : number((double)face->quality, FINE_STEPS));
    return object;
}

static json_t *faces_of(struct builder *builder, const struct fw_event_input *input)
{
    json_t *array = json_array();

    for (size_t i = 0; i < input->face_count; i++)
        push(builder, array, face_of(builder, &input->faces[i], input));
    return array;
}

static json_t *camera_of(struct builder *builder, const struct fw_event_input *input)
{
    const char *name = input->camera_name != NULL ? input->camera_name : input->camera_id;
    json_t *object = json_object();

    put(builder, object, "id", string_of(input->camera_id));
    put(builder, object, "name", string_of(name));
    put(builder, object, "location", string_of(input->camera_location));
    return object;
}

static void put_picture(struct builder *builder, json_t *snapshot, const char *kind,
                        const struct fw_event_picture *picture)
{
    json_t *object;

    if (picture->key == NULL)
        return;
    object = json_object();
    put(builder, object, "key", string_of(picture->key));
    if (picture->base64 != NULL)
        put(builder, object, "base64", string_of(picture->base64));
    else
        put(builder, object, "url", string_of(picture->url));
    put(builder, object, "sha256", string_of(picture->sha256));
    put(builder, object, "width", json_integer(picture->width));
    put(builder, object, "height", json_integer(picture->height));
    put(builder, object, "bytes", json_integer((json_int_t)picture->length));
    put(builder, snapshot, kind, object);
}

static json_t *snapshot_of(struct builder *builder, const struct fw_event_snapshot *snapshot)
{
    json_t *object;

    if (snapshot == NULL)
        return json_null();
    object = json_object();
    put(builder, object, "state", string_of(snapshot->state));
    put_picture(builder, object, "full", &snapshot->full);
    put_picture(builder, object, "full_annotated", &snapshot->full_annotated);
    put_picture(builder, object, "face", &snapshot->face);
    put_picture(builder, object, "face_annotated", &snapshot->face_annotated);
    return object;
}

static json_t *data_of(struct builder *builder, const struct fw_event_input *input)
{
    int64_t duration_us = input->last_seen_utc_us - input->first_seen_utc_us;
    json_t *data = json_object(), *frame = json_object();

    put(builder, frame, "width", json_integer(input->frame_width));
    put(builder, frame, "height", json_integer(input->frame_height));
    put(builder, data, "camera", camera_of(builder, input));
    put(builder, data, "track", json_integer((json_int_t)input->track));
    put(builder, data, "frame", frame);
    put(builder, data, "faces", faces_of(builder, input));
    put(builder, data, "first_seen", time_of(input->first_seen_utc_us));
    put(builder, data, "last_seen", time_of(input->last_seen_utc_us));
    put(builder, data, "duration_s", number((double)duration_us / FW_US_PER_S, 1000));
    if (input->reason != NULL)
        put(builder, data, "reason", string_of(input->reason));
    put(builder, data, "snapshot", snapshot_of(builder, input->snapshot));
    return data;
}

static json_t *source_of(const struct fw_event_input *input)
{
    struct fw_text text = FW_TEXT_INIT;

    fw_text_append(&text, "/workers/");
    fw_text_append_percent(&text, input->worker_id, NULL);
    fw_text_append(&text, "/cameras/");
    fw_text_append_percent(&text, input->camera_id, NULL);
    return formatted(&text);
}

static json_t *subject_of(const struct fw_event_input *input)
{
    struct fw_text text = FW_TEXT_INIT;

    fw_text_append(&text, "cameras/");
    fw_text_append_percent(&text, input->camera_id, NULL);
    fw_text_appendf(&text, "/tracks/%llu", (unsigned long long)input->track);
    return formatted(&text);
}

static char *json_of(const struct fw_event *event, const struct fw_event_input *input)
{
    struct builder builder = {false};
    json_t *root = json_object();
    char *text = NULL;

    put(&builder, root, "specversion", json_string("1.0"));
    put(&builder, root, "id", json_string(event->id));
    put(&builder, root, "source", source_of(input));
    put(&builder, root, "type", json_string(event->type));
    put(&builder, root, "subject", subject_of(input));
    put(&builder, root, "time", time_of(event->time_utc_us));
    put(&builder, root, "datacontenttype", json_string("application/json"));
    put(&builder, root, "data", data_of(&builder, input));
    if (!builder.failed) // nine digits: a hundredth of a pixel, a millionth of a score, no noise
        text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(root);
    return text;
}

static const char *type_of(const char *name)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i], name) == 0)
            return types[i];
    return NULL;
}

static void destroy(struct event_owner *owner)
{
    free(owner->event.camera_id);
    free(owner->event.json);
    free(owner);
}

struct fw_event *fw_event_create(const struct fw_event_input *input)
{
    const char *type = type_of(input->type);
    struct event_owner *owner;
    struct fw_event *event;

    if (type == NULL || input->frame_width < 1 || input->frame_height < 1)
        return NULL;
    owner = calloc(1, sizeof(*owner));
    if (owner == NULL)
        return NULL;
    atomic_init(&owner->references, 1);
    event = &owner->event;
    fw_uuid7(fw_utc_us(), event->id);
    event->type = type;
    event->time_utc_us = input->time_utc_us;
    event->camera_id = fw_strdup(input->camera_id);
    event->json = event->camera_id == NULL ? NULL : json_of(event, input);
    if (event->json == NULL) {
        destroy(owner);
        return NULL;
    }
    event->json_length = strlen(event->json);
    return event;
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
