#include "app/alerts.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/folder.h"
#include "util/text.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define US_PER_DAY   (86400.0 * (double)FW_US_PER_S)
#define BYTES_PER_MB 1000000LL

enum {
    // On a full disk these megabytes still take events: some ten thousand of them.
    RESERVE_MB = 16,
    RING_EVENTS = 10000,
    // Copies of pictures leave so much of the disk to the outbox and its reserve.
    FREE_MB = 4 * RESERVE_MB,
    // How often the waiting for a sink looks whether it shall be cut short.
    LOOK_AROUND_MS = 100,
};

// `wake_lock` guards `woken`, which the spool's threads use while the dispatcher comes and goes;
// the rest is written by fw_alerts_start() alone.
struct fw_alerts {
    struct fw_alerts_options options;
    struct fw_store *store;
    struct fw_spool *spool;
    struct fw_outbox *outbox;
    struct fw_dispatcher *dispatcher;
    struct fw_reporter *reporter;
    struct fw_picture_source pictures;
    pthread_mutex_t wake_lock;
    struct fw_dispatcher *woken; // by changes of pictures; NULL before and after its life
};

// --- pictures ---

static enum fw_picture_state picture_state(void *opaque, const char *key)
{
    const struct fw_alerts *alerts = opaque;
    switch (fw_spool_state(alerts->spool, key)) {
    case FW_SPOOL_STORED:
        return FW_PICTURE_STORED;
    case FW_SPOOL_PENDING:
        return FW_PICTURE_PENDING;
    case FW_SPOOL_FAILED:
        break;
    }
    return FW_PICTURE_FAILED;
}

static char *picture_url(void *opaque, const char *key)
{
    const struct fw_alerts *alerts = opaque;
    return fw_spool_url(alerts->spool, key);
}

static int picture_read(void *opaque, const char *key, uint8_t **data, size_t *length)
{
    const struct fw_alerts *alerts = opaque;
    return fw_spool_read(alerts->spool, key, data, length);
}

static void on_picture_changed(void *opaque, const char *key, enum fw_spool_state state)
{
    struct fw_alerts *alerts = opaque;
    (void)key;
    (void)state;
    pthread_mutex_lock(&alerts->wake_lock);
    if (alerts->woken)
        fw_dispatcher_pictures_changed(alerts->woken);
    pthread_mutex_unlock(&alerts->wake_lock);
}

static void wake(struct fw_alerts *alerts, struct fw_dispatcher *dispatcher)
{
    pthread_mutex_lock(&alerts->wake_lock);
    alerts->woken = dispatcher;
    pthread_mutex_unlock(&alerts->wake_lock);
}

static struct fw_store_options store_options(const struct fw_config *config,
                                             const struct fw_log *log)
{
    const struct fw_s3_config *s3 = &config->s3;
    return (struct fw_store_options){
        .backend = config->snapshot_dir ? "dir" : "s3",
        .dir = config->snapshot_dir,
        .public_base_url = s3->public_base_url,
        .max_bytes = config->alerts.max_mb * BYTES_PER_MB,
        .max_age_us = (int64_t)(config->alerts.max_age_days * US_PER_DAY),
        .min_free_bytes = FREE_MB * BYTES_PER_MB,
        .s3 = {.bucket = s3->bucket,
               .endpoint_url = s3->endpoint_url,
               .region = s3->region,
               .access_key = s3->access_key,
               .secret_key = s3->secret_key,
               .session_token = s3->session_token,
               .path_style = s3->path_style,
               .presign_s = s3->presign_s,
               .timeout_ms = s3->timeout_ms,
               .ca_file = s3->ca_file,
               .tls_verify = s3->tls_verify},
        .log = log,
    };
}

static int open_spool(struct fw_alerts *alerts, struct fw_error *error)
{
    const struct fw_config *config = alerts->options.config;
    if (!config->stores_snapshots)
        return FW_OK;
    const struct fw_store_options store = store_options(config, alerts->options.log);
    int status = fw_store_open(&alerts->store, &store, error);
    if (status < 0)
        return status;
    char *dir = fw_strdup_printf("%s/spool", config->worker.state_dir);
    if (!dir)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    const struct fw_spool_options options = {.dir = dir,
                                             .store = alerts->store,
                                             .max_bytes = store.max_bytes,
                                             .max_age_us = store.max_age_us,
                                             .min_free_bytes = store.min_free_bytes,
                                             .changed = on_picture_changed,
                                             .opaque = alerts,
                                             .log = alerts->options.log};
    status = fw_spool_open(&alerts->spool, &options, error);
    free(dir);
    alerts->pictures = (struct fw_picture_source){
        .opaque = alerts, .state = picture_state, .url = picture_url, .read = picture_read};
    return status;
}

