#include "util/thread.h"

#include "util/condition.h"
#include "util/error.h"
#include "util/log.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define NAME_SIZE 16 // the kernel's, terminator included

// Shared by the thread and its owner, freed by the last of the two: an owner that stopped waiting
// must not take it away from a thread that is still running.
struct fw_thread {
    struct fw_condition condition;
    bool ended; // under the condition's mutex
    atomic_int references;

    // Set before the thread starts, never changed.
    pthread_t id;
    char name[NAME_SIZE];
    const struct fw_log *log;
    void (*run)(void *opaque);
    void *opaque;
};

static void unref(struct fw_thread *thread)
{
    if (atomic_fetch_sub(&thread->references, 1) > 1)
        return;
    fw_condition_destroy(&thread->condition);
    free(thread);
}

static void *enter(void *opaque)
{
    struct fw_thread *thread = opaque;
    prctl(PR_SET_NAME, thread->name, 0, 0, 0); // a name is a help, not a need
    fw_log_bind_thread(thread->log);
    thread->run(thread->opaque);

    pthread_mutex_lock(&thread->condition.mutex);
    thread->ended = true;
    pthread_cond_broadcast(&thread->condition.changed);
    pthread_mutex_unlock(&thread->condition.mutex);
    unref(thread);
    return NULL;
}

// The mask is inherited, so it is set around the start: no moment with signals open.
static int start_with_signals_blocked(struct fw_thread *thread)
{
    sigset_t all, kept;
    sigfillset(&all);
    int failure = pthread_sigmask(SIG_SETMASK, &all, &kept);
    if (failure != 0)
        return failure;
    failure = pthread_create(&thread->id, NULL, enter, thread);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    return failure;
}

int fw_thread_start(struct fw_thread **out, const char *name, const struct fw_log *log,
                    void (*run)(void *opaque), void *opaque)
{
    *out = NULL;
    struct fw_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return FW_ENOMEM;
    if (fw_condition_init(&thread->condition) != FW_OK) {
        free(thread);
        return FW_ENOMEM;
    }
    atomic_init(&thread->references, 2);
    snprintf(thread->name, sizeof thread->name, "%s", name ? name : "");
    thread->log = log;
    thread->run = run;
    thread->opaque = opaque;

    int failure = start_with_signals_blocked(thread);
    if (failure != 0) {
        fw_condition_destroy(&thread->condition);
        free(thread);
        return failure == EAGAIN ? FW_EAGAIN : FW_ENOMEM;
    }
    *out = thread;
    return FW_OK;
}

bool fw_thread_has_ended(struct fw_thread *thread)
{
    pthread_mutex_lock(&thread->condition.mutex);
    bool ended = thread->ended;
    pthread_mutex_unlock(&thread->condition.mutex);
    return ended;
}

int fw_thread_join(struct fw_thread *thread, int64_t timeout_ms)
{
    if (!thread)
        return FW_OK;
    const int64_t until_us = fw_condition_until_us(timeout_ms);
    pthread_mutex_lock(&thread->condition.mutex);
    while (!thread->ended) {
        if (fw_condition_wait(&thread->condition, until_us) == ETIMEDOUT)
            break;
    }
    bool ended = thread->ended;
    pthread_mutex_unlock(&thread->condition.mutex);

    // Once RUN has returned, only a few instructions are left: a real join does not block, and
    // nothing of the thread is alive after it.
    if (ended)
        pthread_join(thread->id, NULL);
    else
        pthread_detach(thread->id);
    unref(thread);
    return ended ? FW_OK : FW_ETIMEDOUT;
}
