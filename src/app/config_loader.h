// Between the files that load the configuration; nobody else's.
#ifndef FW_APP_CONFIG_LOADER_H
#define FW_APP_CONFIG_LOADER_H

#include "app/config.h"
#include "app/json_position.h"
#include "app/options.h"
#include "util/text.h"
#include <jansson.h>

// One load. `pointer` says where in the file the loader is just now.
struct fw_loader {
    struct fw_config *config;
    const char *text;
    struct fw_secrets *secrets;
    struct fw_diagnostics *diagnostics;
    struct fw_text pointer; // RFC 6901
    bool no_memory;
};

// What the options of one section fill: FIELD of OPTION lies at base + option->offset + shift.
struct fw_section {
    const char *prefix; // of the keys in the table
    char *base;
    size_t shift;
    bool is_override; // a camera's own section over the common one
};

// Takes item.message over, also on failure. FW_OK or FW_ENOMEM.
int fw_diagnostics_add(struct fw_diagnostics *diagnostics, struct fw_diagnostic item);

// Moves the loader to a member or item of where it is, and back to where it was.
size_t fw_loader_enter(struct fw_loader *loader, const char *key);
size_t fw_loader_enter_item(struct fw_loader *loader, size_t index);
void fw_loader_leave(struct fw_loader *loader, size_t mark);
// Adds a finding about where the loader is: "NAME FORMAT", NAME as in "cameras[0].rtsp".
void fw_loader_report(struct fw_loader *loader, enum fw_severity severity, enum fw_json_part part,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
// The same about the value at POINTER ("/web/listen") below where the loader is.
void fw_loader_report_at(struct fw_loader *loader, const char *pointer, enum fw_severity severity,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

// config_value.c
const char *fw_loader_type_name(const json_t *value); // "a list"
void *fw_section_field(const struct fw_section *section, const struct fw_option *option);
// Reads VALUE (not null) into its field, which is freed first; reports what is wrong with it.
void fw_value_read(struct fw_loader *loader, const struct fw_section *section,
                   const struct fw_option *option, json_t *value);
// Reads the secret OPTION from the file that VALUE names.
void fw_value_read_file(struct fw_loader *loader, const struct fw_section *section,
                        const struct fw_option *option, json_t *value);
// Fills every field of a section with its default. The fields must be zero.
void fw_section_set_defaults(struct fw_loader *loader, const struct fw_section *section);
// Frees every field of a section.
void fw_section_free(const struct fw_section *section);
// Copies the common section's fields into an override's, which must be zero.
void fw_section_inherit(struct fw_loader *loader, const struct fw_section *section,
                        const struct fw_section *common);

// config_expand.c
// Replaces "${NAME}" by the environment's. A malloc'd text, or NULL with the reason reported.
char *fw_value_expand(struct fw_loader *loader, const char *string);

// config_check.c: what no single option can tell. ROOT is the parsed file.
void fw_config_finish_common(struct fw_loader *loader, const json_t *root);
void fw_config_finish_camera(struct fw_loader *loader, struct fw_camera_config *camera,
                             const json_t *object);
void fw_config_finish(struct fw_loader *loader, const json_t *root);

#endif
