#include "app/config.h"
#include "app/config_loader.h"
#include "detect/model_store.h"
#include "util/secret.h"
#include "util/url.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILE_BYTES (16 << 20)

// --- where the loader is ---

size_t fw_loader_enter(struct fw_loader *loader, const char *key)
{
    size_t mark = loader->pointer.length;
    fw_text_append(&loader->pointer, "/");
    for (; *key != '\0'; key++) {
        if (*key == '~')
            fw_text_append(&loader->pointer, "~0");
        else if (*key == '/')
            fw_text_append(&loader->pointer, "~1");
        else
            fw_text_append_n(&loader->pointer, key, 1);
    }
    return mark;
}

size_t fw_loader_enter_item(struct fw_loader *loader, size_t index)
{
    size_t mark = loader->pointer.length;
    fw_text_appendf(&loader->pointer, "/%zu", index);
    return mark;
}

void fw_loader_leave(struct fw_loader *loader, size_t mark)
{
    if (loader->pointer.data == NULL || mark > loader->pointer.length)
        return;
    loader->pointer.length = mark;
    loader->pointer.data[mark] = '\0';
}

// "/cameras/0/rtsp" as people say it: "cameras[0].rtsp".
static void append_name(struct fw_text *text, const char *pointer)
{
    bool is_first = true;
    while (*pointer == '/') {
        size_t length = strcspn(++pointer, "/");
        if (length > 0 && strspn(pointer, "0123456789") == length && !is_first) {
            fw_text_appendf(text, "[%.*s]", (int)length, pointer);
        } else {
            fw_text_append(text, is_first ? "" : ".");
            fw_text_append_n(text, pointer, length);
        }
        is_first = false;
        pointer += length;
    }
}

static void report(struct fw_loader *loader, enum fw_severity severity, enum fw_json_part part,
                   const char *format, va_list arguments) __attribute__((format(printf, 4, 0)));

static void report(struct fw_loader *loader, enum fw_severity severity, enum fw_json_part part,
                   const char *format, va_list arguments)
{
    struct fw_text message = FW_TEXT_INIT;
    struct fw_json_place place = {1, 1};
    const char *pointer = fw_text_get(&loader->pointer);
    append_name(&message, pointer);
    fw_text_append(&message, *pointer == '\0' ? "" : " ");
    fw_text_vappendf(&message, format, arguments);
    if (!fw_json_find(loader->text, pointer, part, &place))
        place = (struct fw_json_place){1, 1};
    struct fw_diagnostic item = {place.line, place.column, severity, fw_text_steal(&message)};
    if (fw_diagnostics_add(loader->diagnostics, item) != FW_OK)
        loader->no_memory = true;
}

void fw_loader_report(struct fw_loader *loader, enum fw_severity severity, enum fw_json_part part,
                      const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report(loader, severity, part, format, arguments);
    va_end(arguments);
}

void fw_loader_report_at(struct fw_loader *loader, const char *pointer, enum fw_severity severity,
                         const char *format, ...)
{
    size_t mark = loader->pointer.length;
    fw_text_append(&loader->pointer, pointer);
    va_list arguments;
    va_start(arguments, format);
    report(loader, severity, FW_JSON_VALUE, format, arguments);
    va_end(arguments);
    fw_loader_leave(loader, mark);
}

// --- from the parsed file into the structs ---

static void report_unknown(struct fw_loader *loader, const char *prefix, const char *key)
{
    char nearest[64];
    if (fw_option_nearest(prefix, key, nearest, sizeof(nearest)))
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_KEY,
                         "is no known key; did you mean \"%s\"?", nearest);
    else
        fw_loader_report(loader, FW_SEVERITY_WARNING, FW_JSON_KEY,
                         "is no known key and ignored; remove it, or begin its name with \"_\" to "
                         "keep it as a comment");
}

// Addresses are read after everything else, because logins stand apart from them.
static bool is_of_pass(const struct fw_option *option, int pass)
{
    bool is_url = option->type == FW_OPTION_URL || option->type == FW_OPTION_URLS;
    return is_url == (pass == 1);
}

