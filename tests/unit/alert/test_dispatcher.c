// From the outbox to the sinks; and the program's main.
#include "alert/dispatcher.h"
#include "dispatcher_tests.h"
#include "util/clock.h"
#include "util/thread.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dispatch_bench *new_dispatch_bench(enum fw_delivery delivery, struct script *const *scripts,
                                          size_t count)
{
    struct dispatch_bench *bench = calloc(1, sizeof(*bench));

    assert_non_null(bench);
    bench->outbox = new_outbox_bench(delivery, count);
    bench->outbox->options.max_ring_events = 10000;
    bench->count = count;
    bench->max_batch = 1;
    for (size_t i = 0; i < count; i++)
        bench->scripts[i] = scripts[i];
    return bench;
}

void start_dispatcher(struct dispatch_bench *bench)
{
    struct fw_sink *sinks[3];

    if (bench->outbox->outbox == NULL)
        open_outbox(bench->outbox);
    bench->options.outbox = bench->outbox->outbox;
    for (size_t i = 0; i < bench->count; i++)
        sinks[i] = sink_of(bench->scripts[i], bench->outbox->names[i], bench->max_batch,
                           bench->has_idle, bench->embeds);
    bench->dispatcher = fw_dispatcher_create(&bench->options, sinks, bench->count);
    assert_non_null(bench->dispatcher);
}

void stop_dispatcher(struct dispatch_bench *bench)
{
    assert_int_equal(fw_dispatcher_destroy(bench->dispatcher, 3000), FW_OK);
    bench->dispatcher = NULL;
}

void free_dispatch_bench(struct dispatch_bench *bench)
{
    if (bench->dispatcher != NULL)
        stop_dispatcher(bench);
    free_outbox_bench(bench->outbox);
    for (size_t i = 0; i < bench->count; i++)
        free_script(bench->scripts[i]);
    free(bench);
}

static struct dispatch_bench *started(enum fw_delivery delivery, int64_t fallback_after_ms,
                                      struct script *const *scripts, size_t count)
{
    struct dispatch_bench *bench = new_dispatch_bench(delivery, scripts, count);

    bench->options.fallback_after_ms = fallback_after_ms;
    start_dispatcher(bench);
    return bench;
}

static void post(struct dispatch_bench *bench, const char *camera)
{
    post_quiet(bench->outbox, camera, NULL);
}

static struct fw_sink_status status_of(struct dispatch_bench *bench, size_t index)
{
    struct fw_sink_status status[3];

    assert_true(fw_dispatcher_status(bench->dispatcher, status, 3) > index);
    return status[index];
}

static bool drain(struct dispatch_bench *bench, int64_t timeout_ms)
{
    return fw_dispatcher_drain(bench->dispatcher, timeout_ms);
}

// All sinks

static void every_sink_gets_every_event_in_order(void **state)
{
    struct script *scripts[2] = {new_script(FW_OK, 0), new_script(FW_OK, 1)};
    struct dispatch_bench *bench = started(FW_DELIVERY_ALL, 0, scripts, 2);
    char ids[100][37];
    (void)state;

    for (int i = 0; i < 100; i++)
        post_quiet(bench->outbox, "x", ids[i]);
    assert_true(drain(bench, 10000));
    assert_int_equal(status_of(bench, 0).delivered, 100);
    assert_int_equal(status_of(bench, 1).waiting, 0);
    assert_int_equal(status_of(bench, 1).oldest_waiting_us, 0);
    assert_string_equal(status_of(bench, 1).name, "second");
    stop_dispatcher(bench);
    for (int s = 0; s < 2; s++) {
        assert_int_equal(scripts[s]->taken_count, 100);
        for (int i = 0; i < 100; i++)
            assert_string_equal(scripts[s]->taken[i], ids[i]);
        assert_int_equal(scripts[s]->closed, 1);
    }
    free_dispatch_bench(bench);
}

