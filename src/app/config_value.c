// One option's value: from JSON to its field, with every way in which it can be wrong.
#include "app/config_loader.h"
#include "detect/detector.h"
#include "track/zones.h"
#include "util/secret.h"
#include "util/url.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SECRET_FILE_BYTES 65536
#define MAX_N_OF_M            100
#define MAX_ID_LENGTH         64

void *fw_section_field(const struct fw_section *section, const struct fw_option *option)
{
    return section->base + (option->offset + section->shift);
}

// --- what is wanted, in words ---

static void append_choices(struct fw_text *text, const struct fw_option *option)
{
    const char *last = NULL;
    for (const char *const *choice = option->choices; *choice != NULL; choice++) {
        if (!fw_option_choice_is_missing(option, *choice))
            last = *choice;
    }
    const char *separator = "";
    for (const char *const *choice = option->choices; *choice != NULL; choice++) {
        if (fw_option_choice_is_missing(option, *choice))
            continue;
        if (*separator != '\0' && *choice == last)
            separator = " or ";
        fw_text_appendf(text, "%s\"%s\"", separator, *choice);
        separator = ", ";
    }
}

static void append_wanted(struct fw_text *text, const struct fw_option *option)
{
    static const char *const words[] = {
        [FW_OPTION_STRING] = "a string",
        [FW_OPTION_ID] = "a name of up to 64 characters A-Z a-z 0-9 . _ - without a dot first",
        [FW_OPTION_SHA256] = "64 hexadecimal digits",
        [FW_OPTION_SECRET] = "a string",
        [FW_OPTION_URL] = "an address or a path, as a string",
        [FW_OPTION_URLS] = "a list of addresses or paths",
        [FW_OPTION_BOOL] = "true or false",
        [FW_OPTION_AUTO] = "true, false or \"auto\"",
        [FW_OPTION_GRID] = "\"columns x rows\" without spaces, each from 1 to 8",
        [FW_OPTION_AREA] = "a list of x, y, width and height as fractions within the picture",
        [FW_OPTION_N_OF_M] = "\"n/m\" with n from 1 to m and m up to 100",
        [FW_OPTION_POINTS] = "a list of 3 to 64 corners [x, y], each from 0 to 1",
        [FW_OPTION_SPANS] = "a list of days and hours",
        [FW_OPTION_SECTION] = "an object",
        [FW_OPTION_OBJECTS] = "a list of objects",
    };
    bool is_number = option->type == FW_OPTION_INT || option->type == FW_OPTION_INT64 ||
                     option->type == FW_OPTION_NUMBER;
    if (is_number)
        fw_text_appendf(text, "%s from %.16g to %.16g",
                        option->type == FW_OPTION_NUMBER ? "a number" : "a whole number",
                        option->minimum, option->maximum);
    else if (option->choices != NULL)
        append_choices(text, option);
    else
        fw_text_append(text, words[option->type]);
    const char *example = option->example != NULL ? option->example : option->default_json;
    if (option->choices == NULL && option->type != FW_OPTION_BOOL && strcmp(example, "null") != 0)
        fw_text_appendf(text, ", for example %s", example);
}

// "NAME is FOUND; write WANTED".
static void refuse(struct fw_loader *loader, const struct fw_option *option, const char *found)
{
    struct fw_text wanted = FW_TEXT_INIT;
    append_wanted(&wanted, option);
    fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE, "is %s; write %s", found,
                     fw_text_get(&wanted));
    loader->no_memory = loader->no_memory || wanted.failed;
    fw_text_free(&wanted);
}

const char *fw_loader_type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",
        [JSON_STRING] = "a string",  [JSON_INTEGER] = "a whole number",
        [JSON_REAL] = "a number",    [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    return names[json_typeof(value)];
}

static void refuse_type(struct fw_loader *loader, const struct fw_option *option,
                        const json_t *value)
{
    refuse(loader, option, fw_loader_type_name(value));
}

