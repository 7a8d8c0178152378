#include "alert/amqp_client.h"
#include "alert/message.h"
#include "amqp_frames.h"
#include "util/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct fw_amqp_options standard = {
    .client_name = "faceworker edge-1",
    .vhost = "/",
    .username = "worker",
    .password = "canary-pw",
    .exchange = "alerts",
    .heartbeat_s = 30,
};

static struct fw_amqp *connection(const struct fw_amqp_options *options)
{
    struct fw_amqp *amqp = fw_amqp_create(options, 0);

    assert_non_null(amqp);
    return amqp;
}

static int feed(struct fw_amqp *amqp, struct amqp_frames *frames, struct fw_error *error)
{
    *error = (struct fw_error){0};
    return fw_amqp_input(amqp, frames->data, frames->length, 1000, error);
}

static void feed_ok(struct fw_amqp *amqp, struct amqp_frames *frames)
{
    struct fw_error error;

    if (feed(amqp, frames, &error) != FW_OK)
        fail_msg("%s", error.message);
}

// One after login, whose output was sent.
static struct fw_amqp *ready(void)
{
    struct fw_amqp *amqp = connection(&standard);
    struct amqp_frames login = {.length = 0};
    size_t length;

    put_login(&login);
    feed_ok(amqp, &login);
    assert_true(fw_amqp_is_ready(amqp));
    (void)fw_amqp_output(amqp, &length);
    fw_amqp_sent(amqp, length, 0);
    return amqp;
}

static bool output_holds(const struct fw_amqp *amqp, const void *wanted, size_t size)
{
    size_t length;
    const char *output = fw_amqp_output(amqp, &length);

    for (size_t i = 0; i + size <= length; i++)
        if (memcmp(output + i, wanted, size) == 0)
            return true;
    return false;
}

static int publish(struct fw_amqp *amqp, const char *id, struct fw_error *error)
{
    char body[] = "{\"a\":1}";
    struct fw_message message = {.type = "faceworker.face.appeared",
                                 .camera_id = "a",
                                 .content_type = "application/json",
                                 .time_utc_us = 1700000000000000,
                                 .body = body,
                                 .length = sizeof(body) - 1};

    snprintf(message.id, sizeof(message.id), "%s", id);
    *error = (struct fw_error){0};
    return fw_amqp_publish(amqp, &message, "faces.a", 0, error);
}

static void publish_ok(struct fw_amqp *amqp, const char *ids)
{
    struct fw_error error;

    for (const char *at = ids; *at != '\0'; at++)
        assert_int_equal(publish(amqp, (char[]){*at, '\0'}, &error), FW_OK);
}

// What a broker's close with CODE and TEXT comes to, from a connection or a channel.
static int status_of_close(bool of_channel, int code, const char *text, struct fw_error *error)
{
    struct fw_amqp *amqp = ready();
    struct amqp_frames frames = {.length = 0};
    int status;

    if (of_channel)
        put_channel_close(&frames, code, text);
    else
        put_connection_close(&frames, code, text);
    status = feed(amqp, &frames, error);
    // The answer, or the end of the connection.
    assert_true(output_holds(amqp, of_channel ? "\0\x0a\0\x32" : "\0\x0a\0\x33", 4));
    fw_amqp_destroy(amqp);
    return status;
}

static void logs_in_with_name_and_password(void **state)
{
    struct fw_amqp *amqp = connection(&standard);
    struct amqp_frames start = {.length = 0}, rest = {.length = 0};
    size_t length;
    (void)state;

    assert_memory_equal(fw_amqp_output(amqp, &length), "AMQP\0\0\x09\x01", 8);
    assert_int_equal(length, 8);
    put_start(&start, "AMQPLAIN PLAIN");
    feed_ok(amqp, &start);
    assert_true(output_holds(amqp, "\0worker\0canary-pw", 17));
    assert_true(output_holds(amqp, "connection.blocked", 18));
    assert_true(output_holds(amqp, "faceworker edge-1", 17));
    put_tune(&rest, 131072, 60);
    put_open_ok(&rest);
    put_channel_ok(&rest);
    assert_false(fw_amqp_is_ready(amqp));
    put_confirm_ok(&rest);
    feed_ok(amqp, &rest);
    assert_true(fw_amqp_is_ready(amqp));
    // tune-ok: one channel, frames of 128 KiB, 30 s.
    assert_true(output_holds(amqp, "\0\x0a\0\x1f\0\x01\0\x02\0\0\0\x1e", 12));
    fw_amqp_destroy(amqp);
}

