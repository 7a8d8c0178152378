#include "alert/sink.h"
#include "util/text.h"
#include <stdlib.h>
#include <string.h>

static const struct fw_sink_backend *const backends[] = {&fw_sink_file, &fw_sink_http};

struct fw_sink {
    const struct fw_sink_backend *backend;
    void *state;
    char *name;
};

static const struct fw_sink_backend *backend_of(const char *type)
{
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        if (type != NULL && strcmp(backends[i]->type, type) == 0)
            return backends[i];
    return NULL;
}

int fw_sink_open(struct fw_sink **sink, const struct fw_sink_options *options,
                 struct fw_error *error)
{
    const struct fw_sink_backend *backend = backend_of(options->type);

    *sink = NULL;
    if (backend == NULL)
        return fw_fail(error, FW_EINVAL, "there is no sink of type '%s'; use 'file' or 'http'",
                       options->type != NULL ? options->type : "");
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

int fw_sink_deliver(struct fw_sink *sink, const struct fw_event *event, struct fw_cancel *cancel,
                    struct fw_error *error)
{
    return sink->backend->deliver(sink->state, event, cancel, error);
}

int64_t fw_sink_retry_after_ms(const struct fw_sink *sink)
{
    return sink->backend->retry_after_ms != NULL ? sink->backend->retry_after_ms(sink->state) : 0;
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