static void read_object(struct fw_loader *loader, const struct fw_section *section, json_t *object,
                        int pass);

// Whether VALUE is of TYPE, which is reported if not.
static bool require(struct fw_loader *loader, const json_t *value, json_type type)
{
    if (json_typeof(value) == type)
        return true;
    fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE, "is %s; write %s",
                     fw_loader_type_name(value),
                     type == JSON_OBJECT ? "an object, { ... }" : "a list, [ ... ]");
    return false;
}

// Lists of objects are read_list()'s.
static bool is_list(const struct fw_section *section, const char *key)
{
    if (*section->prefix == '\0')
        return strcmp(key, "cameras") == 0 || strcmp(key, "sinks") == 0;
    return strcmp(section->prefix, "cameras[].") == 0 && strcmp(key, "zones") == 0;
}

// A group within a section: "worker", "publish".
static void read_group(struct fw_loader *loader, const struct fw_section *section, const char *key,
                       json_t *value, int pass)
{
    if (is_list(section, key) || json_is_null(value))
        return;
    if (pass == 1 && !json_is_object(value))
        return; // said in the first pass
    if (!require(loader, value, JSON_OBJECT))
        return;
    struct fw_section inner = *section;
    char *prefix = fw_strdup_printf("%s%s.", section->prefix, key);
    if (prefix == NULL) {
        loader->no_memory = true;
        return;
    }
    inner.prefix = prefix;
    read_object(loader, &inner, value, pass);
    free(prefix);
}

// A camera's own "detector" or "alerts": the common section's options over again.
static struct fw_section override_of(struct fw_camera_config *camera, const char *name)
{
    struct fw_section section = {.base = (char *)camera, .is_override = true};
    if (strcmp(name, "detector") == 0) {
        section.prefix = "detector.";
        section.shift =
            offsetof(struct fw_camera_config, detector) - offsetof(struct fw_config, detector);
    } else {
        section.prefix = "alerts.";
        section.shift =
            offsetof(struct fw_camera_config, alerts) - offsetof(struct fw_config, alerts);
    }
    return section;
}

static void read_override(struct fw_loader *loader, const struct fw_section *section,
                          const char *name, json_t *value)
{
    if (!require(loader, value, JSON_OBJECT))
        return;
    void *base = section->base;
    struct fw_section inner = override_of(base, name);
    for (int pass = 0; pass < 2; pass++)
        read_object(loader, &inner, value, pass);
}

// Whether OBJECT gives OPTION twice, by name, alias or file, this KEY being the later one.
static bool is_repeated(const char *prefix, json_t *object, const struct fw_option *option,
                        const char *key)
{
    const char *other;
    json_t *value;
    json_object_foreach(object, other, value)
    {
        const struct fw_option *found;
        if (strcmp(other, key) == 0)
            return false;
        enum fw_key_kind kind = fw_option_find(prefix, other, &found);
        if (found == option && kind != FW_KEY_GROUP && !json_is_null(value))
            return true;
    }
    return false;
}

static void read_member(struct fw_loader *loader, const struct fw_section *section, json_t *object,
                        const char *key, json_t *value, int pass)
{
    const struct fw_option *option;
    enum fw_key_kind kind = fw_option_find(section->prefix, key, &option);
    if (kind == FW_KEY_UNKNOWN) {
        if (pass == 0)
            report_unknown(loader, section->prefix, key);
    } else if (kind == FW_KEY_GROUP) {
        read_group(loader, section, key, value, pass);
    } else if (!json_is_null(value) && is_of_pass(option, pass)) {
        if (is_repeated(section->prefix, object, option, key))
            fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_KEY,
                             "is given already, under another name; leave one of the two out");
        if (kind == FW_KEY_SECRET_FILE)
            fw_value_read_file(loader, section, option, value);
        else if (option->type == FW_OPTION_SECTION)
            read_override(loader, section, key, value);
        else
            fw_value_read(loader, section, option, value);
    }
}

