#include "alert/sink.h"
#include "util/text.h"
#include <mosquitto.h>
#include <stdlib.h>
#include <string.h>

static const struct fw_sink_backend *const backends[] = {
    &fw_sink_file, &fw_sink_http, &fw_sink_rabbitmq, &fw_sink_redis, &fw_sink_mqtt,
};
#define BACKENDS (sizeof(backends) / sizeof(backends[0]))

struct fw_sink {
    const struct fw_sink_backend *backend;
    void *state;
    char *name;
    struct fw_message_options message_options;
};

int fw_sink_library_init(void)
{
    return mosquitto_lib_init() == MOSQ_ERR_SUCCESS ? FW_OK : FW_ENOMEM;
}

static const struct fw_sink_backend *backend_of(const char *type)
{
    for (size_t i = 0; i < BACKENDS; i++)
        if (type != NULL && strcmp(backends[i]->type, type) == 0)
            return backends[i];
    return NULL;
}

static int unknown_type(const char *type, struct fw_error *error)
{
    struct fw_text known = FW_TEXT_INIT;

    for (size_t i = 0; i < BACKENDS; i++)
        fw_text_appendf(&known, "%s%s", i == 0 ? "" : ", ", backends[i]->type);
    fw_fail(error, FW_EINVAL, "there is no sink of type '%s'; there are: %s",
            type != NULL ? type : "", fw_text_get(&known));
    fw_text_free(&known);
    return FW_EINVAL;
}

int fw_sink_open(struct fw_sink **sink, const struct fw_sink_options *options,
                 struct fw_error *error)
{
    const struct fw_sink_backend *backend = backend_of(options->type);

    *sink = NULL;
    if (backend == NULL)
        return unknown_type(options->type, error);
    return fw_sink_open_backend(sink, backend, options, error);
}

int fw_sink_open_backend(struct fw_sink **sink, const struct fw_sink_backend *backend,
                         const struct fw_sink_options *options, struct fw_error *error)
{
    struct fw_sink *made;
    int status;

    *sink = NULL;
    made = calloc(1, sizeof(*made));
    if (made == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    made->backend = backend;
    made->name = fw_strdup(options->name);
    made->message_options = (struct fw_message_options){.format = options->format,
                                                        .embed_snapshot = options->embed_snapshot};
    if (made->name == NULL)
        status = fw_fail(error, FW_ENOMEM, "no memory for a sink of type '%s'", backend->type);
    else
        status = backend->open(&made->state, options, error);
    if (status != FW_OK) {
        fw_sink_close(made);
        return status;
    }
    *sink = made;
    return FW_OK;
}

int fw_sink_deliver(struct fw_sink *sink, const struct fw_message *messages, size_t count,
                    int *results, struct fw_cancel *cancel, struct fw_error *error)
{
    for (size_t i = 0; i < count; i++)
        results[i] = FW_EAGAIN;
    if (count > sink->backend->max_batch)
        return fw_fail(error, FW_EINVAL, "'%s' takes %zu messages at once, not %zu", sink->name,
                       sink->backend->max_batch, count);
    return count == 0
               ? FW_OK
               : sink->backend->deliver(sink->state, messages, count, results, cancel, error);
}

int fw_sink_idle(struct fw_sink *sink, struct fw_cancel *cancel, struct fw_error *error)
{
    return sink->backend->idle != NULL ? sink->backend->idle(sink->state, cancel, error) : FW_OK;
}

bool fw_sink_has_idle(const struct fw_sink *sink)
{
    return sink->backend->idle != NULL;
}

int64_t fw_sink_retry_after_ms(const struct fw_sink *sink)
{
    return sink->backend->retry_after_ms != NULL ? sink->backend->retry_after_ms(sink->state) : 0;
}

size_t fw_sink_max_batch(const struct fw_sink *sink)
{
    return sink->backend->max_batch;
}

struct fw_message_options fw_sink_message_options(const struct fw_sink *sink)
{
    return sink->message_options;
}

const char *fw_sink_name(const struct fw_sink *sink)
{
    return sink->name;
}

void fw_sink_close(struct fw_sink *sink)
{
    if (sink == NULL)
        return;
    if (sink->state != NULL)
        sink->backend->close(sink->state);
    free(sink->name);
    free(sink);
}