static void logs_in_by_certificate(void **state)
{
    struct fw_amqp_options options = standard;
    struct fw_amqp *amqp;
    struct amqp_frames start = {.length = 0};
    struct fw_error error;
    (void)state;

    options.username = options.password = NULL;
    amqp = connection(&options);
    put_start(&start, "PLAIN EXTERNAL");
    feed_ok(amqp, &start);
    assert_true(output_holds(amqp,
                             "\x08"
                             "EXTERNAL\0\0\0\0",
                             13));
    fw_amqp_destroy(amqp);

    amqp = connection(&options);
    start.length = 0;
    put_start(&start, "PLAIN EXTERNALLY");
    assert_int_equal(feed(amqp, &start, &error), FW_EAUTH);
    assert_non_null(strstr(error.message, "rabbitmq_auth_mechanism_ssl"));
    fw_amqp_destroy(amqp);
}

static void frames_may_come_in_pieces(void **state)
{
    struct fw_amqp *amqp = connection(&standard);
    struct amqp_frames login = {.length = 0};
    (void)state;

    put_login(&login);
    put_blocked(&login, "low on memory");
    for (size_t i = 0; i < login.length; i++)
        assert_int_equal(fw_amqp_input(amqp, login.data + i, 1, 0, NULL), FW_OK);
    assert_true(fw_amqp_is_ready(amqp));
    assert_string_equal(fw_amqp_blocked(amqp), "low on memory");
    fw_amqp_destroy(amqp);
}

static void confirms_count_for_one_or_for_all_before(void **state)
{
    struct fw_amqp *amqp = ready();
    struct amqp_frames frames = {.length = 0};
    (void)state;

    publish_ok(amqp, "abcdefg");
    put_ack(&frames, 2, false);
    put_nack(&frames, 4, true);
    put_ack(&frames, 6, false);
    feed_ok(amqp, &frames);
    assert_int_equal(fw_amqp_take_fate(amqp, "b"), FW_AMQP_CONFIRMED);
    assert_int_equal(fw_amqp_take_fate(amqp, "b"), FW_AMQP_UNKNOWN);
    assert_int_equal(fw_amqp_take_fate(amqp, "a"), FW_AMQP_NACKED);
    assert_int_equal(fw_amqp_take_fate(amqp, "d"), FW_AMQP_NACKED);
    assert_int_equal(fw_amqp_take_fate(amqp, "e"), FW_AMQP_IN_FLIGHT);
    assert_int_equal(fw_amqp_take_fate(amqp, "f"), FW_AMQP_CONFIRMED);
    assert_int_equal(fw_amqp_take_fate(amqp, "g"), FW_AMQP_IN_FLIGHT);
    fw_amqp_forget_settled(amqp); // c
    assert_int_equal(fw_amqp_take_fate(amqp, "c"), FW_AMQP_UNKNOWN);
    assert_int_equal(fw_amqp_oldest_us(amqp), 0);
    frames.length = 0;
    put_ack(&frames, 0, true);
    feed_ok(amqp, &frames);
    assert_int_equal(fw_amqp_take_fate(amqp, "e"), FW_AMQP_CONFIRMED);
    assert_int_equal(fw_amqp_take_fate(amqp, "g"), FW_AMQP_CONFIRMED);
    assert_true(fw_amqp_oldest_us(amqp) == INT64_MAX);
    fw_amqp_destroy(amqp);
}

static void a_returned_message_is_not_delivered_though_confirmed(void **state)
{
    struct fw_amqp *amqp = ready();
    struct amqp_frames frames = {.length = 0};
    (void)state;

    publish_ok(amqp, "abc");
    put_returned(&frames, "b");
    put_returned(&frames, "never sent");
    feed_ok(amqp, &frames);
    assert_int_equal(fw_amqp_take_fate(amqp, "b"), FW_AMQP_IN_FLIGHT);
    frames.length = 0;
    put_ack(&frames, 3, true);
    feed_ok(amqp, &frames);
    assert_int_equal(fw_amqp_take_fate(amqp, "a"), FW_AMQP_CONFIRMED);
    assert_int_equal(fw_amqp_take_fate(amqp, "b"), FW_AMQP_RETURNED);
    assert_int_equal(fw_amqp_take_fate(amqp, "c"), FW_AMQP_CONFIRMED);
    fw_amqp_destroy(amqp);
}

