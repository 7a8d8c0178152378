#include "cmocka_includes.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/queue.h"
#include "util/thread.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static atomic_int freed, last_freed;

static void free_number(void *item)
{
    atomic_fetch_add(&freed, 1);
    atomic_store(&last_freed, *(int *)item);
    free(item);
}

static int *number(int value)
{
    int *item = malloc(sizeof *item);
    assert_non_null(item);
    *item = value;
    return item;
}

static void put_ok(struct fw_queue *queue, int value, size_t size_bytes)
{
    assert_int_equal(fw_queue_put(queue, number(value), size_bytes), FW_OK);
}

static int take_number(struct fw_queue *queue, int64_t timeout_ms)
{
    void *item = NULL;
    int status = fw_queue_take(queue, &item, timeout_ms);
    if (status != FW_OK) {
        assert_null(item);
        return status;
    }
    int value = *(int *)item;
    free(item);
    return value;
}

static struct fw_queue *make(size_t max_items, size_t max_bytes, int64_t max_age_us,
                             enum fw_queue_overflow overflow)
{
    atomic_store(&freed, 0);
    struct fw_queue_options options = {.max_items = max_items,
                                       .max_bytes = max_bytes,
                                       .max_age_us = max_age_us,
                                       .overflow = overflow,
                                       .free_item = free_number};
    struct fw_queue *queue = fw_queue_create(&options);
    assert_non_null(queue);
    return queue;
}

static void sleep_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

static void options_are_checked(void **state)
{
    (void)state;
    struct fw_queue_options options = {.max_items = 0, .free_item = free_number};
    assert_null(fw_queue_create(&options));
    options = (struct fw_queue_options){.max_items = 1};
    assert_null(fw_queue_create(&options));
    fw_queue_destroy(NULL);
}

static void items_come_out_in_order(void **state)
{
    (void)state;
    struct fw_queue *queue = make(4, 0, 0, FW_QUEUE_REFUSE);
    for (int round = 0; round < 5; round++) {
        for (int i = 1; i <= 3; i++)
            put_ok(queue, i, 10);
        struct fw_queue_stats stats = fw_queue_get_stats(queue);
        assert_int_equal(stats.items, 3);
        assert_int_equal(stats.bytes, 30);
        for (int i = 1; i <= 3; i++)
            assert_int_equal(take_number(queue, 0), i);
    }
    assert_int_equal(take_number(queue, 0), FW_EAGAIN);
    struct fw_queue_stats stats = fw_queue_get_stats(queue);
    assert_int_equal(stats.put, 15);
    assert_int_equal(stats.taken, 15);
    assert_int_equal(stats.bytes, 0);
    put_ok(queue, 9, 0);
    fw_queue_destroy(queue);
    assert_int_equal(atomic_load(&freed), 1);
}

static void the_oldest_is_dropped(void **state)
{
    (void)state;
    struct fw_queue *queue = make(2, 0, 0, FW_QUEUE_DROP_OLDEST);
    for (int i = 1; i <= 5; i++)
        put_ok(queue, i, 1);
    assert_int_equal(atomic_load(&freed), 3);
    assert_int_equal(atomic_load(&last_freed), 3);
    assert_int_equal(take_number(queue, 0), 4);
    assert_int_equal(take_number(queue, 0), 5);
    assert_int_equal(fw_queue_get_stats(queue).dropped_full, 3);
    fw_queue_destroy(queue);
}

static void a_full_queue_refuses(void **state)
{
    (void)state;
    struct fw_queue *queue = make(2, 0, 0, FW_QUEUE_REFUSE);
    put_ok(queue, 1, 1);
    put_ok(queue, 2, 1);
    int *third = number(3);
    assert_int_equal(fw_queue_put(queue, third, 1), FW_EFULL);
    assert_int_equal(*third, 3); // still ours
    free(third);
    assert_int_equal(atomic_load(&freed), 0);
    assert_int_equal(take_number(queue, 0), 1);
    fw_queue_destroy(queue);
}

static void bytes_are_bounded(void **state)
{
    (void)state;
    struct fw_queue *queue = make(100, 10, 0, FW_QUEUE_DROP_OLDEST);
    put_ok(queue, 1, 4);
    put_ok(queue, 2, 4);
    put_ok(queue, 3, 7); // only without both
    assert_int_equal(fw_queue_get_stats(queue).bytes, 7);
    assert_int_equal(fw_queue_get_stats(queue).dropped_full, 2);
    put_ok(queue, 4, 1000); // alone, and over the bound
    assert_int_equal(fw_queue_get_stats(queue).items, 1);
    put_ok(queue, 5, 1);
    assert_int_equal(take_number(queue, 0), 5);
    fw_queue_destroy(queue);

    queue = make(100, 10, 0, FW_QUEUE_REFUSE);
    put_ok(queue, 1, 6);
    put_ok(queue, 2, 4);
    int *item = number(3);
    assert_int_equal(fw_queue_put(queue, item, 1), FW_EFULL);
    assert_int_equal(take_number(queue, 0), 1);
    assert_int_equal(take_number(queue, 0), 2);
    assert_int_equal(fw_queue_put(queue, item, 11), FW_EFULL);
    assert_int_equal(fw_queue_put(queue, item, SIZE_MAX), FW_EFULL);
    free(item);
    fw_queue_destroy(queue);
}

