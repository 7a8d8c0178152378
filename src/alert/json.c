#include "alert/json.h"
#include "util/clock.h"
#include "util/text.h"

json_t *fw_json_text(const char *text)
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

json_t *fw_json_time(int64_t utc_us)
{
    char text[FW_UTC_TEXT_SIZE];

    fw_utc_format(utc_us, text);
    return json_string(text);
}

int fw_json_load(json_t **root, const char *text, size_t length, struct fw_error *error)
{
    json_error_t reason = {0};

    *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &reason);
    if (*root != NULL)
        return FW_OK;
    // Where memory was short jansson may say nothing at all.
    if (reason.text[0] == '\0' || json_error_code(&reason) == json_error_out_of_memory)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    return fw_fail(error, FW_EFORMAT, "no JSON: %s", reason.text);
}

void fw_json_put(struct fw_json_builder *builder, json_t *object, const char *key, json_t *value)
{
    if (value == NULL || json_object_set_new(object, key, value) != 0)
        builder->failed = true;
}

void fw_json_push(struct fw_json_builder *builder, json_t *array, json_t *value)
{
    if (value == NULL || json_array_append_new(array, value) != 0)
        builder->failed = true;
}

char *fw_json_line(const json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(9));
}