static void a_message_has_its_properties_and_fits_the_agreed_frames(void **state)
{
    struct fw_amqp *amqp = connection(&standard);
    struct amqp_frames login = {.length = 0};
    static char body[10000];
    struct fw_message message = {.id = "0190-id",
                                 .type = "faceworker.face.appeared",
                                 .camera_id = "a",
                                 .content_type = "application/cloudevents+json",
                                 .time_utc_us = 1700000000999999,
                                 .body = body,
                                 .length = sizeof(body)};
    size_t length;
    (void)state;

    memset(body, 'x', sizeof(body));
    put_start(&login, "PLAIN");
    put_tune(&login, 4096, 0);
    put_open_ok(&login);
    put_channel_ok(&login);
    put_confirm_ok(&login);
    feed_ok(amqp, &login);
    (void)fw_amqp_output(amqp, &length);
    fw_amqp_sent(amqp, length, 0);
    assert_int_equal(fw_amqp_publish(amqp, &message, "faces.a", 0, NULL), FW_OK);
    // Mandatory, then delivery mode 2, the time in seconds, and bodies of 4088, 4088 and 1824
    // bytes.
    assert_true(output_holds(amqp,
                             "\x06"
                             "alerts\x07"
                             "faces.a\x01",
                             16));
    assert_true(output_holds(amqp,
                             "\x1c"
                             "application/cloudevents+json\x02",
                             30));
    assert_true(output_holds(amqp,
                             "\x07"
                             "0190-id\0\0\0\0\x65\x53\xf1\x00",
                             16));
    assert_true(output_holds(amqp,
                             "\x0a"
                             "faceworker",
                             11));
    assert_true(output_holds(amqp, "\x03\0\x01\0\0\x0f\xf8xxx", 10));
    assert_true(output_holds(amqp, "\x03\0\x01\0\0\x07\x20xxx", 10));
    fw_amqp_destroy(amqp);
}

static void declares_what_is_wanted(void **state)
{
    struct fw_amqp_options options = standard;
    struct amqp_frames frames = {.length = 0};
    struct fw_amqp *amqp;
    (void)state;

    options.declare = true;
    options.queue = "inbox";
    options.binding = "faces.*";
    amqp = connection(&options);
    put_login(&frames);
    feed_ok(amqp, &frames);
    assert_false(fw_amqp_is_ready(amqp));
    assert_true(output_holds(amqp,
                             "\x06"
                             "alerts\x05topic\x02",
                             14));
    frames.length = 0;
    put_frame(&frames, 1, 1, "\0\x28\0\x0b", 4); // exchange.declare-ok
    feed_ok(amqp, &frames);
    assert_true(output_holds(amqp, "\x05inbox\x02", 7));
    frames.length = 0;
    put_frame(&frames, 1, 1, "\0\x32\0\x0b\x05inbox\0\0\0\0\0\0\0\0", 18); // queue.declare-ok
    feed_ok(amqp, &frames);
    assert_true(output_holds(amqp,
                             "\x05inbox\x06"
                             "alerts\x07"
                             "faces.*",
                             21));
    assert_false(fw_amqp_is_ready(amqp));
    frames.length = 0;
    put_frame(&frames, 1, 1, "\0\x32\0\x15", 4); // queue.bind-ok
    feed_ok(amqp, &frames);
    assert_true(fw_amqp_is_ready(amqp));
    fw_amqp_destroy(amqp);
}

