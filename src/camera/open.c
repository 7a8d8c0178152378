// Opening what is behind an address: options for each protocol, transports, the decoder.
#include "camera/source_internal.h"

#include "camera/address.h"
#include "camera/av_error.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <string.h>

#define CLOSE_TIMEOUT_MS   300
#define LIVE_PROBE_BYTES   500000
#define LIVE_ANALYZE_US    1000000
#define LIVE_FPS_PACKETS   3
#define REORDER_DELAY_US   300000
#define RTSP_CHECKS_PER_OP 2

static int set_option(AVDictionary **options, const char *key, int64_t value,
                      struct fw_error *error)
{
    if (av_dict_set_int(options, key, value, 0) < 0)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    return FW_OK;
}

static int rtsp_options(const struct fw_source *source, const char *transport,
                        AVDictionary **options, struct fw_error *error)
{
    const AVInputFormat *rtsp = av_find_input_format("rtsp");
    int64_t timeout_us = source->options.packet_timeout_ms * FW_US_PER_MS;
    int status = fw_address_tls_options(source->options.url, source->options.tls_verify,
                                        rtsp ? rtsp->priv_class : NULL, options, error);

    if (status)
        return status;
    if (av_dict_set(options, "rtsp_transport", transport, 0) < 0)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    // libav's own limit lies above ours, which can tell a cancel from a silence.
    status = set_option(options, "timeout", timeout_us * RTSP_CHECKS_PER_OP, error);
    if (status == FW_OK && strcmp(transport, "udp") == 0)
        status = set_option(options, "buffer_size", 4 << 20, error);
    return status;
}

static int input_options(const struct fw_source *source, const char *transport,
                         AVDictionary **options, struct fw_error *error)
{
    const struct fw_url *url = source->options.url;
    int64_t timeout_us = source->options.packet_timeout_ms * FW_US_PER_MS;
    int status = FW_OK;

    if (fw_address_is_path(url))
        return FW_OK;
    if (fw_address_is_rtsp(url))
        return rtsp_options(source, transport, options, error);
    status = fw_address_tls_options(url, source->options.tls_verify, NULL, options, error);
    if (status == FW_OK)
        status = set_option(options, "rw_timeout", timeout_us * RTSP_CHECKS_PER_OP, error);
    if (status == FW_OK && fw_starts_with(url->scheme, "rtmp") &&
        av_dict_set(options, "rtmp_live", "live", 0) < 0)
        status = fw_fail(error, FW_ENOMEM, "out of memory");
    return status;
}

// Little is read before the first picture, because a stream says what it is at its first keyframe.
static void hurry(AVFormatContext *format)
{
    format->probesize = LIVE_PROBE_BYTES;
    format->max_analyze_duration = LIVE_ANALYZE_US;
    format->fps_probe_size = LIVE_FPS_PACKETS;
    format->max_delay = REORDER_DELAY_US;
}

static int open_format(struct fw_source *source, const char *transport, struct fw_error *error)
{
    const struct fw_url *url = source->options.url;
    const AVInputFormat *input = NULL;
    AVDictionary *options = NULL;
    struct fw_secret *text = NULL;
    int status = FW_OK;
    int averror;

    if (fw_address_is_device(url))
        status = fw_library_device_input(&input, error);
    if (status)
        return status;
    fw_deadline_set(&source->deadline, source->options.connect_timeout_ms);
    status = fw_address_reveal(url, source->options.resolver, source->options.secrets,
                               &source->deadline, &text, error);
    if (status)
        goto done;
    status = input_options(source, transport, &options, error);
    if (status)
        goto done;
    source->format = avformat_alloc_context();
    if (!source->format) {
        status = fw_fail(error, FW_ENOMEM, "out of memory");
        goto done;
    }
    source->format->opaque = &source->loss;
    source->format->interrupt_callback = (AVIOInterruptCB){fw_deadline_passed, &source->deadline};
    if (!fw_address_is_path(url))
        hurry(source->format);
    averror = avformat_open_input(&source->format, fw_secret_reveal(text), input, &options);
    if (averror < 0)
        status = fw_av_fail(error, averror, &source->deadline, url->display);
done:
    fw_secret_destroy(text);
    av_dict_free(&options);
    return status;
}

static bool has_an_end(const struct fw_source *source)
{
    const struct fw_url *url = source->options.url;

    if (fw_address_is_path(url))
        return !fw_address_is_device(url);
    return fw_starts_with(url->scheme, "http") && source->format->duration > 0;
}