// --- events ---

static int open_outbox(struct fw_alerts *alerts, struct fw_error *error)
{
    const struct fw_config *config = alerts->options.config;
    const char *names[FW_MAX_SINKS];
    for (size_t i = 0; i < config->sink_count; i++)
        names[i] = config->sinks[i].name;
    int number = fw_make_folders(config->worker.state_dir);
    if (number != 0)
        return fw_fail(error, FW_EIO,
                       "cannot make the folder \"%s\": %s; set worker.state_dir to one of ours",
                       config->worker.state_dir, strerror(number));
    char *path = fw_strdup_printf("%s/outbox.db", config->worker.state_dir);
    if (!path)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    const struct fw_outbox_options options = {
        .path = path,
        .max_age_us = (int64_t)(config->alerts.max_age_days * US_PER_DAY),
        .max_bytes = config->alerts.max_mb * BYTES_PER_MB,
        .reserve_bytes = RESERVE_MB * BYTES_PER_MB,
        .max_ring_events = RING_EVENTS,
        .delivery = config->alerts.delivery,
        .sink_names = names,
        .sink_count = config->sink_count,
        .log = alerts->options.log,
    };
    int status = fw_outbox_open(&alerts->outbox, &options, error);
    free(path);
    return status;
}

static struct fw_sink_options sink_options(const struct fw_alerts *alerts,
                                           const struct fw_sink_config *sink)
{
    const struct fw_config *config = alerts->options.config;
    return (struct fw_sink_options){
        .type = sink->type,
        .name = sink->name,
        .worker_id = config->worker.id,
        .path = sink->path,
        .url = sink->url,
        .timeout_ms = sink->timeout_ms,
        .format = config->alerts.format,
        .embed_snapshot = sink->embed_snapshot,
        .token = sink->token,
        .hmac_secret = sink->hmac_secret,
        .exchange = sink->exchange,
        .routing_key = sink->routing_key,
        .declare = sink->declare,
        .queue = sink->queue,
        .max_length = sink->max_length,
        .retain_state = sink->retain_state,
        .home_assistant = sink->home_assistant,
        .discovery_prefix = sink->discovery_prefix,
        .ca_file = sink->ca_file,
        .certificate_file = sink->certificate_file,
        .key_file = sink->key_file,
        .tls_verify = sink->tls_verify,
        .resolver = alerts->options.resolver,
        .log = alerts->options.log,
    };
}

static int open_sinks(const struct fw_alerts *alerts, struct fw_sink **sinks,
                      struct fw_error *error)
{
    const struct fw_config *config = alerts->options.config;
    for (size_t i = 0; i < config->sink_count; i++) {
        const struct fw_sink_options options = sink_options(alerts, &config->sinks[i]);
        int status = fw_sink_open(&sinks[i], &options, error);
        if (status < 0) {
            while (i > 0)
                fw_sink_close(sinks[--i]);
            return status;
        }
    }
    return FW_OK;
}

static int start_dispatcher(struct fw_alerts *alerts, struct fw_error *error)
{
    const struct fw_config *config = alerts->options.config;
    struct fw_sink *sinks[FW_MAX_SINKS];
    int status = open_sinks(alerts, sinks, error);
    if (status < 0)
        return status;
    const struct fw_dispatcher_options options = {
        .outbox = alerts->outbox,
        .fallback_after_ms = config->alerts.fallback_after_ms,
        .snapshot_wait_ms = (int64_t)(config->alerts.snapshot_wait_s * 1000),
        .pictures = alerts->spool ? &alerts->pictures : NULL,
        .log = alerts->options.log,
    };
    alerts->dispatcher = fw_dispatcher_create(&options, sinks, config->sink_count);
    if (!alerts->dispatcher)
        return fw_fail(error, FW_ENOMEM, "cannot start the dispatcher; out of memory");
    wake(alerts, alerts->dispatcher);
    return FW_OK;
}

