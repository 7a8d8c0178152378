#include "camera/output.h"

#include "camera/address.h"
#include "camera/av_error.h"
#include "camera/encode.h"
#include "camera/muxer.h"
#include "util/backoff.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/condition.h"
#include "util/log.h"
#include "util/queue.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/thread.h"
#include "util/url.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 4000
#define WRITE_TIMEOUT_MS   5000
#define CLOSE_TIMEOUT_MS   500
#define MAX_QUEUE_ITEMS    256
#define MAX_QUEUE_BYTES    (8u << 20)
#define MAX_QUEUE_AGE_US   (2 * FW_US_PER_S)
#define HEALTHY_US         (10 * FW_US_PER_S)

// A packet on its way to the writer.
struct item {
    AVPacket *packet;
    int64_t put_us; // monotonic
};

// The picture thread puts packets, the writer thread takes and writes them; what is not const after
// fw_output_begin() is atomic, under MUTEX, in QUEUE, or the writer's alone as said.
struct fw_output {
    struct fw_publish_options options;
    const struct fw_url *url;
    const struct fw_muxer *muxer;
    AVCodecParameters *parameters;
    struct fw_cancel *cancel; // of connecting and waiting, not of writing
    struct fw_queue *queue;
    struct fw_thread *thread;

    // ACCEPTS: open, or about to be for the first time, so that a stream's beginning is not lost.
    _Atomic bool is_open, accepts, needs_keyframe, wants_keyframe, is_closing;
    _Atomic int64_t give_up_us; // monotonic; nothing blocks longer
    _Atomic uint64_t packets, bytes, dropped, reconnects;
    struct fw_condition room; // signalled when a packet was taken; guards REASON
    char reason[256];

    // The writer's.
    AVFormatContext *format;
    bool has_header; // and no trailer yet
    struct fw_deadline deadline;
    int64_t first_dts;
    unsigned opens;
};

static void free_item(void *opaque)
{
    struct item *item = opaque;

    av_packet_free(&item->packet);
    free(item);
}

static void set_reason(struct fw_output *output, const char *reason)
{
    pthread_mutex_lock(&output->room.mutex);
    snprintf(output->reason, sizeof(output->reason), "%.*s", (int)sizeof(output->reason) - 1,
             reason);
    pthread_mutex_unlock(&output->room.mutex);
}

int fw_output_create(struct fw_output **output_out, const struct fw_publish_options *options,
                     const struct fw_url *url, struct fw_error *error)
{
    const struct fw_muxer *muxer = fw_muxer_find(url, error);
    struct fw_queue_options queue = {
        .max_items = MAX_QUEUE_ITEMS,
        .max_bytes = MAX_QUEUE_BYTES,
        .overflow = FW_QUEUE_REFUSE,
        .free_item = free_item,
    };
    struct fw_output *output;

    *output_out = NULL;
    if (!muxer)
        return FW_ENOTSUP;
    output = calloc(1, sizeof(*output));
    if (!output)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (fw_condition_init(&output->room)) {
        free(output);
        return fw_fail(error, FW_ENOMEM, "out of memory");
    }
    output->options = *options;
    output->url = url;
    output->muxer = muxer;
    atomic_store(&output->give_up_us, INT64_MAX);
    output->cancel = fw_cancel_create();
    output->queue = fw_queue_create(&queue);
    output->parameters = avcodec_parameters_alloc();
    if (!output->cancel || !output->queue || !output->parameters) {
        fw_output_destroy(output);
        return fw_fail(error, FW_ENOMEM, "out of memory");
    }
    set_reason(output, "waiting for the first picture");
    *output_out = output;
    return FW_OK;
}

void fw_output_destroy(struct fw_output *output)
{
    if (!output)
        return;
    fw_queue_destroy(output->queue);
    fw_cancel_destroy(output->cancel);
    avcodec_parameters_free(&output->parameters);
    fw_condition_destroy(&output->room);
    free(output);
}

// ---- the queue

// What to drop when the writer can't follow: all packets before the newest keyframe, the oldest
// being that to begin with again. Two passes: find it, then drop.
struct trimming {
    int keyframes, seen;
    int64_t oldest_us;
};

static bool look_at(void *opaque_item, void *opaque)
{
    const struct item *item = opaque_item;
    struct trimming *trimming = opaque;

    if (!trimming->oldest_us)
        trimming->oldest_us = item->put_us;
    trimming->keyframes += (item->packet->flags & AV_PKT_FLAG_KEY) != 0;
    return false;
}

static bool is_before_newest_keyframe(void *opaque_item, void *opaque)
{
    const struct item *item = opaque_item;
    struct trimming *trimming = opaque;

    trimming->seen += (item->packet->flags & AV_PKT_FLAG_KEY) != 0;
    return trimming->seen < trimming->keyframes;
}

