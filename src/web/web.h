// What the parts of the server share with each other, and nobody else.
#ifndef FW_WEB_WEB_H
#define FW_WEB_WEB_H

#include "util/log.h"
#include "web/server.h"
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>

// Live pictures and waiting snapshots hold a connection for long. Their own limit lies well below
// that of all connections, so that watchers never keep /healthz from answering.
#define FW_WEB_MAX_CONNECTIONS 128
#define FW_WEB_MAX_WATCHERS    80

// The server. Options are copied at start and constant after; connections run on libmicrohttpd's
// threads, one each, and share only the atomics.
struct fw_web {
    struct fw_web_source source;
    const struct fw_secrets *secrets;
    struct fw_log log;
    struct MHD_Daemon *daemon;
    int port;
    atomic_bool is_stopping;
    atomic_int watchers; // connections that wait for pictures
};

// reply.c: answers. TEXT passes through the redaction; malloc'd texts are taken over, also on
// failure, and NULL answers 503. All return what libmicrohttpd's handler has to return.
enum MHD_Result fw_web_reply_text(struct fw_web *web, struct MHD_Connection *connection,
                                  unsigned status, const char *content_type, const char *text);
enum MHD_Result fw_web_reply_malloced(struct fw_web *web, struct MHD_Connection *connection,
                                      unsigned status, const char *content_type, char *text);
// {"error": SENTENCE}
enum MHD_Result fw_web_reply_error(struct fw_web *web, struct MHD_Connection *connection,
                                   unsigned status, const char *sentence);
// A copy of DATA as it is.
enum MHD_Result fw_web_reply_bytes(struct MHD_Connection *connection, const char *content_type,
                                   const char *cache_control, const void *data,
                                   size_t length_bytes);
// Adds the headers that every answer carries, queues RESPONSE and lets go of it. NULL is allowed.
enum MHD_Result fw_web_queue(struct MHD_Connection *connection, unsigned status,
                             struct MHD_Response *response, const char *content_type,
                             const char *cache_control);

// live.c: pictures of a camera, as a stream or as one.
enum MHD_Result fw_web_live(struct fw_web *web, struct MHD_Connection *connection,
                            const char *camera_id, bool is_head);
enum MHD_Result fw_web_camera_snapshot(struct fw_web *web, struct MHD_Connection *connection,
                                       const char *camera_id);

// stored.c: a snapshot of an alert.
enum MHD_Result fw_web_stored(struct fw_web *web, struct MHD_Connection *connection,
                              const char *key);

#endif
