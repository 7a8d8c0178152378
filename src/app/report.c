#include "app/report.h"
#include "camera/snapshot.h"
#include "media/frame.h"
#include "storage/spool.h"
#include "util/clock.h"
#include "util/queue.h"
#include "util/text.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { JPEG_QUALITY = 88 };

const char *fw_report_kind_name(enum fw_report_kind kind)
{
    return kind == FW_REPORT_LEFT ? "left" : "appeared";
}

struct fw_report *fw_report_create(const struct fw_camera_config *camera,
                                   const struct fw_face_report *face)
{
    struct fw_report *report = calloc(1, sizeof *report);
    if (!report)
        return NULL;
    report->camera = camera;
    report->kind = face->kind;
    report->track = face->track;
    report->reported_us = fw_monotonic_us();
    report->capture_utc_us = face->capture_utc_us;
    report->first_seen_utc_us = face->first_seen_utc_us;
    report->last_seen_utc_us = face->last_seen_utc_us;
    report->reason = face->reason;
    report->zone = face->zone;
    report->first_box = face->first_box;
    report->last_box = face->last_box;
    report->still_us = face->still_us;
    report->frame_width = face->frame_width;
    report->frame_height = face->frame_height;
    report->quality = face->quality;
    report->faces[0] = (struct fw_overlay_face){.track = face->track, .face = face->face};
    report->face_count = 1;
    for (int i = 0; i < face->other_count && report->face_count < FW_REPORT_FACES; i++)
        report->faces[report->face_count++] =
            (struct fw_overlay_face){.track = face->other_tracks[i], .face = face->others[i]};
    return report;
}

static bool sha256_hex(const struct fw_bytes *bytes, char hex[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    if (EVP_Digest(bytes->data, bytes->length, digest, &length, EVP_sha256(), NULL) != 1)
        return false;
    static const char digits[] = "0123456789abcdef";
    for (unsigned int i = 0; i < length && i < 32; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[64] = '\0';
    return true;
}

// "front-door/2026/01/31/235959.123-t12-left-face.jpg" behind PREFIX: by camera and date, sortable,
// and unique across restarts, because the time of the picture is in it.
static char *snapshot_key(const char *prefix, const struct fw_report *report, const char *what)
{
    time_t seconds = (time_t)(report->capture_utc_us / FW_US_PER_S);
    int ms = (int)(report->capture_utc_us % FW_US_PER_S / FW_US_PER_MS);
    struct tm utc;
    if (!gmtime_r(&seconds, &utc))
        return NULL;
    char when[32];
    strftime(when, sizeof when, "%Y/%m/%d/%H%M%S", &utc);
    return fw_strdup_printf("%s%s/%s.%03d-t%llu-%s-%s.jpg", prefix, report->camera->id, when, ms,
                            (unsigned long long)report->track, fw_report_kind_name(report->kind),
                            what);
}

static int put_picture(struct fw_report_snapshot *snapshot, int index,
                       const struct fw_report *report, const char *what,
                       const struct fw_snapshot_picture *picture,
                       const struct fw_report_place *place, struct fw_event_picture *out,
                       struct fw_error *error)
{
    char *key = snapshot->keys[index] = snapshot_key(place->key_prefix, report, what);
    if (!key || !(snapshot->urls[index] = fw_spool_plain_url(place->spool, key)))
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (!sha256_hex(picture->jpeg, snapshot->sha256[index]))
        return fw_fail(error, FW_EIO, "libcrypto refuses SHA-256; check the installation");
    int status = fw_spool_put(place->spool, key, picture->jpeg->data, picture->jpeg->length, error);
    if (status < 0)
        return status;
    *out = (struct fw_event_picture){.key = key,
                                     .url = snapshot->urls[index],
                                     .sha256 = snapshot->sha256[index],
                                     .width = picture->width,
                                     .height = picture->height,
                                     .length = picture->jpeg->length};
    return FW_OK;
}

int fw_report_snapshot_make(struct fw_report_snapshot *snapshot, const struct fw_report *report,
                            const struct fw_report_place *place, struct fw_error *error)
{
    struct fw_snapshot rendered;
    snapshot->event.state = "failed";
    int status = fw_snapshot_render(report->picture, report->faces, report->face_count,
                                    JPEG_QUALITY, &rendered, error);
    if (status < 0)
        return status;
    struct fw_event_snapshot *event = &snapshot->event;
    const struct {
        const char *what;
        const struct fw_snapshot_picture *picture;
        struct fw_event_picture *out;
    } parts[] = {
        {"full", &rendered.full, &event->full},
        {"full-annotated", &rendered.full_annotated, &event->full_annotated},
        {"face", &rendered.face, &event->face},
        {"face-annotated", &rendered.face_annotated, &event->face_annotated},
    };
    for (int i = 0; i < 4 && status == FW_OK; i++)
        status = put_picture(snapshot, i, report, parts[i].what, parts[i].picture, place,
                             parts[i].out, error);
    fw_snapshot_free(&rendered);
    if (status == FW_OK)
        event->state = fw_spool_state(place->spool, snapshot->keys[3]) == FW_SPOOL_STORED
                           ? "stored"
                           : "pending";
    return status;
}

void fw_report_snapshot_free(struct fw_report_snapshot *snapshot)
{
    for (int i = 0; i < 4; i++) {
        free(snapshot->keys[i]);
        free(snapshot->urls[i]);
    }
}