static void what_waits_goes_in_batches(void **state)
{
    struct script *script = new_script(FW_ECONNECT, 0);
    struct dispatch_bench *bench = new_dispatch_bench(FW_DELIVERY_ALL, &script, 1);
    char ids[300][37];
    (void)state;

    bench->max_batch = 16;
    open_outbox(bench->outbox);
    for (int i = 0; i < 300; i++)
        post_quiet(bench->outbox, i % 2 ? "x" : "y", ids[i]);
    flush_outbox(bench->outbox);
    start_dispatcher(bench);
    await_attempts(script, 1);
    assert_int_equal(status_of(bench, 0).waiting, 300);
    set_result(script, FW_OK);
    assert_true(drain(bench, 10000));
    assert_int_equal(script->largest_batch, 16);
    assert_true(script->attempts < 40);
    for (int i = 0; i < 300; i++)
        assert_string_equal(script->taken[i], ids[i]);
    free_dispatch_bench(bench);
}

static void of_a_batch_that_fails_only_the_rest_is_tried_again(void **state)
{
    struct script *script = new_script(FW_ECONNECT, 0);
    struct dispatch_bench *bench = new_dispatch_bench(FW_DELIVERY_ALL, &script, 1);
    char ids[40][37];
    (void)state;

    bench->max_batch = 16;
    script->fail_after = 5; // each time
    open_outbox(bench->outbox);
    for (int i = 0; i < 40; i++)
        post_quiet(bench->outbox, "x", ids[i]);
    flush_outbox(bench->outbox);
    start_dispatcher(bench);
    assert_true(drain(bench, 10000));
    assert_int_equal(script->taken_count, 40);
    for (int i = 0; i < 40; i++)
        assert_string_equal(script->taken[i], ids[i]);
    assert_true(status_of(bench, 0).retried >= 7);
    free_dispatch_bench(bench);
}

static void a_sink_that_is_away_delays_no_other_and_gets_all_later(void **state)
{
    struct script *scripts[2] = {new_script(FW_ECONNECT, 0), new_script(FW_OK, 0)};
    struct dispatch_bench *bench = started(FW_DELIVERY_ALL, 0, scripts, 2);
    struct fw_sink_status status;
    (void)state;

    for (int i = 0; i < 10; i++)
        post(bench, "x");
    await_attempts(scripts[0], 2);
    await_taken(scripts[1], 10);
    assert_false(drain(bench, 50));
    status = status_of(bench, 0);
    assert_int_equal(status.state, FW_SINK_RETRYING);
    assert_int_equal(status.waiting, 10);
    assert_true(status.oldest_waiting_us > 0);
    assert_true(status.retried >= 1);
    assert_string_equal(status.last_error, "scripted failure -8");
    set_result(scripts[0], FW_OK);
    assert_true(drain(bench, 10000));
    status = status_of(bench, 0);
    assert_int_equal(status.state, FW_SINK_OK);
    assert_string_equal(status.last_error, "");
    assert_int_equal(scripts[0]->taken_count, 10);
    assert_int_equal(scripts[1]->taken_count, 10);
    free_dispatch_bench(bench);
}

static void what_waits_is_delivered_after_a_restart(void **state)
{
    struct script *script = new_script(FW_ECONNECT, 0);
    struct dispatch_bench *bench = started(FW_DELIVERY_ALL, 0, &script, 1);
    char ids[20][37];
    (void)state;

    for (int i = 0; i < 20; i++)
        post_quiet(bench->outbox, "x", ids[i]);
    await_attempts(script, 1);
    stop_dispatcher(bench);
    close_outbox(bench->outbox);
    set_result(script, FW_OK);
    start_dispatcher(bench);
    assert_true(drain(bench, 10000));
    stop_dispatcher(bench);
    close_outbox(bench->outbox);
    start_dispatcher(bench); // nothing is delivered again
    assert_true(drain(bench, 10000));
    nap_ms(100);
    assert_int_equal(script->taken_count, 20);
    for (int i = 0; i < 20; i++)
        assert_string_equal(script->taken[i], ids[i]);
    free_dispatch_bench(bench);
}

