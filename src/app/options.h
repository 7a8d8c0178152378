// The one table of every option: what the check, the printed defaults, the JSON Schema and
// docs/config.md are made from.
#ifndef FW_APP_OPTIONS_H
#define FW_APP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

// What an option takes, and the type of the field that it fills.
enum fw_option_type {
    FW_OPTION_STRING,  // char *
    FW_OPTION_ID,      // char *; a string of [A-Za-z0-9._-], or a whole number
    FW_OPTION_CHOICE,  // char *; one of `choices`
    FW_OPTION_ENUM,    // an enum whose values are the indices into `choices`
    FW_OPTION_SHA256,  // char *; 64 hex digits, stored in lower case
    FW_OPTION_SECRET,  // struct fw_secret *; also as KEY_file, the path of a file that holds it
    FW_OPTION_URL,     // struct fw_url *; a URL or a path
    FW_OPTION_URLS,    // a list of them: struct fw_url ** and its size_t count behind it
    FW_OPTION_BOOL,    // bool
    FW_OPTION_AUTO,    // int: "auto" -1, false 0, true 1
    FW_OPTION_GRID,    // int columns, and int rows behind it: "3x2"
    FW_OPTION_AREA,    // struct fw_box; [x, y, width, height] as fractions of the picture
    FW_OPTION_INT,     // int
    FW_OPTION_INT64,   // int64_t
    FW_OPTION_NUMBER,  // double
    FW_OPTION_N_OF_M,  // int n, and int m behind it: "2/3"
    FW_OPTION_POINTS,  // a list of [x, y]: struct fw_point * and its size_t count behind it
    FW_OPTION_SPANS,   // a list of "mon-fri 08:00-18:00": struct fw_schedule_span * and its count
    FW_OPTION_SECTION, // the options of the section of this name once more, overriding them
    FW_OPTION_OBJECTS, // a list of objects that this version only refuses
};

// What has to start anew for a change to take effect.
enum fw_restart {
    FW_RESTART_WORKER,
    FW_RESTART_WEB,
    FW_RESTART_LOG,
    FW_RESTART_CAMERA,
    FW_RESTART_ALERTS,
};

// What this version makes of a value other than the default.
enum fw_support {
    FW_SUPPORTED,
    FW_UNSUPPORTED_WARN,  // the daemon runs without it, and that hurts nobody
    FW_UNSUPPORTED_ERROR, // running without it would give the user something else than asked for
};

#define FW_OPTION_NO_FIELD ((size_t)-1)

// One option. Options of cameras, their zones, and sinks begin with "cameras[].",
// "cameras[].zones[]." and "sinks[].", and their offsets are into fw_camera_config, fw_zone_config
// and fw_sink_config; all others' are into fw_config.
struct fw_option {
    const char *key; // dotted
    enum fw_option_type type;
    enum fw_restart restart;
    enum fw_support support;
    bool common_only;            // not in a camera's own section
    double minimum, maximum;     // of numbers
    int multiply;                // what a whole number is multiplied with in its field; 0: 1
    const char *const *choices;  // NULL-terminated
    const char *missing_choices; // those that this version lacks, each between spaces
    const char *default_json;    // "null": nothing, or what default_words say
    const char *default_words;   // a default that is found out at run time; else NULL
    const char *example;         // JSON
    const char *aliases;         // each between spaces: " access_key_id "; or NULL
    const char *help;            // one sentence, no full stop
    size_t offset;               // FW_OPTION_NO_FIELD: checked only
};

// The whole table, COUNT rows, sections together.
const struct fw_option *fw_options(size_t *count);

// What a key within a section is.
enum fw_key_kind {
    FW_KEY_UNKNOWN,
    FW_KEY_OPTION,
    FW_KEY_SECRET_FILE, // OPTION's secret, in a file
    FW_KEY_GROUP,       // an object ("worker", "publish") or a list of objects ("cameras")
};

// Looks KEY up in the section PREFIX ("" or "cameras[].publish."), by its name or an alias.
enum fw_key_kind fw_option_find(const char *prefix, const char *key,
                                const struct fw_option **option);
// The known key of the section PREFIX that KEY was most likely meant to be, written into NEAREST
// (SIZE bytes); false if none is near.
bool fw_option_nearest(const char *prefix, const char *key, char *nearest, size_t size);
// True where OPTION stands in the section PREFIX itself, not deeper; *NAME is its last part.
bool fw_option_is_in(const struct fw_option *option, const char *prefix, const char **name);
// True if CHOICE is one that this version lacks.
bool fw_option_choice_is_missing(const struct fw_option *option, const char *choice);

// The outputs of `faceworker check --print-…`: malloc'd, NULL when memory is out.
char *fw_options_defaults(void); // a configuration with every default written out
char *fw_options_schema(void);   // JSON Schema, draft 2020-12
char *fw_options_docs(void);     // docs/config.md

#endif