static int open_decoder(struct fw_source *source, struct fw_error *error)
{
    const char *display = source->options.url->display;
    const AVStream *stream;
    const AVCodec *codec = NULL;
    int index = av_find_best_stream(source->format, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    int averror;

    if (index < 0)
        return fw_av_fail(error, index, NULL, display);
    source->video_index = index;
    stream = source->format->streams[index];
    source->decoder = avcodec_alloc_context3(codec);
    if (!source->decoder)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    averror = avcodec_parameters_to_context(source->decoder, stream->codecpar);
    if (averror < 0)
        return fw_av_fail(error, averror, NULL, display);
    // One thread: less delay, and what the decoder logs comes while its packet is being decoded.
    source->decoder->thread_count = 1;
    source->decoder->pkt_timebase = stream->time_base;
    source->decoder->opaque = &source->loss;
    averror = avcodec_open2(source->decoder, codec, NULL);
    return averror < 0 ? fw_av_fail(error, averror, NULL, display) : FW_OK;
}

int fw_source_read_packet(struct fw_source *source, int64_t timeout_ms)
{
    int averror;

    fw_deadline_set(&source->deadline, timeout_ms);
    averror = av_read_frame(source->format, source->packet);
    // Formats over an AVIOContext report an interrupted read as an end, and an end makes parsers
    // give what they still hold, as if it had come just now.
    if (averror < 0 ? fw_deadline_passed(&source->deadline)
                    : source->deadline.interrupted != FW_OK) {
        av_packet_unref(source->packet);
        averror = AVERROR_EXIT;
    }
    return averror;
}

// A server may say yes to everything and then send nothing, over this transport at least.
static int await_first_packet(struct fw_source *source, struct fw_error *error)
{
    int64_t end_us = fw_monotonic_us() + source->options.packet_timeout_ms * FW_US_PER_MS;

    for (;;) {
        int64_t left_us = end_us - fw_monotonic_us();
        int averror = fw_source_read_packet(source, left_us > 0 ? left_us / FW_US_PER_MS + 1 : 0);

        if (averror == AVERROR(EAGAIN))
            continue;
        if (averror < 0 &&
            (source->deadline.interrupted == FW_ETIMEDOUT || averror == AVERROR(ETIMEDOUT)))
            return fw_fail(error, FW_ETIMEDOUT,
                           "%s answers, but sends no video; check that the camera streams, and that"
                           " the network lets %s through",
                           source->options.url->display,
                           source->transport[0] ? source->transport : "it");
        if (averror < 0)
            return fw_av_fail(error, averror, &source->deadline, source->options.url->display);
        if (source->packet->stream_index == source->video_index) {
            source->has_packet = true;
            return FW_OK;
        }
        av_packet_unref(source->packet);
    }
}

static int open_over(struct fw_source *source, const char *transport, struct fw_error *error)
{
    int averror;
    int status;

    source->transport = fw_address_is_rtsp(source->options.url) ? transport : "";
    status = open_format(source, transport, error);
    if (status)
        return status;
    // The connection stands; from here on it is silence that is waited for.
    fw_deadline_set(&source->deadline, source->options.packet_timeout_ms);
    averror = avformat_find_stream_info(source->format, NULL);
    if (source->deadline.interrupted == FW_ECANCELED || averror == AVERROR(ENOMEM))
        return fw_av_fail(error, averror, &source->deadline, source->options.url->display);
    status = open_decoder(source, error);
    if (status)
        return status;
    source->is_file = has_an_end(source);
    return source->is_file ? FW_OK : await_first_packet(source, error);
}

void fw_source_close_input(struct fw_source *source)
{
    fw_deadline_set(&source->deadline, CLOSE_TIMEOUT_MS);
    av_packet_unref(source->packet);
    source->has_packet = false;
    avcodec_free_context(&source->decoder);
    avformat_close_input(&source->format);
}

int fw_source_open_input(struct fw_source *source, struct fw_error *error)
{
    enum fw_transport transport = source->options.transport;
    bool was_connected;
    int status;

    if (transport == FW_TRANSPORT_UDP)
        return open_over(source, "udp", error);
    status = open_over(source, "tcp", error);
    was_connected = source->format != NULL;
    if (status == FW_OK || transport == FW_TRANSPORT_TCP ||
        !fw_address_is_rtsp(source->options.url))
        return status;
    // Only what TCP itself may be the cause of: the server does not offer it, or nothing comes.
    if (status != FW_ENOTSUP && !(status == FW_ETIMEDOUT && was_connected))
        return status;
    if (strcmp(source->options.url->scheme, "rtsps") == 0)
        return status;
    fw_source_close_input(source);
    fw_log_info(source->options.log, "no video over RTSP's TCP transport; trying UDP");
    return open_over(source, "udp", error);
}
