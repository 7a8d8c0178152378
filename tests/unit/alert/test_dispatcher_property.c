// Whatever sinks do and however often we restart: nothing is lost, nothing confirmed is sent again,
// and each camera's events come in their order.
#include "dispatcher_tests.h"
#include "util/backoff.h"
#include "util/clock.h"
#include "util/thread.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAMERAS = 4, EACH = 250, EVENTS = CAMERAS * EACH };

struct story {
    struct dispatch_bench *bench;
    char ids[CAMERAS][EACH][37];
    uint32_t seed;
};

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void post_portion(struct story *story, int round, int rounds)
{
    for (int i = round * EACH / rounds; i < (round + 1) * EACH / rounds; i++) {
        for (int c = 0; c < CAMERAS; c++) {
            char camera[8];
            snprintf(camera, sizeof(camera), "cam%d", c);
            post_quiet(story->bench->outbox, camera, story->ids[c][i]);
        }
        if (i % 8 == 0)
            nap_ms(1);
    }
}

// What a sink does next.
static void change_mind(struct story *story, struct script *script)
{
    static const int results[] = {FW_OK, FW_OK, FW_OK, FW_ECONNECT, FW_EIO, FW_ETIMEDOUT};

    pthread_mutex_lock(&script->mutex);
    script->result = results[next_random(&story->seed) % 6];
    script->fail_after = (int)(next_random(&story->seed) % 8);
    script->delay_ms = (int64_t)(next_random(&story->seed) % 3) * 5;
    script->reject_camera = next_random(&story->seed) % 3 == 0 ? "cam1" : NULL;
    pthread_mutex_unlock(&script->mutex);
}

static void be_well(struct script *script)
{
    pthread_mutex_lock(&script->mutex);
    script->result = FW_OK;
    script->delay_ms = 0;
    script->reject_camera = NULL;
    pthread_mutex_unlock(&script->mutex);
}

// *AT: after the sink's latest one of this camera.
static int check_order(const struct script *script, const char *id, int *last)
{
    int at = 0, times = times_taken(script, id, &at);

    if (times > 0) {
        assert_true(at > *last);
        *last = at;
    }
    return times;
}

static int count_dead(struct story *story, const char *id)
{
    char sql[160];

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM record JOIN event USING(seq) WHERE state = 2 AND id = '%s'", id);
    return (int)ask_database(story->bench->outbox->path, sql);
}

static int check_event(struct story *story, int camera, int index, int *last, bool is_shared)
{
    const char *id = story->ids[camera][index];
    int dead = camera == 1 ? count_dead(story, id) : 0, all = 0;

    for (size_t s = 0; s < story->bench->count; s++) {
        int times = check_order(story->bench->scripts[s], id, &last[s]);
        all += times;
        assert_true(times <= 1);
    }
    // One of them has it, or all of them; or it lies with the dead letters.
    assert_int_equal(all + dead, is_shared ? 1 : (int)story->bench->count);
    return dead;
}

static void tell(enum fw_delivery delivery, size_t max_batch, uint32_t seed)
{
    enum { ROUNDS = 10 };
    struct script *scripts[2] = {new_script(FW_OK, 0), new_script(FW_OK, 0)};
    struct story *story = calloc(1, sizeof(*story));
    struct dispatch_bench *bench = new_dispatch_bench(delivery, scripts, 2);
    int dead = 0;

    assert_non_null(story);
    story->bench = bench;
    story->seed = seed;
    bench->max_batch = max_batch;
    bench->options.fallback_after_ms = 40;
    start_dispatcher(bench);
    for (int round = 0; round < ROUNDS; round++) {
        change_mind(story, scripts[0]);
        change_mind(story, scripts[1]);
        post_portion(story, round, ROUNDS);
        nap_ms((int64_t)(next_random(&story->seed) % 80));
        if (next_random(&story->seed) % 3 == 0) {
            stop_dispatcher(bench);
            if (next_random(&story->seed) % 2 == 0)
                close_outbox(bench->outbox);
            start_dispatcher(bench);
        }
    }
    be_well(scripts[0]);
    be_well(scripts[1]);
    assert_true(fw_dispatcher_drain(bench->dispatcher, 30000));
    flush_outbox(bench->outbox);
    stop_dispatcher(bench);
    for (int c = 0; c < CAMERAS; c++) {
        int last[2] = {-1, -1};
        for (int i = 0; i < EACH; i++)
            dead += check_event(story, c, i, last, delivery == FW_DELIVERY_FALLBACK);
    }
    print_message("seed %u: the first took %d, the second %d, %d are dead\n", (unsigned)seed,
                  scripts[0]->taken_count, scripts[1]->taken_count, dead);
    assert_int_equal(ask_database(bench->outbox->path, "SELECT sum(waiting) FROM event"), 0);
    free_dispatch_bench(bench);
    free(story);
}

static void nothing_is_lost_repeated_or_out_of_order(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        uint32_t seed = fw_random_u32();
        tell(FW_DELIVERY_FALLBACK, i % 2 ? 1 : 16, seed);
        tell(FW_DELIVERY_ALL, i % 2 ? 16 : 1, seed);
    }
}

int run_dispatcher_property_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_repeated_or_out_of_order),
    };

    return cmocka_run_group_tests_name("dispatcher properties", tests, NULL, NULL);
}
