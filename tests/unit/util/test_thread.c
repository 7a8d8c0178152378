// Threads and cancel objects.
#include "cmocka_includes.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/log.h"
#include "util/thread.h"
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void cancel_stays_set(void **state)
{
    (void)state;
    struct fw_cancel *cancel = fw_cancel_create();
    assert_non_null(cancel);
    assert_false(fw_cancel_is_set(cancel));
    assert_false(fw_cancel_wait(cancel, 0));
    struct pollfd entry = {.fd = fw_cancel_fd(cancel), .events = POLLIN};
    assert_int_equal(poll(&entry, 1, 0), 0);
    fw_cancel_trigger(cancel);
    fw_cancel_trigger(cancel);
    assert_true(fw_cancel_is_set(cancel));
    assert_true(fw_cancel_wait(cancel, 0));
    assert_true(fw_cancel_wait(cancel, -1));
    assert_true(fw_cancel_wait(cancel, INT64_MAX));
    assert_int_equal(poll(&entry, 1, 0), 1);
    fw_cancel_destroy(cancel);
    fw_cancel_destroy(NULL);
}

static void cancel_wait_ends_in_time(void **state)
{
    (void)state;
    struct fw_cancel *cancel = fw_cancel_create();
    int64_t began_us = fw_monotonic_us();
    assert_false(fw_cancel_wait(cancel, 40));
    int64_t took_us = fw_monotonic_us() - began_us;
    assert_true(took_us >= 40000 && took_us < 20 * FW_US_PER_S);
    fw_cancel_destroy(cancel);
}

static void trigger_soon(void *opaque)
{
    struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
    fw_cancel_trigger(opaque);
}

static void another_thread_cancels_the_wait(void **state)
{
    (void)state;
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_thread *thread;
    assert_int_equal(fw_thread_start(&thread, "trigger", NULL, trigger_soon, cancel), FW_OK);
    assert_true(fw_cancel_wait(cancel, 60000));
    assert_int_equal(fw_thread_join(thread, -1), FW_OK);
    fw_cancel_destroy(cancel);
}

static struct fw_cancel *signalled;

static void on_signal(int number)
{
    (void)number;
    fw_cancel_trigger(signalled);
}

static void a_signal_handler_may_trigger(void **state)
{
    (void)state;
    signalled = fw_cancel_create();
    struct sigaction action = {.sa_handler = on_signal}, kept;
    assert_int_equal(sigaction(SIGUSR1, &action, &kept), 0);
    raise(SIGUSR1);
    assert_true(fw_cancel_wait(signalled, 0));
    sigaction(SIGUSR1, &kept, NULL);
    fw_cancel_destroy(signalled);
}

static void deadline_tells_what_ended_it(void **state)
{
    (void)state;
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_deadline deadline = {.cancel = cancel};
    fw_deadline_set(&deadline, 60000);
    assert_int_equal(fw_deadline_passed(&deadline), 0);
    assert_int_equal(deadline.interrupted, FW_OK);
    fw_deadline_set(&deadline, 0);
    assert_int_equal(fw_deadline_passed(&deadline), 1);
    assert_int_equal(deadline.interrupted, FW_ETIMEDOUT);
    fw_deadline_set(&deadline, -1);
    assert_int_equal(deadline.interrupted, FW_OK);
    assert_true(deadline.at_us == INT64_MAX);
    assert_int_equal(fw_deadline_passed(&deadline), 0);
    fw_deadline_set(&deadline, INT64_MAX);
    assert_true(deadline.at_us == INT64_MAX);
    fw_cancel_trigger(cancel);
    assert_int_equal(fw_deadline_passed(&deadline), 1);
    assert_int_equal(deadline.interrupted, FW_ECANCELED);
    struct fw_deadline bare = {0};
    fw_deadline_set(&bare, 60000);
    assert_int_equal(fw_deadline_passed(&bare), 0);
    fw_cancel_destroy(cancel);
}