static int start_reporter(struct fw_alerts *alerts, struct fw_error *error)
{
    const struct fw_reporter_options options = {.config = alerts->options.config,
                                                .spool = alerts->spool,
                                                .outbox = alerts->outbox,
                                                .log = alerts->options.log};
    return fw_reporter_start(&alerts->reporter, &options, error);
}

int fw_alerts_start(struct fw_alerts **out, const struct fw_alerts_options *options,
                    struct fw_error *error)
{
    static const struct fw_alerts_times at_once = {.stop_ms = 1000};
    *out = NULL;
    struct fw_alerts *alerts = calloc(1, sizeof *alerts);
    if (!alerts)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (pthread_mutex_init(&alerts->wake_lock, NULL)) {
        free(alerts);
        return fw_fail(error, FW_ENOMEM, "out of memory");
    }
    alerts->options = *options;
    int status = open_spool(alerts, error);
    if (status == FW_OK)
        status = open_outbox(alerts, error);
    if (status == FW_OK)
        status = start_dispatcher(alerts, error);
    if (status == FW_OK)
        status = start_reporter(alerts, error);
    if (status < 0) {
        (void)fw_alerts_destroy(alerts, &at_once);
        return status;
    }
    *out = alerts;
    return FW_OK;
}

struct fw_reporter *fw_alerts_reporter(struct fw_alerts *alerts)
{
    return alerts->reporter;
}

struct fw_outbox *fw_alerts_outbox(struct fw_alerts *alerts)
{
    return alerts->outbox;
}

struct fw_dispatcher *fw_alerts_dispatcher(struct fw_alerts *alerts)
{
    return alerts->dispatcher;
}

struct fw_spool *fw_alerts_spool(struct fw_alerts *alerts)
{
    return alerts->spool;
}

// What is not delivered waits on the disk; people are told how much.
static void tell_waiting(const struct fw_alerts *alerts)
{
    struct fw_outbox_stats stats;
    fw_outbox_get_stats(alerts->outbox, &stats);
    if (stats.waiting > 0)
        fw_log_info(alerts->options.log, "%llu alerts wait on the disk for the next start",
                    (unsigned long long)stats.waiting);
}

// Waits until every event is delivered and every picture stored; HURRY (may be NULL) cuts it short.
static void drain(struct fw_alerts *alerts, int64_t timeout_ms, const struct fw_cancel *hurry)
{
    int64_t until_us = fw_monotonic_us() + timeout_ms * FW_US_PER_MS;
    for (;;) {
        int64_t left_ms = (until_us - fw_monotonic_us()) / FW_US_PER_MS;
        if (left_ms <= 0 || (hurry && fw_cancel_is_set(hurry)))
            return;
        if (left_ms > LOOK_AROUND_MS)
            left_ms = LOOK_AROUND_MS;
        if (fw_dispatcher_drain(alerts->dispatcher, left_ms) &&
            (!alerts->spool || fw_spool_drain(alerts->spool, left_ms)))
            return;
    }
}

bool fw_alerts_finish(struct fw_alerts *alerts, const struct fw_alerts_times *times,
                      const struct fw_cancel *hurry)
{
    int status = fw_reporter_finish(alerts->reporter, times->reporter_ms, hurry);
    drain(alerts, times->drain_ms, hurry);
    tell_waiting(alerts);
    return status == FW_OK;
}

int fw_alerts_destroy(struct fw_alerts *alerts, const struct fw_alerts_times *times)
{
    if (!alerts)
        return 0;
    wake(alerts, NULL);
    if (fw_reporter_destroy(alerts->reporter, times->reporter_ms) < 0) {
        // It may still post, so the outbox stays open; what it has is committed all the same.
        (void)fw_outbox_flush(alerts->outbox, times->stop_ms);
        return 1;
    }
    // A sink or a store that hangs costs no event: the outbox closes in any case.
    int lost = fw_dispatcher_destroy(alerts->dispatcher, times->stop_ms) < 0;
    if (!lost)
        lost = fw_spool_close(alerts->spool, times->stop_ms) < 0;
    lost += fw_outbox_close(alerts->outbox, times->stop_ms) < 0;
    if (lost)
        return lost;
    fw_store_close(alerts->store);
    pthread_mutex_destroy(&alerts->wake_lock);
    free(alerts);
    return 0;
}
