#include "alert/dispatcher.h"
#include "alert_tests.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/thread.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_TAKEN = 4096 };

// A sink that does as it is told.
struct script {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int result;          // what deliver answers
    int64_t delay_ms;    // before it does; a cancel ends it
    bool ignores_cancel; // a sink that breaks its promise
    int64_t retry_after_ms;
    const char *reject_camera; // answers FW_EREJECTED for this one
    int attempts;
    char taken[MAX_TAKEN][37]; // ids that it confirmed, in their order
    int taken_count;
    int closed;
};

// The script that the next opened sink follows.
static struct script *next_script;

static int scripted_open(void **state, const struct fw_sink_options *options,
                         struct fw_error *error)
{
    (void)options;
    (void)error;
    *state = next_script;
    return FW_OK;
}

static void nap_ms(int64_t ms)
{
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};

    (void)nanosleep(&pause, NULL);
}

static int scripted_deliver(void *state, const struct fw_event *event, struct fw_cancel *cancel,
                            struct fw_error *error)
{
    struct script *script = state;
    int64_t delay_ms;
    bool ignores_cancel;
    int result;

    pthread_mutex_lock(&script->mutex);
    script->attempts++;
    delay_ms = script->delay_ms;
    ignores_cancel = script->ignores_cancel;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->mutex);
    if (delay_ms > 0 && ignores_cancel)
        nap_ms(delay_ms);
    else if (delay_ms > 0 && fw_cancel_wait(cancel, delay_ms))
        return fw_fail(error, FW_ECANCELED, "cancelled");
    pthread_mutex_lock(&script->mutex);
    result = script->result;
    if (script->reject_camera != NULL && strcmp(script->reject_camera, event->camera_id) == 0)
        result = FW_EREJECTED;
    if (result == FW_OK && script->taken_count < MAX_TAKEN)
        strcpy(script->taken[script->taken_count++], event->id);
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->mutex);
    return result == FW_OK ? FW_OK : fw_fail(error, result, "scripted failure %d", result);
}

static int64_t scripted_retry_after_ms(const void *state)
{
    return ((const struct script *)state)->retry_after_ms;
}

static void scripted_close(void *state)
{
    struct script *script = state;

    pthread_mutex_lock(&script->mutex);
    script->closed++;
    pthread_mutex_unlock(&script->mutex);
}

static const struct fw_sink_backend scripted = {
    .type = "scripted",
    .open = scripted_open,
    .deliver = scripted_deliver,
    .retry_after_ms = scripted_retry_after_ms,
    .close = scripted_close,
};

static struct script *new_script(int result, int64_t delay_ms)
{
    struct script *script = calloc(1, sizeof(*script));
    pthread_condattr_t attributes;

    assert_non_null(script);
    script->result = result;
    script->delay_ms = delay_ms;
    assert_int_equal(pthread_mutex_init(&script->mutex, NULL), 0);
    assert_int_equal(pthread_condattr_init(&attributes), 0);
    assert_int_equal(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), 0);
    assert_int_equal(pthread_cond_init(&script->changed, &attributes), 0);
    pthread_condattr_destroy(&attributes);
    return script;
}

static void free_script(struct script *script)
{
    pthread_cond_destroy(&script->changed);
    pthread_mutex_destroy(&script->mutex);
    free(script);
}

static void set_result(struct script *script, int result)
{
    pthread_mutex_lock(&script->mutex);
    script->result = result;
    pthread_mutex_unlock(&script->mutex);
}

static int taken(struct script *script)
{
    int count;

    pthread_mutex_lock(&script->mutex);
    count = script->taken_count;
    pthread_mutex_unlock(&script->mutex);
    return count;
}

// Waits until SCRIPT was asked COUNT times; fails the test after 5 s.
static void await_attempts(struct script *script, int count)
{
    int64_t until_us = fw_monotonic_us() + 5 * FW_US_PER_S;
    struct timespec until = {.tv_sec = (time_t)(until_us / FW_US_PER_S)};
    bool came;

    pthread_mutex_lock(&script->mutex);
    while (script->attempts < count &&
           pthread_cond_timedwait(&script->changed, &script->mutex, &until) == 0)
        ;
    came = script->attempts >= count;
    pthread_mutex_unlock(&script->mutex);
    assert_true(came);
}

