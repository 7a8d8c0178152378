#include "web/web.h"

#include "util/clock.h"
#include "util/queue.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PICTURE_TIMEOUT_MS  10000 // a stream ends when no picture came for so long
#define SNAPSHOT_TIMEOUT_MS 2000
#define STALL_TIMEOUT_S     20u // a watcher that takes nothing for so long is dropped
#define LOOK_AROUND_MS      200 // how late a stop or a hang-up may be noticed
#define BLOCK_BYTES         (64 * 1024)

// Where the browser's parser shows a part only when it sees the end of it, the boundary that
// follows goes out with the picture and not with the next one.
static const char first_boundary[] = "--faceworker\r\n";
static const char next_boundary[] = "\r\n--faceworker\r\n";

// One watcher of a camera. Belongs to one connection and its thread.
struct watcher {
    struct fw_web *web;
    struct MHD_Connection *connection;
    struct fw_slot *slot; // a reference
    uint64_t sequence;
    bool is_watching; // the slot counts us
    struct fw_bytes *picture;
    char header[128];
    // The part that is being sent: header, picture, boundary; BOUNDARY alone before the first.
    struct {
        const void *data;
        size_t length;
    } pieces[3];
    size_t piece, offset;
};

static void watcher_destroy(void *opaque)
{
    struct watcher *watcher = opaque;
    if (!watcher)
        return;
    if (watcher->is_watching)
        fw_slot_watch(watcher->slot, -1);
    fw_bytes_unref(watcher->picture);
    fw_slot_unref(watcher->slot);
    atomic_fetch_sub(&watcher->web->watchers, 1);
    free(watcher);
}

// Takes SLOT over, also on failure. NULL when too many watch already or memory is out.
static struct watcher *watcher_create(struct fw_web *web, struct MHD_Connection *connection,
                                      struct fw_slot *slot)
{
    if (atomic_fetch_add(&web->watchers, 1) >= FW_WEB_MAX_WATCHERS)
        goto fail;
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (!watcher)
        goto fail;
    watcher->web = web;
    watcher->connection = connection;
    watcher->slot = slot;
    watcher->pieces[0].data = first_boundary;
    watcher->pieces[0].length = sizeof first_boundary - 1;
    return watcher;
fail:
    atomic_fetch_sub(&web->watchers, 1);
    fw_slot_unref(slot);
    return NULL;
}

// What lies in the slot may be hours old when nobody watched, so it is passed over.
static void begin_watching(struct watcher *watcher)
{
    if (watcher->is_watching)
        return;
    if (!fw_slot_is_watched(watcher->slot))
        fw_bytes_unref(fw_slot_wait(watcher->slot, &watcher->sequence, 0));
    fw_slot_watch(watcher->slot, 1);
    watcher->is_watching = true;
}

