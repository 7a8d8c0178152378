// The HTTP server: page, live pictures, health, metrics, API. It reads snapshots that others hand
// it and locks no camera.
#ifndef FW_WEB_SERVER_H
#define FW_WEB_SERVER_H

#include "util/error.h"
#include <stddef.h>
#include <stdint.h>

struct fw_log;
struct fw_secrets;
struct fw_slot;

// Which events are asked for; NULL or 0 where it doesn't matter. Borrowed for the call.
struct fw_web_events_query {
    const char *camera_id;
    // A whole type, or it without "faceworker.": "face.appeared". Only such events; all but such.
    const char *type, *without_type;
    const char *state; // "waiting", "delivered" or "dead"
    const char *before_id;
    int64_t since_utc_us, until_utc_us;
    int limit;
};

// What the server asks of the daemon. Every function may be called on any server thread, returns at
// once, and gives malloc'd text that the server frees (NULL when memory is out).
struct fw_web_source {
    void *opaque;
    char *(*cameras_json)(void *opaque); // {"cameras": [...]} of docs/api.md
    // {"events": [...], "next": ID or null}: newest first; NULL where they can't be read just now.
    char *(*events_json)(void *opaque, const struct fw_web_events_query *query);
    char *(*metrics_text)(void *opaque);              // Prometheus text format 0.0.4
    char *(*ready_json)(void *opaque, int *is_ready); // {"ready": …, "reasons": [...]}
    // A new reference to a camera's live slot (JPEGs), or NULL if there is no such camera.
    struct fw_slot *(*live_slot)(void *opaque, const char *camera_id);
    // Absolute path of a stored snapshot, malloc'd, or NULL; KEY has been checked for "..".
    char *(*snapshot_path)(void *opaque, const char *key);
};

struct fw_web_options {
    const char *listen; // "127.0.0.1:8080", "[::1]:8080"; port 0 takes any
    const struct fw_web_source *source;
    const struct fw_secrets *secrets; // every text answer passes through fw_secrets_redact()
    const struct fw_log *log;
};

struct fw_web;

// Binds and starts. Addresses other than loopback are refused in this version (FW_EINVAL, with what
// to do). FW_ECONNECT: the port is taken. Requests whose Host is not a loopback name or the listen
// address get 403 (DNS rebinding).
int fw_web_start(struct fw_web **web, const struct fw_web_options *options, struct fw_error *error);
int fw_web_port(const struct fw_web *web);
// Ends every connection, live ones too, and frees. Takes less than a second. NULL is allowed.
void fw_web_stop(struct fw_web *web);

#endif
