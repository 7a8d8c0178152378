// Delivers messages through any sink, for tests against real servers.
//
//     sink_send OPTIONS
//
// OPTIONS is a JSON object with the fields of struct fw_sink_options ("type", "url", ...); "format"
// is left out. Each line of the standard input is one call:
//
//     {"deliver": [MESSAGE, ...], "cancel_after_ms": N}
//     {"idle": true}
//
// MESSAGE has "id", "camera_id", "type" (its last two words), and "body" (any JSON); all may be
// left out. Each call is answered by one line:
//
//     {"status": "ok", "results": ["ok", ...], "error": "", "took_ms": N, "retry_after_ms": N}
//
// A status is fw_status_text()'s phrase, "ok" or "rejected". When the sink can't be opened, that is
// the only line, and the exit status is 1.
#include "alert/sink.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/resolve.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/thread.h"
#include "util/url.h"
#include "util/uuid.h"
#include <curl/curl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tool {
    struct fw_secrets *secrets;
    struct fw_resolver *resolver;
    struct fw_url *url;
    struct fw_secret *token, *hmac_secret;
    struct fw_sink *sink;
};

struct alarm {
    struct fw_cancel *cancel; // to be triggered
    struct fw_cancel *done;   // ends the wait for it
    int64_t after_ms;
};

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int64_t number_of(const json_t *object, const char *key, int64_t standard)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? json_integer_value(value) : standard;
}

static bool flag_of(const json_t *object, const char *key, bool standard)
{
    const json_t *value = json_object_get(object, key);

    return value == NULL ? standard : json_is_true(value);
}

static struct fw_secret *secret_of(struct tool *tool, const json_t *object, const char *key)
{
    const char *value = text_of(object, key);

    return value != NULL ? fw_secret_create(tool->secrets, value) : NULL;
}

static const char *name_of(int status)
{
    return status == FW_OK ? "ok" : status == FW_EREJECTED ? "rejected" : fw_status_text(status);
}

static struct fw_sink_options options_of(const struct tool *tool, const json_t *object)
{
    struct fw_sink_options options = {
        .type = text_of(object, "type"),
        .name = "tool",
        .worker_id = text_of(object, "worker_id") ? text_of(object, "worker_id") : "tool",
        .path = text_of(object, "path"),
        .url = tool->url,
        .timeout_ms = number_of(object, "timeout_ms", 5000),
        .token = tool->token,
        .hmac_secret = tool->hmac_secret,
        .exchange = text_of(object, "exchange") ? text_of(object, "exchange") : "",
        .routing_key =
            text_of(object, "routing_key") ? text_of(object, "routing_key") : "faces.{camera_id}",
        .declare = flag_of(object, "declare", false),
        .queue = text_of(object, "queue"),
        .max_length = number_of(object, "max_length", 0),
        .retain_state = flag_of(object, "retain_state", false),
        .home_assistant = flag_of(object, "home_assistant", false),
        .discovery_prefix = text_of(object, "discovery_prefix"),
        .ca_file = text_of(object, "ca_file"),
        .certificate_file = text_of(object, "certificate_file"),
        .key_file = text_of(object, "key_file"),
        .tls_verify = flag_of(object, "tls_verify", true),
        .resolver = tool->resolver,
    };

    return options;
}

static int open_tool(struct tool *tool, const json_t *object, struct fw_error *error)
{
    struct fw_sink_options options;
    int status = FW_OK;

    tool->secrets = fw_secrets_create();
    tool->resolver = fw_resolver_create(NULL);
    if (tool->secrets == NULL || tool->resolver == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory");
    if (text_of(object, "url") != NULL)
        status = fw_url_parse(&tool->url, text_of(object, "url"), text_of(object, "username"),
                              text_of(object, "password"), tool->secrets, error);
    tool->token = secret_of(tool, object, "token");
    tool->hmac_secret = secret_of(tool, object, "hmac_secret");
    options = options_of(tool, object);
    return status == FW_OK ? fw_sink_open(&tool->sink, &options, error) : status;
}

static void close_tool(struct tool *tool)
{
    fw_sink_close(tool->sink);
    fw_secret_destroy(tool->token);
    fw_secret_destroy(tool->hmac_secret);
    fw_url_destroy(tool->url);
    fw_resolver_destroy(tool->resolver);
    fw_secrets_destroy(tool->secrets);
}

static void fill_message(struct fw_message *message, const json_t *object)
{
    const char *id = text_of(object, "id"), *type = text_of(object, "type");
    const char *camera = text_of(object, "camera_id");
    const json_t *body = json_object_get(object, "body");

    message->time_utc_us = fw_utc_us();
    if (id != NULL)
        snprintf(message->id, sizeof(message->id), "%s", id);
    else
        fw_uuid7(message->time_utc_us, message->id);
    message->type = fw_strdup_printf("faceworker.%s", type != NULL ? type : "face.appeared");
    message->camera_id = camera != NULL ? camera : "";
    message->content_type = "application/cloudevents+json; charset=utf-8";
    message->body = body != NULL ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY)
                                 : fw_strdup_printf("{\"id\":\"%s\"}", message->id);
    if (message->type == NULL || message->body == NULL)
        abort();
    message->length = strlen(message->body);
}

