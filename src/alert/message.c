#include "alert/message.h"
#include "alert/json.h"
#include "util/text.h"
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

// The whole picture comes first: it is the one of messages that have room for one.
static const char *const kinds[] = {"full", "full_annotated", "face", "face_annotated"};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int out_of_memory(struct fw_error *error)
{
    return fw_fail(error, FW_ENOMEM, "no memory for a message");
}

static int damaged(struct fw_error *error, const struct fw_event *event)
{
    return fw_fail(error, FW_EFORMAT, "the event %s is damaged", event->id);
}

static bool is_face(const struct fw_event *event)
{
    return event->track > 0;
}

// Text that the JSON of an event has to have; NULL otherwise.
static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

// Pictures

static enum fw_picture_state state_of(const struct fw_picture_source *pictures,
                                      const json_t *picture)
{
    return pictures->state(pictures->opaque, text_at(picture, "key"));
}

enum fw_picture_state fw_event_pictures_state(const struct fw_event *event,
                                              const struct fw_picture_source *pictures)
{
    enum fw_picture_state whole = FW_PICTURE_STORED;
    json_t *root, *snapshot;

    if (!is_face(event) || pictures == NULL ||
        fw_json_load(&root, event->json, event->json_length, NULL) != FW_OK)
        return FW_PICTURE_STORED;
    snapshot = json_object_get(json_object_get(root, "data"), "snapshot");
    for (int i = 0; i < KINDS && whole != FW_PICTURE_PENDING; i++) {
        const json_t *picture = json_object_get(snapshot, kinds[i]);
        enum fw_picture_state state =
            text_at(picture, "key") != NULL ? state_of(pictures, picture) : FW_PICTURE_STORED;
        if (state != FW_PICTURE_STORED)
            whole = state;
    }
    json_decref(root);
    return whole;
}

static json_t *base64_of(const uint8_t *data, size_t length)
{
    size_t size = (length + 2) / 3 * 4;
    unsigned char *text = length < INT_MAX / 2 ? malloc(size + 1) : NULL;
    json_t *value = NULL;

    if (text != NULL && EVP_EncodeBlock(text, data, (int)length) == (int)size)
        value = json_stringn_nocheck((const char *)text, size);
    free(text);
    return value;
}

// Puts the picture itself in the place of its URL. FW_OK, FW_ENOMEM, or why it can't be read.
static int embed(json_t *picture, const struct fw_picture_source *pictures)
{
    uint8_t *data = NULL;
    size_t length = 0;
    int status = pictures->read(pictures->opaque, text_at(picture, "key"), &data, &length);

    if (status == FW_OK && json_object_set_new(picture, "base64", base64_of(data, length)) != 0)
        status = FW_ENOMEM;
    if (status == FW_OK)
        (void)json_object_del(picture, "url");
    free(data);
    return status;
}

static int renew_url(json_t *picture, const struct fw_picture_source *pictures)
{
    char *url = pictures->url(pictures->opaque, text_at(picture, "key"));
    int status = FW_ENOMEM;

    if (url != NULL && json_object_set_new(picture, "url", fw_json_text(url)) == 0)
        status = FW_OK;
    free(url);
    return status;
}

// Brings one picture up to date; *STATE is what it is now. FW_OK or FW_ENOMEM.
static int update_picture(json_t *picture, const struct fw_message_options *options,
                          enum fw_picture_state *state)
{
    int status;

    if (!options->embed_snapshot) {
        *state = state_of(options->pictures, picture);
        return *state == FW_PICTURE_FAILED ? FW_OK : renew_url(picture, options->pictures);
    }
    status = embed(picture, options->pictures);
    *state = status == FW_OK ? FW_PICTURE_STORED : FW_PICTURE_FAILED;
    return status == FW_ENOMEM ? FW_ENOMEM : FW_OK;
}

// Pictures that failed go out of SNAPSHOT. FW_OK, FW_EFORMAT, FW_ENOMEM.
static int update_snapshot(json_t *snapshot, const struct fw_message_options *options)
{
    const char *told = text_at(snapshot, "state");
    bool is_pending = false, is_failed = told != NULL && strcmp(told, "failed") == 0;

    for (int i = 0; i < KINDS; i++) {
        json_t *picture = json_object_get(snapshot, kinds[i]);
        enum fw_picture_state state = FW_PICTURE_STORED;
        int status;
        if (picture == NULL)
            continue;
        if (text_at(picture, "key") == NULL)
            return FW_EFORMAT;
        status = update_picture(picture, options, &state);
        if (status != FW_OK)
            return status;
        if (state == FW_PICTURE_FAILED)
            (void)json_object_del(snapshot, kinds[i]);
        is_pending |= state == FW_PICTURE_PENDING;
        is_failed |= state == FW_PICTURE_FAILED;
    }
    told = is_pending ? "pending" : is_failed ? "failed" : "stored";
    return json_object_set_new(snapshot, "state", json_string(told)) == 0 ? FW_OK : FW_ENOMEM;
}

