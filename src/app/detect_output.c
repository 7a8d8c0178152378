#include "app/detect_output.h"
#include "app/detect_targets.h"
#include "camera/overlay.h"
#include "media/image.h"
#include "media/jpeg.h"
#include "util/queue.h"
#include "util/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define JPEG_QUALITY 92
// Of the face's size, on each side: as much as snapshots show.
#define CROP_MARGIN 0.4F

// FOLDER/NAME.jpg, where NAME's leading slashes and its "." and ".." are left out, so that nothing
// is written outside of FOLDER.
static char *target_path(const char *folder, const char *name)
{
    struct fw_text path = FW_TEXT_INIT;
    fw_text_append(&path, folder);
    while (*name != '\0') {
        size_t length = strcspn(name, "/");
        bool is_dots =
            (length == 1 && name[0] == '.') || (length == 2 && strncmp(name, "..", 2) == 0);
        if (length > 0 && !is_dots) {
            fw_text_append(&path, "/");
            fw_text_append_n(&path, name, length);
        }
        name += length + (name[length] == '/');
    }
    if (!fw_ends_with(fw_text_get(&path), ".jpg"))
        fw_text_append(&path, ".jpg");
    return fw_text_steal(&path);
}

// Where the face NUMBER of the picture NAME goes; NULL when memory is out.
static char *crop_path(const char *folder, const char *name, size_t number)
{
    char *whole = target_path(folder, name);
    char *path = whole == NULL
                     ? NULL
                     : fw_strdup_printf("%.*s-%zu.jpg", (int)(strlen(whole) - 4), whole, number);
    free(whole);
    return path;
}

// The part of FRAME that shows FACE with a margin. False when it lies outside.
static bool crop_box(const struct fw_frame *frame, const struct fw_box *face, struct fw_box *box)
{
    *box = fw_box_clip(*face, frame->width, frame->height);
    if (!(box->w > 0) || !(box->h > 0))
        return false;
    *box = fw_box_clip(
        (struct fw_box){face->x - CROP_MARGIN * face->w, face->y - CROP_MARGIN * face->h,
                        face->w * (1 + 2 * CROP_MARGIN), face->h * (1 + 2 * CROP_MARGIN)},
        frame->width, frame->height);
    return true;
}

static void append_landmarks(struct fw_text *text, const struct fw_face *face)
{
    if (!face->has_landmarks) {
        fw_text_append(text, "null");
        return;
    }
    for (int i = 0; i < FW_LANDMARKS; i++)
        fw_text_appendf(text, "%s[%.3f, %.3f]", i == 0 ? "[" : ", ", (double)face->landmarks[i].x,
                        (double)face->landmarks[i].y);
    fw_text_append(text, "]");
}

static void append_crop(struct fw_text *text, const char *folder, const char *name, size_t number,
                        const struct fw_frame *frame, const struct fw_face *face)
{
    struct fw_box box;
    if (!crop_box(frame, &face->box, &box)) {
        fw_text_append(text, ", \"crop\": null");
        return;
    }
    char *path = crop_path(folder, name, number);
    text->failed = text->failed || path == NULL;
    fw_text_append(text, ", \"crop\": \"");
    fw_text_append_json(text, path != NULL ? path : "");
    fw_text_append(text, "\"");
    free(path);
}

static void append_face(struct fw_text *text, const struct fw_face *face)
{
    const struct fw_box *box = &face->box;
    fw_text_appendf(text, "{\"box\": [%.3f, %.3f, %.3f, %.3f], \"score\": %.6f, \"landmarks\": ",
                    (double)box->x, (double)box->y, (double)box->w, (double)box->h,
                    (double)face->score);
    append_landmarks(text, face);
}

void fw_detect_append_line(struct fw_text *text, const char *name, const struct fw_frame *frame,
                           const struct fw_faces *faces, const char *crop_folder)
{
    fw_text_append(text, "{\"image\": \"");
    fw_text_append_json(text, name);
    fw_text_appendf(text, "\", \"width\": %d, \"height\": %d, \"faces\": [", frame->width,
                    frame->height);
    for (size_t i = 0; i < faces->count; i++) {
        fw_text_append(text, i == 0 ? "" : ", ");
        append_face(text, &faces->items[i]);
        if (crop_folder != NULL)
            append_crop(text, crop_folder, name, i + 1, frame, &faces->items[i]);
        fw_text_append(text, "}");
    }
    fw_text_append(text, "]}\n");
}

// Makes every folder above the last '/' of PATH.
static int make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int status = mkdir(path, 0777);
        int reason = errno;
        *slash = '/';
        if (status != 0 && reason != EEXIST) {
            errno = reason;
            return FW_EIO;
        }
    }
    return FW_OK;
}

