#include "camera/snapshot.h"

#include "media/frame.h"
#include "media/image.h"
#include "media/jpeg.h"
#include "util/queue.h"

#define CROP_MARGIN 0.4F

static int compress(const struct fw_frame *frame, int quality, struct fw_snapshot_picture *picture,
                    struct fw_error *error)
{
    picture->width = frame->width;
    picture->height = frame->height;
    return fw_jpeg_encode(frame, quality, &picture->jpeg, error);
}

// Draws FACES on FRAME, moved by LEFT, TOP: the crop's place in the whole picture. The lettering
// goes by the height of FRAME, so that a small crop stays legible.
static int annotate(struct fw_frame *frame, const struct fw_overlay_face *faces, int face_count,
                    float left, float top, struct fw_error *error)
{
    struct fw_overlay *overlay;
    int status = fw_overlay_create(&overlay, frame->height, error);

    if (status)
        return status;
    for (int i = 0; i < face_count; i++) {
        struct fw_overlay_face face = faces[i];

        face.face.box.x -= left;
        face.face.box.y -= top;
        fw_overlay_draw_faces(overlay, frame, &face, 1);
    }
    fw_overlay_destroy(overlay);
    return FW_OK;
}

static int render_full(const struct fw_frame *frame, const struct fw_overlay_face *faces,
                       int face_count, int quality, struct fw_snapshot *snapshot,
                       struct fw_error *error)
{
    struct fw_frame *copy = NULL;
    int status = compress(frame, quality, &snapshot->full, error);

    if (status)
        return status;
    copy = fw_frame_create(frame->format, frame->width, frame->height);
    if (!copy)
        return fw_fail(error, FW_ENOMEM, "no memory for a snapshot; free some");
    status = fw_frame_copy(copy, frame);
    if (!status)
        status = annotate(copy, faces, face_count, 0.0F, 0.0F, error);
    if (!status)
        status = compress(copy, quality, &snapshot->full_annotated, error);
    fw_frame_unref(copy);
    return status;
}

// The part of the picture that the crop shows, cut at its edges, on even pixels as the crop is.
static struct fw_box crop_box(const struct fw_frame *frame, const struct fw_box *face)
{
    struct fw_box box = {
        .x = face->x - CROP_MARGIN * face->w,
        .y = face->y - CROP_MARGIN * face->h,
        .w = face->w * (1.0F + 2.0F * CROP_MARGIN),
        .h = face->h * (1.0F + 2.0F * CROP_MARGIN),
    };
    struct fw_box cut = fw_box_clip(box, frame->width, frame->height);
    float right = cut.x + cut.w;
    float bottom = cut.y + cut.h;

    cut.x = (float)((int)cut.x & ~1);
    cut.y = (float)((int)cut.y & ~1);
    cut.w = right - cut.x;
    cut.h = bottom - cut.y;
    return cut;
}

static int render_face(const struct fw_frame *frame, const struct fw_overlay_face *face,
                       int quality, struct fw_snapshot *snapshot, struct fw_error *error)
{
    struct fw_box box = crop_box(frame, &face->face.box);
    struct fw_frame *crop;
    int status;

    if (!(box.w > 0.0F) || !(box.h > 0.0F))
        return fw_fail(error, FW_EINVAL, "the face lies outside its picture; report this");
    crop = fw_image_crop(frame, box);
    if (!crop)
        return fw_fail(error, FW_ENOMEM, "no memory for a face's picture; free some");
    status = compress(crop, quality, &snapshot->face, error);
    if (!status)
        status = annotate(crop, face, 1, box.x, box.y, error);
    if (!status)
        status = compress(crop, quality, &snapshot->face_annotated, error);
    fw_frame_unref(crop);
    return status;
}

int fw_snapshot_render(const struct fw_frame *frame, const struct fw_overlay_face *faces,
                       int face_count, int quality, struct fw_snapshot *snapshot,
                       struct fw_error *error)
{
    int status;

    *snapshot = (struct fw_snapshot){0};
    if (face_count < 1)
        return fw_fail(error, FW_EINVAL, "a snapshot without a face; report this");
    status = render_full(frame, faces, face_count, quality, snapshot, error);
    if (!status)
        status = render_face(frame, &faces[0], quality, snapshot, error);
    if (status)
        fw_snapshot_free(snapshot);
    return status;
}

static void free_picture(struct fw_snapshot_picture *picture)
{
    if (picture->jpeg)
        fw_bytes_unref(picture->jpeg);
    *picture = (struct fw_snapshot_picture){0};
}

void fw_snapshot_free(struct fw_snapshot *snapshot)
{
    if (!snapshot)
        return;
    free_picture(&snapshot->full);
    free_picture(&snapshot->full_annotated);
    free_picture(&snapshot->face);
    free_picture(&snapshot->face_annotated);
}
