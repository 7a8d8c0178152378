#include "clip.h"

#include "camera/camera.h"
#include "camera/encode.h"
#include "camera/publish.h"
#include "util/text.h"
#include "util/url.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void draw(struct fw_frame *frame, int number)
{
    int side = frame->height / 4;
    int left = number * 4 % (frame->width - side);

    for (int y = 0; y < frame->height; y++) {
        uint8_t *row = frame->planes[0] + (ptrdiff_t)y * frame->strides[0];
        for (int x = 0; x < frame->width; x++)
            row[x] = (uint8_t)(40 + (x + y) % 64);
        if (y >= side && y < 2 * side)
            memset(row + left, 220, (size_t)side);
    }
    for (int plane = 1; plane < 3; plane++) {
        for (int y = 0; y < (frame->height + 1) / 2; y++)
            memset(frame->planes[plane] + (ptrdiff_t)y * frame->strides[plane], 128,
                   (size_t)((frame->width + 1) / 2));
    }
}

static void encode_all(struct fw_encoder *encoder, struct fw_publish *publish,
                       struct fw_frame *frame, int frames, int fps)
{
    AVPacket *packet = av_packet_alloc();
    struct fw_error error;

    assert_non_null(packet);
    for (int i = 0; i < frames; i++) {
        draw(frame, i);
        assert_int_equal(
            fw_encoder_encode(encoder, frame, (int64_t)i * 1000000 / fps, false, packet, &error),
            FW_OK);
        fw_publish_packet(publish, packet);
        av_packet_unref(packet);
    }
    assert_int_equal(fw_encoder_flush(encoder, packet), FW_EEND);
    av_packet_free(&packet);
}

void clip_make(const char *path, int width, int height, int frames, int fps)
{
    struct fw_encoder_options options = {
        .name = "libx264", .preset = "ultrafast", .bitrate_kbps = 1000, .fps = fps, .gop_s = 1};
    struct fw_output_options output = {0};
    struct fw_publish_options publish_options = {
        .outputs = &output, .output_count = 1, .is_lossless = true};
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, width, height);
    struct fw_encoder *encoder = NULL;
    struct fw_publish *publish = NULL;
    struct fw_url *url = NULL;
    struct fw_error error;

    assert_non_null(frame);
    frame->matrix = FW_MATRIX_BT601;
    frame->full_range = false;
    assert_int_equal(fw_url_parse(&url, path, NULL, NULL, NULL, &error), FW_OK);
    output.url = url;
    assert_int_equal(fw_encoder_open(&encoder, &options, frame, &error), FW_OK);
    assert_int_equal(fw_publish_create(&publish, &publish_options, &error), FW_OK);
    assert_int_equal(fw_publish_begin(publish, fw_encoder_context(encoder), &error), FW_OK);
    encode_all(encoder, publish, frame, frames, fps);
    assert_int_equal(fw_publish_finish(publish, false, 5000), 0);
    fw_publish_destroy(publish);
    fw_encoder_close(encoder);
    fw_frame_unref(frame);
    fw_url_destroy(url);
}

static void copy_packets(AVFormatContext *input, AVFormatContext *output, int64_t shift_ms)
{
    AVRational milliseconds = {1, 1000};
    AVPacket *packet = av_packet_alloc();

    assert_non_null(packet);
    while (av_read_frame(input, packet) >= 0) {
        int64_t shift = av_rescale_q(shift_ms, milliseconds, input->streams[0]->time_base);

        packet->pts += shift;
        packet->dts += shift;
        av_packet_rescale_ts(packet, input->streams[0]->time_base, output->streams[0]->time_base);
        assert_true(av_write_frame(output, packet) >= 0);
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
}

void clip_append(const char *from, const char *to, int64_t shift_ms)
{
    AVFormatContext *input = NULL, *output = NULL;
    AVDictionary *options = NULL;
    AVStream *stream;

    assert_true(avformat_open_input(&input, from, NULL, NULL) >= 0);
    assert_true(avformat_find_stream_info(input, NULL) >= 0);
    assert_true(avformat_alloc_output_context2(&output, NULL, "mpegts", to) >= 0);
    stream = avformat_new_stream(output, NULL);
    assert_non_null(stream);
    assert_true(avcodec_parameters_copy(stream->codecpar, input->streams[0]->codecpar) >= 0);
    assert_true(av_dict_set(&options, "truncate", "0", 0) >= 0);
    assert_true(avio_open2(&output->pb, to, AVIO_FLAG_WRITE, NULL, &options) >= 0);
    av_dict_free(&options);
    assert_true(avio_seek(output->pb, avio_size(output->pb), SEEK_SET) >= 0);
    assert_true(avformat_write_header(output, NULL) >= 0);
    copy_packets(input, output, shift_ms);
    assert_true(av_write_trailer(output) >= 0);
    avio_closep(&output->pb);
    avformat_free_context(output);
    avformat_close_input(&input);
}

static void inspect_packet(const AVPacket *packet, const AVStream *stream, struct clip_info *info,
                           int64_t *last_dts, int64_t *last_key)
{
    AVRational milliseconds = {1, 1000};

    info->packets++;
    info->falling_dts += *last_dts != AV_NOPTS_VALUE && packet->dts <= *last_dts;
    info->reordered += packet->pts != packet->dts;
    *last_dts = packet->dts;
    info->duration_ms =
        av_rescale_q(packet->pts - (stream->start_time == AV_NOPTS_VALUE ? 0 : stream->start_time),
                     stream->time_base, milliseconds);
    if (!(packet->flags & AV_PKT_FLAG_KEY))
        return;
    info->keyframes++;
    if (*last_key != AV_NOPTS_VALUE) {
        int64_t interval = av_rescale_q(packet->pts - *last_key, stream->time_base, milliseconds);
        if (interval > info->longest_keyframe_interval_ms)
            info->longest_keyframe_interval_ms = interval;
    }
    *last_key = packet->pts;
}

void clip_inspect(const char *path, struct clip_info *info)
{
    AVFormatContext *format = NULL;
    AVPacket *packet = av_packet_alloc();
    int64_t last_dts = AV_NOPTS_VALUE, last_key = AV_NOPTS_VALUE;

    *info = (struct clip_info){0};
    assert_non_null(packet);
    assert_true(avformat_open_input(&format, path, NULL, NULL) >= 0);
    assert_true(avformat_find_stream_info(format, NULL) >= 0);
    assert_int_equal(format->nb_streams, 1);
    info->width = format->streams[0]->codecpar->width;
    info->height = format->streams[0]->codecpar->height;
    while (av_read_frame(format, packet) >= 0) {
        inspect_packet(packet, format->streams[0], info, &last_dts, &last_key);
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    avformat_close_input(&format);
}

char *clip_path(const char *name)
{
    const char *folder = getenv("TMPDIR");
    char *path =
        fw_strdup_printf("%s/fw-camera-%ld-%s", folder ? folder : "/tmp", (long)getpid(), name);

    assert_non_null(path);
    return path;
}

int clip_set_up(void **state)
{
    char *path = clip_path("clip.mp4");

    fw_camera_library_init();
    clip_make(path, CLIP_WIDTH, CLIP_HEIGHT, CLIP_FRAMES, CLIP_FPS);
    *state = path;
    return 0;
}

int clip_tear_down(void **state)
{
    unlink(*state);
    free(*state);
    return 0;
}
