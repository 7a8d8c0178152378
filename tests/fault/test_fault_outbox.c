// The outbox and the dispatcher when memory or threads run out.
#include "fault.h"

#include "alert/dispatcher.h"
#include "alert/outbox_file.h"
#include "alert/outbox_queue.h"
#include "util/clock.h"
#include "util/error.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 10000 };

static char folder[] = "/tmp/fw-fault-outbox-XXXXXX";
static char path[64];
static const char *const names[] = {"first", "second"};

// A track that was open when its worker crashed.
static struct fw_event *make_event(void)
{
    static const struct fw_event_face face = {
        .track = 7, .face = {.box = {10, 20, 30, 40}, .score = 0.9F}, .quality = 0.5F};
    const struct fw_event_input input = {.type = FW_EVENT_FACE_APPEARED,
                                         .camera = {.worker_id = "edge 1", .camera_id = "front"},
                                         .time_utc_us = 1700000000000000,
                                         .frame_width = 800,
                                         .frame_height = 400,
                                         .faces = &face,
                                         .face_count = 1,
                                         .track = 7,
                                         .first_seen_utc_us = 1700000000000000,
                                         .last_seen_utc_us = 1700000000000000};
    return fw_event_create(&input);
}

static struct fw_event *made_in_peace(void)
{
    struct fw_event *event;

    fault_pause();
    event = make_event();
    fault_resume();
    assert_non_null(event);
    return event;
}

static int open_outbox(struct fw_outbox **outbox, enum fw_delivery delivery)
{
    const struct fw_outbox_options options = {.path = path,
                                              .max_ring_events = 100,
                                              .max_age_us = 1000 * FW_US_PER_S,
                                              .max_bytes = 100000000,
                                              .reserve_bytes = 100000,
                                              .delivery = delivery,
                                              .sink_names = names,
                                              .sink_count = 2};
    struct fw_error error = {0};

    return fw_outbox_open(outbox, &options, &error);
}

static void remove_files(void)
{
    char command[128];

    fault_pause();
    snprintf(command, sizeof(command), "rm -f %s/outbox.db*", folder);
    assert_int_equal(system(command), 0);
    fault_resume();
}

// A database with one track open, by nobody's fault.
static void prepare_database(void)
{
    struct fw_outbox *outbox = NULL;
    struct fw_event *event = made_in_peace();

    remove_files();
    fault_pause();
    assert_int_equal(open_outbox(&outbox, FW_DELIVERY_FALLBACK), FW_OK);
    assert_int_equal(fw_outbox_post(outbox, event), FW_OK);
    assert_int_equal(fw_outbox_close(outbox, WAIT_MS), FW_OK);
    fw_event_unref(event);
    fault_resume();
}

