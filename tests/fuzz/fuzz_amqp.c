// What a broker sends, from its first byte on or after a login: no crash, and confirms only of what
// was published.
#include "../unit/alert/amqp_frames.h"
#include "alert/amqp_client.h"
#include "alert/message.h"
#include "util/clock.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGES = 4 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void send_all(struct fw_amqp *amqp)
{
    size_t length;

    require(fw_amqp_output(amqp, &length) != NULL);
    fw_amqp_sent(amqp, length, 0);
}

static void publish(struct fw_amqp *amqp, int number)
{
    char body[] = "{}";
    const struct fw_message message = {.id = {(char)('a' + number)},
                                       .type = "faceworker.face.appeared",
                                       .camera_id = "a",
                                       .content_type = "application/json",
                                       .body = body,
                                       .length = 2};

    require(fw_amqp_publish(amqp, &message, "faces.a", 0, NULL) == FW_OK);
}

// The bytes as payloads of well-formed frames, which chance alone seldom makes: kind, channel and
// length (a byte each), then the payload.
static void put_frames(struct amqp_frames *frames, const uint8_t *data, size_t size)
{
    while (size >= 3 && frames->length < sizeof(frames->data) - 512) {
        size_t length = data[2] < size - 3 ? data[2] : size - 3;
        put_frame(frames, 1 + data[0] % 8, data[1] % 3, data + 3, length);
        data += 3 + length;
        size -= 3 + length;
    }
}

// Gives the bytes in pieces of PIECE. False when the connection is over.
static bool feed(struct fw_amqp *amqp, char *data, size_t size, size_t piece)
{
    struct fw_error error = {0};

    for (size_t at = 0; at < size; at += piece) {
        size_t length = size - at < piece ? size - at : piece;
        int status = fw_amqp_input(amqp, data + at, length, 0, &error);
        if (status != FW_OK) {
            require(status == FW_EAUTH || status == FW_ECONNECT || status == FW_ENOMEM);
            require(error.message[0] != '\0');
            return false;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct fw_amqp_options options = {.client_name = "fuzz",
                                            .vhost = "/",
                                            .username = "user",
                                            .password = "password",
                                            .exchange = "alerts",
                                            .declare = true,
                                            .queue = "inbox",
                                            .binding = "#",
                                            .heartbeat_s = 30};
    struct fw_amqp_options plain = options;
    struct amqp_frames login = {.length = 0}, frames = {.length = 0};
    struct fw_amqp *amqp;

    if (size < 2)
        return 0;
    plain.declare = (data[0] & 2) != 0;
    amqp = fw_amqp_create(&plain, 0);
    require(amqp != NULL);
    if (data[0] & 1) {
        put_login(&login);
        require(fw_amqp_input(amqp, login.data, login.length, 0, NULL) == FW_OK);
    }
    send_all(amqp);
    for (int i = 0; i < MESSAGES && fw_amqp_is_ready(amqp); i++)
        publish(amqp, i);
    if (data[0] & 4)
        put_frames(&frames, data + 2, size - 2);
    else
        put_bytes(&frames, data + 2, size - 2 < sizeof(frames.data) ? size - 2 : 0);
    if (feed(amqp, frames.data, frames.length, data[1] + 1U))
        require(fw_amqp_tick(amqp, 20 * FW_US_PER_S, NULL) == FW_OK);
    for (int i = 0; i < MESSAGES; i++)
        (void)fw_amqp_take_fate(amqp, (const char[]){(char)('a' + i), '\0'});
    fw_amqp_forget_settled(amqp);
    fw_amqp_say_goodbye(amqp);
    send_all(amqp);
    fw_amqp_destroy(amqp);
    return 0;
}