static void a_refusal_of_us_holds_and_loses_nothing(void **state)
{
    struct script *script = new_script(FW_EAUTH, 0);
    struct dispatch_bench *bench = started(FW_DELIVERY_ALL, 0, &script, 1);
    (void)state;

    post(bench, "x");
    await_attempts(script, 1);
    assert_false(drain(bench, 50));
    assert_int_equal(status_of(bench, 0).state, FW_SINK_REFUSED);
    assert_int_equal(status_of(bench, 0).waiting, 1);
    set_result(script, FW_OK);
    assert_true(drain(bench, 10000)); // the first step of its ladder is 5 s
    assert_int_equal(script->taken_count, 1);
    free_dispatch_bench(bench);
}

static void a_rejected_event_is_a_dead_letter_and_the_next_one_goes(void **state)
{
    struct script *script = new_script(FW_OK, 0);
    struct dispatch_bench *bench = new_dispatch_bench(FW_DELIVERY_ALL, &script, 1);
    char bad[37];
    (void)state;

    script->reject_camera = "bad";
    bench->max_batch = 16;
    start_dispatcher(bench);
    post_quiet(bench->outbox, "bad", bad);
    post(bench, "good");
    assert_true(drain(bench, 5000));
    assert_int_equal(status_of(bench, 0).rejected, 1);
    assert_int_equal(status_of(bench, 0).dead, 1);
    assert_int_equal(status_of(bench, 0).delivered, 1);
    assert_int_equal(status_of(bench, 0).state, FW_SINK_OK);
    flush_outbox(bench->outbox);
    assert_int_equal(ask_database(bench->outbox->path,
                                  "SELECT count(*) FROM rejection WHERE reason LIKE 'scripted%'"),
                     1);
    free_dispatch_bench(bench);
}

static void a_dead_letter_that_is_retried_is_delivered(void **state)
{
    struct script *script = new_script(FW_EREJECTED, 0);
    struct dispatch_bench *bench = started(FW_DELIVERY_ALL, 0, &script, 1);
    struct fw_outbox_file *file = NULL;
    uint64_t count;
    (void)state;

    post(bench, "x");
    assert_true(drain(bench, 5000));
    flush_outbox(bench->outbox);
    set_result(script, FW_OK);
    assert_int_equal(fw_outbox_file_open(&file, bench->outbox->path, false, NULL), FW_OK);
    assert_int_equal(fw_outbox_file_retry(file, &(struct fw_outbox_query){0}, &count, NULL), FW_OK);
    fw_outbox_file_close(file);
    assert_int_equal(count, 1);
    await_taken(script, 1);
    free_dispatch_bench(bench);
}

static void a_peer_is_left_alone_as_long_as_it_asks(void **state)
{
    struct script *script = new_script(FW_EIO, 0);
    struct dispatch_bench *bench;
    (void)state;

    script->retry_after_ms = 60000;
    bench = started(FW_DELIVERY_ALL, 0, &script, 1);
    post(bench, "x");
    await_attempts(script, 1);
    assert_false(drain(bench, 800)); // its backoff alone would be 0.25 s at most
    assert_int_equal(script->attempts, 1);
    free_dispatch_bench(bench);
}

// Fallback

static void the_fallback_is_not_asked_while_the_first_confirms(void **state)
{
    struct script *scripts[2] = {new_script(FW_OK, 2), new_script(FW_OK, 0)};
    struct dispatch_bench *bench = started(FW_DELIVERY_FALLBACK, 8000, scripts, 2);
    (void)state;

    for (int i = 0; i < 50; i++)
        post(bench, "x");
    assert_true(drain(bench, 7000));
    assert_int_equal(scripts[0]->taken_count, 50);
    assert_int_equal(scripts[1]->attempts, 0);
    free_dispatch_bench(bench);
}

