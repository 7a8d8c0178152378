// The sinks when memory runs out: nothing is lost that was not told, and nothing leaks.
#include "fault.h"

#include "../unit/alert/amqp_frames.h"
#include "../unit/alert/broker_peer.h"
#include "alert/home_assistant.h"
#include "alert/sink.h"
#include "util/error.h"
#include "util/resolve.h"
#include "util/secret.h"
#include "util/url.h"
#include <curl/curl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MESSAGES = 2 };

static char folder[] = "/tmp/fw-fault-sinks-XXXXXX";

// Delivers two messages of two cameras by a new sink, and says what became of the worse of them.
static int deliver(const struct fw_sink_options *options)
{
    static char bodies[MESSAGES][8] = {"{\"a\":1}", "{\"a\":2}"};
    struct fw_message messages[MESSAGES];
    int results[MESSAGES] = {FW_OK, FW_OK}, status;
    struct fw_error error = {0};
    struct fw_sink *sink = NULL;

    for (int i = 0; i < MESSAGES; i++)
        messages[i] = (struct fw_message){.id = {(char)('a' + i)},
                                          .type = FW_EVENT_FACE_APPEARED,
                                          .camera_id = i == 0 ? "front" : "back",
                                          .content_type = "application/json",
                                          .time_utc_us = 1700000000000000,
                                          .body = bodies[i],
                                          .length = strlen(bodies[i])};
    status = fw_sink_open(&sink, options, &error);
    if (status == FW_OK) {
        size_t count = fw_sink_max_batch(sink) < MESSAGES ? 1 : MESSAGES;
        status = fw_sink_deliver(sink, messages, count, results, NULL, &error);
        for (size_t i = 0; i < count; i++)
            assert_true(results[i] == FW_OK || status != FW_OK);
    }
    assert_true(status == FW_OK || error.message[0] != '\0');
    assert_null(strstr(error.message, "canary"));
    fw_sink_close(sink);
    return status;
}

static int file_sink(void *opaque)
{
    const struct fw_sink_options options = {.type = "file", .name = "mq", .path = opaque};

    return deliver(&options);
}

// Nobody listens there: being told so is all that is wanted.
static int http_sink(void *opaque)
{
    struct fw_secret *token = fw_secret_create(NULL, "a canary");
    struct fw_secret *hmac_secret = fw_secret_create(NULL, "another canary");
    struct fw_url *url = NULL;
    struct fw_error error = {0};
    int status = token != NULL && hmac_secret != NULL ? FW_OK : FW_ENOMEM;

    (void)opaque;
    if (status == FW_OK)
        status = fw_url_parse(&url, "http://u:canary@127.0.0.1:1/", NULL, NULL, NULL, &error);
    if (status == FW_OK) {
        const struct fw_sink_options options = {.type = "http",
                                                .name = "backend",
                                                .url = url,
                                                .token = token,
                                                .hmac_secret = hmac_secret,
                                                .timeout_ms = 1000};
        status = deliver(&options);
    }
    fw_url_destroy(url);
    fw_secret_destroy(token);
    fw_secret_destroy(hmac_secret);
    return status == FW_ECONNECT ? FW_OK : status;
}

// A scripted broker.
struct broker {
    const char *type;
    char url[64];
};

static int broker_sink(void *opaque)
{
    const struct broker *broker = opaque;
    struct fw_resolver *resolver;
    struct fw_url *url = NULL;
    struct fw_error error = {0};
    int status;

    fault_pause(); // what the sink is given
    resolver = fw_resolver_create(NULL);
    assert_non_null(resolver);
    assert_int_equal(fw_url_parse(&url, broker->url, NULL, NULL, NULL, &error), FW_OK);
    fault_resume();
    const struct fw_sink_options options = {.type = broker->type,
                                            .name = "mq",
                                            .worker_id = "edge-1",
                                            .url = url,
                                            .exchange = "alerts",
                                            .retain_state = true,
                                            .routing_key = "faces.{camera_id}",
                                            .timeout_ms = 3000,
                                            .resolver = resolver};
    status = deliver(&options);
    fw_url_destroy(url);
    fw_resolver_destroy(resolver);
    return status;
}

static void try_file_sink(void **state)
{
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "%s/alerts.jsonl", folder);
    fault_try(&(struct fault_scenario){
        .name = "file_sink", .run = file_sink, .opaque = path, .may_survive = true});
}

static void try_http_sink(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "http_sink", .run = http_sink, .may_survive = true});
}

static void try_broker_sink(const char *type, const char *scheme, const struct broker_step *steps)
{
    const struct broker_script script = {steps, false};
    struct broker broker = {.type = type};
    struct broker_peer peer;

    assert_true(broker_peer_start(&peer, &script, 1));
    snprintf(broker.url, sizeof(broker.url), "%s://worker:canary@127.0.0.1:%d", scheme, peer.port);
    fault_try(&(struct fault_scenario){
        .name = type, .run = broker_sink, .opaque = &broker, .may_survive = true});
    broker_peer_stop(&peer);
}

static void try_rabbitmq_sink(void **state)
{
    struct amqp_frames login = {.length = 0}, acks = {.length = 0};

    (void)state;
    put_login(&login);
    put_ack(&acks, 2, true);
    const struct broker_step steps[] = {
        {"AMQP", login.data, login.length}, {"{\"a\":2}", acks.data, acks.length}, {NULL, NULL, 0}};
    try_broker_sink("rabbitmq", "amqp", steps);
}

static void try_redis_sink(void **state)
{
    static const struct broker_step steps[] = {
        {"EXEC", "+OK\r\n+OK\r\n*0\r\n", 0},
        {"EXEC", "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n1-1\r\n$3\r\n1-2\r\n", 0},
        {NULL, NULL, 0}};

    (void)state;
    try_broker_sink("redis", "redis", steps);
}

static void try_mqtt_sink(void **state)
{
    static const char connack[] = "\x20\x03\x00\x00\x00", puback[] = "\x40\x02\x00\x01";
    static const char pubacks[] = "\x40\x02\x00\x02\x40\x02\x00\x03";
    static const struct broker_step steps[] = {{"MQTT", connack, sizeof(connack) - 1},
                                               {"online", puback, sizeof(puback) - 1},
                                               {"{\"a\":2}", pubacks, sizeof(pubacks) - 1},
                                               {NULL, NULL, 0}};

    (void)state;
    try_broker_sink("mqtt", "mqtt", steps);
}

static int announcement(void *opaque)
{
    const struct fw_home_assistant_camera camera = {
        "homeassistant", "edge-1", "front", "Front", "a", "s", "f"};
    char *topic = NULL, *payload = NULL;
    int status = fw_home_assistant_announce(&camera, 0, &topic, &payload);

    (void)opaque;
    assert_true((topic != NULL) == (status == FW_OK) && (payload != NULL) == (status == FW_OK));
    free(topic);
    free(payload);
    return status;
}

static void try_announcement(void **state)
{
    (void)state;
    // A string that can't be made at once is tried again as one that has to be repaired.
    fault_try(
        &(struct fault_scenario){.name = "announcement", .run = announcement, .may_survive = true});
}

static int prepare(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(curl_global_init(CURL_GLOBAL_DEFAULT), 0);
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int clean(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(try_file_sink),     cmocka_unit_test(try_http_sink),
        cmocka_unit_test(try_rabbitmq_sink), cmocka_unit_test(try_redis_sink),
        cmocka_unit_test(try_mqtt_sink),     cmocka_unit_test(try_announcement),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
