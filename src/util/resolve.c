#include "util/resolve.h"

#include "util/cancel.h"
#include "util/clock.h"
#include "util/condition.h"
#include "util/log.h"
#include "util/text.h"
#include "util/thread.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define WORKERS          2
#define CACHE_ENTRIES    128
#define CACHE_LIFE_US    (60 * FW_US_PER_S)
#define DESTROY_LIMIT_MS 200
#define SLOW_US          FW_US_PER_S

// One look-up, shared by everybody who asks for the same host while it is under way.
struct job {
    char *host;
    struct fw_cancel *done; // triggered when status, address and reason stand
    int status;
    char address[FW_ADDRESS_SIZE];
    char reason[96];
    bool started;
    int references; // the list's and one for each caller that waits
    struct job *next;
};

struct cached {
    char *host;
    char address[FW_ADDRESS_SIZE];
    int64_t until_us;
};

// What the workers use. It outlives the resolver as long as one of them is stuck in getaddrinfo();
// the last one frees it. The condition's mutex guards all of it.
struct state {
    struct fw_condition condition;
    const struct fw_log *log; // not to be touched once `stopping` is set
    bool stopping;
    int references;
    struct job *jobs; // waiting or under way, oldest first
    struct cached cache[CACHE_ENTRIES];
};

struct fw_resolver {
    struct state *state;
    struct fw_thread *workers[WORKERS];
};

static void lock(struct state *state)
{
    pthread_mutex_lock(&state->condition.mutex);
}

static void unlock(struct state *state)
{
    pthread_mutex_unlock(&state->condition.mutex);
}

// The lock is held, here and in the functions on jobs and the cache below.
static void unref_job(struct job *job)
{
    if (--job->references > 0)
        return;
    fw_cancel_destroy(job->done);
    free(job->host);
    free(job);
}

static void unlink_job(struct state *state, struct job *job)
{
    struct job **link = &state->jobs;
    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    job->next = NULL;
}

static void finish_job(struct state *state, struct job *job)
{
    unlink_job(state, job);
    fw_cancel_trigger(job->done);
    unref_job(job);
}

static void unref_state(struct state *state)
{
    lock(state);
    bool is_last = --state->references == 0;
    unlock(state);
    if (!is_last)
        return;
    for (size_t i = 0; i < CACHE_ENTRIES; i++)
        free(state->cache[i].host);
    fw_condition_destroy(&state->condition);
    free(state);
}

static const struct cached *find_cached(const struct state *state, const char *host)
{
    const int64_t now_us = fw_monotonic_us();
    for (size_t i = 0; i < CACHE_ENTRIES; i++) {
        const struct cached *entry = &state->cache[i];
        if (entry->host && now_us < entry->until_us && strcasecmp(entry->host, host) == 0)
            return entry;
    }
    return NULL;
}

static void remember(struct state *state, const struct job *job)
{
    struct cached *place = &state->cache[0];
    for (size_t i = 0; i < CACHE_ENTRIES; i++) {
        struct cached *entry = &state->cache[i];
        bool is_same = entry->host && strcasecmp(entry->host, job->host) == 0;
        // An empty place has an until_us of 0: as old as can be.
        if (is_same || entry->until_us < place->until_us)
            place = entry;
        if (is_same)
            break;
    }
    char *host = fw_strdup(job->host);
    if (!host)
        return; // the next caller looks it up again
    free(place->host);
    place->host = host;
    memcpy(place->address, job->address, sizeof place->address);
    place->until_us = fw_monotonic_us() + CACHE_LIFE_US;
}

static bool address_text(const struct addrinfo *found, int family, char address[FW_ADDRESS_SIZE])
{
    for (; found; found = found->ai_next) {
        if (found->ai_family != family)
            continue;
        // A copy, for sockaddr's alignment promises nothing.
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        const void *source = &v4.sin_addr;
        if (family == AF_INET6) {
            memcpy(&v6, found->ai_addr, sizeof v6);
            source = &v6.sin6_addr;
        } else {
            memcpy(&v4, found->ai_addr, sizeof v4);
        }
        return inet_ntop(family, source, address, FW_ADDRESS_SIZE) != NULL;
    }
    return false;
}

static int status_of(int failure)
{
    switch (failure) {
    case EAI_AGAIN:
        return FW_ETIMEDOUT;
    case EAI_MEMORY:
        return FW_ENOMEM;
    case EAI_SYSTEM:
        return FW_EIO;
    default:
        return FW_ENOENT;
    }
}

// Fills status, address and reason of RESULT, which is the worker's own. No lock is held.
static void look_up(const char *host, struct job *result)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(host, NULL, &hints, &found);
    if (failure != 0) {
        result->status = status_of(failure);
        snprintf(result->reason, sizeof result->reason, "%s", gai_strerror(failure));
        return;
    }
    bool ok = address_text(found, AF_INET, result->address) ||
              address_text(found, AF_INET6, result->address);
    freeaddrinfo(found);
    result->status = ok ? FW_OK : FW_ENOENT;
    if (!ok)
        snprintf(result->reason, sizeof result->reason, "the name has no IP address");
}

static struct job *next_job(struct state *state)
{
    struct job *job = state->jobs;
    while (job && job->started)
        job = job->next;
    return job;
}