// --- strings, with the environment in them ---

// The expanded string of VALUE, or NULL with the reason reported.
static char *string_of(struct fw_loader *loader, const struct fw_option *option,
                       const json_t *value)
{
    if (!json_is_string(value)) {
        refuse_type(loader, option, value);
        return NULL;
    }
    return fw_value_expand(loader, json_string_value(value));
}

// Takes STRING over; where there is no FIELD it was read to be checked only.
static void set_string(char **field, char *string)
{
    if (field == NULL) {
        free(string);
        return;
    }
    free(*field);
    *field = string;
}

// A login inside an address that is only kept as a string must still be known as a secret.
static void register_url(struct fw_loader *loader, const char *string)
{
    struct fw_url *url = NULL;
    if (strstr(string, "://") != NULL &&
        fw_url_parse(&url, string, NULL, NULL, loader->secrets, NULL) == FW_ENOMEM)
        loader->no_memory = true;
    fw_url_destroy(url);
}

static void read_string(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                        char **field)
{
    char *string = string_of(loader, option, value);
    if (string == NULL)
        return;
    register_url(loader, string);
    set_string(field, string);
}

static bool is_id(const char *string)
{
    size_t length = 0;
    for (; string[length] != '\0'; length++) {
        char c = string[length];
        if (!isalnum((unsigned char)c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return length > 0 && length <= MAX_ID_LENGTH && string[0] != '.';
}

static void read_id(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                    char **field)
{
    char *string;
    if (json_is_integer(value)) {
        string = fw_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
        loader->no_memory = loader->no_memory || string == NULL;
    } else {
        string = string_of(loader, option, value);
    }
    if (string == NULL)
        return;
    if (!is_id(string))
        refuse(loader, option, "no name that fits into addresses and file names");
    set_string(field, string);
}

// The index of VALUE in the option's choices, or -1 with the reason reported.
static int choice_of(struct fw_loader *loader, const struct fw_option *option, json_t *value)
{
    char *string = string_of(loader, option, value);
    if (string == NULL)
        return -1;
    int found = -1;
    for (int i = 0; option->choices[i] != NULL && found < 0; i++) {
        if (strcmp(option->choices[i], string) == 0)
            found = i;
    }
    free(string);
    if (found >= 0 && !fw_option_choice_is_missing(option, option->choices[found]))
        return found;
    // As written, not as expanded: the environment's values are nobody's business.
    struct fw_text words = FW_TEXT_INIT;
    fw_text_appendf(&words, "\"%.40s\"%s", json_string_value(value),
                    found >= 0 ? ", which is not in this version" : "");
    refuse(loader, option, fw_text_get(&words));
    fw_text_free(&words);
    return -1;
}

static void read_choice(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                        void *field)
{
    int index = choice_of(loader, option, value);
    if (index < 0 || field == NULL)
        return;
    if (option->type == FW_OPTION_ENUM) {
        memcpy(field, &index, sizeof(index));
        return;
    }
    char *string = fw_strdup(option->choices[index]);
    loader->no_memory = loader->no_memory || string == NULL;
    set_string(field, string);
}

static void read_sha256(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                        char **field)
{
    char *string = string_of(loader, option, value);
    if (string == NULL)
        return;
    if (strlen(string) != 64 || strspn(string, "0123456789abcdefABCDEF") != 64)
        refuse(loader, option, "no SHA-256");
    for (char *digit = string; *digit != '\0'; digit++)
        *digit = (char)tolower((unsigned char)*digit);
    set_string(field, string);
}

// --- secrets and addresses ---

static void set_secret(struct fw_loader *loader, struct fw_secret **field, const char *value)
{
    struct fw_secret *secret = fw_secret_create(loader->secrets, value);
    loader->no_memory = loader->no_memory || secret == NULL;
    fw_secret_destroy(*field);
    *field = secret;
}

static void read_secret(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                        struct fw_secret **field)
{
    char *string = string_of(loader, option, value);
    if (string == NULL)
        return;
    // Registered even where there is no field: other messages may come across it.
    if (field != NULL)
        set_secret(loader, field, string);
    else if (fw_secrets_add(loader->secrets, string) != FW_OK)
        loader->no_memory = true;
    free(string);
}

// The login that stands apart from the address OPTION; NULLs where there is none.
static const char *login_of(const struct fw_section *section, const struct fw_option *option,
                            const struct fw_secret **password)
{
    *password = NULL;
    if (strcmp(option->key, "cameras[].rtsp") == 0) {
        const void *base = section->base;
        const struct fw_camera_config *camera = base;
        *password = camera->password;
        return camera->username;
    }
    const void *base = section->base;
    const struct fw_sink_config *sink = NULL;
    if (strcmp(option->key, "mq.url") == 0)
        sink = &((const struct fw_config *)base)->mq;
    else if (strcmp(option->key, "sinks[].url") == 0)
        sink = base;
    if (sink == NULL)
        return NULL;
    *password = sink->password;
    return sink->username;
}

static struct fw_url *url_of(struct fw_loader *loader, const struct fw_section *section,
                             const struct fw_option *option, json_t *value)
{
    char *string = string_of(loader, option, value);
    if (string == NULL)
        return NULL;
    struct fw_url *url = NULL;
    struct fw_error error = {0};
    const struct fw_secret *password;
    const char *username = login_of(section, option, &password);
    int status =
        fw_url_parse(&url, string, username, password == NULL ? NULL : fw_secret_reveal(password),
                     loader->secrets, &error);
    if (status == FW_ENOMEM)
        loader->no_memory = true;
    else if (status != FW_OK)
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE, "is no address: %s",
                         error.message);
    free(string);
    return url;
}

static void read_url(struct fw_loader *loader, const struct fw_section *section,
                     const struct fw_option *option, json_t *value, struct fw_url **field)
{
    struct fw_url *url = url_of(loader, section, option, value);
    if (field == NULL) {
        fw_url_destroy(url);
        return;
    }
    fw_url_destroy(*field);
    *field = url;
}

// A list's field: the array and its count behind it, as publish.outputs has them.
struct url_list {
    struct fw_url **urls;
    size_t count;
};
_Static_assert(offsetof(struct fw_publish_config, output_count) ==
                   offsetof(struct fw_publish_config, outputs) + offsetof(struct url_list, count),
               "outputs and output_count must lie as in struct url_list");

static void free_urls(struct url_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        fw_url_destroy(list->urls[i]);
    free(list->urls);
    *list = (struct url_list){0};
}

static void read_urls(struct fw_loader *loader, const struct fw_section *section,
                      const struct fw_option *option, json_t *value, struct url_list *list)
{
    if (!json_is_array(value)) {
        refuse_type(loader, option, value);
        return;
    }
    if (list == NULL)
        return;
    free_urls(list);
    // One place more: ffmpeg_output goes before them.
    list->urls = calloc(json_array_size(value) + 1, sizeof(struct fw_url *));
    if (list->urls == NULL) {
        loader->no_memory = true;
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        size_t mark = fw_loader_enter_item(loader, i);
        struct fw_url *url = url_of(loader, section, option, json_array_get(value, i));
        if (url != NULL)
            list->urls[list->count++] = url;
        fw_loader_leave(loader, mark);
    }
}

// --- numbers ---

static void read_number(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                        void *field)
{
    double number = json_number_value(value);
    bool is_whole = json_is_integer(value) || floor(number) == number;
    if (!json_is_number(value) || (option->type != FW_OPTION_NUMBER && !is_whole)) {
        refuse_type(loader, option, value);
        return;
    }
    if (!(number >= option->minimum && number <= option->maximum)) {
        char shown[32];
        snprintf(shown, sizeof(shown), "%.16g", number);
        refuse(loader, option, shown);
        return;
    }
    if (field == NULL)
        return;
    int multiply = option->multiply == 0 ? 1 : option->multiply;
    if (option->type == FW_OPTION_NUMBER)
        *(double *)field = number;
    else if (option->type == FW_OPTION_INT64)
        *(int64_t *)field = (int64_t)number * multiply;
    else
        *(int *)field = (int)number * multiply;
}

static void read_bool(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                      bool *field)
{
    if (!json_is_boolean(value))
        refuse_type(loader, option, value);
    else if (field != NULL)
        *field = json_is_true(value);
}

static void read_auto(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                      int *field)
{
    bool is_auto = json_is_string(value) && strcmp(json_string_value(value), "auto") == 0;
    if (!is_auto && !json_is_boolean(value))
        refuse_type(loader, option, value);
    else if (field != NULL)
        *field = is_auto ? -1 : json_is_true(value);
}

static void read_grid(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                      int field[2])
{
    char *string = string_of(loader, option, value);
    if (string == NULL)
        return;
    if (!fw_tiles_parse(string, &field[0], &field[1]))
        refuse(loader, option, "no such grid");
    free(string);
}

static void read_area(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                      struct fw_box *field)
{
    float sides[4] = {0};
    bool is_right = json_array_size(value) == 4;
    for (size_t i = 0; i < 4 && is_right; i++) {
        is_right = json_is_number(json_array_get(value, i));
        sides[i] = (float)json_number_value(json_array_get(value, i));
    }
    const struct fw_box area = {sides[0], sides[1], sides[2], sides[3]};
    if (!json_is_array(value))
        refuse_type(loader, option, value);
    else if (!is_right || !fw_detect_roi_is_valid(&area))
        refuse(loader, option, "no area of the picture");
    else
        *field = area;
}

static void read_n_of_m(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                        int field[2])
{
    char *string = string_of(loader, option, value);
    if (string == NULL)
        return;
    char *end;
    long n = strtol(string, &end, 10), m = 0;
    bool is_right =
        isdigit((unsigned char)string[0]) && *end == '/' && isdigit((unsigned char)end[1]);
    if (is_right) {
        m = strtol(end + 1, &end, 10);
        is_right = *end == '\0' && n >= 1 && n <= m && m <= MAX_N_OF_M;
    }
    free(string);
    if (!is_right) {
        refuse(loader, option, "no such pair");
        return;
    }
    if (field == NULL)
        return;
    field[0] = (int)n;
    field[1] = (int)m;
}

// --- areas and hours ---

// A field of points: the array and its count behind it, as fw_zone_config has them.
struct point_list {
    struct fw_point *points;
    size_t count;
};
_Static_assert(offsetof(struct fw_zone_config, point_count) ==
                   offsetof(struct fw_zone_config, points) + offsetof(struct point_list, count),
               "points and point_count must lie as in struct point_list");

static bool is_share(const json_t *value)
{
    return json_is_number(value) && json_number_value(value) >= 0 && json_number_value(value) <= 1;
}

static void read_points(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                        struct point_list *list)
{
    size_t count = json_array_size(value);
    bool is_right = count >= 3 && count <= FW_ZONE_MAX_POINTS;
    for (size_t i = 0; i < count && is_right; i++) {
        const json_t *point = json_array_get(value, i);
        is_right = json_array_size(point) == 2 && is_share(json_array_get(point, 0)) &&
                   is_share(json_array_get(point, 1));
    }
    if (!is_right) {
        refuse(loader, option, json_is_array(value) ? "no polygon" : fw_loader_type_name(value));
        return;
    }
    if (list == NULL)
        return;
    free(list->points);
    list->points = calloc(count, sizeof(*list->points));
    list->count = list->points == NULL ? 0 : count;
    loader->no_memory = loader->no_memory || list->points == NULL;
    for (size_t i = 0; i < list->count; i++) {
        const json_t *point = json_array_get(value, i);
        list->points[i].x = (float)json_number_value(json_array_get(point, 0));
        list->points[i].y = (float)json_number_value(json_array_get(point, 1));
    }
}

// A field of spans, as fw_alerts_config has them.
struct span_list {
    struct fw_schedule_span *spans;
    size_t count;
};
_Static_assert(offsetof(struct fw_alerts_config, span_count) ==
                   offsetof(struct fw_alerts_config, spans) + offsetof(struct span_list, count),
               "spans and span_count must lie as in struct span_list");

static void read_spans(struct fw_loader *loader, const struct fw_option *option, json_t *value,
                       struct span_list *list)
{
    if (!json_is_array(value)) {
        refuse_type(loader, option, value);
        return;
    }
    if (list == NULL)
        return;
    free(list->spans);
    list->count = 0;
    list->spans = calloc(json_array_size(value) + 1, sizeof(*list->spans));
    if (list->spans == NULL) {
        loader->no_memory = true;
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        size_t mark = fw_loader_enter_item(loader, i);
        struct fw_error error = {0};
        char *string = string_of(loader, option, json_array_get(value, i));
        if (string != NULL &&
            fw_schedule_span_parse(&list->spans[list->count], string, &error) == FW_OK)
            list->count++;
        else if (string != NULL)
            fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE, "%s", error.message);
        free(string);
        fw_loader_leave(loader, mark);
    }
}

static void inherit_spans(struct fw_loader *loader, struct span_list *to,
                          const struct span_list *from)
{
    to->spans = calloc(from->count + 1, sizeof(*to->spans));
    to->count = to->spans == NULL ? 0 : from->count;
    loader->no_memory = loader->no_memory || to->spans == NULL;
    if (to->count > 0)
        memcpy(to->spans, from->spans, to->count * sizeof(*to->spans));
}

static void read_objects(struct fw_loader *loader, const struct fw_option *option, json_t *value)
{
    if (!json_is_array(value))
        refuse_type(loader, option, value);
}

// --- all of them ---

static void dispatch(struct fw_loader *loader, const struct fw_section *section,
                     const struct fw_option *option, json_t *value)
{
    void *field = option->offset == FW_OPTION_NO_FIELD ? NULL : fw_section_field(section, option);
    switch (option->type) {
    case FW_OPTION_STRING:
        read_string(loader, option, value, field);
        break;
    case FW_OPTION_ID:
        read_id(loader, option, value, field);
        break;
    case FW_OPTION_CHOICE:
    case FW_OPTION_ENUM:
        read_choice(loader, option, value, field);
        break;
    case FW_OPTION_SHA256:
        read_sha256(loader, option, value, field);
        break;
    case FW_OPTION_SECRET:
        read_secret(loader, option, value, field);
        break;
    case FW_OPTION_URL:
        read_url(loader, section, option, value, field);
        break;
    case FW_OPTION_URLS:
        read_urls(loader, section, option, value, field);
        break;
    case FW_OPTION_BOOL:
        read_bool(loader, option, value, field);
        break;
    case FW_OPTION_AUTO:
        read_auto(loader, option, value, field);
        break;
    case FW_OPTION_GRID:
        read_grid(loader, option, value, field);
        break;
    case FW_OPTION_AREA:
        read_area(loader, option, value, field);
        break;
    case FW_OPTION_INT:
    case FW_OPTION_INT64:
    case FW_OPTION_NUMBER:
        read_number(loader, option, value, field);
        break;
    case FW_OPTION_N_OF_M:
        read_n_of_m(loader, option, value, field);
        break;
    case FW_OPTION_POINTS:
        read_points(loader, option, value, field);
        break;
    case FW_OPTION_SPANS:
        read_spans(loader, option, value, field);
        break;
    case FW_OPTION_OBJECTS:
        read_objects(loader, option, value);
        break;
    case FW_OPTION_SECTION: // config.c goes into it
        break;
    }
}

static bool is_default(const struct fw_option *option, const json_t *value)
{
    json_t *standard = json_loads(option->default_json, JSON_DECODE_ANY, NULL);
    bool same = json_is_number(value) && json_is_number(standard)
                    ? fabs(json_number_value(value) - json_number_value(standard)) < 1e-9
                    : json_equal(value, standard) != 0;
    json_decref(standard);
    return same;
}

static void check_support(struct fw_loader *loader, const struct fw_option *option,
                          const json_t *value)
{
    if (option->support == FW_SUPPORTED || is_default(option, value))
        return;
    if (option->support == FW_UNSUPPORTED_WARN)
        fw_loader_report(loader, FW_SEVERITY_WARNING, FW_JSON_KEY,
                         "has no effect in this version; leave it out, or keep it for a later one");
    else if (strcmp(option->default_json, "null") == 0)
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_KEY,
                         "is not in this version; leave it out");
    else
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_KEY,
                         "is not in this version; leave it out, or write %s", option->default_json);
}