static struct fw_dispatcher *dispatcher_of(enum fw_delivery delivery, int64_t fallback_after_ms,
                                           size_t max_events, struct script *const *scripts,
                                           size_t count)
{
    static const char *const names[] = {"first", "second", "third"};
    struct fw_dispatcher_options options = {
        .delivery = delivery, .fallback_after_ms = fallback_after_ms, .max_events = max_events};
    struct fw_sink *sinks[3];
    struct fw_dispatcher *dispatcher;

    for (size_t i = 0; i < count; i++) {
        struct fw_sink_options sink = {.name = names[i]};
        next_script = scripts[i];
        assert_int_equal(fw_sink_open_backend(&sinks[i], &scripted, &sink, NULL), FW_OK);
    }
    dispatcher = fw_dispatcher_create(&options, sinks, count);
    assert_non_null(dispatcher);
    return dispatcher;
}

static void post(struct fw_dispatcher *dispatcher, const char *camera)
{
    struct fw_event *event = event_of(camera, 1);

    assert_int_equal(fw_dispatcher_post(dispatcher, event), FW_OK);
    fw_event_unref(event);
}

static struct fw_sink_status status_of(struct fw_dispatcher *dispatcher, size_t index)
{
    struct fw_sink_status status[3];

    assert_true(fw_dispatcher_status(dispatcher, status, 3) > index);
    return status[index];
}

static void every_sink_gets_every_event_in_order(void **state)
{
    struct script *scripts[2] = {new_script(FW_OK, 0), new_script(FW_OK, 1)};
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_ALL, 0, 1000, scripts, 2);
    char ids[100][37];
    (void)state;

    for (int i = 0; i < 100; i++) {
        struct fw_event *event = event_of("x", 1);
        strcpy(ids[i], event->id);
        assert_int_equal(fw_dispatcher_post(dispatcher, event), FW_OK);
        fw_event_unref(event);
    }
    assert_true(fw_dispatcher_drain(dispatcher, 5000));
    assert_int_equal(status_of(dispatcher, 0).delivered, 100);
    assert_int_equal(status_of(dispatcher, 1).waiting, 0);
    assert_string_equal(status_of(dispatcher, 1).name, "second");
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    for (int s = 0; s < 2; s++) {
        assert_int_equal(scripts[s]->taken_count, 100);
        for (int i = 0; i < 100; i++)
            assert_string_equal(scripts[s]->taken[i], ids[i]);
        assert_int_equal(scripts[s]->closed, 1);
        free_script(scripts[s]);
    }
}

static void a_sink_that_is_away_delays_no_other_and_gets_all_later(void **state)
{
    struct script *scripts[2] = {new_script(FW_ECONNECT, 0), new_script(FW_OK, 0)};
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_ALL, 0, 1000, scripts, 2);
    struct fw_sink_status status;
    (void)state;

    for (int i = 0; i < 10; i++)
        post(dispatcher, "x");
    await_attempts(scripts[0], 2);
    assert_false(fw_dispatcher_drain(dispatcher, 50));
    assert_int_equal(taken(scripts[1]), 10);
    status = status_of(dispatcher, 0);
    assert_int_equal(status.state, FW_SINK_RETRYING);
    assert_int_equal(status.waiting, 10);
    assert_true(status.retried >= 1);
    assert_string_equal(status.last_error, "scripted failure -8");
    set_result(scripts[0], FW_OK);
    assert_true(fw_dispatcher_drain(dispatcher, 10000));
    status = status_of(dispatcher, 0);
    assert_int_equal(status.state, FW_SINK_OK);
    assert_string_equal(status.last_error, "");
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    assert_int_equal(scripts[0]->taken_count, 10);
    assert_int_equal(scripts[1]->taken_count, 10);
    free_script(scripts[0]);
    free_script(scripts[1]);
}

static void a_refusal_of_us_holds_and_loses_nothing(void **state)
{
    struct script *script = new_script(FW_EAUTH, 0);
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_ALL, 0, 1000, &script, 1);
    (void)state;

    post(dispatcher, "x");
    await_attempts(script, 1);
    assert_false(fw_dispatcher_drain(dispatcher, 50));
    assert_int_equal(status_of(dispatcher, 0).state, FW_SINK_REFUSED);
    assert_int_equal(status_of(dispatcher, 0).waiting, 1);
    set_result(script, FW_OK);
    assert_true(fw_dispatcher_drain(dispatcher, 10000)); // the first step of its ladder is 5 s
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    assert_int_equal(script->taken_count, 1);
    free_script(script);
}

