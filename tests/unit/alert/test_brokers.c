// The main of the tests against scripted brokers, and what they share.
#include "broker_tests.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/resolve.h"
#include "util/secret.h"
#include "util/thread.h"
#include "util/url.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void broker_open(struct broker_fixture *f, const char *format, struct fw_sink_options options,
                 const struct broker_script *scripts, int count)
{
    const char *at;
    char url[128];

    *f = (struct broker_fixture){0};
    assert_true(broker_peer_start(&f->peer, scripts, count));
    at = strstr(format, "%d");
    assert_non_null(at);
    snprintf(url, sizeof(url), "%.*s%d%s", (int)(at - format), format, f->peer.port, at + 2);
    f->secrets = fw_secrets_create();
    f->resolver = fw_resolver_create(NULL);
    assert_non_null(f->resolver);
    assert_int_equal(fw_url_parse(&f->url, url, NULL, NULL, f->secrets, &f->error), FW_OK);
    options.name = "broker";
    options.worker_id = "edge-1";
    options.url = f->url;
    options.timeout_ms = 300;
    options.resolver = f->resolver;
    if (options.routing_key == NULL)
        options.routing_key = "faces/{camera_id}";
    if (fw_sink_open(&f->sink, &options, &f->error) != FW_OK)
        fail_msg("%s", f->error.message);
}

void broker_close(struct broker_fixture *f)
{
    fw_sink_close(f->sink);
    broker_peer_stop(&f->peer);
    fw_resolver_destroy(f->resolver);
    fw_url_destroy(f->url);
    fw_secrets_destroy(f->secrets);
}

int broker_deliver(struct broker_fixture *f, const char *cameras, int *results,
                   struct fw_cancel *cancel)
{
    struct fw_message messages[64];
    char names[64][2] = {{0}}, body[] = "{\"a\":1}";
    size_t count = strlen(cameras);
    int own_results[64];

    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++) {
        names[i][0] = cameras[i];
        messages[i] = (struct fw_message){.type = FW_EVENT_FACE_APPEARED,
                                          .camera_id = names[i],
                                          .content_type = "application/cloudevents+json",
                                          .time_utc_us = 1700000000000000,
                                          .body = body,
                                          .length = strlen(body)};
        snprintf(messages[i].id, sizeof(messages[i].id), "id-%zu", i);
    }
    f->error = (struct fw_error){0};
    return fw_sink_deliver(f->sink, messages, count, results != NULL ? results : own_results,
                           cancel, &f->error);
}

int broker_try_open(const char *text, struct fw_sink_options options, struct fw_error *error)
{
    struct fw_url *url = NULL;
    struct fw_sink *sink = NULL;
    int status;

    assert_int_equal(fw_url_parse(&url, text, NULL, NULL, NULL, error), FW_OK);
    options.name = "broker";
    options.worker_id = "edge-1";
    options.url = url;
    if (options.timeout_ms == 0)
        options.timeout_ms = 300;
    status = fw_sink_open(&sink, &options, error);
    fw_sink_close(sink);
    fw_url_destroy(url);
    return status;
}

static void trigger_soon(void *opaque)
{
    struct fw_cancel *never = fw_cancel_create();

    (void)fw_cancel_wait(never, 50);
    fw_cancel_trigger(opaque);
    fw_cancel_destroy(never);
}

void broker_check_cancel(struct broker_fixture *f)
{
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_thread *thread = NULL;
    int64_t began_us = fw_monotonic_us();
    int results[2] = {FW_OK, FW_OK};

    assert_int_equal(fw_thread_start(&thread, "trigger", NULL, trigger_soon, cancel), FW_OK);
    assert_int_equal(broker_deliver(f, "ab", results, cancel), FW_ECANCELED);
    assert_true(fw_monotonic_us() - began_us < 200 * FW_US_PER_MS);
    assert_true(results[0] != FW_OK && results[1] != FW_OK);
    fw_thread_join(thread, -1);
    // A stop that came before the call, too.
    began_us = fw_monotonic_us();
    assert_int_equal(broker_deliver(f, "ab", results, cancel), FW_ECANCELED);
    assert_int_equal(fw_sink_idle(f->sink, cancel, &f->error), FW_ECANCELED);
    assert_true(fw_monotonic_us() - began_us < 100 * FW_US_PER_MS);
    fw_cancel_destroy(cancel);
}

int main(void)
{
    int failed = 0;

    signal(SIGPIPE, SIG_IGN);
    if (fw_sink_library_init() != FW_OK)
        return EXIT_FAILURE;
    failed += run_routing_tests();
    failed += run_sink_redis_tests();
    failed += run_sink_mqtt_tests();
    failed += run_sink_rabbitmq_tests();
    return failed != 0;
}
