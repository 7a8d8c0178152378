#include "alert/home_assistant.h"
#include "broker_tests.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Packets of MQTT 5 and 3.1.1: type, length, what it holds.
#define CONNACK_5   "\x20\x03\x00\x00\x00"
#define CONNACK_311 "\x20\x02\x00\x00"
#define PUBACK_1    "\x40\x02\x00\x01" // the number of the first publication

#define BYTES(text) text, sizeof(text) - 1

static const struct broker_step accepts[] = {{"MQTT", BYTES(CONNACK_5)}, {NULL, NULL, 0}};
static const struct broker_step says_nothing[] = {{"MQTT", NULL, 0}, {NULL, NULL, 0}};

static void open_with(struct broker_fixture *f, const struct broker_script *scripts, int count)
{
    const struct fw_sink_options options = {.type = "mqtt"};

    broker_open(f, "mqtt://edge:canary-pw@127.0.0.1:%d", options, scripts, count);
}

// What one message comes to at a broker that answers CONNECT with CONNACK and PUBLISH with PUBACK.
static int status_for(const char *connack, size_t connack_length, const char *puback,
                      size_t puback_length, char message[512])
{
    const struct broker_step steps[] = {
        {"MQTT", connack, connack_length}, {"faces/a", puback, puback_length}, {NULL, NULL, 0}};
    const struct broker_script script = {steps, false};
    struct broker_fixture f;
    int status, result = FW_OK;

    open_with(&f, &script, 1);
    status = broker_deliver(&f, "a", &result, NULL);
    assert_int_equal(result == FW_OK, status == FW_OK && result != FW_EREJECTED);
    assert_null(strstr(f.error.message, "canary"));
    memcpy(message, f.error.message, sizeof(f.error.message));
    broker_close(&f);
    return status == FW_OK ? result : status;
}