static void a_rejected_event_is_given_up_and_the_next_one_goes(void **state)
{
    struct script *script = new_script(FW_OK, 0);
    struct fw_dispatcher *dispatcher;
    (void)state;

    script->reject_camera = "bad";
    dispatcher = dispatcher_of(FW_DELIVERY_ALL, 0, 1000, &script, 1);
    post(dispatcher, "bad");
    post(dispatcher, "good");
    assert_true(fw_dispatcher_drain(dispatcher, 5000));
    assert_int_equal(status_of(dispatcher, 0).rejected, 1);
    assert_int_equal(status_of(dispatcher, 0).delivered, 1);
    assert_int_equal(status_of(dispatcher, 0).state, FW_SINK_OK);
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    assert_int_equal(script->attempts, 2);
    free_script(script);
}

static void the_oldest_goes_when_too_many_wait(void **state)
{
    struct script *script = new_script(FW_ECONNECT, 0);
    struct fw_dispatcher *dispatcher;
    char last[37];
    struct fw_event *event;
    (void)state;

    script->retry_after_ms = 700; // so that none is in flight while we post
    dispatcher = dispatcher_of(FW_DELIVERY_ALL, 0, 5, &script, 1);
    post(dispatcher, "x");
    await_attempts(script, 1);
    nap_ms(50);
    for (int i = 0; i < 19; i++)
        post(dispatcher, "x");
    event = event_of("x", 1);
    strcpy(last, event->id);
    assert_int_equal(fw_dispatcher_post(dispatcher, event), FW_OK);
    fw_event_unref(event);
    assert_int_equal(status_of(dispatcher, 0).waiting, 5);
    assert_int_equal(status_of(dispatcher, 0).dropped, 16);
    set_result(script, FW_OK);
    assert_true(fw_dispatcher_drain(dispatcher, 5000));
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    assert_int_equal(script->taken_count, 5);
    assert_string_equal(script->taken[4], last);
    free_script(script);
}

static void a_peer_is_left_alone_as_long_as_it_asks(void **state)
{
    struct script *script = new_script(FW_EIO, 0);
    struct fw_dispatcher *dispatcher;
    (void)state;

    script->retry_after_ms = 60000;
    dispatcher = dispatcher_of(FW_DELIVERY_ALL, 0, 10, &script, 1);
    post(dispatcher, "x");
    await_attempts(script, 1);
    assert_false(fw_dispatcher_drain(dispatcher, 800)); // its backoff alone would be 0.25 s at most
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    assert_int_equal(script->attempts, 1);
    free_script(script);
}

static void the_fallback_is_not_asked_while_the_first_confirms(void **state)
{
    struct script *scripts[2] = {new_script(FW_OK, 2), new_script(FW_OK, 0)};
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_FALLBACK, 5000, 1000, scripts, 2);
    (void)state;

    for (int i = 0; i < 50; i++)
        post(dispatcher, "x");
    assert_true(fw_dispatcher_drain(dispatcher, 4000));
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    assert_int_equal(scripts[0]->taken_count, 50);
    assert_int_equal(scripts[1]->attempts, 0);
    free_script(scripts[0]);
    free_script(scripts[1]);
}

static void the_fallback_takes_over_after_its_time_and_only_once(void **state)
{
    struct script *scripts[2] = {new_script(FW_ECONNECT, 0), new_script(FW_OK, 0)};
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_FALLBACK, 300, 1000, scripts, 2);
    int64_t began_us = fw_monotonic_us();
    (void)state;

    for (int i = 0; i < 10; i++)
        post(dispatcher, "x");
    assert_int_equal(status_of(dispatcher, 1).waiting, 0); // not due to it yet
    assert_true(fw_dispatcher_drain(dispatcher, 5000));
    assert_true(fw_monotonic_us() - began_us >= 300 * FW_US_PER_MS);
    set_result(scripts[0], FW_OK);
    nap_ms(500);
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    assert_int_equal(scripts[0]->taken_count, 0); // what the second took is not sent to the first
    assert_int_equal(scripts[1]->taken_count, 10);
    free_script(scripts[0]);
    free_script(scripts[1]);
}