void fw_value_read(struct fw_loader *loader, const struct fw_section *section,
                   const struct fw_option *option, json_t *value)
{
    if (section->is_override && option->common_only) {
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_KEY,
                         "can't differ from camera to camera; set %s", option->key);
        return;
    }
    size_t errors = loader->diagnostics->error_count;
    dispatch(loader, section, option, value);
    if (loader->diagnostics->error_count == errors)
        check_support(loader, option, value);
}

// The contents of PATH without the newline at their end; NULL with the reason reported.
static char *read_secret_file(struct fw_loader *loader, const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = file == NULL ? NULL : malloc(MAX_SECRET_FILE_BYTES + 1);
    size_t length = text == NULL ? 0 : fread(text, 1, MAX_SECRET_FILE_BYTES + 1, file);
    const char *problem = NULL;
    if (file == NULL)
        problem = strerror(errno);
    else if (text == NULL)
        problem = "out of memory";
    else if (ferror(file))
        problem = "it can't be read";
    else if (length > MAX_SECRET_FILE_BYTES || memchr(text, '\0', length) != NULL)
        problem = "it is no text of at most 64 KiB";
    if (file != NULL)
        fclose(file);
    if (problem == NULL && text != NULL) {
        if (length > 0 && text[length - 1] == '\n')
            length--;
        if (length > 0 && text[length - 1] == '\r')
            length--;
        if (length == 0)
            problem = "it is empty";
        text[length] = '\0';
    }
    if (problem == NULL)
        return text;
    fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                     "names a file that gives no secret: %s; write the path of a file that holds "
                     "nothing but the secret",
                     problem);
    free(text);
    return NULL;
}

