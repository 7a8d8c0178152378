// The picture: refcounted, YUV from the decoder to the encoder.
#ifndef FW_MEDIA_FRAME_H
#define FW_MEDIA_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fw_pixel_format {
    FW_PIXEL_I420,  // planes Y, U, V; chroma halved in both directions, sizes rounded up
    FW_PIXEL_NV12,  // planes Y, UV interleaved
    FW_PIXEL_BGR24, // one plane; still pictures only
};

#define FW_FRAME_MAX_SIDE_PX 16384

enum fw_color_matrix { FW_MATRIX_BT601, FW_MATRIX_BT709 };

// One picture. Made with reference count 1, shared by fw_frame_ref().
//
// Pixels: only the holder of the sole reference may write (fw_frame_is_writable()); a picture that
// came from a decoder is never writable, because the decoder predicts from it.
// All other fields: set by the maker before the first fw_frame_ref(), read-only after.
struct fw_frame {
    enum fw_pixel_format format;
    enum fw_color_matrix matrix;
    bool full_range; // Y 0..255 rather than 16..235
    int width, height;
    uint8_t *planes[3];
    int strides[3];               // bytes
    int64_t capture_utc_us;       // when the camera took it, UTC
    int64_t capture_mono_us;      // the same moment on the monotonic clock
    uint64_t sequence;            // rises by one a picture of this camera, across reconnects
    struct fw_frame_owner *owner; // private
};

// Planes that somebody else holds: RELEASE(OPAQUE) is called once, when the last reference goes, on
// whichever thread that is. The caller fills format, size, planes and strides after. Not writable.
// NULL when memory is out: then RELEASE was not called.
struct fw_frame *fw_frame_wrap(void (*release)(void *opaque), void *opaque);

// A writable picture with its own memory, planes aligned to 64 bytes, uninitialised. NULL when
// memory is out or a side is not in 1..FW_FRAME_MAX_SIDE_PX.
struct fw_frame *fw_frame_create(enum fw_pixel_format format, int width, int height);

struct fw_frame *fw_frame_ref(struct fw_frame *frame);
// Drops a reference. NULL is allowed.
void fw_frame_unref(struct fw_frame *frame);
bool fw_frame_is_writable(const struct fw_frame *frame);

// Pictures of one size that are used again and again, so that the steady state allocates nothing.
// Thread-safe. The pool lives until fw_frame_pool_unref() and its last picture's return.
struct fw_frame_pool;
struct fw_frame_pool *fw_frame_pool_create(enum fw_pixel_format format, int width, int height);
void fw_frame_pool_unref(struct fw_frame_pool *pool);
// A writable picture, or NULL when memory is out. It goes back to the pool by fw_frame_unref().
struct fw_frame *fw_frame_pool_get(struct fw_frame_pool *pool);

// Copies pixels and colour description, size and format being equal, and time and sequence.
// FW_OK or FW_EINVAL. TO must be writable.
int fw_frame_copy(struct fw_frame *to, const struct fw_frame *from);
// The part of FRAME at X, Y (even ones, for YUV) as a picture that borrows FRAME's pixels and has
// no references of its own: for functions that only look at it.
struct fw_frame fw_frame_view(const struct fw_frame *frame, int x, int y, int width, int height);
// The fields alone: colour description, times, sequence.
void fw_frame_copy_description(struct fw_frame *to, const struct fw_frame *from);

// How the pixels lie: planes of FORMAT, bytes that a row of PLANE uses, rows of PLANE.
int fw_frame_plane_count(enum fw_pixel_format format);
int fw_frame_row_bytes(const struct fw_frame *frame, int plane);
int fw_frame_row_count(const struct fw_frame *frame, int plane);

#endif
