#include "script_sink.h"
#include "alert_tests.h"
#include "outbox_tests.h"
#include "util/cancel.h"
#include "util/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static void take(struct script *script, const struct fw_message *message)
{
    if (script->taken_count == MAX_TAKEN)
        return;
    strcpy(script->taken[script->taken_count], message->id);
    snprintf(script->cameras[script->taken_count++], sizeof(script->cameras[0]), "%.7s",
             message->camera_id);
    snprintf(script->last_body, sizeof(script->last_body), "%.4000s", message->body);
}

// What becomes of each message; the mutex is held.
static int decide(struct script *script, const struct fw_message *messages, size_t count,
                  int *results)
{
    int status = FW_OK;

    for (size_t i = 0; i < count; i++) {
        const char *bad = script->reject_camera;
        results[i] = script->result;
        if (script->result != FW_EREJECTED && (int)i < script->fail_after)
            results[i] = FW_OK;
        if (bad != NULL && results[i] == FW_OK && strcmp(bad, messages[i].camera_id) == 0)
            results[i] = FW_EREJECTED;
        if (results[i] == FW_OK)
            take(script, &messages[i]);
        else if (results[i] != FW_EREJECTED)
            status = results[i];
    }
    return status;
}

static int scripted_deliver(void *state, const struct fw_message *messages, size_t count,
                            int *results, struct fw_cancel *cancel, struct fw_error *error)
{
    struct script *script = state;
    int64_t delay_ms;
    bool ignores_cancel;
    int status;

    pthread_mutex_lock(&script->mutex);
    script->attempts++;
    if ((int)count > script->largest_batch)
        script->largest_batch = (int)count;
    delay_ms = script->delay_ms;
    ignores_cancel = script->ignores_cancel;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->mutex);
    if (delay_ms > 0 && ignores_cancel)
        nap_ms(delay_ms);
    else if (delay_ms > 0 && fw_cancel_wait(cancel, delay_ms))
        return fw_fail(error, FW_ECANCELED, "cancelled");
    pthread_mutex_lock(&script->mutex);
    status = decide(script, messages, count, results);
    (void)fw_fail(error, status, "scripted failure %d", script->result);
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->mutex);
    return status;
}

static int scripted_idle(void *state, struct fw_cancel *cancel, struct fw_error *error)
{
    struct script *script = state;
    int status;
    (void)cancel;

    pthread_mutex_lock(&script->mutex);
    script->idles++;
    status = script->idle_result;
    pthread_mutex_unlock(&script->mutex);
    return status == FW_OK ? FW_OK : fw_fail(error, status, "the connection is lost");
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

#define SCRIPTED(batch, when_idle)                                                                 \
    {                                                                                              \
        .type = "scripted", .max_batch = (batch), .open = scripted_open,                           \
        .deliver = scripted_deliver, .retry_after_ms = scripted_retry_after_ms,                    \
        .idle = (when_idle), .close = scripted_close,                                              \
    }

static const struct fw_sink_backend one = SCRIPTED(1, NULL), many = SCRIPTED(16, NULL),
                                    caring = SCRIPTED(16, scripted_idle);

struct fw_sink *sink_of(struct script *script, const char *name, size_t max_batch, bool has_idle,
                        bool embeds)
{
    const struct fw_sink_backend *backend = has_idle ? &caring : max_batch > 1 ? &many : &one;
    struct fw_sink_options options = {.name = name, .embed_snapshot = embeds};
    struct fw_sink *sink = NULL;

    next_script = script;
    assert_int_equal(fw_sink_open_backend(&sink, backend, &options, NULL), FW_OK);
    return sink;
}

struct script *new_script(int result, int64_t delay_ms)
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

void free_script(struct script *script)
{
    pthread_cond_destroy(&script->changed);
    pthread_mutex_destroy(&script->mutex);
    free(script);
}

void set_result(struct script *script, int result)
{
    pthread_mutex_lock(&script->mutex);
    script->result = result;
    pthread_mutex_unlock(&script->mutex);
}

int taken(struct script *script)
{
    int count;

    pthread_mutex_lock(&script->mutex);
    count = script->taken_count;
    pthread_mutex_unlock(&script->mutex);
    return count;
}

static bool await(struct script *script, const int *counter, int count)
{
    int64_t until_us = fw_monotonic_us() + 10 * FW_US_PER_S;
    struct timespec until = {.tv_sec = (time_t)(until_us / FW_US_PER_S)};
    bool came;

    pthread_mutex_lock(&script->mutex);
    while (*counter < count &&
           pthread_cond_timedwait(&script->changed, &script->mutex, &until) == 0)
        ;
    came = *counter >= count;
    pthread_mutex_unlock(&script->mutex);
    return came;
}

void await_attempts(struct script *script, int count)
{
    assert_true(await(script, &script->attempts, count));
}

void await_taken(struct script *script, int count)
{
    assert_true(await(script, &script->taken_count, count));
}

int times_taken(const struct script *script, const char *id, int *at)
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