static bool any(void *item, void *opaque)
{
    (void)item;
    (void)opaque;
    return true;
}

static void drop_all(struct fw_output *output)
{
    atomic_fetch_add(&output->dropped, fw_queue_drop_if(output->queue, any, NULL));
}

// Begins anew at the next keyframe, which is asked for.
static void drop_until_keyframe(struct fw_output *output)
{
    atomic_store(&output->needs_keyframe, true);
    atomic_store(&output->wants_keyframe, true);
}

// Makes room up to a keyframe. Where the queue's only keyframe is its beginning, all of it goes and
// the next keyframe, which is asked for, begins anew.
static void trim(struct fw_output *output, const struct trimming *found)
{
    struct trimming trimming = *found;
    size_t dropped = 0;

    if (trimming.keyframes > 0)
        dropped = fw_queue_drop_if(output->queue, is_before_newest_keyframe, &trimming);
    atomic_fetch_add(&output->dropped, dropped);
    if (dropped > 0)
        return;
    drop_all(output);
    drop_until_keyframe(output);
}

static bool put_item(struct fw_output *output, const AVPacket *packet)
{
    struct item *item = calloc(1, sizeof(*item));

    if (!item)
        return false;
    item->put_us = fw_monotonic_us();
    item->packet = av_packet_clone(packet);
    if (item->packet && fw_queue_put(output->queue, item, (size_t)packet->size) == FW_OK)
        return true;
    free_item(item);
    return false;
}

static void wait_for_room(struct fw_output *output)
{
    int64_t until_us = fw_condition_until_us(WRITE_TIMEOUT_MS);

    pthread_mutex_lock(&output->room.mutex);
    while (atomic_load(&output->accepts) && !atomic_load(&output->is_closing) &&
           fw_queue_get_stats(output->queue).items >= MAX_QUEUE_ITEMS / 2) {
        if (fw_condition_wait(&output->room, until_us))
            break;
    }
    pthread_mutex_unlock(&output->room.mutex);
}

static void trim_if_old(struct fw_output *output)
{
    struct trimming found = {0};

    fw_queue_drop_if(output->queue, look_at, &found);
    if (found.oldest_us && fw_monotonic_us() - found.oldest_us > MAX_QUEUE_AGE_US)
        trim(output, &found);
}

void fw_output_put(struct fw_output *output, const AVPacket *packet)
{
    bool is_key = packet->flags & AV_PKT_FLAG_KEY;

    if (!atomic_load(&output->accepts))
        return;
    if (output->options.is_lossless && fw_address_is_path(output->url))
        wait_for_room(output);
    else
        trim_if_old(output);
    if (is_key)
        atomic_store(&output->needs_keyframe, false);
    if (!atomic_load(&output->needs_keyframe)) {
        if (put_item(output, packet))
            return;
        // Full by items or bytes.
        drop_all(output);
        if (is_key && put_item(output, packet))
            return;
        drop_until_keyframe(output);
    }
    atomic_fetch_add(&output->dropped, 1);
}

bool fw_output_wants_keyframe(struct fw_output *output)
{
    return atomic_exchange(&output->wants_keyframe, false);
}

// ---- the writer

static int must_return(void *opaque)
{
    struct fw_output *output = opaque;

    if (fw_monotonic_us() >= atomic_load(&output->give_up_us)) {
        output->deadline.interrupted = FW_ETIMEDOUT;
        return 1;
    }
    return fw_deadline_passed(&output->deadline);
}

static int muxer_options(const struct fw_output *output, const AVOutputFormat *format,
                         AVDictionary **options, struct fw_error *error)
{
    for (const char *const *pair = output->muxer->options; *pair; pair += 2) {
        if (av_dict_set(options, pair[0], pair[1], 0) < 0)
            return fw_fail(error, FW_ENOMEM, "out of memory");
    }
    return fw_address_tls_options(output->url, output->options.tls_verify,
                                  fw_address_is_rtsp(output->url) ? format->priv_class : NULL,
                                  options, error);
}

// A file that was left because of a failure is not written over: the next one gets a number.
static char *target(const struct fw_output *output, const char *revealed)
{
    const char *dot = strrchr(revealed, '.');
    const char *slash = strrchr(revealed, '/');

    if (!fw_address_is_path(output->url) || output->opens == 0)
        return fw_strdup(revealed);
    if (!dot || (slash && dot < slash))
        dot = revealed + strlen(revealed);
    return fw_strdup_printf("%.*s.%u%s", (int)(dot - revealed), revealed, output->opens, dot);
}

static int add_stream(struct fw_output *output, struct fw_error *error)
{
    AVStream *stream = avformat_new_stream(output->format, NULL);

    if (!stream || avcodec_parameters_copy(stream->codecpar, output->parameters) < 0)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    stream->codecpar->codec_tag = 0;
    stream->time_base = (AVRational){1, FW_ENCODE_TICKS_PER_S};
    return FW_OK;
}

