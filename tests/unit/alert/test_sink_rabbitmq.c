// What a real RabbitMQ can't be made to do at the right moment; tests/system has the rest.
#include "amqp_frames.h"
#include "broker_tests.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/thread.h"
#include <string.h>

static const struct fw_sink_options rabbitmq = {
    .type = "rabbitmq", .exchange = "alerts", .routing_key = "faces.{camera_id}"};

// A broker that logs us in and then answers each of the STEPS that has something in `received`.
struct scripted {
    struct amqp_frames frames[6];
    struct broker_step steps[6];
    struct broker_script script;
    struct broker_script all[2]; // of the first: what the connections play
};

static void begin(struct scripted *scripted)
{
    memset(scripted, 0, sizeof(*scripted));
    put_login(&scripted->frames[0]);
    scripted->steps[0] =
        (struct broker_step){"AMQP", scripted->frames[0].data, scripted->frames[0].length};
    scripted->script.steps = scripted->steps;
}

// The frames that are sent once RECEIVED has come; to be filled before the broker starts.
static struct amqp_frames *answer(struct scripted *scripted, int step, const char *received)
{
    scripted->steps[step].received = received;
    scripted->steps[step].sent = scripted->frames[step].data;
    return &scripted->frames[step];
}

static void open_with(struct broker_fixture *f, struct scripted *scripted, int count)
{
    assert_true(count <= 2);
    for (int i = 0; i < count; i++) {
        for (int step = 1; step < 6; step++)
            scripted[i].steps[step].length = scripted[i].frames[step].length;
        scripted[0].all[i] = scripted[i].script;
    }
    broker_open(f, "amqp://worker:canary-pw@127.0.0.1:%d/cameras", rabbitmq, scripted[0].all,
                count);
}

static void close_all(struct broker_fixture *f)
{
    assert_null(strstr(f->error.message, "canary"));
    broker_close(f);
}

static void a_camera_has_one_message_on_its_way(void **state)
{
    struct scripted scripted;
    struct broker_fixture f;
    int results[3];
    (void)state;

    begin(&scripted);
    put_ack(answer(&scripted, 1, "id-0"), 1, false);
    put_ack(answer(&scripted, 2, "id-1"), 2, false); // would never come if it came before
    put_ack(answer(&scripted, 3, "id-2"), 3, false);
    open_with(&f, &scripted, 1);
    if (broker_deliver(&f, "aaa", results, NULL) != FW_OK)
        fail_msg("%s", f.error.message);
    for (int i = 0; i < 3; i++)
        assert_int_equal(results[i], FW_OK);
    close_all(&f);
}

static void a_refused_message_holds_up_its_camera_alone(void **state)
{
    struct scripted scripted;
    struct broker_fixture f;
    struct amqp_frames *frames;
    int results[4];
    (void)state;

    begin(&scripted);
    frames = answer(&scripted, 1, "id-2");
    put_nack(frames, 1, false);
    put_ack(frames, 2, false);
    put_ack(answer(&scripted, 2, "id-3"), 3, false);
    frames = answer(&scripted, 3, "id-1");
    put_ack(frames, 5, true);
    open_with(&f, &scripted, 1);
    assert_int_equal(broker_deliver(&f, "aabb", results, NULL), FW_EIO);
    assert_int_equal(results[0], FW_EIO);
    assert_int_equal(results[1], FW_EAGAIN);
    assert_int_equal(results[2], FW_OK);
    assert_int_equal(results[3], FW_OK);
    assert_non_null(strstr(f.error.message, "nack"));
    // On the same connection, and the first of them is published anew.
    assert_int_equal(f.peer.connections, 1);
    close_all(&f);
}