static void a_broker_that_ends_it_says_why(void **state)
{
    static const struct {
        bool of_channel;
        int code, status;
        const char *text, *said;
    } cases[] = {
        {false, 320, FW_ECONNECT, "CONNECTION_FORCED - shutdown", "ended the connection"},
        {false, 403, FW_EAUTH, "ACCESS_REFUSED", "refused us: ACCESS_REFUSED (403)"},
        {false, 530, FW_EAUTH, "NOT_ALLOWED - vhost x not found", "virtual host"},
        {false, 541, FW_ECONNECT, "INTERNAL_ERROR", "INTERNAL_ERROR"},
        {true, 404, FW_EAUTH, "NOT_FOUND - no exchange 'alerts'", "make the exchange"},
        {true, 403, FW_EAUTH, "ACCESS_REFUSED", "right to write"},
        {true, 406, FW_EAUTH, "PRECONDITION_FAILED - inequivalent arg", "without declare"},
        {true, 504, FW_ECONNECT, "CHANNEL_ERROR", "CHANNEL_ERROR"},
        {true, 404, FW_EAUTH, "line\nbreak\x1b[31m", "line\\nbreak\\x1b[31m"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fw_error error;
        assert_int_equal(status_of_close(cases[i].of_channel, cases[i].code, cases[i].text, &error),
                         cases[i].status);
        assert_non_null(strstr(error.message, cases[i].said));
    }
}

static void a_message_above_the_brokers_limit_is_named(void **state)
{
    struct fw_amqp *amqp = ready();
    struct amqp_frames frames = {.length = 0};
    struct fw_error error;
    (void)state;

    publish_ok(amqp, "ab");
    put_ack(&frames, 1, false);
    put_channel_close(&frames, 406,
                      "PRECONDITION_FAILED - message size 7 is larger than configured max size 3");
    assert_int_equal(feed(amqp, &frames, &error), FW_ECONNECT);
    assert_int_equal(fw_amqp_take_fate(amqp, "a"), FW_AMQP_CONFIRMED);
    assert_int_equal(fw_amqp_take_fate(amqp, "b"), FW_AMQP_TOO_LARGE);
    fw_amqp_destroy(amqp);
}

static void a_block_has_a_reason_and_stops_the_clock(void **state)
{
    struct fw_amqp *amqp = ready();
    struct amqp_frames frames = {.length = 0};
    (void)state;

    publish_ok(amqp, "a");
    assert_null(fw_amqp_blocked(amqp));
    put_blocked(&frames, "");
    feed_ok(amqp, &frames);
    assert_string_equal(fw_amqp_blocked(amqp), "no reason given");
    assert_int_equal(fw_amqp_oldest_us(amqp), 0);
    frames.length = 0;
    put_unblocked(&frames);
    feed_ok(amqp, &frames);
    assert_null(fw_amqp_blocked(amqp));
    assert_int_equal(fw_amqp_oldest_us(amqp), 1000);
    fw_amqp_destroy(amqp);
}

static void heartbeats_go_both_ways(void **state)
{
    struct fw_amqp *amqp = ready();
    struct fw_error error = {0};
    struct amqp_frames frames = {.length = 0};
    size_t length;
    (void)state;

    assert_int_equal(fw_amqp_tick(amqp, 14 * FW_US_PER_S, &error), FW_OK);
    (void)fw_amqp_output(amqp, &length);
    assert_int_equal(length, 0);
    assert_int_equal(fw_amqp_tick(amqp, 16 * FW_US_PER_S, &error), FW_OK);
    assert_memory_equal(fw_amqp_output(amqp, &length), "\x08\0\0\0\0\0\0\xce", 8);
    assert_int_equal(fw_amqp_tick(amqp, 17 * FW_US_PER_S, &error), FW_OK);
    (void)fw_amqp_output(amqp, &length);
    assert_int_equal(length, 8); // not a second one
    assert_int_equal(fw_amqp_tick(amqp, 59 * FW_US_PER_S, &error), FW_OK);
    put_frame(&frames, 8, 0, NULL, 0);
    assert_int_equal(fw_amqp_input(amqp, frames.data, frames.length, 59 * FW_US_PER_S, &error),
                     FW_OK);
    assert_int_equal(fw_amqp_tick(amqp, 118 * FW_US_PER_S, &error), FW_OK);
    assert_int_equal(fw_amqp_tick(amqp, 120 * FW_US_PER_S, &error), FW_ETIMEDOUT);
    assert_non_null(strstr(error.message, "silent for 61 s"));
    fw_amqp_destroy(amqp);
}

static void bounds_are_kept(void **state)
{
    struct fw_amqp *amqp = ready();
    char body[] = "";
    struct fw_message message = {.type = "t", .content_type = "c", .body = body, .id = "long"};
    char key[FW_AMQP_MAX_NAME + 2], id[16];
    struct fw_error error = {0};
    size_t before, after;
    (void)state;

    memset(key, 'k', sizeof(key));
    key[sizeof(key) - 1] = '\0';
    (void)fw_amqp_output(amqp, &before);
    assert_int_equal(fw_amqp_publish(amqp, &message, key, 0, &error), FW_EREJECTED);
    assert_non_null(strstr(error.message, "256 bytes"));
    (void)fw_amqp_output(amqp, &after);
    assert_int_equal(before, after);
    for (int i = 0; i < FW_AMQP_MAX_PENDING; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        assert_int_equal(publish(amqp, id, &error), FW_OK);
    }
    assert_int_equal(publish(amqp, "one more", &error), FW_EAGAIN);
    fw_amqp_destroy(amqp);
}

// What is no AMQP, or not at this place, ends the connection, whatever it is.
static void nonsense_ends_the_connection(void **state)
{
    static const struct {
        bool after_login;
        const char *bytes;
        size_t length;
    } cases[] = {
        {false, "AMQP\0\x01\0\0", 8},                       // another version
        {false, "HTTP/1.1 400 Bad Request\r\n\r\n", 28},    // not it at all
        {false, "\x15\x03\x03\0\x02\x02\x46zzzz", 11},      // a TLS alert
        {false, "\x01\0\0\xff\xff\xff\xff\0\0\0\0", 11},    // a frame of 4 GiB
        {false, "\x01\0\0\0\0\0\x04\0\x0a\0\x1e\xce", 12},  // tune before start
        {false, "\x01\0\0\0\0\0\x02\0\x0a\xce", 10},        // half a method's number
        {true, "\x01\0\0\0\0\0\x04\0\x3c\0\x50\xce", 12},   // ack without fields, channel 0
        {true, "\x01\0\x01\0\0\0\x04\0\x3c\0\x50\xce", 12}, // ack without fields
        {true, "\x01\0\x01\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\0\x09\0\xce", 21}, // ack of nothing
        {true, "\x01\0\x02\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\0\x01\0\xce", 21}, // channel 2
        {true, "\x01\0\x01\0\0\0\x04\0\x0a\0\x3d\xce", 12},   // unblocked, channel 1
        {true, "\x01\0\x01\0\0\0\x04\0\x28\0\x0b\xce", 12},   // declared, unasked
        {true, "\x01\0\x01\0\0\0\x04\x7f\xff\0\x01\xce", 12}, // an unknown method
        {true, "\x08\0\0\0\0\0\0\xcd", 8},                    // no end mark
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fw_amqp *amqp = cases[i].after_login ? ready() : connection(&standard);
        struct amqp_frames frames = {.length = 0};
        struct fw_error error;
        put_bytes(&frames, cases[i].bytes, cases[i].length);
        assert_int_equal(feed(amqp, &frames, &error), FW_ECONNECT);
        assert_non_null(strstr(error.message, "AMQP 0-9-1"));
        fw_amqp_destroy(amqp);
    }
}

static void tiny_frames_are_refused(void **state)
{
    struct fw_amqp *amqp = connection(&standard);
    struct amqp_frames frames = {.length = 0};
    struct fw_error error;
    (void)state;

    put_start(&frames, "PLAIN");
    put_tune(&frames, 4095, 0);
    assert_int_equal(feed(amqp, &frames, &error), FW_ECONNECT);
    assert_non_null(strstr(error.message, "4096"));
    fw_amqp_destroy(amqp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_in_with_name_and_password),
        cmocka_unit_test(logs_in_by_certificate),
        cmocka_unit_test(frames_may_come_in_pieces),
        cmocka_unit_test(confirms_count_for_one_or_for_all_before),
        cmocka_unit_test(a_returned_message_is_not_delivered_though_confirmed),
        cmocka_unit_test(a_message_has_its_properties_and_fits_the_agreed_frames),
        cmocka_unit_test(declares_what_is_wanted),
        cmocka_unit_test(a_broker_that_ends_it_says_why),
        cmocka_unit_test(a_message_above_the_brokers_limit_is_named),
        cmocka_unit_test(a_block_has_a_reason_and_stops_the_clock),
        cmocka_unit_test(heartbeats_go_both_ways),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(nonsense_ends_the_connection),
        cmocka_unit_test(tiny_frames_are_refused),
    };

    return cmocka_run_group_tests_name("AMQP client", tests, NULL, NULL);
}