void fw_value_read_file(struct fw_loader *loader, const struct fw_section *section,
                        const struct fw_option *option, json_t *value)
{
    static const struct fw_option path_option = {
        .type = FW_OPTION_STRING, .default_json = "null", .example = "\"/run/secrets/faceworker\""};
    char *path = string_of(loader, &path_option, value);
    char *secret = path == NULL ? NULL : read_secret_file(loader, path);
    free(path);
    if (secret == NULL)
        return;
    if (option->offset != FW_OPTION_NO_FIELD)
        set_secret(loader, fw_section_field(section, option), secret);
    free(secret);
    check_support(loader, option, value);
}

// --- whole sections ---

// Whether OPTION's field is one of SECTION's: a section does not reach into lists within it.
static bool has_field_in(const struct fw_option *option, const struct fw_section *section)
{
    return option->offset != FW_OPTION_NO_FIELD && fw_starts_with(option->key, section->prefix) &&
           strchr(option->key + strlen(section->prefix), '[') == NULL;
}

static void free_field(const struct fw_option *option, void *field)
{
    switch (option->type) {
    case FW_OPTION_STRING:
    case FW_OPTION_ID:
    case FW_OPTION_CHOICE:
    case FW_OPTION_SHA256:
        set_string(field, NULL);
        break;
    case FW_OPTION_SECRET:
        fw_secret_destroy(*(struct fw_secret **)field);
        *(struct fw_secret **)field = NULL;
        break;
    case FW_OPTION_URL:
        fw_url_destroy(*(struct fw_url **)field);
        *(struct fw_url **)field = NULL;
        break;
    case FW_OPTION_URLS:
        free_urls(field);
        break;
    case FW_OPTION_POINTS:
    case FW_OPTION_SPANS: // a plain array, its pointer first
        set_string(field, NULL);
        break;
    case FW_OPTION_ENUM:
    case FW_OPTION_BOOL:
    case FW_OPTION_AUTO:
    case FW_OPTION_GRID:
    case FW_OPTION_AREA:
    case FW_OPTION_INT:
    case FW_OPTION_INT64:
    case FW_OPTION_NUMBER:
    case FW_OPTION_N_OF_M:
    case FW_OPTION_SECTION:
    case FW_OPTION_OBJECTS:
        break;
    }
}

