#include "amqp_frames.h"
#include <stdlib.h>
#include <string.h>
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#endif

void put_bytes(struct amqp_frames *frames, const void *data, size_t length)
{
    if (frames->length + length > sizeof(frames->data))
        abort();
    if (length > 0)
        memcpy(frames->data + frames->length, data, length);
    frames->length += length;
}

void put_frame(struct amqp_frames *frames, int type, int channel, const void *payload,
               size_t length)
{
    const char head[] = {(char)type,           (char)(channel >> 8), (char)channel,
                         (char)(length >> 24), (char)(length >> 16), (char)(length >> 8),
                         (char)length};

    put_bytes(frames, head, sizeof(head));
    put_bytes(frames, payload, length);
    put_bytes(frames, "\xce", 1);
}

void put_method(struct amqp_frames *frames, int channel, uint32_t id, void *method)
{
    char payload[4096] = {(char)(id >> 24), (char)(id >> 16), (char)(id >> 8), (char)id};
    int length = amqp_encode_method(
        id, method, (amqp_bytes_t){.len = sizeof(payload) - 4, .bytes = payload + 4});

    if (length < 0)
        abort();
    put_frame(frames, AMQP_FRAME_METHOD, channel, payload, 4 + (size_t)length);
}

void put_start(struct amqp_frames *frames, const char *mechanisms)
{
    amqp_connection_start_t start = {.version_minor = 9,
                                     .mechanisms = amqp_cstring_bytes(mechanisms),
                                     .locales = amqp_cstring_bytes("en_US")};

    put_method(frames, 0, AMQP_CONNECTION_START_METHOD, &start);
}

void put_tune(struct amqp_frames *frames, uint32_t frame_max, uint16_t heartbeat)
{
    amqp_connection_tune_t tune = {
        .channel_max = 2047, .frame_max = frame_max, .heartbeat = heartbeat};

    put_method(frames, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
}

void put_open_ok(struct amqp_frames *frames)
{
    amqp_connection_open_ok_t ok = {0};

    put_method(frames, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &ok);
}

void put_channel_ok(struct amqp_frames *frames)
{
    amqp_channel_open_ok_t ok = {0};

    put_method(frames, 1, AMQP_CHANNEL_OPEN_OK_METHOD, &ok);
}

void put_confirm_ok(struct amqp_frames *frames)
{
    amqp_confirm_select_ok_t ok = {0};

    put_method(frames, 1, AMQP_CONFIRM_SELECT_OK_METHOD, &ok);
}

void put_login(struct amqp_frames *frames)
{
    put_start(frames, "PLAIN AMQPLAIN EXTERNAL");
    put_tune(frames, 131072, 60);
    put_open_ok(frames);
    put_channel_ok(frames);
    put_confirm_ok(frames);
}

void put_ack(struct amqp_frames *frames, uint64_t tag, bool multiple)
{
    amqp_basic_ack_t ack = {.delivery_tag = tag, .multiple = multiple};

    put_method(frames, 1, AMQP_BASIC_ACK_METHOD, &ack);
}

void put_nack(struct amqp_frames *frames, uint64_t tag, bool multiple)
{
    amqp_basic_nack_t nack = {.delivery_tag = tag, .multiple = multiple};

    put_method(frames, 1, AMQP_BASIC_NACK_METHOD, &nack);
}

void put_returned(struct amqp_frames *frames, const char *id)
{
    amqp_basic_return_t back = {.reply_code = AMQP_NO_ROUTE,
                                .reply_text = amqp_cstring_bytes("NO_ROUTE"),
                                .exchange = amqp_cstring_bytes("alerts"),
                                .routing_key = amqp_cstring_bytes("faces.a")};
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_MESSAGE_ID_FLAG,
                                          .message_id = amqp_cstring_bytes(id)};
    char header[512] = {0, AMQP_BASIC_CLASS, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
    int length =
        amqp_encode_properties(AMQP_BASIC_CLASS, &properties,
                               (amqp_bytes_t){.len = sizeof(header) - 12, .bytes = header + 12});

    if (length < 0)
        abort();
    put_method(frames, 1, AMQP_BASIC_RETURN_METHOD, &back);
    put_frame(frames, AMQP_FRAME_HEADER, 1, header, 12 + (size_t)length);
    put_frame(frames, AMQP_FRAME_BODY, 1, "{}", 2);
}

void put_blocked(struct amqp_frames *frames, const char *reason)
{
    amqp_connection_blocked_t blocked = {.reason = amqp_cstring_bytes(reason)};

    put_method(frames, 0, AMQP_CONNECTION_BLOCKED_METHOD, &blocked);
}

void put_unblocked(struct amqp_frames *frames)
{
    amqp_connection_unblocked_t unblocked = {0};

    put_method(frames, 0, AMQP_CONNECTION_UNBLOCKED_METHOD, &unblocked);
}

void put_connection_close(struct amqp_frames *frames, int code, const char *text)
{
    amqp_connection_close_t close = {.reply_code = (uint16_t)code,
                                     .reply_text = amqp_cstring_bytes(text)};

    put_method(frames, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
}

void put_channel_close(struct amqp_frames *frames, int code, const char *text)
{
    amqp_channel_close_t close = {.reply_code = (uint16_t)code,
                                  .reply_text = amqp_cstring_bytes(text)};

    put_method(frames, 1, AMQP_CHANNEL_CLOSE_METHOD, &close);
}