static void a_returned_message_is_held_and_sent_again(void **state)
{
    struct scripted scripted;
    struct broker_fixture f;
    struct amqp_frames *frames;
    int results[2];
    (void)state;

    begin(&scripted);
    frames = answer(&scripted, 1, "id-1");
    put_returned(frames, "id-0");
    put_ack(frames, 2, true);
    put_ack(answer(&scripted, 2, "id-0"), 3, false);
    open_with(&f, &scripted, 1);
    assert_int_equal(broker_deliver(&f, "ab", results, NULL), FW_EAUTH);
    assert_int_equal(results[0], FW_EAUTH);
    assert_int_equal(results[1], FW_OK);
    assert_non_null(strstr(f.error.message, "no queue is bound to the exchange 'alerts'"));
    assert_non_null(strstr(f.error.message, "'faces.a'"));
    assert_int_equal(broker_deliver(&f, "a", results, NULL), FW_OK);
    assert_int_equal(f.peer.connections, 1);
    close_all(&f);
}

static void a_broker_that_hangs_up_midway_gets_the_rest_later(void **state)
{
    struct scripted scripted[2];
    struct broker_fixture f;
    int results[3];
    (void)state;

    begin(&scripted[0]);
    put_ack(answer(&scripted[0], 1, "id-2"), 2, false);
    scripted[0].script.closes = true;
    begin(&scripted[1]);
    put_ack(answer(&scripted[1], 1, "id-1"), 2, true);
    open_with(&f, scripted, 2);
    assert_int_equal(broker_deliver(&f, "abc", results, NULL), FW_ECONNECT);
    assert_int_equal(results[0], FW_ECONNECT);
    assert_int_equal(results[1], FW_OK);
    assert_int_equal(results[2], FW_ECONNECT);
    assert_int_equal(broker_deliver(&f, "ac", results, NULL), FW_OK);
    close_all(&f);
}

static void a_broker_that_talks_nonsense_is_left(void **state)
{
    struct scripted scripted[2];
    struct broker_fixture f;
    int results[2];
    (void)state;

    begin(&scripted[0]);
    put_bytes(answer(&scripted[0], 1, "id-1"), "this is not AMQP at all\r\n", 25);
    begin(&scripted[1]);
    put_ack(answer(&scripted[1], 1, "id-1"), 2, true);
    open_with(&f, scripted, 2);
    assert_int_equal(broker_deliver(&f, "ab", results, NULL), FW_ECONNECT);
    assert_non_null(strstr(f.error.message, "AMQP 0-9-1"));
    assert_int_equal(broker_deliver(&f, "ab", results, NULL), FW_OK);
    close_all(&f);
}

// A half-open connection: what is sent goes nowhere, and nobody says so.
static void a_silent_broker_is_left_after_the_timeout(void **state)
{
    struct scripted scripted[2];
    struct broker_fixture f;
    int64_t began_us;
    int results[2];
    (void)state;

    begin(&scripted[0]);
    begin(&scripted[1]);
    put_ack(answer(&scripted[1], 1, "id-1"), 2, true);
    open_with(&f, scripted, 2);
    assert_int_equal(fw_sink_idle(f.sink, NULL, &f.error), FW_OK);
    began_us = fw_monotonic_us();
    assert_int_equal(broker_deliver(&f, "ab", results, NULL), FW_ETIMEDOUT);
    assert_true(fw_monotonic_us() - began_us < 600 * FW_US_PER_MS);
    assert_int_equal(results[0], FW_ETIMEDOUT);
    assert_non_null(strstr(f.error.message, "did not confirm within 300 ms"));
    assert_int_equal(broker_deliver(&f, "ab", results, NULL), FW_OK);
    assert_int_equal(f.peer.connections, 2);
    close_all(&f);
}

static void trigger_soon(void *opaque)
{
    struct fw_cancel *never = fw_cancel_create();

    (void)fw_cancel_wait(never, 50);
    fw_cancel_trigger(opaque);
    fw_cancel_destroy(never);
}

