// What an AMQP broker sends, for tests: frames, one after the other.
#ifndef FW_TESTS_AMQP_FRAMES_H
#define FW_TESTS_AMQP_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct amqp_frames {
    char data[16384];
    size_t length;
};

// Bytes as they are.
void put_bytes(struct amqp_frames *frames, const void *data, size_t length);
void put_frame(struct amqp_frames *frames, int type, int channel, const void *payload,
               size_t length);
// METHOD is one of librabbitmq's structures, of ID.
void put_method(struct amqp_frames *frames, int channel, uint32_t id, void *method);

void put_start(struct amqp_frames *frames, const char *mechanisms);
void put_tune(struct amqp_frames *frames, uint32_t frame_max, uint16_t heartbeat);
void put_open_ok(struct amqp_frames *frames);
void put_channel_ok(struct amqp_frames *frames);
void put_confirm_ok(struct amqp_frames *frames);
// All five: a login from which on messages are taken.
void put_login(struct amqp_frames *frames);

void put_ack(struct amqp_frames *frames, uint64_t tag, bool multiple);
void put_nack(struct amqp_frames *frames, uint64_t tag, bool multiple);
// A message with ID that finds no queue; its confirm is not part of it.
void put_returned(struct amqp_frames *frames, const char *id);
void put_blocked(struct amqp_frames *frames, const char *reason);
void put_unblocked(struct amqp_frames *frames);
void put_connection_close(struct amqp_frames *frames, int code, const char *text);
void put_channel_close(struct amqp_frames *frames, int code, const char *text);

#endif
