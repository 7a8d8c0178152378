// Backoff, limiter and UUIDs.
#include "cmocka_includes.h"
#include "util/backoff.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/thread.h"
#include "util/uuid.h"
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static void sleep_ms(long ms)
{
    struct timespec pause = {.tv_nsec = ms * 1000000L};
    nanosleep(&pause, NULL);
}

static void delays_double_up_to_the_early_cap(void **state)
{
    (void)state;
    struct fw_backoff backoff;
    fw_backoff_init(&backoff, &fw_backoff_default);
    static const int64_t expected_ms[] = {250, 500, 1000, 2000, 3000, 3000, 3000};
    for (size_t i = 0; i < sizeof expected_ms / sizeof *expected_ms; i++)
        assert_int_equal(fw_backoff_next_ms(&backoff, 1000, UINT32_MAX), expected_ms[i]);
}

static void delays_are_uniform_below_the_ceiling(void **state)
{
    (void)state;
    struct fw_backoff backoff;
    fw_backoff_init(&backoff, &fw_backoff_default);
    assert_int_equal(fw_backoff_next_ms(&backoff, 1, 0), 0);
    assert_int_equal(fw_backoff_next_ms(&backoff, 1, 0x80000000u), 250); // half of 501, cut
    int64_t sum_ms = 0;
    for (int i = 0; i < 1000; i++) {
        fw_backoff_init(&backoff, &fw_backoff_default);
        int64_t delay_ms = fw_backoff_next_ms(&backoff, 1, (uint32_t)i * 4294967u);
        assert_in_range(delay_ms, 0, 250);
        sum_ms += delay_ms;
    }
    assert_in_range(sum_ms / 1000, 120, 130);
}

static void a_long_outage_has_the_late_cap(void **state)
{
    (void)state;
    struct fw_backoff backoff;
    fw_backoff_init(&backoff, &fw_backoff_default);
    for (int i = 0; i < 100; i++)
        fw_backoff_next_ms(&backoff, 5, UINT32_MAX);
    const int64_t two_minutes_us = 120 * FW_US_PER_S;
    assert_int_equal(fw_backoff_next_ms(&backoff, 5 + two_minutes_us - 1000, UINT32_MAX), 3000);
    assert_int_equal(fw_backoff_next_ms(&backoff, 5 + two_minutes_us, UINT32_MAX), 30000);
    fw_backoff_outage_over(&backoff);
    assert_int_equal(fw_backoff_next_ms(&backoff, 9 + two_minutes_us, UINT32_MAX), 3000);
    assert_int_equal(fw_backoff_next_ms(&backoff, 8 + 2 * two_minutes_us, UINT32_MAX), 3000);
    assert_int_equal(fw_backoff_next_ms(&backoff, 9 + 2 * two_minutes_us, UINT32_MAX), 30000);
    fw_backoff_reset(&backoff);
    assert_int_equal(fw_backoff_next_ms(&backoff, 5 + 2 * two_minutes_us, UINT32_MAX), 250);
    assert_int_equal(fw_backoff_next_ms(&backoff, 6 + 2 * two_minutes_us, UINT32_MAX), 500);
}

static void refused_credentials_wait_longer(void **state)
{
    (void)state;
    struct fw_backoff backoff;
    fw_backoff_init(&backoff, &fw_backoff_refused);
    static const int64_t expected_ms[] = {5000, 10000, 20000, 40000, 80000, 160000, 300000, 300000};
    for (size_t i = 0; i < sizeof expected_ms / sizeof *expected_ms; i++)
        assert_int_equal(fw_backoff_next_ms(&backoff, 0, UINT32_MAX), expected_ms[i]);
}

static void odd_options_do_not_overflow(void **state)
{
    (void)state;
    const struct fw_backoff_options huge = {INT64_MAX / 2, INT64_MAX, INT64_MAX, INT64_MAX};
    const struct fw_backoff_options none = {0, 0, 0, 0};
    struct fw_backoff backoff;
    fw_backoff_init(&backoff, &huge);
    for (int i = 0; i < 100; i++)
        assert_true(fw_backoff_next_ms(&backoff, i, UINT32_MAX) >= 0);
    fw_backoff_init(&backoff, &none);
    assert_int_equal(fw_backoff_next_ms(&backoff, 1, UINT32_MAX), 0);
}