static void deadline_polls_a_descriptor(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_deadline deadline = {.cancel = cancel};
    fw_deadline_set(&deadline, 30);
    assert_int_equal(fw_deadline_poll(&deadline, ends[0], POLLIN), FW_ETIMEDOUT);
    assert_int_equal(deadline.interrupted, FW_ETIMEDOUT);
    fw_deadline_set(&deadline, -1);
    assert_int_equal(fw_deadline_poll(&deadline, ends[1], POLLOUT), FW_OK);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(fw_deadline_poll(&deadline, ends[0], POLLIN), FW_OK);
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    struct fw_thread *thread;
    assert_int_equal(fw_thread_start(&thread, "trigger", NULL, trigger_soon, cancel), FW_OK);
    assert_int_equal(fw_deadline_poll(&deadline, ends[0], POLLIN), FW_ECANCELED);
    assert_int_equal(fw_thread_join(thread, -1), FW_OK);
    close(ends[0]);
    close(ends[1]);
    struct fw_deadline bare = {.at_us = INT64_MAX};
    assert_int_equal(fw_deadline_poll(&bare, 1 << 20, POLLIN), FW_EIO);
    fw_cancel_destroy(cancel);
}

struct seen {
    char name[16];
    const struct fw_log *log;
    bool signals_blocked;
};

static void look_around(void *opaque)
{
    struct seen *seen = opaque;
    prctl(PR_GET_NAME, seen->name, 0, 0, 0);
    seen->log = fw_log_of_thread();
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    seen->signals_blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1;
}

static void thread_has_name_log_and_no_signals(void **state)
{
    (void)state;
    const struct fw_log log = {.name = "cam"};
    struct seen seen = {0};
    struct fw_thread *thread;
    assert_int_equal(fw_thread_start(&thread, "a name that is too long", &log, look_around, &seen),
                     FW_OK);
    assert_int_equal(fw_thread_join(thread, 60000), FW_OK);
    assert_string_equal(seen.name, "a name that is ");
    assert_ptr_equal(seen.log, &log);
    assert_true(seen.signals_blocked);
    assert_null(fw_log_of_thread());
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

static void wait_for_cancel(void *opaque)
{
    fw_cancel_wait(opaque, -1);
}

static void join_waits_and_frees(void **state)
{
    (void)state;
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_thread *thread;
    assert_int_equal(fw_thread_start(&thread, NULL, NULL, wait_for_cancel, cancel), FW_OK);
    assert_false(fw_thread_has_ended(thread));
    fw_cancel_trigger(cancel);
    const int64_t until_us = fw_monotonic_us() + 60 * FW_US_PER_S;
    while (!fw_thread_has_ended(thread) && fw_monotonic_us() < until_us)
        trigger_soon(cancel);
    assert_true(fw_thread_has_ended(thread));
    assert_int_equal(fw_thread_join(thread, 0), FW_OK);
    assert_int_equal(fw_thread_join(NULL, 0), FW_OK);
    fw_cancel_destroy(cancel);
}

// Static, since a lost thread uses it after the test.
static struct {
    struct fw_cancel *let_go;
    atomic_bool ended;
} lost;

static void outlive(void *opaque)
{
    (void)opaque;
    fw_cancel_wait(lost.let_go, -1);
    atomic_store(&lost.ended, true);
}

static void join_walks_away_from_a_stuck_thread(void **state)
{
    (void)state;
    lost.let_go = fw_cancel_create();
    struct fw_thread *thread;
    assert_int_equal(fw_thread_start(&thread, "stuck", NULL, outlive, NULL), FW_OK);
    int64_t began_us = fw_monotonic_us();
    assert_int_equal(fw_thread_join(thread, 50), FW_ETIMEDOUT);
    assert_true(fw_monotonic_us() - began_us >= 50000);
    // It runs on, and its end frees what is left.
    assert_false(atomic_load(&lost.ended));
    fw_cancel_trigger(lost.let_go);
    const int64_t until_us = fw_monotonic_us() + 60 * FW_US_PER_S;
    struct timespec pause = {.tv_nsec = 5000000};
    while (!atomic_load(&lost.ended) && fw_monotonic_us() < until_us)
        nanosleep(&pause, NULL);
    assert_true(atomic_load(&lost.ended));
    pause.tv_nsec = 100000000; // for the thread's last steps
    nanosleep(&pause, NULL);
    fw_cancel_destroy(lost.let_go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancel_stays_set),
        cmocka_unit_test(cancel_wait_ends_in_time),
        cmocka_unit_test(another_thread_cancels_the_wait),
        cmocka_unit_test(a_signal_handler_may_trigger),
        cmocka_unit_test(deadline_tells_what_ended_it),
        cmocka_unit_test(deadline_polls_a_descriptor),
        cmocka_unit_test(thread_has_name_log_and_no_signals),
        cmocka_unit_test(join_waits_and_frees),
        cmocka_unit_test(join_walks_away_from_a_stuck_thread),
    };
    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