static void read_object(struct fw_loader *loader, const struct fw_section *section, json_t *object,
                        int pass)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (key[0] == '_')
            continue;
        size_t mark = fw_loader_enter(loader, key);
        read_member(loader, section, object, key, value, pass);
        fw_loader_leave(loader, mark);
    }
}

static void read_section(struct fw_loader *loader, const struct fw_section *section, json_t *object)
{
    fw_section_set_defaults(loader, section);
    for (int pass = 0; pass < 2; pass++)
        read_object(loader, section, object, pass);
}

static struct fw_section common_of(struct fw_config *config, const char *prefix)
{
    return (struct fw_section){.prefix = prefix, .base = (char *)config};
}

// The list KEY of OBJECT, whose items READ_ITEM reads into what lies at ITEM, and the number of
// them in the end. SPARE more than there are items have room. NULL where KEY is no list.
struct list_reader {
    const char *key;
    size_t item_bytes, spare;
    void (*read_item)(struct fw_loader *loader, void *item, json_t *object);
};

static void *read_list(struct fw_loader *loader, json_t *object, const struct list_reader *reader,
                       size_t *count)
{
    json_t *list = json_object_get(object, reader->key);
    *count = 0;
    size_t mark = fw_loader_enter(loader, reader->key);
    char *items = NULL;
    if (list == NULL || json_is_null(list) || require(loader, list, JSON_ARRAY)) {
        items = calloc(json_array_size(list) + reader->spare + 1, reader->item_bytes);
        loader->no_memory = loader->no_memory || items == NULL;
    }
    for (size_t i = 0; i < json_array_size(list) && items != NULL; i++) {
        json_t *item = json_array_get(list, i);
        size_t inner = fw_loader_enter_item(loader, i);
        if (require(loader, item, JSON_OBJECT))
            reader->read_item(loader, items + reader->item_bytes * (*count)++, item);
        fw_loader_leave(loader, inner);
    }
    fw_loader_leave(loader, mark);
    return items;
}

static void read_zone(struct fw_loader *loader, void *item, json_t *object)
{
    struct fw_section section = {.prefix = "cameras[].zones[].", .base = item};
    read_section(loader, &section, object);
}

static void read_camera(struct fw_loader *loader, void *item, json_t *object)
{
    static const char *const overrides[] = {"detector", "alerts"};
    static const struct list_reader zones = {
        .key = "zones", .item_bytes = sizeof(struct fw_zone_config), .read_item = read_zone};
    struct fw_camera_config *camera = item;
    for (size_t i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++) {
        struct fw_section own = override_of(camera, overrides[i]);
        struct fw_section common = common_of(loader->config, own.prefix);
        fw_section_inherit(loader, &own, &common);
    }
    struct fw_section section = {.prefix = "cameras[].", .base = item};
    read_section(loader, &section, object);
    camera->zones = read_list(loader, object, &zones, &camera->zone_count);
    fw_config_finish_camera(loader, camera, object);
}

static void read_sink(struct fw_loader *loader, void *item, json_t *object)
{
    struct fw_section section = {.prefix = "sinks[].", .base = item};
    read_section(loader, &section, object);
}

static void read_root(struct fw_loader *loader, json_t *root)
{
    if (!json_is_object(root)) {
        fw_loader_report(loader, FW_SEVERITY_ERROR, FW_JSON_VALUE,
                         "the file holds no object; write { \"cameras\": [ ... ] }");
        return;
    }
    static const struct list_reader cameras = {
        .key = "cameras", .item_bytes = sizeof(struct fw_camera_config), .read_item = read_camera};
    // Room for the two that fw_config_finish() puts before them.
    static const struct list_reader sinks = {.key = "sinks",
                                             .item_bytes = sizeof(struct fw_sink_config),
                                             .spare = 2,
                                             .read_item = read_sink};
    struct fw_config *config = loader->config;
    struct fw_section section = common_of(config, "");
    read_section(loader, &section, root);
    fw_config_finish_common(loader, root);
    config->cameras = read_list(loader, root, &cameras, &config->camera_count);
    config->sinks = read_list(loader, root, &sinks, &config->sink_count);
    if (!loader->no_memory)
        fw_config_finish(loader, root);
}