static void an_attempt_that_hangs_is_overtaken(void **state)
{
    struct script *scripts[2] = {new_script(FW_OK, 60000), new_script(FW_OK, 0)};
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_FALLBACK, 200, 1000, scripts, 2);
    struct fw_sink_status status;
    (void)state;

    post(dispatcher, "x");
    assert_true(fw_dispatcher_drain(dispatcher, 5000));
    status = status_of(dispatcher, 0);
    assert_int_equal(status.state, FW_SINK_RETRYING);
    assert_non_null(strstr(status.last_error, "200 ms"));
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    assert_int_equal(scripts[0]->taken_count, 0);
    assert_int_equal(scripts[1]->taken_count, 1);
    free_script(scripts[0]);
    free_script(scripts[1]);
}

static void the_first_gets_it_after_all_when_the_fallback_fails_too(void **state)
{
    struct script *scripts[2] = {new_script(FW_ECONNECT, 0), new_script(FW_ECONNECT, 0)};
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_FALLBACK, 100, 1000, scripts, 2);
    (void)state;

    post(dispatcher, "x");
    await_attempts(scripts[1], 1);
    set_result(scripts[0], FW_OK);
    assert_true(fw_dispatcher_drain(dispatcher, 8000));
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    assert_int_equal(scripts[0]->taken_count, 1);
    free_script(scripts[0]);
    free_script(scripts[1]);
}

static void what_the_first_rejects_goes_to_the_fallback_at_once(void **state)
{
    struct script *scripts[2] = {new_script(FW_EREJECTED, 0), new_script(FW_OK, 0)};
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_FALLBACK, 60000, 10, scripts, 2);
    (void)state;

    post(dispatcher, "x");
    assert_true(fw_dispatcher_drain(dispatcher, 5000));
    assert_int_equal(taken(scripts[1]), 1);
    set_result(scripts[1], FW_EREJECTED);
    post(dispatcher, "x");
    assert_true(fw_dispatcher_drain(dispatcher, 5000)); // both rejected it: given up
    assert_int_equal(status_of(dispatcher, 0).rejected, 2);
    assert_int_equal(status_of(dispatcher, 1).rejected, 1);
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    free_script(scripts[0]);
    free_script(scripts[1]);
}

// The poster of one camera's events, and their ids in order.
struct poster {
    struct fw_dispatcher *dispatcher;
    char camera[8];
    char ids[200][37];
};

static void post_many(void *opaque)
{
    struct poster *poster = opaque;

    for (int i = 0; i < 200; i++) {
        struct fw_event *event = event_of(poster->camera, 1);
        strcpy(poster->ids[i], event->id);
        (void)fw_dispatcher_post(poster->dispatcher, event);
        fw_event_unref(event);
    }
}

static int times_taken(const struct script *script, const char *id, int *at)
{
    int times = 0;

    for (int i = 0; i < script->taken_count; i++) {
        if (strcmp(script->taken[i], id) == 0) {
            *at = i;
            times++;
        }
    }
    return times;
}

static void check_poster(const struct poster *poster, struct script *const *scripts)
{
    int last[2] = {-1, -1};

    for (int i = 0; i < 200; i++) {
        int at[2] = {0, 0};
        int first = times_taken(scripts[0], poster->ids[i], &at[0]);
        int second = times_taken(scripts[1], poster->ids[i], &at[1]);
        assert_int_equal(first + second, 1);
        for (int s = 0; s < 2; s++) {
            if ((s == 0 ? first : second) == 0)
                continue;
            assert_true(at[s] > last[s]);
            last[s] = at[s];
        }
    }
}

