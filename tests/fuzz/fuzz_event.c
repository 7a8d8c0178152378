// Stored events: no crash, and what is taken makes messages and an end.
#include "alert/message.h"
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static enum fw_picture_state state_of(void *opaque, const char *key)
{
    (void)opaque;
    return key[0] % 3 == 0   ? FW_PICTURE_STORED
           : key[0] % 3 == 1 ? FW_PICTURE_PENDING
                             : FW_PICTURE_FAILED;
}

static char *url_of(void *opaque, const char *key)
{
    char *url = malloc(8);

    (void)opaque;
    (void)key;
    require(url != NULL);
    memcpy(url, "http://", 8);
    return url;
}

static int read_picture(void *opaque, const char *key, uint8_t **data, size_t *length)
{
    (void)opaque;
    *data = NULL;
    *length = 0;
    if (key[0] % 2 == 0)
        return FW_ENOENT;
    *data = calloc(1, 3);
    *length = 3;
    return *data ? FW_OK : FW_ENOMEM;
}

static void check_message(const struct fw_event *event, enum fw_message_format format, bool embed)
{
    const struct fw_picture_source pictures = {NULL, state_of, url_of, read_picture};
    const struct fw_message_options options = {format, embed, &pictures};
    struct fw_message message;

    if (fw_message_make(&message, event, &options, NULL) == FW_OK) {
        json_t *root = json_loadb(message.body, message.length, 0, NULL);

        require(json_is_object(root) && memchr(message.body, '\n', message.length) == NULL);
        json_decref(root);
    } else {
        require(message.body == NULL);
    }
    fw_message_free(&message);
}

static void check_left(const struct fw_event *event)
{
    struct fw_event *left = fw_event_create_left(event, "worker_restarted", 1), *again = NULL;

    require((left != NULL) == (strcmp(event->type, FW_EVENT_FACE_APPEARED) == 0));
    if (left == NULL)
        return;
    require(fw_event_parse(&again, left->json, left->json_length, NULL) == FW_OK);
    require(again->track == event->track && strcmp(again->appeared_id, event->appeared_id) == 0);
    fw_event_unref(again);
    fw_event_unref(left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fw_event *event = NULL;
    struct fw_error error = {0};

    if (fw_event_parse(&event, (const char *)data, size, &error) != FW_OK) {
        require(event == NULL && error.message[0] != '\0');
        return 0;
    }
    require(strlen(event->id) == 36 && event->json_length == size && event->camera_id != NULL);
    check_message(event, FW_FORMAT_CLOUDEVENTS, false);
    check_message(event, FW_FORMAT_CLOUDEVENTS, true);
    check_message(event, FW_FORMAT_PLAIN, false);
    check_left(event);
    fw_event_unref(event);
    return 0;
}
