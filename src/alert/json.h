// Small helpers to build JSON with jansson.
#ifndef FW_ALERT_JSON_H
#define FW_ALERT_JSON_H

#include "util/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A JSON string of TEXT, with what is not UTF-8 repaired (text may be cut at a length, or come from
// the environment, a library or a peer); JSON's null for NULL. NULL when memory is out. Any thread.
json_t *fw_json_text(const char *text);
// UTC_US as fw_utc_format() writes it. NULL when memory is out. Any thread.
json_t *fw_json_time(int64_t utc_us);

// Reads LENGTH bytes of JSON, an object or array. FW_OK with *ROOT the caller's; FW_EFORMAT (ERROR
// has the parser's words), FW_ENOMEM. Any thread.
int fw_json_load(json_t **root, const char *text, size_t length, struct fw_error *error);

// A value under construction: a failure anywhere fails the whole, so that the caller checks once.
struct fw_json_builder {
    bool failed;
};

// Puts VALUE (taken over; NULL: it could not be made) under KEY.
void fw_json_put(struct fw_json_builder *builder, json_t *object, const char *key, json_t *value);
// Appends VALUE (as above).
void fw_json_push(struct fw_json_builder *builder, json_t *array, json_t *value);

// One line, reals to nine digits: a hundredth of a pixel, a millionth of a score, no noise.
// malloc'd; NULL when memory is out.
char *fw_json_line(const json_t *value);

#endif