static void the_fallback_takes_over_after_its_time_and_only_once(void **state)
{
    struct script *scripts[2] = {new_script(FW_ECONNECT, 0), new_script(FW_OK, 0)};
    struct dispatch_bench *bench = started(FW_DELIVERY_FALLBACK, 600, scripts, 2);
    int64_t began_us = fw_monotonic_us();
    (void)state;

    for (int i = 0; i < 10; i++)
        post(bench, "x");
    assert_int_equal(status_of(bench, 1).waiting, 0); // not due to it yet
    assert_true(drain(bench, 5000));
    assert_true(fw_monotonic_us() - began_us >= 590 * FW_US_PER_MS);
    set_result(scripts[0], FW_OK);
    nap_ms(500);
    assert_int_equal(taken(scripts[0]), 0); // what the second took is not sent to the first
    assert_int_equal(scripts[1]->taken_count, 10);
    free_dispatch_bench(bench);
}

static void after_a_restart_the_first_has_its_time_again(void **state)
{
    struct script *scripts[2] = {new_script(FW_ECONNECT, 0), new_script(FW_ECONNECT, 0)};
    struct dispatch_bench *bench = started(FW_DELIVERY_FALLBACK, 1500, scripts, 2);
    int64_t began_us;
    (void)state;

    post(bench, "x");
    await_attempts(scripts[1], 1);
    stop_dispatcher(bench);
    close_outbox(bench->outbox);
    set_result(scripts[1], FW_OK);
    began_us = fw_monotonic_us();
    start_dispatcher(bench);
    await_taken(scripts[1], 1);
    assert_true(fw_monotonic_us() - began_us >= 1490 * FW_US_PER_MS);
    free_dispatch_bench(bench);
}

static void an_attempt_that_hangs_is_overtaken(void **state)
{
    struct script *scripts[2] = {new_script(FW_OK, 60000), new_script(FW_OK, 0)};
    struct dispatch_bench *bench = started(FW_DELIVERY_FALLBACK, 200, scripts, 2);
    struct fw_sink_status status;
    (void)state;

    post(bench, "x");
    assert_true(drain(bench, 5000));
    status = status_of(bench, 0);
    assert_int_equal(status.state, FW_SINK_RETRYING);
    assert_non_null(strstr(status.last_error, "200 ms"));
    assert_int_equal(scripts[0]->taken_count, 0);
    assert_int_equal(scripts[1]->taken_count, 1);
    free_dispatch_bench(bench);
}

static void the_first_gets_it_after_all_when_the_fallback_fails_too(void **state)
{
    struct script *scripts[2] = {new_script(FW_ECONNECT, 0), new_script(FW_ECONNECT, 0)};
    struct dispatch_bench *bench = started(FW_DELIVERY_FALLBACK, 100, scripts, 2);
    (void)state;

    post(bench, "x");
    await_attempts(scripts[1], 1);
    set_result(scripts[0], FW_OK);
    assert_true(drain(bench, 8000));
    assert_int_equal(scripts[0]->taken_count, 1);
    free_dispatch_bench(bench);
}

static void what_the_first_rejects_goes_to_the_fallback_at_once(void **state)
{
    struct script *scripts[2] = {new_script(FW_EREJECTED, 0), new_script(FW_OK, 0)};
    struct dispatch_bench *bench = started(FW_DELIVERY_FALLBACK, 60000, scripts, 2);
    (void)state;

    post(bench, "x");
    assert_true(drain(bench, 5000));
    assert_int_equal(taken(scripts[1]), 1);
    set_result(scripts[1], FW_EREJECTED);
    post(bench, "x");
    assert_true(drain(bench, 5000)); // both rejected it: given up
    assert_int_equal(status_of(bench, 0).rejected, 2);
    assert_int_equal(status_of(bench, 0).dead, 1);
    assert_int_equal(status_of(bench, 1).rejected, 1);
    assert_int_equal(status_of(bench, 1).dead, 0);
    free_dispatch_bench(bench);
}