static void a_confirm_after_a_given_up_delivery_counts_for_the_next(void **state)
{
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_thread *thread = NULL;
    struct scripted scripted;
    struct broker_fixture f;
    int results[3];
    (void)state;

    begin(&scripted);
    // The third message has the third tag only if the first two are not published once more.
    put_ack(answer(&scripted, 1, "id-2"), 3, true);
    open_with(&f, &scripted, 1);
    assert_int_equal(fw_thread_start(&thread, "trigger", NULL, trigger_soon, cancel), FW_OK);
    assert_int_equal(broker_deliver(&f, "ab", results, cancel), FW_ECANCELED);
    assert_int_equal(results[0], FW_ECANCELED);
    fw_thread_join(thread, -1);
    if (broker_deliver(&f, "abc", results, NULL) != FW_OK)
        fail_msg("%s", f.error.message);
    assert_int_equal(f.peer.connections, 1);
    fw_cancel_destroy(cancel);
    close_all(&f);
}

static void a_cancel_ends_every_wait(void **state)
{
    static const struct broker_step silence[] = {{NULL, NULL, 0}};
    static const struct broker_script silent = {silence, false};
    struct scripted scripted;
    struct broker_fixture f;
    (void)state;

    broker_open(&f, "amqp://127.0.0.1:%d", rabbitmq, &silent, 1);
    broker_check_cancel(&f); // the login
    close_all(&f);
    begin(&scripted);
    open_with(&f, &scripted, 1);
    assert_int_equal(fw_sink_idle(f.sink, NULL, &f.error), FW_OK);
    broker_check_cancel(&f); // the confirms
    close_all(&f);
}

static void a_refused_login_is_told(void **state)
{
    struct scripted scripted;
    struct broker_fixture f;
    (void)state;

    begin(&scripted);
    scripted.frames[0].length = 0;
    put_start(&scripted.frames[0], "PLAIN");
    put_connection_close(&scripted.frames[0], 403, "ACCESS_REFUSED - Login was refused");
    scripted.steps[0].length = scripted.frames[0].length;
    open_with(&f, &scripted, 1);
    assert_int_equal(fw_sink_idle(f.sink, NULL, &f.error), FW_EAUTH);
    assert_non_null(strstr(f.error.message, "check user name and password"));
    close_all(&f);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    char long_name[300];
    const struct {
        const char *url;
        struct fw_sink_options options;
        const char *said;
    } cases[] = {
        {"http://host/", {.routing_key = "k"}, "amqp://"},
        {"amqp://host/", {.routing_key = ""}, "routing_key"},
        {"amqp://host/", {.routing_key = "{camera}"}, "{camera_id}"},
        {"amqp://host/", {.routing_key = long_name}, "255"},
        {"amqp://host/", {.routing_key = "k", .exchange = long_name}, "255"},
        {"amqp://host/", {.routing_key = "k", .queue = long_name}, "255"},
        {"amqp://host/", {.routing_key = "k", .queue = "q", .declare = true}, "name an exchange"},
        {"amqp://host/", {.routing_key = "k", .timeout_ms = -1}, "timeout"},
    };
    (void)state;

    memset(long_name, 'x', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fw_sink_options options = cases[i].options;
        struct fw_error error = {0};
        options.type = "rabbitmq";
        assert_int_equal(broker_try_open(cases[i].url, options, &error), FW_EINVAL);
        assert_non_null(strstr(error.message, cases[i].said));
    }
}

int run_sink_rabbitmq_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_camera_has_one_message_on_its_way),
        cmocka_unit_test(a_refused_message_holds_up_its_camera_alone),
        cmocka_unit_test(a_returned_message_is_held_and_sent_again),
        cmocka_unit_test(a_broker_that_hangs_up_midway_gets_the_rest_later),
        cmocka_unit_test(a_broker_that_talks_nonsense_is_left),
        cmocka_unit_test(a_silent_broker_is_left_after_the_timeout),
        cmocka_unit_test(a_confirm_after_a_given_up_delivery_counts_for_the_next),
        cmocka_unit_test(a_cancel_ends_every_wait),
        cmocka_unit_test(a_refused_login_is_told),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
    };

    return cmocka_run_group_tests_name("RabbitMQ sink", tests, NULL, NULL);
}