// The context is made and the header written; on failure abandon() cleans up.
static int open_target(struct fw_output *output, const char *revealed, struct fw_error *error)
{
    const char *display = output->url->display;
    AVDictionary *options = NULL;
    int averror, status;

    averror =
        avformat_alloc_output_context2(&output->format, NULL, output->muxer->format, revealed);
    if (averror < 0)
        return fw_av_fail(error, averror, NULL, display);
    output->format->interrupt_callback = (AVIOInterruptCB){must_return, output};
    output->format->flags |= AVFMT_FLAG_FLUSH_PACKETS;
    status = muxer_options(output, output->format->oformat, &options, error);
    if (status == FW_OK)
        status = add_stream(output, error);
    if (status)
        goto done;
    if (!(output->format->oformat->flags & AVFMT_NOFILE)) {
        averror = avio_open2(&output->format->pb, revealed, AVIO_FLAG_WRITE,
                             &output->format->interrupt_callback, &options);
        if (averror < 0) {
            status = fw_av_fail(error, averror, &output->deadline, display);
            goto done;
        }
    }
    averror = avformat_write_header(output->format, &options);
    output->has_header = averror >= 0;
    if (averror < 0)
        status = fw_av_fail(error, averror, &output->deadline, display);
done:
    av_dict_free(&options);
    return status;
}

static int write_trailer(struct fw_output *output)
{
    fw_deadline_set(&output->deadline, CLOSE_TIMEOUT_MS);
    output->has_header = false;
    return av_write_trailer(output->format);
}

// Closes, without a trailer where the connection is not the muxer's own. One that is (RTSP's) is
// closed by nothing but the trailer.
static void abandon(struct fw_output *output)
{
    if (!output->format)
        return;
    if (output->format->oformat->flags & AVFMT_NOFILE) {
        if (output->has_header)
            write_trailer(output);
    } else {
        fw_deadline_set(&output->deadline, CLOSE_TIMEOUT_MS);
        avio_closep(&output->format->pb);
    }
    output->has_header = false;
    avformat_free_context(output->format);
    output->format = NULL;
}

static int connect_output(struct fw_output *output, struct fw_error *error)
{
    struct fw_secret *text = NULL;
    char *name = NULL;
    int status;

    output->deadline.cancel = output->cancel;
    fw_deadline_set(&output->deadline, CONNECT_TIMEOUT_MS);
    status = fw_address_reveal(output->url, output->options.resolver, output->options.secrets,
                               &output->deadline, &text, error);
    if (status)
        goto done;
    name = target(output, fw_secret_reveal(text));
    if (!name) {
        status = fw_fail(error, FW_ENOMEM, "out of memory");
        goto done;
    }
    status = open_target(output, name, error);
    if (status)
        abandon(output);
done:
    if (name)
        memset(name, 0, strlen(name));
    free(name);
    fw_secret_destroy(text);
    return status;
}

static int write_packet(struct fw_output *output, AVPacket *packet, struct fw_error *error)
{
    const AVStream *stream = output->format->streams[0];
    int size = packet->size;
    int averror;

    if (output->first_dts == AV_NOPTS_VALUE)
        output->first_dts = packet->dts;
    packet->dts -= output->first_dts;
    packet->pts -= output->first_dts;
    packet->stream_index = 0;
    av_packet_rescale_ts(packet, (AVRational){1, FW_ENCODE_TICKS_PER_S}, stream->time_base);
    fw_deadline_set(&output->deadline, WRITE_TIMEOUT_MS);
    averror = av_write_frame(output->format, packet);
    if (averror >= 0 && output->format->pb && output->format->pb->error < 0)
        averror = output->format->pb->error;
    if (averror < 0)
        return fw_av_fail(error, averror, &output->deadline, output->url->display);
    atomic_fetch_add(&output->packets, 1);
    atomic_fetch_add(&output->bytes, (uint64_t)size);
    return FW_OK;
}

static void signal_room(struct fw_output *output)
{
    pthread_mutex_lock(&output->room.mutex);
    pthread_cond_signal(&output->room.changed);
    pthread_mutex_unlock(&output->room.mutex);
}

// Writes until the queue is closed and empty (FW_OK: the trailer is written too) or a write fails.
static int write_all(struct fw_output *output, struct fw_error *error)
{
    void *taken = NULL;
    int averror;

    output->deadline.cancel = NULL; // what is queued at the end is still to be written
    for (;;) {
        struct item *item;
        int status = fw_queue_take(output->queue, &taken, -1);

        if (status == FW_EAGAIN)
            continue;
        if (status)
            break;
        signal_room(output);
        item = taken;
        status = write_packet(output, item->packet, error);
        free_item(item);
        if (status)
            return status;
    }
    averror = write_trailer(output);
    if (averror < 0)
        return fw_av_fail(error, averror, &output->deadline, output->url->display);
    return FW_OK;
}