static void aged_items_are_dropped(void **state)
{
    (void)state;
    struct fw_queue *queue = make(10, 0, 30000, FW_QUEUE_REFUSE);
    put_ok(queue, 1, 1);
    put_ok(queue, 2, 1);
    sleep_ms(60);
    put_ok(queue, 3, 1);
    assert_int_equal(take_number(queue, 0), 3);
    struct fw_queue_stats stats = fw_queue_get_stats(queue);
    assert_int_equal(stats.dropped_age, 2);
    assert_int_equal(stats.dropped_full, 0);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(atomic_load(&freed), 2);
    fw_queue_destroy(queue);
}

static void take_waits_no_longer_than_it_may(void **state)
{
    (void)state;
    struct fw_queue *queue = make(1, 0, 0, FW_QUEUE_REFUSE);
    int64_t began_us = fw_monotonic_us();
    assert_int_equal(take_number(queue, 40), FW_EAGAIN);
    assert_true(fw_monotonic_us() - began_us >= 40000);
    fw_queue_destroy(queue);
}

static void a_closed_queue_gives_what_is_left(void **state)
{
    (void)state;
    struct fw_queue *queue = make(4, 0, 0, FW_QUEUE_DROP_OLDEST);
    put_ok(queue, 1, 1);
    fw_queue_close(queue);
    fw_queue_close(queue);
    int *late = number(2);
    assert_int_equal(fw_queue_put(queue, late, 1), FW_ECANCELED);
    free(late);
    assert_int_equal(take_number(queue, -1), 1);
    assert_int_equal(take_number(queue, -1), FW_ECANCELED);
    assert_int_equal(take_number(queue, 0), FW_ECANCELED);
    fw_queue_destroy(queue);
}

static bool is_multiple(void *item, void *opaque)
{
    return *(int *)item % *(int *)opaque == 0;
}

