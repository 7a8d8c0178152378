#include "media/image_file.h"

#include "media/exif.h"
#include "media/image.h"
#include "media/jpeg.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)256 * 1024 * 1024)
#define MAX_SIDE_PX    16384
#define FIRST_BYTES    ((size_t)256 * 1024)

// A file's bytes with libav's padding after them.
struct content {
    uint8_t *bytes;
    size_t length;
};

static int fail_to_read(const char *path, struct fw_error *error)
{
    if (errno == ENOENT || errno == ENOTDIR)
        return fw_fail(error, FW_ENOENT, "%s does not exist; check the path", path);
    return fw_fail(error, FW_EIO, "%s cannot be read: %s; check the file and its rights", path,
                   strerror(errno));
}

static int grow(struct content *content, size_t capacity)
{
    uint8_t *bytes = realloc(content->bytes, capacity + AV_INPUT_BUFFER_PADDING_SIZE);

    if (!bytes)
        return FW_ENOMEM;
    content->bytes = bytes;
    return FW_OK;
}

static int read_stream(FILE *file, const char *path, struct content *content,
                       struct fw_error *error)
{
    size_t capacity = 0;

    do {
        capacity = capacity ? capacity * 2 : FIRST_BYTES;
        if (capacity > MAX_FILE_BYTES)
            return fw_fail(error, FW_EFULL, "%s is larger than 256 MiB; is it a picture?", path);
        if (grow(content, capacity))
            return fw_fail(error, FW_ENOMEM, "no memory for %s; free some", path);
        content->length +=
            fread(content->bytes + content->length, 1, capacity - content->length, file);
        if (ferror(file))
            return fail_to_read(path, error);
    } while (content->length == capacity);
    memset(content->bytes + content->length, 0, AV_INPUT_BUFFER_PADDING_SIZE);
    return FW_OK;
}

static int read_content(const char *path, struct content *content, struct fw_error *error)
{
    FILE *file = fopen(path, "rb");
    int status;

    if (!file)
        return fail_to_read(path, error);
    status = read_stream(file, path, content, error);
    (void)fclose(file);
    return status;
}

static bool begins_with(const struct content *content, size_t offset, const char *magic,
                        size_t length)
{
    return content->length >= offset + length && !memcmp(content->bytes + offset, magic, length);
}

static enum AVCodecID codec_of(const struct content *content)
{
    if (begins_with(content, 0, "\xFF\xD8\xFF", 3))
        return AV_CODEC_ID_MJPEG;
    if (begins_with(content, 0, "\x89PNG\r\n\x1A\n", 8))
        return AV_CODEC_ID_PNG;
    if (begins_with(content, 0, "RIFF", 4) && begins_with(content, 8, "WEBP", 4))
        return AV_CODEC_ID_WEBP;
    if (begins_with(content, 0, "BM", 2))
        return AV_CODEC_ID_BMP;
    return AV_CODEC_ID_NONE;
}

static AVCodecContext *open_decoder(const AVCodec *codec)
{
    AVCodecContext *decoder = avcodec_alloc_context3(codec);

    if (!decoder)
        return NULL;
    decoder->thread_count = 1;
    decoder->max_pixels = (int64_t)MAX_SIDE_PX * MAX_SIDE_PX;
    decoder->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
    if (avcodec_open2(decoder, codec, NULL) < 0)
        avcodec_free_context(&decoder);
    return decoder;
}

// The whole file is one packet: each of these formats holds one picture.
static int decode_packet(AVCodecContext *decoder, const struct content *content, AVFrame *picture)
{
    AVPacket *packet = av_packet_alloc();
    int status;

    if (!packet)
        return FW_ENOMEM;
    packet->data = content->bytes;
    packet->size = (int)content->length;
    status = avcodec_send_packet(decoder, packet);
    if (!status)
        status = avcodec_send_packet(decoder, NULL);
    if (!status)
        status = avcodec_receive_frame(decoder, picture);
    av_packet_free(&packet);
    if (status == AVERROR(ENOMEM))
        return FW_ENOMEM;
    if (status < 0 || picture->flags & AV_FRAME_FLAG_CORRUPT || picture->decode_error_flags)
        return FW_EFORMAT;
    return FW_OK;
}

// Exactly the grey value thrice: libswscale would go by its tables of YUV.
static void spread_grey(const AVFrame *picture, struct fw_frame *frame)
{
    for (int y = 0; y < frame->height; y++) {
        const uint8_t *from = picture->data[0] + (ptrdiff_t)y * picture->linesize[0];
        uint8_t *to = frame->planes[0] + (ptrdiff_t)y * frame->strides[0];

        for (int x = 0; x < frame->width; x++)
            memset(to + (ptrdiff_t)3 * x, from[x], 3);
    }
}

