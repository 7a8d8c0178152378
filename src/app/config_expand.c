// "${NAME}" in the configuration's strings.
#include "app/config_loader.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

// Appends the variable named at AT, behind "${". Returns what follows the "}", or NULL.
static const char *expand_one(struct fw_loader *loader, const char *at, struct fw_text *out)
{
    size_t length = 0;
    while (is_name_char(at[length]))
        length++;
    if (length == 0 || length > 128 || at[length] != '}') {
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "has a \"${\" that begins no ${NAME}; write \"$${\" for a plain \"${\"");
        return NULL;
    }
    char name[129];
    memcpy(name, at, length);
    name[length] = '\0';
    const char *value = getenv(name);
    if (value == NULL) {
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "takes ${%s}, which is not in the environment; set it, or write \"$${\" "
                         "for a plain \"${\"",
                         name);
        return NULL;
    }
    fw_text_append(out, value);
    return at + length + 1;
}

char *fw_value_expand(struct fw_loader *loader, const char *string)
{
    struct fw_text out = FW_TEXT_INIT;
    fw_text_append_n(&out, "", 0);
    while (*string != '\0') {
        size_t plain = strcspn(string, "$");
        fw_text_append_n(&out, string, plain);
        string += plain;
        if (fw_starts_with(string, "$${")) {
            fw_text_append(&out, "${");
            string += 3;
        } else if (fw_starts_with(string, "${")) {
            string = expand_one(loader, string + 2, &out);
            if (string == NULL) {
                fw_text_free(&out);
                return NULL;
            }
        } else if (*string == '$') {
            fw_text_append(&out, "$");
            string++;
        }
    }
    char *text = fw_text_steal(&out);
    if (text == NULL)
        loader->no_memory = true;
    return text;
}
