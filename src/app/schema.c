// The table of options as a configuration, as a JSON Schema, and as a page for people.
#include "app/options.h"
#include "track/zones.h"
#include "util/text.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

// --- helpers over jansson; NULL runs through all of them ---

static json_t *parse(const char *json)
{
    return json_loads(json, JSON_DECODE_ANY, NULL);
}

// The member KEY of OBJECT, made by MAKE if it is not there. Borrowed; NULL when memory is out.
static json_t *member(json_t *object, const char *key, json_t *(*make)(void))
{
    json_t *found = json_object_get(object, key);
    if (found == NULL && json_object_set_new(object, key, make()) == 0)
        found = json_object_get(object, key);
    return found;
}

// KEY's last part, behind the groups that ROOT is led through by ENTER.
static json_t *walk(json_t *root, const char *key, const char **name,
                    json_t *(*enter)(json_t *object, const char *group, bool is_list))
{
    const char *dot;
    *name = key;
    for (; (dot = strchr(key, '.')) != NULL && root != NULL; key = dot + 1) {
        char group[64];
        size_t length = (size_t)(dot - key);
        bool is_list = length > 2 && key[length - 1] == ']';
        if (is_list)
            length -= 2;
        if (length >= sizeof(group))
            return NULL;
        memcpy(group, key, length);
        group[length] = '\0';
        root = enter(root, group, is_list);
        *name = dot + 1;
    }
    return root;
}

// --- the defaults ---

static json_t *enter_defaults(json_t *object, const char *group, bool is_list)
{
    if (!is_list)
        return member(object, group, json_object);
    json_t *list = member(object, group, json_array);
    if (list != NULL && json_array_size(list) == 0 &&
        json_array_append_new(list, json_object()) != 0)
        return NULL;
    return json_array_get(list, 0);
}

static bool add_default(json_t *root, const struct fw_option *option)
{
    const char *name;
    json_t *object = walk(root, option->key, &name, enter_defaults);
    // What a camera can't be without is shown by example, so that the whole is a configuration.
    bool is_required =
        strcmp(option->key, "cameras[].id") == 0 || strcmp(option->key, "cameras[].rtsp") == 0;
    json_t *value = parse(is_required ? option->example : option->default_json);
    if (json_object_set_new(object, name, value) != 0)
        return false;
    if (option->type != FW_OPTION_SECRET)
        return true;
    char key[80];
    snprintf(key, sizeof(key), "%.70s_file", name);
    return json_object_set_new(object, key, json_null()) == 0;
}

char *fw_options_defaults(void)
{
    size_t count;
    const struct fw_option *options = fw_options(&count);
    json_t *root = json_object();
    bool is_whole = root != NULL;
    for (size_t i = 0; i < count && is_whole; i++) {
        if (!fw_starts_with(options[i].key, "sinks[]") &&
            !fw_starts_with(options[i].key, "cameras[].zones[]"))
            is_whole = add_default(root, &options[i]);
    }
    json_t *camera = json_array_get(json_object_get(root, "cameras"), 0);
    is_whole = is_whole && json_object_set_new(camera, "zones", json_array()) == 0;
    is_whole = is_whole && json_object_set_new(root, "sinks", json_array()) == 0;
    char *text = is_whole ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(root);
    return text;
}

// --- the schema ---

static json_t *object_schema(void)
{
    // "^_": comments. Other unknown keys are warnings at most, so the schema lets them be.
    return json_pack("{s:s, s:{}, s:{s:{}}}", "type", "object", "properties", "patternProperties",
                     "^_");
}

static json_t *list_schema(void)
{
    return json_pack("{s:[s,s], s:o}", "type", "array", "null", "items", object_schema());
}

static json_t *enter_schema(json_t *schema, const char *group, bool is_list)
{
    json_t *properties = json_object_get(schema, "properties");
    if (!is_list)
        return member(properties, group, object_schema);
    return json_object_get(member(properties, group, list_schema), "items");
}