// --- the text ---

// What jansson says without the piece of the file that it quotes, which may be a secret. PIECE is
// that piece.
static char *syntax_message(const json_error_t *error, const char **piece)
{
    static const char near[] = " near '";
    const char *quoted = strstr(error->text, near);
    size_t length = quoted == NULL ? strlen(error->text) : (size_t)(quoted - error->text);
    *piece = quoted == NULL ? NULL : quoted + sizeof(near) - 1;
    if (json_error_code(error) == json_error_duplicate_key && *piece != NULL)
        return fw_strdup_printf("the key %.*s is there twice; leave one of the two out",
                                (int)strcspn(*piece, "'"), *piece);
    return fw_strdup_printf("is not JSON: %.*s; look for a missing or superfluous comma, quote or "
                            "bracket here or just before",
                            (int)length, error->text);
}

static void report_syntax(struct fw_loader *loader, const json_error_t *error)
{
    const char *piece;
    char *message = syntax_message(error, &piece);
    long offset = error->position > 0 ? error->position : 0;
    // jansson counts to the end of what it stumbled over; people look for the beginning.
    size_t length = piece == NULL ? 0 : strlen(piece);
    if (length > 0 && piece[length - 1] == '\'')
        length--;
    if (length > 0 && (size_t)offset >= length &&
        strncmp(loader->text + offset - length, piece, length) == 0)
        offset -= (long)length;
    struct fw_json_place place = fw_json_place_of(loader->text, offset);
    struct fw_diagnostic item = {place.line, place.column, FW_SEVERITY_ERROR, message};
    if (fw_diagnostics_add(loader->diagnostics, item) != FW_OK)
        loader->no_memory = true;
}

int fw_config_load_text(struct fw_config **config, const char *path, const char *text,
                        struct fw_secrets *secrets, struct fw_diagnostics *diagnostics)
{
    *config = NULL;
    if (fw_starts_with(text, "\xEF\xBB\xBF"))
        text += 3; // a byte order mark, as Windows editors write it
    struct fw_loader loader = {.text = text, .secrets = secrets, .diagnostics = diagnostics};
    json_t *root = NULL;
    json_error_t error;
    loader.config = calloc(1, sizeof(*loader.config));
    if (loader.config == NULL || (loader.config->path = fw_strdup(path)) == NULL) {
        loader.no_memory = true;
        goto done;
    }
    root = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (root == NULL)
        report_syntax(&loader, &error);
    else
        read_root(&loader, root);
done:
    json_decref(root);
    loader.no_memory = loader.no_memory || loader.pointer.failed;
    fw_text_free(&loader.pointer);
    int status = loader.no_memory ? FW_ENOMEM : diagnostics->error_count > 0 ? FW_EINVAL : FW_OK;
    if (status == FW_OK)
        *config = loader.config;
    else
        fw_config_destroy(loader.config);
    return status;
}

// The contents of PATH, malloc'd; NULL with the reason in ERROR.
static char *read_file(const char *path, struct fw_error *error)
{
    FILE *file = fopen(path, "r");
    struct fw_text text = FW_TEXT_INIT;
    char block[4096];
    size_t count;
    if (file == NULL) {
        fw_fail(error, errno == ENOENT ? FW_ENOENT : FW_EIO,
                "can't be opened (%s); name the configuration with -c FILE", strerror(errno));
        return NULL;
    }
    fw_text_append_n(&text, "", 0);
    while ((count = fread(block, 1, sizeof(block), file)) > 0 && text.length <= MAX_FILE_BYTES)
        fw_text_append_n(&text, block, count);
    int code = FW_OK;
    if (ferror(file))
        code = fw_fail(error, FW_EIO, "can't be read (%s); is it a file?", strerror(errno));
    else if (text.failed)
        code = fw_fail(error, FW_ENOMEM, "out of memory");
    else if (text.length > MAX_FILE_BYTES || strlen(fw_text_get(&text)) != text.length)
        code = fw_fail(error, FW_EIO,
                       "is no text file of at most 16 MiB; name the configuration "
                       "with -c FILE");
    fclose(file);
    if (code == FW_OK)
        return fw_text_steal(&text);
    fw_text_free(&text);
    return NULL;
}

