// From a request's path to what is asked for. Pure: no I/O, any thread.
#ifndef FW_WEB_ROUTE_H
#define FW_WEB_ROUTE_H

#include <stdbool.h>

enum fw_web_route_kind {
    FW_WEB_ROUTE_NONE,
    FW_WEB_ROUTE_ASSET, // the page and its parts; the path itself names it
    FW_WEB_ROUTE_HEALTH,
    FW_WEB_ROUTE_READY,
    FW_WEB_ROUTE_METRICS,
    FW_WEB_ROUTE_CAMERAS,
    FW_WEB_ROUTE_EVENTS,
    FW_WEB_ROUTE_LIVE,            // argument: the camera's id
    FW_WEB_ROUTE_CAMERA_SNAPSHOT, // argument: the camera's id
    FW_WEB_ROUTE_STORED,          // argument: the snapshot's key
};

#define FW_WEB_ARGUMENT_SIZE 1024

struct fw_web_route {
    enum fw_web_route_kind kind;
    char argument[FW_WEB_ARGUMENT_SIZE]; // decoded and checked; "" where the kind has none
};

// Finds the route of PATH: the request target before '?', still percent-encoded. A malformed
// encoding, a NUL, a control byte, "." or ".." among the segments and ids with '/' lead to
// FW_WEB_ROUTE_NONE.
void fw_web_route_find(const char *path, struct fw_web_route *route);

#define FW_WEB_EVENTS_DEFAULT 50
#define FW_WEB_EVENTS_MAX     500

// Reads the limit of /api/v1/events; TEXT NULL means the default. False unless it is 1 to 500.
bool fw_web_limit_parse(const char *text, int *limit);

// True for a state that events can be asked for by, and for NULL.
bool fw_web_state_is_known(const char *state);

#endif