static json_t *choices_schema(const struct fw_option *option)
{
    json_t *list = json_array();
    for (const char *const *choice = option->choices; *choice != NULL; choice++) {
        if (!fw_option_choice_is_missing(option, *choice) &&
            json_array_append_new(list, json_string(*choice)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    // A value from the environment is known at run time only.
    return json_pack("{s:[{s:o}, {s:s, s:s}, {s:s}]}", "anyOf", "enum", list, "type", "string",
                     "pattern", "\\$\\{", "type", "null");
}

static json_t *number_schema(const struct fw_option *option)
{
    const char *type = option->type == FW_OPTION_NUMBER ? "number" : "integer";
    if (option->type == FW_OPTION_NUMBER)
        return json_pack("{s:[s,s], s:f, s:f}", "type", type, "null", "minimum", option->minimum,
                         "maximum", option->maximum);
    return json_pack("{s:[s,s], s:I, s:I}", "type", type, "null", "minimum",
                     (json_int_t)option->minimum, "maximum", (json_int_t)option->maximum);
}

static json_t *type_schema(const struct fw_option *option)
{
    switch (option->type) {
    case FW_OPTION_CHOICE:
    case FW_OPTION_ENUM:
        return choices_schema(option);
    case FW_OPTION_INT:
    case FW_OPTION_INT64:
    case FW_OPTION_NUMBER:
        return number_schema(option);
    case FW_OPTION_BOOL:
        return json_pack("{s:[s,s]}", "type", "boolean", "null");
    case FW_OPTION_AUTO:
        return json_pack("{s:[b,b,s,n]}", "enum", 1, 0, "auto");
    case FW_OPTION_GRID:
        return json_pack("{s:[s,s], s:s}", "type", "string", "null", "pattern",
                         "^[1-8]x[1-8]$|\\$\\{");
    case FW_OPTION_AREA:
        return json_pack("{s:[s,s], s:i, s:i, s:{s:s, s:i, s:i}}", "type", "array", "null",
                         "minItems", 4, "maxItems", 4, "items", "type", "number", "minimum", 0,
                         "maximum", 1);
    case FW_OPTION_ID:
        return json_pack("{s:[s,s,s], s:s}", "type", "string", "integer", "null", "pattern",
                         "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$|\\$\\{");
    case FW_OPTION_N_OF_M:
        return json_pack("{s:[s,s], s:s}", "type", "string", "null", "pattern",
                         "^[0-9]+/[0-9]+$|\\$\\{");
    case FW_OPTION_SHA256:
        return json_pack("{s:[s,s], s:s}", "type", "string", "null", "pattern",
                         "^[0-9A-Fa-f]{64}$|\\$\\{");
    case FW_OPTION_URLS:
        return json_pack("{s:[s,s], s:{s:s}}", "type", "array", "null", "items", "type", "string");
    case FW_OPTION_POINTS:
        return json_pack("{s:s, s:i, s:i, s:{s:s, s:i, s:i, s:{s:s, s:i, s:i}}}", "type", "array",
                         "minItems", 3, "maxItems", FW_ZONE_MAX_POINTS, "items", "type", "array",
                         "minItems", 2, "maxItems", 2, "items", "type", "number", "minimum", 0,
                         "maximum", 1);
    case FW_OPTION_SPANS:
        return json_pack("{s:[s,s], s:{s:s}}", "type", "array", "null", "items", "type", "string");
    case FW_OPTION_OBJECTS:
        return json_pack("{s:[s,s], s:i}", "type", "array", "null", "maxItems", 0);
    case FW_OPTION_SECTION:
        return json_pack("{s:[s,s]}", "type", "object", "null");
    case FW_OPTION_STRING:
    case FW_OPTION_SECRET:
    case FW_OPTION_URL:
        break;
    }
    return json_pack("{s:[s,s]}", "type", "string", "null");
}

// Adds NAME, and what its name may be else, to PROPERTIES.
static bool add_property(json_t *properties, const char *name, const struct fw_option *option,
                         const char *description)
{
    json_t *schema = type_schema(option);
    bool is_whole = json_object_set_new(schema, "description", json_string(description)) == 0 &&
                    (option->default_words != NULL ||
                     json_object_set_new(schema, "default", parse(option->default_json)) == 0);
    return json_object_set_new(properties, name, schema) == 0 && is_whole;
}

static bool add_aliases(json_t *properties, const char *name, const struct fw_option *option)
{
    char description[96];
    snprintf(description, sizeof(description), "The same as %.60s", name);
    for (const char *at = option->aliases; at != NULL && at[1] != '\0'; at = strchr(at + 1, ' ')) {
        char alias[64];
        snprintf(alias, sizeof(alias), "%.*s", (int)strcspn(at + 1, " "), at + 1);
        if (!add_property(properties, alias, option, description))
            return false;
    }
    return true;
}

static bool add_schema(json_t *root, const struct fw_option *option)
{
    const char *name;
    json_t *object = walk(root, option->key, &name, enter_schema);
    json_t *properties = json_object_get(object, "properties");
    if (!add_property(properties, name, option, option->help) ||
        !add_aliases(properties, name, option))
        return false;
    if (option->type != FW_OPTION_SECRET)
        return true;
    char key[80], description[96];
    snprintf(key, sizeof(key), "%.70s_file", name);
    snprintf(description, sizeof(description), "Path of a file that holds %.60s", name);
    return json_object_set_new(properties, key,
                               json_pack("{s:[s,s], s:s}", "type", "string", "null", "description",
                                         description)) == 0;
}

static bool add_requirements(json_t *root)
{
    json_t *properties = json_object_get(root, "properties");
    json_t *cameras = json_object_get(properties, "cameras");
    json_t *camera = json_object_get(cameras, "items");
    json_t *sink = json_object_get(json_object_get(properties, "sinks"), "items");
    json_t *zone =
        json_object_get(json_object_get(json_object_get(camera, "properties"), "zones"), "items");
    return json_object_set_new(root, "required", json_pack("[s]", "cameras")) == 0 &&
           json_object_set_new(zone, "required", json_pack("[s,s]", "name", "points")) == 0 &&
           json_object_set_new(cameras, "minItems", json_integer(1)) == 0 &&
           json_object_set_new(cameras, "type", json_string("array")) == 0 &&
           json_object_set_new(camera, "required", json_pack("[s]", "id")) == 0 &&
           json_object_set_new(camera, "anyOf",
                               json_pack("[{s:[s]}, {s:[s]}]", "required", "rtsp", "required",
                                         "test_video")) == 0 &&
           json_object_set_new(sink, "required", json_pack("[s,s]", "name", "type")) == 0;
}

// A camera's own "detector" and "alerts" look as the common ones do.
static bool add_overrides(json_t *root)
{
    json_t *properties = json_object_get(root, "properties");
    json_t *camera = json_object_get(json_object_get(properties, "cameras"), "items");
    json_t *own = json_object_get(camera, "properties");
    return json_object_set_new(own, "detector",
                               json_pack("{s:s}", "$ref", "#/properties/detector")) == 0 &&
           json_object_set_new(own, "alerts", json_pack("{s:s}", "$ref", "#/properties/alerts")) ==
               0;
}

char *fw_options_schema(void)
{
    size_t count;
    const struct fw_option *options = fw_options(&count);
    json_t *root = object_schema();
    const char *draft = "https://json-schema.org/draft/2020-12/schema";
    bool is_whole =
        json_object_set_new(root, "$schema", json_string(draft)) == 0 &&
        json_object_set_new(root, "title", json_string("faceworker's configuration")) == 0;
    for (size_t i = 0; i < count && is_whole; i++)
        is_whole = add_schema(root, &options[i]);
    is_whole = is_whole && add_requirements(root) && add_overrides(root);
    char *text = is_whole ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(root);
    return text;
}

// --- the page ---

static const char introduction[] =
    "<!-- Made by `faceworker check --print-docs` from the table in src/app/options.c. -->\n"
    "# Configuration\n\n"
    "One JSON file: `-c FILE`, else the file that `WORKER_CONFIG` names, else `faceworker.json` in "
    "the working directory, else `/etc/faceworker/faceworker.json`. `faceworker check` says what "
    "is wrong with it, as `file:line:column: what is wrong; what to do`, and what would run; "
    "`faceworker check --print-defaults` prints a file with every option, and "
    "[config.schema.json](config.schema.json) makes editors complete and check it.\n\n"
    "- Everything but one camera may be left out; `null` means the default.\n"
    "- `${NAME}` within any string is taken from the environment; `$${` is a plain `${`.\n"
    "- Every secret may stand in a file instead: `password_file` in place of `password`. A newline "
    "at the file's end does not count.\n"
    "- Secrets never appear in logs, metrics, the page, the API or error messages.\n"
    "- An unknown key that is close to a known one is an error; any other unknown key is a "
    "warning. Keys that begin with `_` are comments.\n"
    "- Relative paths are relative to the working directory.\n"
    "- `FACEWORKER_ISA` in the environment (`auto`, `scalar`, `avx2`, `avx512`, `neon`) chooses "
    "the "
    "detector's kernels, for tests.\n";

// In the order of the page; a test sees to it that no section is missing.
static const struct {
    const char *prefix, *heading, *text;
} sections[] = {
    {"worker.", "worker", "The process."},
    {"web.", "web", "The page, the API, health and metrics."},
    {"log.", "log", "Log lines go to standard error."},
    {"detector.", "detector", "How faces are found. A camera's own `detector` overrides it."},
    {"models.", "models",
     "Where model files come from: `dir`, then `base_url`, then the official address. They are "
     "checked by their SHA-256 on every load. `prototxt` and `caffemodel` without "
     "`detector.model` mean the model `res10`."},
    {"cameras[].", "cameras[]",
     "One object a camera. It needs an `id`, and `rtsp` or `test_video`. The smallest "
     "configuration:\n\n```json\n{\"cameras\": [{\"id\": \"front-door\", \"rtsp\": "
     "\"rtsp://10.0.0.5/stream1\"}]}\n```"},
    {"cameras[].zones[].", "cameras[].zones[]",
     "Areas of the picture with rules of their own. Without a zone of the type `include` the whole "
     "picture counts. A face lies where the centre of its box lies."},
    {"cameras[].publish.", "cameras[].publish", "How the picture is published."},
    {"cameras[].overlay.", "cameras[].overlay", "What is drawn on the picture."},
    {"cameras[].privacy.", "cameras[].privacy", "What is hidden in the published picture."},
    {"alerts.", "alerts", "When something is told, and how. A camera's own `alerts` overrides it."},
    {"mq.", "mq", "The message queue; used when `url` is given."},
    {"sinks[].", "sinks[]", "Further places that alerts go to."},
    {"", "At the top", "Options outside of all sections."},
    {"backend.", "backend", "The HTTP backend at `backend_alert_url`."},
    {"s3.", "s3", "Object storage for snapshots."},
    {"local_mocks.", "local_mocks", "Local stand-ins for the queue and the storage."},
};

static void append_type(struct fw_text *text, const struct fw_option *option)
{
    static const char *const words[] = {
        [FW_OPTION_GRID] = "columns`x`rows",   [FW_OPTION_AREA] = "x, y, width, height",
        [FW_OPTION_STRING] = "string",         [FW_OPTION_ID] = "name",
        [FW_OPTION_CHOICE] = "choice",         [FW_OPTION_ENUM] = "choice",
        [FW_OPTION_SHA256] = "SHA-256",        [FW_OPTION_SECRET] = "secret",
        [FW_OPTION_URL] = "address",           [FW_OPTION_URLS] = "list of addresses",
        [FW_OPTION_BOOL] = "true or false",    [FW_OPTION_AUTO] = "true, false or `\"auto\"`",
        [FW_OPTION_INT] = "whole number",      [FW_OPTION_INT64] = "whole number",
        [FW_OPTION_NUMBER] = "number",         [FW_OPTION_N_OF_M] = "n/m",
        [FW_OPTION_POINTS] = "list of [x, y]", [FW_OPTION_SPANS] = "list of days and hours",
        [FW_OPTION_SECTION] = "object",        [FW_OPTION_OBJECTS] = "list of objects",
    };
    if (option->choices == NULL) {
        fw_text_append(text, words[option->type]);
        if (option->maximum > option->minimum)
            fw_text_appendf(text, ", %.16g to %.16g", option->minimum, option->maximum);
        return;
    }
    const char *separator = "";
    for (const char *const *choice = option->choices; *choice != NULL; choice++) {
        if (fw_option_choice_is_missing(option, *choice))
            continue;
        fw_text_appendf(text, "%s`\"%s\"`", separator, *choice);
        separator = ", ";
    }
}

static void append_remarks(struct fw_text *text, const struct fw_option *option)
{
    if (option->aliases != NULL) {
        const char *separator = ". Also spelt ";
        for (const char *at = option->aliases; at != NULL && at[1] != '\0';
             at = strchr(at + 1, ' ')) {
            fw_text_appendf(text, "%s`%.*s`", separator, (int)strcspn(at + 1, " "), at + 1);
            separator = ", ";
        }
    }
    if (option->example != NULL)
        fw_text_appendf(text, ". Example: `%s`", option->example);
    if (option->support == FW_UNSUPPORTED_WARN)
        fw_text_append(text, ". **No effect in this version**");
    else if (option->support == FW_UNSUPPORTED_ERROR)
        fw_text_append(text, ". **Not in this version**");
    else if (option->common_only)
        fw_text_append(text, ". The same for all cameras");
}

static void append_row(struct fw_text *text, const struct fw_option *option, const char *name)
{
    static const char *const restarts[] = {
        [FW_RESTART_WORKER] = "worker", [FW_RESTART_WEB] = "web server", [FW_RESTART_LOG] = "log",
        [FW_RESTART_CAMERA] = "camera", [FW_RESTART_ALERTS] = "alerts",
    };
    fw_text_appendf(text, "| `%s`", name);
    if (option->type == FW_OPTION_SECRET)
        fw_text_appendf(text, ", `%s_file`", name);
    fw_text_append(text, " | ");
    append_type(text, option);
    if (option->default_words != NULL)
        fw_text_appendf(text, " | %s | ", option->default_words);
    else if (strcmp(option->default_json, "null") == 0)
        fw_text_append(text, " | none | ");
    else
        fw_text_appendf(text, " | `%s` | ", option->default_json);
    fw_text_append(text, option->help);
    append_remarks(text, option);
    fw_text_appendf(text, " | %s |\n", restarts[option->restart]);
}

static void append_section(struct fw_text *text, const char *prefix)
{
    size_t count;
    const struct fw_option *options = fw_options(&count);
    fw_text_append(text, "| key | type | default | meaning | restarts |\n"
                         "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        const char *name;
        if (fw_option_is_in(&options[i], prefix, &name))
            append_row(text, &options[i], name);
    }
}

char *fw_options_docs(void)
{
    struct fw_text text = FW_TEXT_INIT;
    fw_text_append(&text, introduction);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        fw_text_appendf(&text, "\n## %s\n\n%s\n\n", sections[i].heading, sections[i].text);
        append_section(&text, sections[i].prefix);
    }
    return fw_text_steal(&text);
}