static void items_are_dropped_by_choice(void **state)
{
    (void)state;
    struct fw_queue *queue = make(6, 0, 0, FW_QUEUE_REFUSE);
    // The ring wraps around in the middle.
    for (int i = 0; i < 4; i++)
        put_ok(queue, i, 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(take_number(queue, 0), i);
    for (int i = 1; i <= 6; i++)
        put_ok(queue, i, 10);
    int divisor = 2;
    assert_int_equal(fw_queue_drop_if(queue, is_multiple, &divisor), 3);
    struct fw_queue_stats stats = fw_queue_get_stats(queue);
    assert_int_equal(stats.items, 3);
    assert_int_equal(stats.bytes, 30);
    assert_int_equal(stats.dropped_full, 3);
    assert_int_equal(atomic_load(&freed), 3);
    assert_int_equal(take_number(queue, 0), 1);
    assert_int_equal(take_number(queue, 0), 3);
    assert_int_equal(take_number(queue, 0), 5);
    assert_int_equal(fw_queue_drop_if(queue, is_multiple, &divisor), 0);
    fw_queue_destroy(queue);
}

struct consumer {
    struct fw_queue *queue;
    atomic_int taken, status;
};

static void consume(void *opaque)
{
    struct consumer *consumer = opaque;
    void *item;
    int status;
    while ((status = fw_queue_take(consumer->queue, &item, -1)) == FW_OK) {
        atomic_fetch_add(&consumer->taken, 1);
        free(item);
    }
    atomic_store(&consumer->status, status);
}

static void produce(void *opaque)
{
    struct fw_queue *queue = opaque;
    for (int i = 0; i < 2000; i++) {
        int *item = malloc(sizeof *item);
        if (!item)
            abort();
        *item = i;
        if (fw_queue_put(queue, item, 1) != FW_OK)
            abort();
    }
}

static void many_threads_lose_nothing(void **state)
{
    (void)state;
    struct fw_queue *queue = make(16, 0, 0, FW_QUEUE_DROP_OLDEST);
    struct consumer consumer = {.queue = queue};
    struct fw_thread *takers[2], *putters[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(fw_thread_start(&takers[i], "taker", NULL, consume, &consumer), FW_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fw_thread_start(&putters[i], "putter", NULL, produce, queue), FW_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fw_thread_join(putters[i], 60000), FW_OK);
    fw_queue_close(queue);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fw_thread_join(takers[i], 60000), FW_OK);
    struct fw_queue_stats stats = fw_queue_get_stats(queue);
    assert_int_equal(stats.put, 4000);
    assert_int_equal(stats.taken + stats.dropped_full, 4000);
    assert_int_equal(stats.taken, atomic_load(&consumer.taken));
    assert_int_equal(stats.dropped_full, atomic_load(&freed));
    assert_int_equal(atomic_load(&consumer.status), FW_ECANCELED);
    fw_queue_destroy(queue);
}

static struct fw_bytes *bytes_of(const char *string)
{
    size_t length = strlen(string);
    uint8_t *data = malloc(length);
    assert_non_null(data);
    memcpy(data, string, length);
    struct fw_bytes *bytes = fw_bytes_create(data, length);
    assert_non_null(bytes);
    return bytes;
}

static void bytes_are_counted(void **state)
{
    (void)state;
    struct fw_bytes *bytes = bytes_of("abc");
    struct fw_bytes *again = fw_bytes_ref(bytes);
    assert_ptr_equal(bytes, again);
    fw_bytes_unref(bytes);
    assert_int_equal(again->length, 3);
    assert_memory_equal(again->data, "abc", 3);
    fw_bytes_unref(again);
    assert_null(fw_bytes_ref(NULL));
    fw_bytes_unref(NULL);
    struct fw_bytes *none = fw_bytes_create(NULL, 0);
    assert_non_null(none);
    fw_bytes_unref(none);
}

static void slot_gives_the_newest(void **state)
{
    (void)state;
    struct fw_slot *slot = fw_slot_create();
    uint64_t sequence = 0, other = 0;
    assert_null(fw_slot_wait(slot, &sequence, 0));
    assert_null(fw_slot_wait(slot, &sequence, 20));
    struct fw_bytes *first = bytes_of("1"), *second = bytes_of("2");
    fw_slot_publish(slot, NULL);
    fw_slot_publish(slot, first);
    fw_slot_publish(slot, second);
    fw_bytes_unref(first);
    fw_bytes_unref(second);

    struct fw_bytes *got = fw_slot_wait(slot, &sequence, 0);
    assert_memory_equal(got->data, "2", 1);
    assert_int_equal(sequence, 2);
    assert_null(fw_slot_wait(slot, &sequence, 0));
    struct fw_bytes *same = fw_slot_wait(slot, &other, 0);
    assert_ptr_equal(same, got);
    fw_bytes_unref(same);

    // What a reader holds outlives the slot.
    fw_slot_unref(slot);
    assert_memory_equal(got->data, "2", 1);
    fw_bytes_unref(got);
    fw_slot_unref(NULL);
    assert_null(fw_slot_ref(NULL));
}

static void slot_counts_watchers(void **state)
{
    (void)state;
    struct fw_slot *slot = fw_slot_create();
    assert_false(fw_slot_is_watched(slot));
    fw_slot_watch(slot, 1);
    fw_slot_watch(slot, 1);
    fw_slot_watch(slot, -1);
    assert_true(fw_slot_is_watched(slot));
    fw_slot_watch(slot, -1);
    assert_false(fw_slot_is_watched(slot));
    fw_slot_unref(slot);
}

struct reader {
    struct fw_slot *slot;
    atomic_int pictures;
};

static void read_slot(void *opaque)
{
    struct reader *reader = opaque;
    uint64_t sequence = 0;
    struct fw_bytes *bytes;
    while ((bytes = fw_slot_wait(reader->slot, &sequence, -1))) {
        atomic_fetch_add(&reader->pictures, 1);
        fw_bytes_unref(bytes);
    }
    fw_slot_unref(reader->slot);
}

static void closing_wakes_the_watchers(void **state)
{
    (void)state;
    struct fw_slot *slot = fw_slot_create();
    struct reader reader = {.slot = slot};
    struct fw_thread *threads[3];
    for (int i = 0; i < 3; i++) {
        fw_slot_ref(slot);
        assert_int_equal(fw_thread_start(&threads[i], "reader", NULL, read_slot, &reader), FW_OK);
    }
    struct fw_bytes *bytes = bytes_of("x");
    fw_slot_publish(slot, bytes);
    const int64_t until_us = fw_monotonic_us() + 30 * FW_US_PER_S;
    while (atomic_load(&reader.pictures) < 3 && fw_monotonic_us() < until_us)
        sleep_ms(1);
    assert_int_equal(atomic_load(&reader.pictures), 3);
    assert_false(fw_slot_is_closed(slot));
    fw_slot_close(slot);
    assert_true(fw_slot_is_closed(slot));
    for (int i = 0; i < 3; i++)
        assert_int_equal(fw_thread_join(threads[i], 30000), FW_OK);
    uint64_t sequence = 0;
    fw_slot_publish(slot, bytes);
    assert_null(fw_slot_wait(slot, &sequence, -1));
    fw_bytes_unref(bytes);
    fw_slot_unref(slot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(items_come_out_in_order),
        cmocka_unit_test(the_oldest_is_dropped),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(aged_items_are_dropped),
        cmocka_unit_test(take_waits_no_longer_than_it_may),
        cmocka_unit_test(a_closed_queue_gives_what_is_left),
        cmocka_unit_test(items_are_dropped_by_choice),
        cmocka_unit_test(many_threads_lose_nothing),
        cmocka_unit_test(bytes_are_counted),
        cmocka_unit_test(slot_gives_the_newest),
        cmocka_unit_test(slot_counts_watchers),
        cmocka_unit_test(closing_wakes_the_watchers),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