// Four cameras post while the first sink comes and goes: each event is confirmed by exactly one
// sink, and each sink has each camera's in order.
static void no_event_is_confirmed_twice_or_lost(void **state)
{
    struct script *scripts[2] = {new_script(FW_OK, 1), new_script(FW_OK, 1)};
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_FALLBACK, 60, 4000, scripts, 2);
    struct poster *posters = calloc(4, sizeof(*posters));
    struct fw_thread *threads[4];
    (void)state;

    assert_non_null(posters);
    for (int i = 0; i < 4; i++) {
        posters[i].dispatcher = dispatcher;
        snprintf(posters[i].camera, sizeof(posters[i].camera), "cam%d", i);
        assert_int_equal(fw_thread_start(&threads[i], "poster", NULL, post_many, &posters[i]),
                         FW_OK);
    }
    for (int i = 0; i < 8; i++) {
        set_result(scripts[i & 1], i & 2 ? FW_OK : FW_ECONNECT);
        nap_ms(60);
    }
    set_result(scripts[0], FW_OK);
    set_result(scripts[1], FW_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fw_thread_join(threads[i], -1), FW_OK);
    assert_true(fw_dispatcher_drain(dispatcher, 30000));
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 1000), FW_OK);
    print_message("the first took %d, the second %d\n", scripts[0]->taken_count,
                  scripts[1]->taken_count);
    for (int i = 0; i < 4; i++)
        check_poster(&posters[i], scripts);
    free(posters);
    free_script(scripts[0]);
    free_script(scripts[1]);
}

static void a_stop_ends_an_attempt_at_once(void **state)
{
    struct script *script = new_script(FW_OK, 60000);
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_ALL, 0, 10, &script, 1);
    int64_t began_us;
    (void)state;

    post(dispatcher, "x");
    await_attempts(script, 1);
    began_us = fw_monotonic_us();
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 2000), FW_OK);
    assert_true(fw_monotonic_us() - began_us < FW_US_PER_S);
    assert_int_equal(script->closed, 1);
    free_script(script);
}

// What is left behind stays reachable, so that leak checkers see it is no accident.
static struct fw_dispatcher *left_behind;

static void a_sink_that_does_not_return_is_left_behind(void **state)
{
    struct script *script = new_script(FW_OK, 1500);
    int64_t began_us;
    (void)state;

    script->ignores_cancel = true;
    left_behind = dispatcher_of(FW_DELIVERY_ALL, 0, 10, &script, 1);
    post(left_behind, "x");
    await_attempts(script, 1);
    began_us = fw_monotonic_us();
    assert_int_equal(fw_dispatcher_destroy(left_behind, 100), FW_ETIMEDOUT);
    assert_true(fw_monotonic_us() - began_us < FW_US_PER_S);
    assert_int_equal(script->closed, 0);
    nap_ms(2000); // it ends by itself, using nothing that was freed
    assert_int_equal(taken(script), 1);
}

static void no_sinks_and_no_dispatcher_are_fine(void **state)
{
    struct fw_dispatcher *dispatcher = dispatcher_of(FW_DELIVERY_FALLBACK, 100, 10, NULL, 0);
    (void)state;

    post(dispatcher, "x");
    assert_true(fw_dispatcher_drain(dispatcher, 0));
    assert_int_equal(fw_dispatcher_status(dispatcher, NULL, 0), 0);
    assert_int_equal(fw_dispatcher_destroy(dispatcher, 0), FW_OK);
    assert_int_equal(fw_dispatcher_destroy(NULL, 0), FW_OK);
}

int run_dispatcher_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sink_gets_every_event_in_order),
        cmocka_unit_test(a_sink_that_is_away_delays_no_other_and_gets_all_later),
        cmocka_unit_test(a_refusal_of_us_holds_and_loses_nothing),
        cmocka_unit_test(a_rejected_event_is_given_up_and_the_next_one_goes),
        cmocka_unit_test(the_oldest_goes_when_too_many_wait),
        cmocka_unit_test(a_peer_is_left_alone_as_long_as_it_asks),
        cmocka_unit_test(the_fallback_is_not_asked_while_the_first_confirms),
        cmocka_unit_test(the_fallback_takes_over_after_its_time_and_only_once),
        cmocka_unit_test(an_attempt_that_hangs_is_overtaken),
        cmocka_unit_test(the_first_gets_it_after_all_when_the_fallback_fails_too),
        cmocka_unit_test(what_the_first_rejects_goes_to_the_fallback_at_once),
        cmocka_unit_test(no_event_is_confirmed_twice_or_lost),
        cmocka_unit_test(a_stop_ends_an_attempt_at_once),
        cmocka_unit_test(a_sink_that_does_not_return_is_left_behind),
        cmocka_unit_test(no_sinks_and_no_dispatcher_are_fine),
    };

    return cmocka_run_group_tests_name("dispatcher", tests, NULL, NULL);
}