int fw_config_load(struct fw_config **config, const char *path, struct fw_secrets *secrets,
                   struct fw_diagnostics *diagnostics)
{
    struct fw_error error = {0};
    *config = NULL;
    char *text = read_file(path, &error);
    if (text == NULL) {
        struct fw_diagnostic item = {0, 0, FW_SEVERITY_ERROR, fw_strdup(error.message)};
        if (error.code == FW_OK || fw_diagnostics_add(diagnostics, item) != FW_OK)
            return FW_ENOMEM;
        return error.code;
    }
    int status = fw_config_load_text(config, path, text, secrets, diagnostics);
    free(text);
    return status;
}

int fw_config_find(const char *option, char **path, struct fw_error *error)
{
    static const char *const places[] = {"faceworker.json", "/etc/faceworker/faceworker.json"};
    const char *found = option;
    if (found == NULL) {
        found = getenv("WORKER_CONFIG");
        if (found != NULL && *found == '\0')
            found = NULL;
    }
    for (size_t i = 0; found == NULL && i < sizeof(places) / sizeof(places[0]); i++) {
        if (access(places[i], F_OK) == 0)
            found = places[i];
    }
    *path = NULL;
    if (found == NULL)
        return fw_fail(error, FW_ENOENT,
                       "no configuration: neither -c FILE nor WORKER_CONFIG is given, and there "
                       "is no ./faceworker.json and no /etc/faceworker/faceworker.json; write one "
                       "(faceworker check --print-defaults shows every key)");
    *path = fw_strdup(found);
    return *path == NULL ? fw_fail(error, FW_ENOMEM, "out of memory") : FW_OK;
}

// --- the end ---

static void destroy_camera(struct fw_camera_config *camera)
{
    struct fw_section sections[] = {
        {.prefix = "cameras[].", .base = (char *)camera},
        override_of(camera, "detector"),
        override_of(camera, "alerts"),
    };
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        fw_section_free(&sections[i]);
    for (size_t i = 0; i < camera->zone_count; i++) {
        void *zone = &camera->zones[i];
        struct fw_section section = {.prefix = "cameras[].zones[].", .base = zone};
        fw_section_free(&section);
    }
    free(camera->zones);
}

void fw_config_destroy(struct fw_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->camera_count; i++)
        destroy_camera(&config->cameras[i]);
    free(config->cameras);
    for (size_t i = 0; i < config->sink_count; i++) {
        struct fw_section section = {.prefix = "sinks[].", .base = (char *)&config->sinks[i]};
        fw_section_free(&section);
    }
    free(config->sinks);
    struct fw_section section = common_of(config, "");
    fw_section_free(&section);
    free(config->path);
    free(config->snapshot_dir);
    free(config->isa);
    free(config);
}

void fw_config_model_options(const struct fw_config *config, const struct fw_log *log,
                             struct fw_model_store_options *options)
{
    const struct fw_models_config *models = &config->models;
    *options = (struct fw_model_store_options){
        .dir = models->dir,
        .base_url = models->base_url,
        .onnx = models->onnx,
        .onnx_sha256 = models->onnx_sha256,
        .prototxt = models->prototxt,
        .prototxt_sha256 = models->prototxt_sha256,
        .caffemodel = models->caffemodel,
        .caffemodel_sha256 = models->caffemodel_sha256,
        .cascade = models->cascade,
        .log = log,
    };
}