static void answer(const struct tool *tool, int status, const int *results, size_t count,
                   const struct fw_error *error, int64_t took_us)
{
    json_t *line = json_object(), *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(name_of(results[i])));
    json_object_set_new(line, "status", json_string(name_of(status)));
    json_object_set_new(line, "results", list);
    json_object_set_new(line, "error", json_string(error->message));
    json_object_set_new(line, "took_ms", json_integer(took_us / FW_US_PER_MS));
    if (tool->sink != NULL)
        json_object_set_new(line, "retry_after_ms",
                            json_integer(fw_sink_retry_after_ms(tool->sink)));
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(line);
}

static void ring(void *opaque)
{
    struct alarm *alarm = opaque;

    if (!fw_cancel_wait(alarm->done, alarm->after_ms))
        fw_cancel_trigger(alarm->cancel);
}

static int call(const struct tool *tool, const json_t *line, const struct fw_message *messages,
                size_t count, int *results, struct fw_error *error)
{
    struct alarm alarm = {.cancel = fw_cancel_create(),
                          .done = fw_cancel_create(),
                          .after_ms = number_of(line, "cancel_after_ms", -1)};
    struct fw_thread *thread = NULL;
    int status;

    if (alarm.cancel == NULL || alarm.done == NULL ||
        fw_thread_start(&thread, "alarm", NULL, ring, &alarm) != FW_OK)
        abort();
    if (json_object_get(line, "idle") != NULL)
        status = fw_sink_idle(tool->sink, alarm.cancel, error);
    else
        status = fw_sink_deliver(tool->sink, messages, count, results, alarm.cancel, error);
    fw_cancel_trigger(alarm.done);
    fw_thread_join(thread, -1);
    fw_cancel_destroy(alarm.cancel);
    fw_cancel_destroy(alarm.done);
    return status;
}

static void run_line(const struct tool *tool, const json_t *line)
{
    const json_t *list = json_object_get(line, "deliver");
    size_t count = json_array_size(list);
    struct fw_message *messages = calloc(count + 1, sizeof(*messages));
    int *results = calloc(count + 1, sizeof(*results)), status;
    struct fw_error error = {0};
    int64_t began_us;

    if (messages == NULL || results == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        fill_message(&messages[i], json_array_get(list, i));
    began_us = fw_monotonic_us();
    status = call(tool, line, messages, count, results, &error);
    answer(tool, status, results, count, &error, fw_monotonic_us() - began_us);
    for (size_t i = 0; i < count; i++) {
        free((char *)(uintptr_t)messages[i].type);
        free(messages[i].body);
    }
    free(messages);
    free(results);
}

static int run_lines(const struct tool *tool)
{
    json_error_t where;
    json_t *line;

    while ((line = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, &where)) != NULL) {
        run_line(tool, line);
        json_decref(line);
    }
    if (feof(stdin))
        return EXIT_SUCCESS;
    fprintf(stderr, "no call: %s\n", where.text);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct tool tool = {0};
    struct fw_error error = {0};
    json_t *options = argc == 2 ? json_loads(argv[1], 0, NULL) : NULL;
    int status, code = EXIT_FAILURE;

    if (options == NULL) {
        fprintf(stderr, "usage: %s OPTIONS (a JSON object)\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || fw_sink_library_init() != FW_OK)
        abort();
    status = open_tool(&tool, options, &error);
    if (status == FW_OK)
        code = run_lines(&tool);
    else
        answer(&tool, status, NULL, 0, &error, 0);
    close_tool(&tool);
    json_decref(options);
    curl_global_cleanup();
    return code;
}