static void refuse_packets(struct fw_output *output)
{
    pthread_mutex_lock(&output->room.mutex);
    atomic_store(&output->is_open, false);
    atomic_store(&output->accepts, false);
    pthread_cond_broadcast(&output->room.changed);
    pthread_mutex_unlock(&output->room.mutex);
    drop_all(output);
}

// One life of the connection, from its first packet to its end.
static int publish_once(struct fw_output *output, struct fw_backoff *backoff,
                        struct fw_error *error)
{
    int64_t opened_us = fw_monotonic_us();
    int status;

    output->opens++;
    output->first_dts = AV_NOPTS_VALUE;
    if (output->opens > 1)
        drop_until_keyframe(output);
    set_reason(output, "");
    atomic_store(&output->is_open, true);
    atomic_store(&output->accepts, true);
    fw_log_info(output->options.log, "publishing to %s", output->url->display);
    status = write_all(output, error);
    refuse_packets(output);
    abandon(output);
    if (fw_monotonic_us() - opened_us > HEALTHY_US)
        fw_backoff_reset(backoff);
    return status;
}

static void wait_before_retry(struct fw_output *output, struct fw_backoff *backoff,
                              const struct fw_error *error)
{
    int64_t delay_ms = fw_backoff_next_ms(backoff, fw_monotonic_us(), fw_random_u32());

    // Once for an outage, not once a try: REASON still holds what the last try said.
    fw_log(output->options.log,
           strncmp(output->reason, error->message, sizeof(output->reason) - 1) ? FW_LOG_WARNING
                                                                               : FW_LOG_DEBUG,
           "can't publish: %s", error->message);
    set_reason(output, error->message);
    fw_cancel_wait(output->cancel, delay_ms);
}

static void run_output(void *opaque)
{
    struct fw_output *output = opaque;
    struct fw_backoff usual, refused;
    bool was_open = false;

    fw_backoff_init(&usual, &fw_backoff_default);
    fw_backoff_init(&refused, &fw_backoff_refused);
    // When all was put and closed before this thread came to run, that is still to be written.
    for (bool is_first = true;
         is_first ? !fw_cancel_is_set(output->cancel) : !atomic_load(&output->is_closing);
         is_first = false) {
        struct fw_error error = {0};
        int status = connect_output(output, &error);

        if (status == FW_OK) {
            if (was_open)
                atomic_fetch_add(&output->reconnects, 1);
            was_open = true;
            fw_backoff_reset(&refused);
            status = publish_once(output, &usual, &error);
        }
        refuse_packets(output);
        if (status == FW_OK || atomic_load(&output->is_closing))
            break;
        wait_before_retry(output, status == FW_EAUTH ? &refused : &usual, &error);
    }
    set_reason(output, "closed");
}

// ---- life

int fw_output_begin(struct fw_output *output, const AVCodecContext *encoder, struct fw_error *error)
{
    int status;

    if (output->thread)
        return FW_OK;
    if (avcodec_parameters_from_context(output->parameters, encoder) < 0)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    set_reason(output, "connecting");
    atomic_store(&output->accepts, true);
    status = fw_thread_start(&output->thread, "fw-output", output->options.log, run_output, output);
    return status ? fw_fail(error, status, "can't start a thread for %s", output->url->display)
                  : FW_OK;
}

void fw_output_get_status(struct fw_output *output, struct fw_output_status *status)
{
    status->is_open = atomic_load(&output->is_open);
    status->packets = atomic_load(&output->packets);
    status->bytes = atomic_load(&output->bytes);
    status->dropped = atomic_load(&output->dropped);
    status->reconnects = atomic_load(&output->reconnects);
    pthread_mutex_lock(&output->room.mutex);
    memcpy(status->reason, output->reason, sizeof(status->reason));
    pthread_mutex_unlock(&output->room.mutex);
}

void fw_output_close(struct fw_output *output, bool now, int64_t timeout_ms)
{
    atomic_store(&output->give_up_us, fw_monotonic_us() + timeout_ms * FW_US_PER_MS);
    atomic_store(&output->is_closing, true);
    // Something that ends by itself still may get its connection; nobody waits for a retry.
    if (now || !atomic_load(&output->accepts))
        fw_cancel_trigger(output->cancel);
    fw_queue_close(output->queue);
}

int fw_output_join(struct fw_output *output, int64_t timeout_ms)
{
    int status = fw_thread_join(output->thread, timeout_ms);

    output->thread = NULL;
    return status;
}