// The first rejects thousands while the second is away: the window stays small, what the first does
// take goes on, and the second gets the rest in order.
static void rejections_for_an_absent_fallback_do_not_block_the_first(void **state)
{
    enum { EVENTS = 6000 };
    struct script *scripts[2] = {new_script(FW_OK, 0), new_script(FW_ECONNECT, 0)};
    struct dispatch_bench *bench = new_dispatch_bench(FW_DELIVERY_FALLBACK, scripts, 2);
    char(*ids)[37] = calloc(EVENTS, sizeof(*ids));
    int at;
    (void)state;

    assert_non_null(ids);
    scripts[0]->reject_camera = "bad";
    bench->options.fallback_after_ms = 3600000;
    bench->max_batch = 16;
    start_dispatcher(bench);
    for (int i = 0; i < EVENTS; i++) {
        post_quiet(bench->outbox, i % 100 == 99 ? "good" : "bad", ids[i]);
        if (i % 1000 == 999)
            flush_outbox(bench->outbox);
    }
    await_taken(scripts[0], EVENTS / 100);
    set_result(scripts[1], FW_OK);
    assert_true(drain(bench, 60000));
    assert_int_equal(scripts[0]->taken_count, EVENTS / 100);
    assert_int_equal(scripts[1]->taken_count, EVENTS - EVENTS / 100);
    at = 0;
    for (int i = 0; i < EVENTS; i++)
        if (i % 100 != 99)
            assert_string_equal(scripts[1]->taken[at++], ids[i]);
    free(ids);
    free_dispatch_bench(bench);
}

// Pictures

struct gallery {
    atomic_int state;
    atomic_int asked;
};

static enum fw_picture_state gallery_state(void *opaque, const char *key)
{
    struct gallery *gallery = opaque;

    (void)key;
    atomic_fetch_add(&gallery->asked, 1);
    return (enum fw_picture_state)atomic_load(&gallery->state);
}

static char *gallery_url(void *opaque, const char *key)
{
    char *url = malloc(strlen(key) + 16);
    (void)opaque;

    if (url != NULL)
        sprintf(url, "http://now/%s", key);
    return url;
}

static int gallery_read(void *opaque, const char *key, uint8_t **data, size_t *length)
{
    (void)opaque;
    (void)key;
    *data = malloc(3);
    if (*data == NULL)
        return FW_ENOMEM;
    memcpy(*data, "abc", 3);
    *length = 3;
    return FW_OK;
}

static void post_pictured(struct dispatch_bench *bench, const char *camera)
{
    static const struct fw_event_snapshot snapshot = {
        .state = "pending",
        .full = {.key = "a/b.jpg", .url = "http://h/", .sha256 = "00", .width = 9, .height = 8}};
    struct fw_event_input input = input_of(camera, 7);
    struct fw_event *event;

    input.snapshot = &snapshot;
    event = fw_event_create(&input);
    assert_non_null(event);
    assert_int_equal(fw_outbox_post(bench->outbox->outbox, event), FW_OK);
    fw_event_unref(event);
}

static struct dispatch_bench *bench_with(struct gallery *gallery, struct fw_picture_source *source,
                                         struct script **script, int64_t wait_ms)
{
    struct dispatch_bench *bench;

    *script = new_script(FW_OK, 0);
    bench = new_dispatch_bench(FW_DELIVERY_ALL, script, 1);
    atomic_init(&gallery->state, FW_PICTURE_PENDING);
    atomic_init(&gallery->asked, 0);
    *source = (struct fw_picture_source){
        .opaque = gallery, .state = gallery_state, .url = gallery_url, .read = gallery_read};
    bench->options.pictures = source;
    bench->options.snapshot_wait_ms = wait_ms;
    return bench;
}

static void an_event_waits_for_its_pictures_and_so_does_its_camera(void **state)
{
    struct gallery gallery;
    struct fw_picture_source source;
    struct script *script;
    struct dispatch_bench *bench = bench_with(&gallery, &source, &script, 60000);
    (void)state;

    start_dispatcher(bench);
    post_pictured(bench, "x");
    post(bench, "x");
    post(bench, "y");
    await_taken(script, 1);
    nap_ms(200);
    assert_int_equal(taken(script), 1);
    assert_string_equal(script->cameras[0], "y");      // others go on
    fw_dispatcher_pictures_changed(bench->dispatcher); // of another event
    nap_ms(100);
    assert_int_equal(taken(script), 1);
    atomic_store(&gallery.state, FW_PICTURE_STORED);
    fw_dispatcher_pictures_changed(bench->dispatcher);
    assert_true(drain(bench, 5000));
    assert_int_equal(taken(script), 3);
    assert_string_equal(script->cameras[1], "x");
    free_dispatch_bench(bench);
}