// Leaves one picture in SNAPSHOT.
static void keep_first(json_t *snapshot)
{
    bool is_found = false;

    for (int i = 0; i < KINDS; i++) {
        if (is_found)
            (void)json_object_del(snapshot, kinds[i]);
        is_found |= json_object_get(snapshot, kinds[i]) != NULL;
    }
}

static const json_t *first_picture(const json_t *snapshot)
{
    for (int i = 0; i < KINDS; i++)
        if (json_object_get(snapshot, kinds[i]) != NULL)
            return json_object_get(snapshot, kinds[i]);
    return NULL;
}

// The plain form

static json_t *plain_faces(struct fw_json_builder *builder, const json_t *faces)
{
    json_t *array = json_array();

    for (size_t i = 0; i < json_array_size(faces); i++) {
        const json_t *from = json_array_get(faces, i);
        json_t *face = json_object();
        fw_json_put(builder, face, "box", json_incref(json_object_get(from, "box")));
        fw_json_put(builder, face, "score", json_incref(json_object_get(from, "score")));
        fw_json_push(builder, array, face);
    }
    return array;
}

static json_t *plain_of(const json_t *root)
{
    const json_t *data = json_object_get(root, "data");
    const json_t *picture = first_picture(json_object_get(data, "snapshot"));
    const json_t *base64 = json_object_get(picture, "base64");
    struct fw_json_builder builder = {false};
    json_t *plain = json_object();

    fw_json_put(&builder, plain, "camera_id",
                fw_json_text(text_at(json_object_get(data, "camera"), "id")));
    fw_json_put(&builder, plain, "timestamp", fw_json_text(text_at(root, "time")));
    fw_json_put(&builder, plain, "faces", plain_faces(&builder, json_object_get(data, "faces")));
    if (base64 != NULL)
        fw_json_put(&builder, plain, "snapshot", fw_json_text(json_string_value(base64)));
    else
        fw_json_put(&builder, plain, "snapshot_url", fw_json_text(text_at(picture, "url")));
    if (!builder.failed)
        return plain;
    json_decref(plain);
    return NULL;
}

// Messages

static int make_body(struct fw_message *message, const struct fw_event *event,
                     const struct fw_message_options *options, struct fw_error *error)
{
    bool is_plain = options->format == FW_FORMAT_PLAIN;
    json_t *root, *snapshot, *plain = NULL;
    int status = fw_json_load(&root, event->json, event->json_length, NULL);

    if (status != FW_OK)
        return status == FW_ENOMEM ? out_of_memory(error) : damaged(error, event);
    snapshot = json_object_get(json_object_get(root, "data"), "snapshot");
    if (is_plain)
        keep_first(snapshot);
    if (json_is_object(snapshot) && options->pictures != NULL)
        status = update_snapshot(snapshot, options);
    if (status == FW_OK && is_plain)
        plain = plain_of(root);
    if (status == FW_OK && (!is_plain || plain != NULL))
        message->body = fw_json_line(is_plain ? plain : root);
    json_decref(plain);
    json_decref(root);
    if (status == FW_EFORMAT)
        return damaged(error, event);
    return message->body != NULL ? FW_OK : out_of_memory(error);
}

int fw_message_make(struct fw_message *message, const struct fw_event *event,
                    const struct fw_message_options *options, struct fw_error *error)
{
    bool is_plain = options->format == FW_FORMAT_PLAIN;
    int status = FW_OK;

    *message = (struct fw_message){
        .type = event->type,
        .camera_id = event->camera_id,
        .content_type = is_plain ? "application/json" : "application/cloudevents+json",
        .time_utc_us = event->time_utc_us,
    };
    memcpy(message->id, event->id, sizeof(message->id));
    if (is_plain && strcmp(event->type, FW_EVENT_FACE_APPEARED) != 0)
        return fw_fail(error, FW_ENOTSUP, "the plain format has no form for %s", event->type);
    if (is_plain || (is_face(event) && options->pictures != NULL)) {
        status = make_body(message, event, options, error);
    } else {
        message->body = fw_strdup(event->json);
        if (message->body == NULL)
            status = out_of_memory(error);
    }
    message->length = message->body != NULL ? strlen(message->body) : 0;
    return status;
}

void fw_message_free(struct fw_message *message)
{
    free(message->body);
    message->body = NULL;
    message->length = 0;
}