static void random_bits_differ(void **state)
{
    (void)state;
    uint32_t ones = 0, zeros = 0;
    for (int i = 0; i < 64; i++) {
        uint32_t random = fw_random_u32();
        ones |= random;
        zeros |= ~random;
    }
    assert_int_equal(ones, UINT32_MAX);
    assert_int_equal(zeros, UINT32_MAX);
}

struct shared {
    struct fw_limiter *limiter;
    struct fw_cancel *cancel;
    atomic_int inside, most, served, status;
};

static void hold_a_while(void *opaque)
{
    struct shared *shared = opaque;
    for (int i = 0; i < 20; i++) {
        if (fw_limiter_acquire(shared->limiter, shared->cancel) != FW_OK)
            continue;
        int inside = atomic_fetch_add(&shared->inside, 1) + 1;
        int most = atomic_load(&shared->most);
        while (inside > most && !atomic_compare_exchange_weak(&shared->most, &most, inside))
            ;
        sleep_ms(1);
        atomic_fetch_sub(&shared->inside, 1);
        atomic_fetch_add(&shared->served, 1);
        fw_limiter_release(shared->limiter);
    }
}

static void limiter_keeps_its_limit(void **state)
{
    (void)state;
    struct shared shared = {.limiter = fw_limiter_create(2), .cancel = fw_cancel_create()};
    struct fw_thread *threads[5];
    for (int i = 0; i < 5; i++)
        assert_int_equal(fw_thread_start(&threads[i], "hold", NULL, hold_a_while, &shared), FW_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fw_thread_join(threads[i], -1), FW_OK);
    assert_int_equal(atomic_load(&shared.served), 100);
    assert_int_equal(atomic_load(&shared.most), 2);
    fw_cancel_destroy(shared.cancel);
    fw_limiter_destroy(shared.limiter);
}

static void acquire_once(void *opaque)
{
    struct shared *shared = opaque;
    atomic_store(&shared->status, fw_limiter_acquire(shared->limiter, shared->cancel));
    atomic_fetch_add(&shared->served, 1);
}

static void a_waiter_is_cancelled_and_takes_no_place(void **state)
{
    (void)state;
    struct fw_limiter *limiter = fw_limiter_create(1);
    assert_int_equal(fw_limiter_acquire(limiter, NULL), FW_OK);
    struct shared first = {.limiter = limiter, .cancel = fw_cancel_create(), .status = 99};
    struct shared second = {.limiter = limiter, .cancel = fw_cancel_create(), .status = 99};
    struct fw_thread *one, *two;
    assert_int_equal(fw_thread_start(&one, "one", NULL, acquire_once, &first), FW_OK);
    sleep_ms(30);
    assert_int_equal(fw_thread_start(&two, "two", NULL, acquire_once, &second), FW_OK);
    sleep_ms(30);
    assert_int_equal(atomic_load(&first.status), 99);
    fw_cancel_trigger(first.cancel);
    assert_int_equal(fw_thread_join(one, -1), FW_OK);
    assert_int_equal(atomic_load(&first.status), FW_ECANCELED);
    assert_int_equal(atomic_load(&second.status), 99);
    fw_limiter_release(limiter);
    assert_int_equal(fw_thread_join(two, -1), FW_OK);
    assert_int_equal(atomic_load(&second.status), FW_OK);
    fw_limiter_release(limiter);
    // The place is free again; a cancelled caller gets none even so.
    assert_int_equal(fw_limiter_acquire(limiter, first.cancel), FW_ECANCELED);
    assert_int_equal(fw_limiter_acquire(limiter, second.cancel), FW_OK);
    fw_limiter_release(limiter);
    fw_cancel_destroy(first.cancel);
    fw_cancel_destroy(second.cancel);
    fw_limiter_destroy(limiter);
    fw_limiter_destroy(NULL);
    assert_null(fw_limiter_create(0));
}

struct turn {
    struct fw_limiter *limiter;
    atomic_int *counter;
    int came_as;
};