static void pictures_that_failed_are_not_waited_for(void **state)
{
    struct gallery gallery;
    struct fw_picture_source source;
    struct script *script;
    struct dispatch_bench *bench = bench_with(&gallery, &source, &script, 60000);
    (void)state;

    start_dispatcher(bench);
    post_pictured(bench, "x");
    flush_outbox(bench->outbox);
    nap_ms(100);
    assert_int_equal(taken(script), 0);
    atomic_store(&gallery.state, FW_PICTURE_FAILED);
    fw_dispatcher_pictures_changed(bench->dispatcher);
    assert_true(drain(bench, 5000));
    free_dispatch_bench(bench);
}

static void an_event_goes_without_its_pictures_when_they_take_too_long(void **state)
{
    struct gallery gallery;
    struct fw_picture_source source;
    struct script *script;
    struct dispatch_bench *bench = bench_with(&gallery, &source, &script, 700);
    int64_t began_us;
    (void)state;

    start_dispatcher(bench);
    began_us = fw_monotonic_us();
    post_pictured(bench, "x");
    assert_true(drain(bench, 5000));
    assert_true(fw_monotonic_us() - began_us >= 690 * FW_US_PER_MS);
    assert_non_null(strstr(script->last_body, "\"pending\""));
    assert_non_null(strstr(script->last_body, "http://now/a/b.jpg"));
    free_dispatch_bench(bench);
}

static void a_sink_that_embeds_pictures_needs_no_upload(void **state)
{
    struct gallery gallery;
    struct fw_picture_source source;
    struct script *script;
    struct dispatch_bench *bench = bench_with(&gallery, &source, &script, 60000);
    (void)state;

    bench->embeds = true;
    start_dispatcher(bench);
    post_pictured(bench, "x");
    assert_true(drain(bench, 5000));
    assert_non_null(strstr(script->last_body, "YWJj"));
    free_dispatch_bench(bench);
}

// Idle

static void a_sink_with_nothing_to_do_is_looked_after(void **state)
{
    struct script *script = new_script(FW_OK, 0);
    struct dispatch_bench *bench = new_dispatch_bench(FW_DELIVERY_ALL, &script, 1);
    int idles;
    (void)state;

    bench->has_idle = true;
    script->idle_result = FW_ECONNECT;
    start_dispatcher(bench);
    for (int i = 0; i < 200 && status_of(bench, 0).state == FW_SINK_OK; i++)
        nap_ms(25);
    assert_int_equal(status_of(bench, 0).state, FW_SINK_RETRYING);
    assert_string_equal(status_of(bench, 0).last_error, "the connection is lost");
    pthread_mutex_lock(&script->mutex);
    script->idle_result = FW_OK;
    pthread_mutex_unlock(&script->mutex);
    for (int i = 0; i < 200 && status_of(bench, 0).state != FW_SINK_OK; i++)
        nap_ms(25);
    assert_int_equal(status_of(bench, 0).state, FW_SINK_OK);
    nap_ms(2200);
    pthread_mutex_lock(&script->mutex);
    idles = script->idles;
    pthread_mutex_unlock(&script->mutex);
    assert_in_range(idles, 3, 12); // about once a second
    free_dispatch_bench(bench);
}

// Ends

static void a_stop_ends_an_attempt_at_once(void **state)
{
    struct script *script = new_script(FW_OK, 60000);
    struct dispatch_bench *bench = started(FW_DELIVERY_ALL, 0, &script, 1);
    int64_t began_us;
    (void)state;

    post(bench, "x");
    await_attempts(script, 1);
    began_us = fw_monotonic_us();
    stop_dispatcher(bench);
    assert_true(fw_monotonic_us() - began_us < FW_US_PER_S);
    assert_int_equal(script->closed, 1);
    free_dispatch_bench(bench);
}

