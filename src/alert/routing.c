#include "alert/routing.h"
#include "util/text.h"
#include <string.h>

enum word { WORD_CAMERA_ID, WORD_TYPE, WORD_WORKER_ID, WORD_COUNT };

static const char *const words[WORD_COUNT] = {
    [WORD_CAMERA_ID] = "{camera_id}",
    [WORD_TYPE] = "{type}",
    [WORD_WORKER_ID] = "{worker_id}",
};

// The word that TEXT begins with; WORD_COUNT if none.
static enum word word_at(const char *text)
{
    size_t i = 0;

    while (i < WORD_COUNT && !fw_starts_with(text, words[i]))
        i++;
    return (enum word)i;
}

int fw_routing_check(const char *template, struct fw_error *error)
{
    if (template == NULL || *template == '\0')
        return fw_fail(error, FW_EINVAL, "routing_key is empty; say where alerts are to go");
    for (const char *at = strchr(template, '{'); at != NULL; at = strchr(at + 1, '{'))
        if (word_at(at) == WORD_COUNT)
            return fw_fail(error, FW_EINVAL,
                           "routing_key has '%.20s'; use {camera_id}, {type} or {worker_id}", at);
    return FW_OK;
}

// "face.appeared" of "faceworker.face.appeared".
static const char *short_type(const char *type)
{
    const char *dot = strchr(type, '.');

    return dot != NULL ? dot + 1 : type;
}

static const char *value_of(enum word word, const char *worker_id, const struct fw_message *message)
{
    if (word == WORD_TYPE)
        return short_type(message->type);
    if (word == WORD_WORKER_ID)
        return worker_id;
    return message->camera_id[0] != '\0' ? message->camera_id : FW_ROUTING_NO_CAMERA;
}

int fw_routing_fill(struct fw_text *out, const char *template, const char *worker_id,
                    const struct fw_message *message)
{
    while (*template != '\0') {
        const enum word word = word_at(template);
        if (word != WORD_COUNT) {
            fw_text_append(out, value_of(word, worker_id, message));
            template += strlen(words[word]);
        } else {
            fw_text_append_n(out, template, 1);
            template ++;
        }
    }
    return out->failed ? FW_ENOMEM : FW_OK;
}
