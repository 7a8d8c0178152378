// Where in a JSON text something stands: jansson keeps no positions of what it has parsed.
#ifndef FW_APP_JSON_POSITION_H
#define FW_APP_JSON_POSITION_H

#include <stdbool.h>

// From 1; columns count characters, not bytes.
struct fw_json_place {
    int line, column;
};

enum fw_json_part {
    FW_JSON_KEY,   // the member's name, for what is wrong with the name; for array items: the item
    FW_JSON_VALUE, // its value
};

// Finds POINTER (RFC 6901: "/cameras/0/rtsp", "" for the whole) in TEXT, which need not be valid
// JSON: false when the walk does not get there. Any thread; allocates nothing.
bool fw_json_find(const char *text, const char *pointer, enum fw_json_part part,
                  struct fw_json_place *place);

// The place of byte OFFSET of TEXT (cut to its length).
struct fw_json_place fw_json_place_of(const char *text, long offset);

#endif