static void refused_connections_are_told(void **state)
{
    static const struct {
        const char *connack;
        size_t length;
        int status;
        const char *said;
    } cases[] = {
        {BYTES("\x20\x03\x00\x86\x00"), FW_EAUTH, "username and password"},
        {BYTES("\x20\x03\x00\x87\x00"), FW_EAUTH, "does not let us in"},
        {BYTES("\x20\x03\x00\x85\x00"), FW_EAUTH, "faceworker-edge-1-broker"},
        {BYTES("\x20\x03\x00\x9a\x00"), FW_EAUTH, "retain_state"},
        {BYTES("\x20\x03\x00\x9d\x00"), FW_EAUTH, "another broker"},
        {BYTES("\x20\x03\x00\x88\x00"), FW_ECONNECT, "later"},
        {BYTES("\x20\x03\x00\x97\x00"), FW_ECONNECT, "later"},
        {BYTES("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
               "400 Bad Request: missing Host\r\n"),
         FW_EFORMAT, "the port"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char message[512];
        assert_int_equal(status_for(cases[i].connack, cases[i].length, BYTES(PUBACK_1), message),
                         cases[i].status);
        assert_non_null(strstr(message, cases[i].said));
    }
}

static void acknowledgements_have_reasons(void **state)
{
    static const struct {
        const char *puback;
        size_t length;
        int status;
        const char *said;
    } cases[] = {
        {BYTES(PUBACK_1), FW_OK, ""},
        {BYTES("\x40\x03\x00\x01\x10"), FW_OK, ""}, // nobody has subscribed
        {BYTES("\x40\x03\x00\x01\x87"), FW_EAUTH, "does not let us publish"},
        {BYTES("\x40\x03\x00\x01\x90"), FW_EAUTH, "does not let us publish"},
        {BYTES("\x40\x03\x00\x01\x95"), FW_EREJECTED, "larger"},
        {BYTES("\x40\x03\x00\x01\x97"), FW_EIO, "later"},
        {BYTES("\x40\x02\x00\x07"), FW_ETIMEDOUT, "timed out"}, // of another publication
        {BYTES("\xe0\x01\x8e"), FW_ECONNECT, "id of its own"},  // DISCONNECT: taken over
        {BYTES("\x40\x01\x00"), FW_EFORMAT, "the port"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char message[512];
        assert_int_equal(status_for(BYTES(CONNACK_5), cases[i].puback, cases[i].length, message),
                         cases[i].status);
        assert_non_null(strstr(message, cases[i].said));
    }
}

static void a_message_above_the_brokers_bound_is_rejected(void **state)
{
    char message[512];

    (void)state;
    // CONNACK with a Maximum Packet Size of 16 bytes.
    assert_int_equal(
        status_for(BYTES("\x20\x08\x00\x00\x05\x27\x00\x00\x00\x10"), BYTES(PUBACK_1), message),
        FW_EREJECTED);
}

static void older_brokers_are_asked_in_their_own_version(void **state)
{
    static const struct broker_step says_so[] = {{"MQTT", BYTES("\x20\x02\x00\x01")},
                                                 {NULL, NULL, 0}};
    static const struct broker_step old[] = {
        {"MQTT\x04", BYTES(CONNACK_311)}, {"faces/a", BYTES(PUBACK_1)}, {NULL, NULL, 0}};
    static const struct broker_script told[] = {{says_so, true}, {old, false}};
    static const struct broker_script hung_up[] = {{says_nothing, true}, {old, false}};
    struct broker_fixture f;

    (void)state;
    open_with(&f, told, 2);
    assert_int_equal(broker_deliver(&f, "a", NULL, NULL), FW_OK);
    assert_int_equal(f.peer.connections, 2);
    broker_close(&f);
    open_with(&f, hung_up, 2);
    assert_int_equal(broker_deliver(&f, "a", NULL, NULL), FW_OK);
    assert_int_equal(f.peer.connections, 2);
    broker_close(&f);
}

static void a_broker_too_old_is_refused(void **state)
{
    static const struct broker_step steps[] = {{"MQTT", BYTES("\x20\x02\x00\x01")},
                                               {NULL, NULL, 0}};
    static const struct broker_script script = {steps, true};
    struct broker_fixture f;

    (void)state;
    open_with(&f, &script, 1);
    assert_int_equal(broker_deliver(&f, "a", NULL, NULL), FW_EAUTH);
    assert_non_null(strstr(f.error.message, "3.1.1"));
    broker_close(&f);
}

// Half open: before and after the broker accepted us. Nothing counts as delivered.
static void silence_ends_the_connection(void **state)
{
    static const struct broker_step well[] = {
        {"MQTT", BYTES(CONNACK_5)}, {"faces/a", BYTES(PUBACK_1)}, {NULL, NULL, 0}};
    static const struct broker_script scripts[] = {
        {says_nothing, false}, {accepts, false}, {accepts, true}, {well, false}};
    struct broker_fixture f;
    int result = FW_OK;

    (void)state;
    open_with(&f, scripts, 4);
    assert_int_equal(broker_deliver(&f, "a", NULL, NULL), FW_ETIMEDOUT);
    assert_int_equal(broker_deliver(&f, "a", &result, NULL), FW_ETIMEDOUT);
    assert_int_equal(result, FW_ETIMEDOUT);
    assert_int_equal(broker_deliver(&f, "a", &result, NULL), FW_ECONNECT);
    assert_int_equal(result, FW_ECONNECT);
    assert_int_equal(broker_deliver(&f, "a", &result, NULL), FW_OK);
    assert_int_equal(f.peer.connections, 4);
    broker_close(&f);
}

static void a_broker_that_goes_is_noticed_while_idle(void **state)
{
    static const struct broker_script scripts[] = {{accepts, true}, {accepts, false}};
    struct broker_fixture f;
    int status = FW_OK;

    (void)state;
    open_with(&f, scripts, 2);
    for (int i = 0; i < 200 && status == FW_OK; i++)
        status = fw_sink_idle(f.sink, NULL, &f.error);
    assert_int_equal(status, FW_ECONNECT);
    assert_int_equal(fw_sink_idle(f.sink, NULL, &f.error), FW_OK);
    assert_int_equal(f.peer.connections, 2);
    broker_close(&f);
}

static void a_stop_ends_the_wait(void **state)
{
    static const struct broker_script silent = {says_nothing, false}, accepting = {accepts, false};
    struct broker_fixture f;

    (void)state;
    open_with(&f, &silent, 1);
    broker_check_cancel(&f);
    broker_close(&f);
    open_with(&f, &accepting, 1);
    assert_int_equal(fw_sink_idle(f.sink, NULL, &f.error), FW_OK);
    broker_check_cancel(&f);
    broker_close(&f);
}

// The broker may refuse the first message and take the second: that one waits.
static void a_camera_has_one_message_on_its_way(void **state)
{
    static const struct broker_step steps[] = {
        {"MQTT", BYTES(CONNACK_5)},
        {"faces/b", BYTES("\x40\x03\x00\x01\x97\x40\x02\x00\x02")},
        {NULL, NULL, 0}};
    static const struct broker_script script = {steps, false};
    int results[3] = {0};
    struct broker_fixture f;

    (void)state;
    open_with(&f, &script, 1);
    assert_int_equal(broker_deliver(&f, "aba", results, NULL), FW_EIO);
    assert_int_equal(results[0], FW_EIO);
    assert_int_equal(results[1], FW_OK);
    assert_int_equal(results[2], FW_EAGAIN);
    broker_close(&f);
}

static void refuses_options_that_make_no_sense(void **state)
{
    struct fw_sink_options options = {.type = "mqtt", .routing_key = "faces/{camera_id}"};
    struct fw_error error = {0};

    (void)state;
    assert_int_equal(broker_try_open("mqtt://h:1", options, &error), FW_OK);
    assert_int_equal(broker_try_open("mqtts://h", options, &error), FW_OK);
    assert_int_equal(broker_try_open("amqp://h", options, &error), FW_EINVAL);
    assert_int_equal(broker_try_open("mqtt://:password@h", options, &error), FW_EINVAL);
    options.routing_key = "faces/#";
    assert_int_equal(broker_try_open("mqtt://h", options, &error), FW_EINVAL);
    options.routing_key = "faces/+/{camera_id}";
    assert_int_equal(broker_try_open("mqtt://h", options, &error), FW_EINVAL);
    options.routing_key = "faces";
    options.discovery_prefix = "home/#";
    assert_int_equal(broker_try_open("mqtt://h", options, &error), FW_EINVAL);
    options.discovery_prefix = "";
    assert_int_equal(broker_try_open("mqtt://h", options, &error), FW_EINVAL);
}

// Cameras whose ids differ only in what topics can't hold don't share one.
static void discovery_topics_are_unambiguous(void **state)
{
    static const char *const ids[][2] = {{"w", "a.b"}, {"w", "a_b"}, {"w", "a_d_b"}, {"w_", "a-b"},
                                         {"w", "_-a"}, {"w_", "-a"}, {"w_-a", "b"},  {"w", "a_-b"}};
    enum { COUNT = sizeof(ids) / sizeof(ids[0]) };
    char *topics[COUNT] = {0};

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        const struct fw_home_assistant_camera camera = {"ha", ids[i][0], ids[i][1], "n",
                                                        "a",  "s",       "f"};
        char *payload = NULL;
        assert_int_equal(fw_home_assistant_announce(&camera, 0, &topics[i], &payload), FW_OK);
        assert_int_equal(strspn(topics[i], "abcdefghijklmnopqrstuvwxyz_-/"), strlen(topics[i]));
        free(payload);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(topics[i], topics[k]);
    }
    for (size_t i = 0; i < COUNT; i++)
        free(topics[i]);
}

static void discovery_takes_names_that_are_no_utf8(void **state)
{
    const struct fw_home_assistant_camera camera = {"ha", "w", "c", "T\xfcr \"1\"", "a", "s", "f"};
    char *topic = NULL, *payload = NULL;
    const char *name = NULL;
    json_t *root;

    (void)state;
    assert_int_equal(fw_home_assistant_announce(&camera, 2, &topic, &payload), FW_OK);
    assert_string_equal(topic, "ha/sensor/faceworker_-w_-c/last_face/config");
    root = json_loads(payload, 0, NULL);
    assert_int_equal(json_unpack(root, "{s:{s:s}}", "device", "name", &name), 0);
    assert_string_equal(name, "T\xef\xbf\xbdr \"1\"");
    json_decref(root);
    free(topic);
    free(payload);
}

int run_sink_mqtt_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_connections_are_told),
        cmocka_unit_test(acknowledgements_have_reasons),
        cmocka_unit_test(a_message_above_the_brokers_bound_is_rejected),
        cmocka_unit_test(older_brokers_are_asked_in_their_own_version),
        cmocka_unit_test(a_broker_too_old_is_refused),
        cmocka_unit_test(silence_ends_the_connection),
        cmocka_unit_test(a_broker_that_goes_is_noticed_while_idle),
        cmocka_unit_test(a_stop_ends_the_wait),
        cmocka_unit_test(a_camera_has_one_message_on_its_way),
        cmocka_unit_test(refuses_options_that_make_no_sense),
        cmocka_unit_test(discovery_topics_are_unambiguous),
        cmocka_unit_test(discovery_takes_names_that_are_no_utf8),
    };

    return cmocka_run_group_tests_name("sink_mqtt", tests, NULL, NULL);
}