static void take_a_turn(void *opaque)
{
    struct turn *turn = opaque;
    if (fw_limiter_acquire(turn->limiter, NULL) != FW_OK)
        return;
    turn->came_as = atomic_fetch_add(turn->counter, 1);
    fw_limiter_release(turn->limiter);
}

static void the_first_to_come_is_the_first_served(void **state)
{
    (void)state;
    struct fw_limiter *limiter = fw_limiter_create(1);
    assert_int_equal(fw_limiter_acquire(limiter, NULL), FW_OK);
    atomic_int counter = 0;
    struct turn turns[4];
    struct fw_thread *threads[4];
    for (int i = 0; i < 4; i++) {
        turns[i] = (struct turn){limiter, &counter, -1};
        assert_int_equal(fw_thread_start(&threads[i], "turn", NULL, take_a_turn, &turns[i]), FW_OK);
        sleep_ms(50);
    }
    fw_limiter_release(limiter);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fw_thread_join(threads[i], -1), FW_OK);
        assert_int_equal(turns[i].came_as, i);
    }
    fw_limiter_destroy(limiter);
}

static void a_place_survives_cancel_and_release_at_once(void **state)
{
    (void)state;
    struct fw_limiter *limiter = fw_limiter_create(1);
    for (int i = 0; i < 200; i++) {
        struct shared waiter = {.limiter = limiter, .cancel = fw_cancel_create()};
        assert_int_equal(fw_limiter_acquire(limiter, NULL), FW_OK);
        struct fw_thread *thread;
        assert_int_equal(fw_thread_start(&thread, "w", NULL, acquire_once, &waiter), FW_OK);
        fw_cancel_trigger(waiter.cancel);
        fw_limiter_release(limiter);
        assert_int_equal(fw_thread_join(thread, -1), FW_OK);
        if (atomic_load(&waiter.status) == FW_OK)
            fw_limiter_release(limiter);
        fw_cancel_destroy(waiter.cancel);
    }
    assert_int_equal(fw_limiter_acquire(limiter, NULL), FW_OK);
    fw_limiter_release(limiter);
    fw_limiter_destroy(limiter);
}

static void uuids_have_their_form(void **state)
{
    (void)state;
    char text[FW_UUID_TEXT_SIZE];
    fw_uuid7(1645557742000000LL, text); // RFC 9562, appendix A.6
    assert_int_equal(strlen(text), 36);
    assert_memory_equal(text, "017f22e2-79b0-7000-", 19);
    assert_non_null(strchr("89ab", text[19]));
    assert_int_equal(text[23], '-');
    assert_int_equal(strspn(text, "0123456789abcdef-"), 36);
    fw_uuid7(-5, text);
    assert_memory_equal(text, "00000000-0000-7000-", 19);
}

static void uuids_differ_and_sort_by_time(void **state)
{
    (void)state;
    char before[FW_UUID_TEXT_SIZE], after[FW_UUID_TEXT_SIZE];
    fw_uuid7(1700000000000000LL, before);
    fw_uuid7(1700000000000000LL, after);
    assert_string_not_equal(before, after);
    for (int64_t us = 1; us < 5000; us++) {
        fw_uuid7(1700000000000000LL + us, after);
        assert_true(strcmp(before, after) < 0);
        memcpy(before, after, sizeof before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_double_up_to_the_early_cap),
        cmocka_unit_test(delays_are_uniform_below_the_ceiling),
        cmocka_unit_test(a_long_outage_has_the_late_cap),
        cmocka_unit_test(refused_credentials_wait_longer),
        cmocka_unit_test(odd_options_do_not_overflow),
        cmocka_unit_test(random_bits_differ),
        cmocka_unit_test(limiter_keeps_its_limit),
        cmocka_unit_test(a_waiter_is_cancelled_and_takes_no_place),
        cmocka_unit_test(the_first_to_come_is_the_first_served),
        cmocka_unit_test(a_place_survives_cancel_and_release_at_once),
        cmocka_unit_test(uuids_have_their_form),
        cmocka_unit_test(uuids_differ_and_sort_by_time),
    };
    return cmocka_run_group_tests_name("backoff", tests, NULL, NULL);
}