static bool peer_has_gone(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    char byte;
    if (!info)
        return true;
    ssize_t got = recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

// The next picture, or NULL: none in time, the server stops, the camera ended or the peer left.
static struct fw_bytes *wait_picture(struct watcher *watcher, int64_t timeout_ms)
{
    int64_t end_us = fw_monotonic_us() + timeout_ms * FW_US_PER_MS;
    for (;;) {
        if (atomic_load(&watcher->web->is_stopping) || fw_slot_is_closed(watcher->slot) ||
            peer_has_gone(watcher->connection))
            return NULL;
        int64_t left_ms = (end_us - fw_monotonic_us()) / FW_US_PER_MS;
        if (left_ms <= 0)
            return NULL;
        struct fw_bytes *picture = fw_slot_wait(
            watcher->slot, &watcher->sequence, left_ms < LOOK_AROUND_MS ? left_ms : LOOK_AROUND_MS);
        if (picture)
            return picture;
    }
}

static bool next_part(struct watcher *watcher)
{
    fw_bytes_unref(watcher->picture);
    watcher->picture = wait_picture(watcher, PICTURE_TIMEOUT_MS);
    if (!watcher->picture)
        return false;
    int length = snprintf(watcher->header, sizeof watcher->header,
                          "Content-Type: image/jpeg\r\nContent-Length: %zu\r\n\r\n",
                          watcher->picture->length);
    watcher->pieces[0].data = watcher->header;
    watcher->pieces[0].length = (size_t)length;
    watcher->pieces[1].data = watcher->picture->data;
    watcher->pieces[1].length = watcher->picture->length;
    watcher->pieces[2].data = next_boundary;
    watcher->pieces[2].length = sizeof next_boundary - 1;
    watcher->piece = 0;
    watcher->offset = 0;
    return true;
}

static size_t copy_pieces(struct watcher *watcher, char *buffer, size_t max)
{
    size_t used = 0;
    while (used < max && watcher->piece < 3) {
        size_t left = watcher->pieces[watcher->piece].length - watcher->offset;
        size_t count = left < max - used ? left : max - used;
        if (count > 0)
            memcpy(buffer + used,
                   (const char *)watcher->pieces[watcher->piece].data + watcher->offset, count);
        used += count;
        watcher->offset += count;
        if (count == left) {
            watcher->piece++;
            watcher->offset = 0;
        }
    }
    return used;
}

// libmicrohttpd's MHD_ContentReaderCallback. May block: the connection has a thread of its own.
static ssize_t read_stream(void *opaque, uint64_t position, char *buffer, size_t max)
{
    struct watcher *watcher = opaque;
    (void)position;
    begin_watching(watcher);
    size_t used = copy_pieces(watcher, buffer, max);
    if (used == 0) {
        if (!next_part(watcher))
            return MHD_CONTENT_READER_END_OF_STREAM;
        used = copy_pieces(watcher, buffer, max);
    }
    return (ssize_t)used;
}

// A watcher of CAMERA_ID, or NULL with the answer already queued as *RESULT.
static struct watcher *open_watcher(struct fw_web *web, struct MHD_Connection *connection,
                                    const char *camera_id, enum MHD_Result *result)
{
    struct fw_slot *slot = web->source.live_slot(web->source.opaque, camera_id);
    if (!slot) {
        *result = fw_web_reply_error(web, connection, MHD_HTTP_NOT_FOUND,
                                     "there is no such camera; /api/v1/cameras lists them");
        return NULL;
    }
    if (fw_slot_is_closed(slot)) {
        fw_slot_unref(slot);
        *result = fw_web_reply_error(web, connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                                     "the camera has stopped; /api/v1/cameras says why");
        return NULL;
    }
    struct watcher *watcher = watcher_create(web, connection, slot);
    if (!watcher)
        *result = fw_web_reply_error(web, connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                                     "too many watch live pictures already; close some and retry");
    return watcher;
}

enum MHD_Result fw_web_live(struct fw_web *web, struct MHD_Connection *connection,
                            const char *camera_id, bool is_head)
{
    static const char content_type[] = "multipart/x-mixed-replace; boundary=faceworker";
    enum MHD_Result result = MHD_NO;
    struct watcher *watcher = open_watcher(web, connection, camera_id, &result);
    if (!watcher)
        return result;
    // libmicrohttpd would end the body of a stream even where none may be sent.
    if (is_head) {
        watcher_destroy(watcher);
        return fw_web_reply_bytes(connection, content_type, "no-store", "", 0);
    }
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, watcher, watcher_destroy);
    if (!response) {
        watcher_destroy(watcher);
        return MHD_NO;
    }
    if (MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, STALL_TIMEOUT_S) !=
        MHD_YES) {
        MHD_destroy_response(response);
        return MHD_NO;
    }
    return fw_web_queue(connection, MHD_HTTP_OK, response, content_type, "no-store");
}

enum MHD_Result fw_web_camera_snapshot(struct fw_web *web, struct MHD_Connection *connection,
                                       const char *camera_id)
{
    enum MHD_Result result = MHD_NO;
    struct watcher *watcher = open_watcher(web, connection, camera_id, &result);
    if (!watcher)
        return result;
    begin_watching(watcher);
    watcher->picture = wait_picture(watcher, SNAPSHOT_TIMEOUT_MS);
    if (watcher->picture)
        result = fw_web_reply_bytes(connection, "image/jpeg", "no-store", watcher->picture->data,
                                    watcher->picture->length);
    else
        result = fw_web_reply_error(web, connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                                    "the camera gives no picture now; /api/v1/cameras says why");
    watcher_destroy(watcher);
    return result;
}
