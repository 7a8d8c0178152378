#include "web/route.h"

#include "util/text.h"
#include "web/assets.h"
#include <stddef.h>
#include <string.h>

static const struct {
    const char *path;
    enum fw_web_route_kind kind;
} fixed_routes[] = {
    {"/healthz", FW_WEB_ROUTE_HEALTH},       {"/readyz", FW_WEB_ROUTE_READY},
    {"/metrics", FW_WEB_ROUTE_METRICS},      {"/api/v1/cameras", FW_WEB_ROUTE_CAMERAS},
    {"/api/v1/events", FW_WEB_ROUTE_EVENTS},
};

static const char camera_prefix[] = "/api/v1/cameras/";
static const char stored_prefix[] = "/snapshots/";

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

// Stricter than fw_percent_decode(): whatever is doubtful is refused, not passed on.
static bool decode(const char *text, size_t length, char out[FW_WEB_ARGUMENT_SIZE])
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        int byte = (unsigned char)text[i];
        if (byte == '%') {
            int high = i + 2 < length ? hex_value(text[i + 1]) : -1;
            int low = high >= 0 ? hex_value(text[i + 2]) : -1;
            if (low < 0)
                return false;
            byte = high * 16 + low;
            i += 2;
        }
        if (byte < 0x20 || byte == 0x7f || used + 1 >= FW_WEB_ARGUMENT_SIZE)
            return false;
        out[used++] = (char)byte;
    }
    out[used] = '\0';
    return used > 0;
}

static bool segment_is_safe(const char *segment, size_t length)
{
    if (length == 0 || memchr(segment, '\\', length))
        return false;
    return segment[0] != '.' || (length != 1 && !(length == 2 && segment[1] == '.'));
}

static bool key_is_safe(const char *key)
{
    for (;;) {
        size_t length = strcspn(key, "/");
        if (!segment_is_safe(key, length))
            return false;
        if (key[length] == '\0')
            return true;
        key += length + 1;
    }
}

static void find_camera_route(const char *rest, struct fw_web_route *route)
{
    size_t length = strcspn(rest, "/");
    enum fw_web_route_kind kind;
    if (strcmp(rest + length, "/live") == 0)
        kind = FW_WEB_ROUTE_LIVE;
    else if (strcmp(rest + length, "/snapshot.jpg") == 0)
        kind = FW_WEB_ROUTE_CAMERA_SNAPSHOT;
    else
        return;
    if (decode(rest, length, route->argument) && !strchr(route->argument, '/'))
        route->kind = kind;
}

void fw_web_route_find(const char *path, struct fw_web_route *route)
{
    route->kind = FW_WEB_ROUTE_NONE;
    route->argument[0] = '\0';
    for (size_t i = 0; i < sizeof fixed_routes / sizeof fixed_routes[0]; i++)
        if (strcmp(path, fixed_routes[i].path) == 0)
            route->kind = fixed_routes[i].kind;
    if (route->kind != FW_WEB_ROUTE_NONE)
        return;
    if (fw_web_asset_find(path)) {
        route->kind = FW_WEB_ROUTE_ASSET;
    } else if (fw_starts_with(path, camera_prefix)) {
        find_camera_route(path + sizeof camera_prefix - 1, route);
    } else if (fw_starts_with(path, stored_prefix)) {
        const char *key = path + sizeof stored_prefix - 1;
        if (decode(key, strlen(key), route->argument) && key_is_safe(route->argument))
            route->kind = FW_WEB_ROUTE_STORED;
    }
    if (route->kind == FW_WEB_ROUTE_NONE)
        route->argument[0] = '\0';
}

bool fw_web_limit_parse(const char *text, int *limit)
{
    int value = 0;
    if (!text) {
        *limit = FW_WEB_EVENTS_DEFAULT;
        return true;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (*text - '0');
        if (value > FW_WEB_EVENTS_MAX)
            return false;
    }
    *limit = value;
    return value > 0;
}

bool fw_web_state_is_known(const char *state)
{
    return !state || strcmp(state, "waiting") == 0 || strcmp(state, "delivered") == 0 ||
           strcmp(state, "dead") == 0;
}