void fw_section_free(const struct fw_section *section)
{
    size_t count;
    const struct fw_option *options = fw_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (has_field_in(&options[i], section))
            free_field(&options[i], fw_section_field(section, &options[i]));
    }
}

void fw_section_set_defaults(struct fw_loader *loader, const struct fw_section *section)
{
    size_t count;
    const struct fw_option *options = fw_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (!has_field_in(&options[i], section) || options[i].type == FW_OPTION_SECTION)
            continue;
        json_t *value = json_loads(options[i].default_json, JSON_DECODE_ANY, NULL);
        if (value == NULL)
            loader->no_memory = true;
        else if (!json_is_null(value))
            dispatch(loader, section, &options[i], value);
        json_decref(value);
    }
}

// Copies one field of the types that sections with overrides have.
static void inherit_field(struct fw_loader *loader, const struct fw_option *option, void *to,
                          const void *from)
{
    char *string;
    switch (option->type) {
    case FW_OPTION_STRING:
    case FW_OPTION_ID:
    case FW_OPTION_CHOICE:
    case FW_OPTION_SHA256:
        string = fw_strdup(*(char *const *)from);
        loader->no_memory = loader->no_memory || (string == NULL && *(char *const *)from != NULL);
        *(char **)to = string;
        break;
    case FW_OPTION_BOOL:
        *(bool *)to = *(const bool *)from;
        break;
    case FW_OPTION_ENUM:
    case FW_OPTION_AUTO:
    case FW_OPTION_INT:
        memcpy(to, from, sizeof(int));
        break;
    case FW_OPTION_INT64:
        *(int64_t *)to = *(const int64_t *)from;
        break;
    case FW_OPTION_NUMBER:
        *(double *)to = *(const double *)from;
        break;
    case FW_OPTION_AREA:
        memcpy(to, from, sizeof(struct fw_box));
        break;
    case FW_OPTION_GRID:
    case FW_OPTION_N_OF_M:
        memcpy(to, from, 2 * sizeof(int));
        break;
    case FW_OPTION_SPANS:
        inherit_spans(loader, to, from);
        break;
    case FW_OPTION_SECRET:
    case FW_OPTION_URL:
    case FW_OPTION_URLS:
    case FW_OPTION_POINTS:
    case FW_OPTION_SECTION:
    case FW_OPTION_OBJECTS:
        break; // no section with overrides has these
    }
}

void fw_section_inherit(struct fw_loader *loader, const struct fw_section *section,
                        const struct fw_section *common)
{
    size_t count;
    const struct fw_option *options = fw_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (has_field_in(&options[i], section))
            inherit_field(loader, &options[i], fw_section_field(section, &options[i]),
                          fw_section_field(common, &options[i]));
    }
}