static int write_file(struct fw_detect_targets *targets, char *path, const struct fw_bytes *bytes,
                      struct fw_error *error)
{
    int status = fw_detect_targets_take(targets, path, error);
    if (status != FW_OK)
        return status;
    if (make_folders(path) != FW_OK)
        return fw_fail(error, FW_EIO, "can't make the folder of '%s' (%s); choose another folder",
                       path, strerror(errno));
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return fw_fail(error, FW_EIO, "can't write '%s' (%s); choose another folder", path,
                       strerror(errno));
    bool is_whole = fwrite(bytes->data, 1, bytes->length, file) == bytes->length;
    is_whole = fclose(file) == 0 && is_whole;
    if (is_whole)
        return FW_OK;
    status =
        fw_fail(error, FW_EIO, "can't write '%s' (%s); is the disk full?", path, strerror(errno));
    (void)remove(path); // half a picture is of no use
    return status;
}

static int write_crop(struct fw_detect_targets *targets, char *path, const struct fw_frame *frame,
                      struct fw_box box, struct fw_error *error)
{
    struct fw_bytes *bytes = NULL;
    struct fw_frame *crop = fw_image_crop(frame, box);
    if (crop == NULL)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    int status = fw_jpeg_encode(crop, JPEG_QUALITY, &bytes, error);
    fw_frame_unref(crop);
    if (status != FW_OK)
        return status;
    status = write_file(targets, path, bytes, error);
    fw_bytes_unref(bytes);
    return status;
}

int fw_detect_write_crops(struct fw_detect_targets *targets, const char *folder, const char *name,
                          const struct fw_frame *frame, const struct fw_faces *faces,
                          struct fw_error *error)
{
    int status = FW_OK;
    for (size_t i = 0; i < faces->count && status == FW_OK; i++) {
        struct fw_box box;
        if (!crop_box(frame, &faces->items[i].box, &box))
            continue;
        char *path = crop_path(folder, name, i + 1);
        status = path == NULL ? fw_fail(error, FW_ENOMEM, "out of memory")
                              : write_crop(targets, path, frame, box, error);
        free(path);
    }
    return status;
}

// A picture that can be drawn on: new, or NULL when memory is out.
static struct fw_frame *drawable(struct fw_frame *frame)
{
    if (frame->format == FW_PIXEL_BGR24)
        return fw_image_convert_i420(frame);
    struct fw_frame *copy = fw_frame_create(frame->format, frame->width, frame->height);
    if (copy != NULL && fw_frame_copy(copy, frame) != FW_OK) {
        fw_frame_unref(copy);
        copy = NULL;
    }
    return copy;
}

static int draw(struct fw_annotator *annotator, struct fw_frame *frame,
                const struct fw_faces *faces, struct fw_error *error)
{
    if (annotator->overlay == NULL || annotator->overlay_height_px != frame->height) {
        fw_overlay_destroy(annotator->overlay);
        annotator->overlay = NULL;
        int status = fw_overlay_create(&annotator->overlay, frame->height, error);
        if (status != FW_OK)
            return status;
        annotator->overlay_height_px = frame->height;
    }
    struct fw_overlay_face *drawn = calloc(faces->count + 1, sizeof(*drawn));
    if (drawn == NULL)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    for (size_t i = 0; i < faces->count; i++)
        drawn[i] = (struct fw_overlay_face){.track = i + 1, .face = faces->items[i]};
    fw_overlay_draw_faces(annotator->overlay, frame, drawn, (int)faces->count);
    free(drawn);
    return FW_OK;
}

int fw_annotate(struct fw_annotator *annotator, const char *name, struct fw_frame *frame,
                const struct fw_faces *faces, struct fw_error *error)
{
    struct fw_bytes *bytes = NULL;
    char *path = target_path(annotator->folder, name);
    struct fw_frame *copy = drawable(frame);
    int status = FW_ENOMEM;
    if (path == NULL || copy == NULL) {
        fw_fail(error, FW_ENOMEM, "out of memory");
        goto done;
    }
    status = draw(annotator, copy, faces, error);
    if (status == FW_OK)
        status = fw_jpeg_encode(copy, JPEG_QUALITY, &bytes, error);
    if (status == FW_OK)
        status = write_file(annotator->targets, path, bytes, error);
done:
    if (bytes != NULL)
        fw_bytes_unref(bytes);
    fw_frame_unref(copy);
    free(path);
    return status;
}

void fw_annotator_free(struct fw_annotator *annotator)
{
    fw_overlay_destroy(annotator->overlay);
    annotator->overlay = NULL;
}