static int scale_to_bgr(const AVFrame *picture, struct fw_frame *frame)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get((enum AVPixelFormat)picture->format);
    const int *coefficients = sws_getCoefficients(SWS_CS_ITU601);
    // Only WebP gives YUV, with video's range.
    int is_full_range = format && format->nb_components < 3;
    struct SwsContext *sws;
    int rows;

    if (!sws_isSupportedInput((enum AVPixelFormat)picture->format))
        return FW_ENOTSUP;
    sws = sws_getContext(picture->width, picture->height, (enum AVPixelFormat)picture->format,
                         picture->width, picture->height, AV_PIX_FMT_BGR24,
                         SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    if (!sws)
        return FW_ENOMEM;
    (void)sws_setColorspaceDetails(sws, coefficients, is_full_range, coefficients, 1, 0, 1 << 16,
                                   1 << 16);
    rows = sws_scale(sws, (const uint8_t *const *)picture->data, picture->linesize, 0,
                     picture->height, frame->planes, frame->strides);
    sws_freeContext(sws);
    return rows == picture->height ? FW_OK : FW_EFORMAT;
}

static int convert_to_bgr(const AVFrame *picture, struct fw_frame **out)
{
    struct fw_frame *frame;
    int status = FW_OK;

    if (picture->width > MAX_SIDE_PX || picture->height > MAX_SIDE_PX)
        return FW_EFULL;
    frame = fw_frame_create(FW_PIXEL_BGR24, picture->width, picture->height);
    if (!frame)
        return FW_ENOMEM;
    if (picture->format == AV_PIX_FMT_GRAY8)
        spread_grey(picture, frame);
    else
        status = scale_to_bgr(picture, frame);
    if (status) {
        fw_frame_unref(frame);
        return status;
    }
    *out = frame;
    return FW_OK;
}

static int decode_content(const struct content *content, enum AVCodecID id, struct fw_frame **out)
{
    const AVCodec *codec = avcodec_find_decoder(id);
    AVCodecContext *decoder = NULL;
    AVFrame *picture = NULL;
    int status = FW_ENOMEM;

    if (!codec)
        return FW_ENOTSUP;
    decoder = open_decoder(codec);
    picture = av_frame_alloc();
    if (!decoder || !picture)
        goto done;
    status = decode_packet(decoder, content, picture);
    if (!status)
        status = convert_to_bgr(picture, out);
done:
    av_frame_free(&picture);
    avcodec_free_context(&decoder);
    return status;
}

static int explain(int status, const char *path, struct fw_error *error)
{
    switch (status) {
    case FW_OK:
        return FW_OK;
    case FW_ENOMEM:
        return fw_fail(error, status, "no memory for %s; free some", path);
    case FW_ENOTSUP:
        return fw_fail(error, status, "this libav cannot read %s; convert it to JPEG", path);
    case FW_EFULL:
        return fw_fail(error, status, "%s has more than %d pixels a side; make it smaller", path,
                       MAX_SIDE_PX);
    default:
        return fw_fail(error, status, "%s is damaged; get the picture again", path);
    }
}

static int load_jpeg(const struct content *content, const char *path, struct fw_frame **out,
                     struct fw_error *error)
{
    struct fw_error cause = {0};
    struct fw_frame *stored;
    int status = fw_jpeg_decode(content->bytes, content->length, out, &cause);

    if (status)
        return fw_fail(error, status, "%s: %s", path, cause.message);
    stored = *out;
    *out = fw_image_orient(stored, fw_exif_orientation(content->bytes, content->length));
    fw_frame_unref(stored);
    return *out ? FW_OK : fw_fail(error, FW_ENOMEM, "no memory for %s; free some", path);
}

int fw_image_load(const char *path, struct fw_frame **out, struct fw_error *error)
{
    struct content content = {0};
    enum AVCodecID id;
    int status;

    *out = NULL;
    status = read_content(path, &content, error);
    if (status)
        goto done;
    id = codec_of(&content);
    if (id == AV_CODEC_ID_NONE)
        status = fw_fail(error, FW_EFORMAT,
                         "%s is no JPEG, PNG, WebP or BMP picture; convert it to one", path);
    else if (id == AV_CODEC_ID_MJPEG)
        status = load_jpeg(&content, path, out, error);
    else
        status = explain(decode_content(&content, id, out), path, error);
done:
    free(content.bytes);
    return status;
}