static void run_job(struct state *state, struct job *job)
{
    job->started = true;
    if (job->references == 1) { // everybody who asked has gone away
        job->status = FW_ECANCELED;
        finish_job(state, job);
        return;
    }
    struct job result = {0};
    unlock(state);
    const int64_t began_us = fw_monotonic_us();
    look_up(job->host, &result);
    const int64_t took_us = fw_monotonic_us() - began_us;
    lock(state);
    job->status = result.status;
    memcpy(job->address, result.address, sizeof job->address);
    memcpy(job->reason, result.reason, sizeof job->reason);
    if (job->status == FW_OK)
        remember(state, job);
    if (took_us > SLOW_US && !state->stopping)
        fw_log_warning(state->log, "looking up host %s took %.1f s; check the name server",
                       job->host, (double)took_us / FW_US_PER_S);
    finish_job(state, job);
}

static void work(void *opaque)
{
    struct state *state = opaque;
    lock(state);
    while (!state->stopping) {
        struct job *job = next_job(state);
        if (job)
            run_job(state, job);
        else
            fw_condition_wait(&state->condition, INT64_MAX);
    }
    unlock(state);
    unref_state(state);
}

// A reference is counted before the thread runs, since it gives one back at its end.
static int start_worker(struct fw_resolver *resolver, int index)
{
    struct state *state = resolver->state;
    lock(state);
    state->references++;
    unlock(state);
    // No log handle: the thread may outlive it.
    int status = fw_thread_start(&resolver->workers[index], "resolver", NULL, work, state);
    if (status != FW_OK)
        unref_state(state);
    return status;
}

struct fw_resolver *fw_resolver_create(const struct fw_log *log)
{
    struct fw_resolver *resolver = calloc(1, sizeof *resolver);
    struct state *state = calloc(1, sizeof *state);
    if (!resolver || !state || fw_condition_init(&state->condition) != FW_OK) {
        free(state);
        free(resolver);
        return NULL;
    }
    state->log = log;
    state->references = 1;
    resolver->state = state;
    for (int i = 0; i < WORKERS; i++) {
        if (start_worker(resolver, i) != FW_OK) {
            fw_resolver_destroy(resolver);
            return NULL;
        }
    }
    return resolver;
}

void fw_resolver_destroy(struct fw_resolver *resolver)
{
    if (!resolver)
        return;
    struct state *state = resolver->state;
    const int64_t until_us = fw_condition_until_us(DESTROY_LIMIT_MS);
    lock(state);
    state->stopping = true;
    for (struct job *job = state->jobs, *next; job; job = next) {
        next = job->next;
        if (!job->started) {
            job->status = FW_ECANCELED;
            finish_job(state, job);
        }
    }
    pthread_cond_broadcast(&state->condition.changed);
    unlock(state);
    for (int i = 0; i < WORKERS; i++) {
        int64_t left_ms = (until_us - fw_monotonic_us()) / FW_US_PER_MS;
        fw_thread_join(resolver->workers[i], left_ms > 0 ? left_ms : 0);
    }
    unref_state(state);
    free(resolver);
}

static bool is_numeric(const char *host)
{
    unsigned char address[16];
    if (inet_pton(AF_INET, host, address) == 1)
        return true;
    char text[FW_ADDRESS_SIZE];
    size_t length = strcspn(host, "%"); // the zone of a link-local address
    if (length >= sizeof text)
        return false;
    memcpy(text, host, length);
    text[length] = '\0';
    return inet_pton(AF_INET6, text, address) == 1;
}

// The look-up of HOST that is under way, or a new one, with a reference for the caller. NULL when
// memory or file descriptors are out. The lock is held.
static struct job *join_job(struct state *state, const char *host)
{
    struct job **link = &state->jobs;
    for (; *link; link = &(*link)->next) {
        if (strcasecmp((*link)->host, host) == 0) {
            (*link)->references++;
            return *link;
        }
    }
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->references = 1;
    job->host = fw_strdup(host);
    job->done = fw_cancel_create();
    if (!job->host || !job->done) {
        unref_job(job);
        return NULL;
    }
    job->references++;
    *link = job;
    pthread_cond_signal(&state->condition.changed);
    return job;
}

static int wait_for_job(struct state *state, struct job *job, struct fw_deadline *deadline,
                        char address[FW_ADDRESS_SIZE], struct fw_error *error)
{
    struct fw_deadline none = {.at_us = INT64_MAX};
    int status = fw_deadline_poll(deadline ? deadline : &none, fw_cancel_fd(job->done), POLLIN);
    lock(state);
    if (status == FW_OK && job->status == FW_OK) {
        memcpy(address, job->address, sizeof job->address);
    } else if (status == FW_OK) {
        status = fw_fail(error, job->status,
                         "host %s cannot be looked up: %s; check the name and "
                         "the name server",
                         job->host, job->reason[0] ? job->reason : fw_status_text(job->status));
    } else {
        fw_fail(error, status, "looking up host %s: %s; check the name server", job->host,
                fw_status_text(status));
    }
    unref_job(job);
    unlock(state);
    return status;
}

int fw_resolve(struct fw_resolver *resolver, const char *host, struct fw_deadline *deadline,
               char address[FW_ADDRESS_SIZE], struct fw_error *error)
{
    struct state *state = resolver->state;
    if (!host || !*host)
        return fw_fail(error, FW_EINVAL, "there is no host to look up; name one");
    if (is_numeric(host) && strlen(host) < FW_ADDRESS_SIZE) {
        memcpy(address, host, strlen(host) + 1);
        return FW_OK;
    }
    lock(state);
    const struct cached *cached = find_cached(state, host);
    struct job *job = NULL;
    if (cached)
        memcpy(address, cached->address, FW_ADDRESS_SIZE);
    else
        job = join_job(state, host);
    unlock(state);
    if (cached)
        return FW_OK;
    if (!job)
        return fw_fail(error, FW_ENOMEM,
                       "no memory or file descriptor to look up host %s; free some", host);
    return wait_for_job(state, job, deadline, address, error);
}
