// The page's files, put into the program at build time by tools/embed.py.
#ifndef FW_WEB_ASSETS_H
#define FW_WEB_ASSETS_H

#include <stddef.h>

// Constant data with the program's lifetime.
struct fw_web_asset {
    const char *path; // "/app.js"
    const char *content_type;
    const unsigned char *data;
    size_t length;
};

extern const struct fw_web_asset fw_web_assets[]; // ends with a NULL path

// The file that answers PATH, or NULL. Any thread.
const struct fw_web_asset *fw_web_asset_find(const char *path);

#endif