// Whatever fails: events that were posted are in the database in the end, and nothing of what was
// there is gone.
static int keep(void *opaque)
{
    struct fw_event *event = made_in_peace();
    struct fw_outbox *outbox = NULL;
    struct fw_outbox_stats stats = {0};
    uint64_t waiting = 0;
    int status;

    (void)opaque;
    prepare_database();
    status = open_outbox(&outbox, FW_DELIVERY_ALL);
    if (status == FW_OK) {
        assert_int_equal(fw_outbox_post(outbox, event), FW_OK);
        assert_int_equal(fw_outbox_flush(outbox, WAIT_MS), FW_OK);
        fault_pause(); // it recovers by itself
        for (int i = 0; i < 400; i++) {
            fw_outbox_get_stats(outbox, &stats);
            if (!stats.is_degraded)
                break;
            (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
        assert_false(stats.is_degraded);
        assert_int_equal(fw_outbox_flush(outbox, WAIT_MS), FW_OK);
        fw_outbox_get_stats(outbox, &stats);
        waiting = stats.waiting;
        assert_int_equal(stats.damaged, 0);
        assert_int_equal(waiting, 6); // appeared, left and appeared; two sinks
        fault_resume();
    }
    assert_int_equal(fw_outbox_close(outbox, WAIT_MS), FW_OK);
    fw_event_unref(event);
    return status;
}

static int history(void *opaque)
{
    const struct fw_outbox_query query = {.limit = 10, .sink = "first", .state = "waiting"};
    struct fw_outbox *outbox = NULL;
    struct fw_error error = {0};
    char *text;

    (void)opaque;
    prepare_database();
    fault_pause();
    assert_int_equal(open_outbox(&outbox, FW_DELIVERY_FALLBACK), FW_OK);
    fault_resume();
    text = fw_outbox_history(outbox, &query, &error);
    if (text != NULL)
        assert_non_null(strstr(text, "worker_restarted"));
    else
        assert_true(error.code != FW_OK && error.message[0] != '\0');
    fault_pause();
    assert_int_equal(fw_outbox_close(outbox, WAIT_MS), FW_OK);
    fault_resume();
    free(text);
    return text != NULL ? FW_OK : error.code;
}

static int retry(void *opaque)
{
    struct fw_outbox_file *file = NULL;
    struct fw_error error = {0};
    uint64_t count;
    int status;

    (void)opaque;
    prepare_database();
    status = fw_outbox_file_open(&file, path, false, &error);
    if (status == FW_OK)
        status = fw_outbox_file_retry(file, &(struct fw_outbox_query){0}, &count, &error);
    if (status == FW_OK)
        status = fw_outbox_file_purge(file, &(struct fw_outbox_query){.camera_id = "front"}, &count,
                                      &error);
    fw_outbox_file_close(file);
    return status;
}

// Dispatching

static int count_open(void **state, const struct fw_sink_options *options, struct fw_error *error)
{
    static int any;

    (void)options;
    (void)error;
    *state = &any;
    return FW_OK;
}

static int count_deliver(void *state, const struct fw_message *messages, size_t count, int *results,
                         struct fw_cancel *cancel, struct fw_error *error)
{
    (void)state;
    (void)cancel;
    (void)error;
    for (size_t i = 0; i < count; i++) {
        assert_non_null(messages[i].body);
        results[i] = FW_OK;
    }
    return FW_OK;
}

static void count_close(void *state)
{
    (void)state;
}

static int open_sinks(struct fw_sink **sinks)
{
    static const struct fw_sink_backend backend = {.type = "count",
                                                   .max_batch = 4,
                                                   .open = count_open,
                                                   .deliver = count_deliver,
                                                   .close = count_close};
    int status = FW_OK;

    for (int i = 0; i < 2 && status == FW_OK; i++) {
        const struct fw_sink_options options = {.name = names[i]};
        status = fw_sink_open_backend(&sinks[i], &backend, &options, NULL);
    }
    if (status != FW_OK) {
        fw_sink_close(sinks[0]);
        fw_sink_close(sinks[1]);
    }
    return status;
}

// Delivered in the end, once memory is back.
static int deliver(struct fw_outbox *outbox, enum fw_delivery delivery)
{
    const struct fw_dispatcher_options options = {.outbox = outbox, .fallback_after_ms = 1000};
    struct fw_sink *sinks[2] = {NULL};
    struct fw_sink_status sink[2];
    struct fw_dispatcher *made;
    int status = open_sinks(sinks);

    if (status != FW_OK)
        return status;
    made = fw_dispatcher_create(&options, sinks, 2);
    if (made == NULL)
        return FW_ENOMEM;
    (void)fw_dispatcher_drain(made, 100);
    fault_pause();
    assert_true(fw_dispatcher_drain(made, WAIT_MS));
    fw_dispatcher_status(made, sink, 2);
    // The event, and the left of the one before.
    assert_int_equal(sink[0].delivered + sink[1].delivered, delivery == FW_DELIVERY_ALL ? 6 : 3);
    fault_resume();
    assert_int_equal(fw_dispatcher_destroy(made, WAIT_MS), FW_OK);
    return FW_OK;
}

static int dispatch(void *opaque)
{
    enum fw_delivery delivery = *(enum fw_delivery *)opaque;
    struct fw_event *event = made_in_peace();
    struct fw_outbox *outbox = NULL;
    int status;

    prepare_database();
    fault_pause();
    assert_int_equal(open_outbox(&outbox, delivery), FW_OK);
    assert_int_equal(fw_outbox_post(outbox, event), FW_OK);
    assert_int_equal(fw_outbox_flush(outbox, WAIT_MS), FW_OK);
    fault_resume();
    status = deliver(outbox, delivery);
    fault_pause();
    assert_int_equal(fw_outbox_close(outbox, WAIT_MS), FW_OK);
    fault_resume();
    fw_event_unref(event);
    return status;
}

static void try_keeping(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "outbox",
                                       .run = keep,
                                       .may_survive = true,
                                       .has_other_codes = true,
                                       .most_tries = 16});
}

static void try_history(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "history",
                                       .run = history,
                                       .may_survive = true,
                                       .has_other_codes = true,
                                       .most_tries = 24});
}

static void try_retry(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "retry",
                                       .run = retry,
                                       .may_survive = true,
                                       .has_other_codes = true,
                                       .most_tries = 24});
}

static void try_dispatching(void **state)
{
    static enum fw_delivery deliveries[] = {FW_DELIVERY_FALLBACK, FW_DELIVERY_ALL};

    (void)state;
    for (int i = 0; i < 2; i++)
        fault_try(&(struct fault_scenario){.name = "dispatch",
                                           .run = dispatch,
                                           .opaque = &deliveries[i],
                                           .may_survive = true, // a delivery is tried again
                                           .most_tries = 10});
}

static int prepare(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/outbox.db", folder);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    remove_files();
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(try_keeping),
        cmocka_unit_test(try_history),
        cmocka_unit_test(try_retry),
        cmocka_unit_test(try_dispatching),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