// What is left behind stays reachable, so that leak checkers see it is no accident.
static struct fw_dispatcher *left_behind;
static struct script *left_script;

static void a_sink_that_does_not_return_is_left_behind(void **state)
{
    struct script *script = new_script(FW_OK, 1500);
    struct dispatch_bench *bench;
    int64_t began_us;
    (void)state;

    script->ignores_cancel = true;
    left_script = script;
    bench = started(FW_DELIVERY_ALL, 0, &script, 1);
    post(bench, "x");
    await_attempts(script, 1);
    left_behind = bench->dispatcher;
    began_us = fw_monotonic_us();
    assert_int_equal(fw_dispatcher_destroy(left_behind, 100), FW_ETIMEDOUT);
    assert_true(fw_monotonic_us() - began_us < FW_US_PER_S);
    assert_int_equal(script->closed, 0);
    bench->dispatcher = NULL;
    bench->count = 0;
    free_dispatch_bench(bench); // the outbox, too
    nap_ms(2000);               // it ends by itself, using nothing that was freed
    assert_int_equal(taken(script), 1);
}

static void no_sinks_and_no_dispatcher_are_fine(void **state)
{
    struct dispatch_bench *bench = started(FW_DELIVERY_FALLBACK, 100, NULL, 0);
    struct script *script = new_script(FW_OK, 0);
    struct fw_sink *sink;
    (void)state;

    post(bench, "x");
    assert_true(drain(bench, 5000));
    assert_int_equal(fw_dispatcher_status(bench->dispatcher, NULL, 0), 0);
    stop_dispatcher(bench);
    assert_int_equal(fw_dispatcher_destroy(NULL, 0), FW_OK);
    sink = sink_of(script, "first", 1, false, false);
    assert_null(fw_dispatcher_create(&bench->options, &sink, 1)); // the outbox knows none
    assert_int_equal(script->closed, 1);
    free_script(script);
    free_dispatch_bench(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sink_gets_every_event_in_order),
        cmocka_unit_test(what_waits_goes_in_batches),
        cmocka_unit_test(of_a_batch_that_fails_only_the_rest_is_tried_again),
        cmocka_unit_test(a_sink_that_is_away_delays_no_other_and_gets_all_later),
        cmocka_unit_test(what_waits_is_delivered_after_a_restart),
        cmocka_unit_test(a_refusal_of_us_holds_and_loses_nothing),
        cmocka_unit_test(a_rejected_event_is_a_dead_letter_and_the_next_one_goes),
        cmocka_unit_test(a_dead_letter_that_is_retried_is_delivered),
        cmocka_unit_test(a_peer_is_left_alone_as_long_as_it_asks),
        cmocka_unit_test(the_fallback_is_not_asked_while_the_first_confirms),
        cmocka_unit_test(the_fallback_takes_over_after_its_time_and_only_once),
        cmocka_unit_test(after_a_restart_the_first_has_its_time_again),
        cmocka_unit_test(an_attempt_that_hangs_is_overtaken),
        cmocka_unit_test(the_first_gets_it_after_all_when_the_fallback_fails_too),
        cmocka_unit_test(what_the_first_rejects_goes_to_the_fallback_at_once),
        cmocka_unit_test(rejections_for_an_absent_fallback_do_not_block_the_first),
        cmocka_unit_test(an_event_waits_for_its_pictures_and_so_does_its_camera),
        cmocka_unit_test(pictures_that_failed_are_not_waited_for),
        cmocka_unit_test(an_event_goes_without_its_pictures_when_they_take_too_long),
        cmocka_unit_test(a_sink_that_embeds_pictures_needs_no_upload),
        cmocka_unit_test(a_sink_with_nothing_to_do_is_looked_after),
        cmocka_unit_test(a_stop_ends_an_attempt_at_once),
        cmocka_unit_test(a_sink_that_does_not_return_is_left_behind),
        cmocka_unit_test(no_sinks_and_no_dispatcher_are_fine),
    };
    int failed = cmocka_run_group_tests_name("dispatcher", tests, NULL, NULL);

    return failed + run_dispatcher_property_tests();
}
