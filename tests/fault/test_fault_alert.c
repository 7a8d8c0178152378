// alert/, storage/ and the configuration when memory or threads run out.
#include "fault.h"

#include "alert/dispatcher.h"
#include "alert/event.h"
#include "alert/sink.h"
#include "app/config.h"
#include "app/options.h"
#include "storage/store.h"
#include "util/error.h"
#include "util/secret.h"
#include "util/url.h"
#include <curl/curl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/fw-fault-alert-XXXXXX";
static char alerts_path[64];

static struct fw_event *make_event(void)
{
    static const struct fw_event_face faces[] = {
        {.track = 7,
         .face = {.box = {10, 20, 30, 40}, .score = 0.9F, .has_landmarks = 1},
         .quality = 0.5F},
        {.track = 8, .face = {.box = {90, 20, 30, 40}, .score = 0.8F}, .quality = -1},
    };
    static const struct fw_event_snapshot snapshot = {
        .state = "stored",
        .full = {.key = "a/b.jpg", .url = "http://h/", .sha256 = "00", .width = 9, .height = 8}};
    const struct fw_event_input input = {.type = FW_EVENT_FACE_APPEARED,
                                         .worker_id = "edge 1",
                                         .camera_id = "front",
                                         .camera_name = "bad \xff name",
                                         .camera_location = "hall",
                                         .time_utc_us = 1700000000000000,
                                         .frame_width = 800,
                                         .frame_height = 400,
                                         .faces = faces,
                                         .face_count = 2,
                                         .track = 7,
                                         .first_seen_utc_us = 1700000000000000,
                                         .last_seen_utc_us = 1700000000000000,
                                         .snapshot = &snapshot};
    return fw_event_create(&input);
}

static int event(void *opaque)
{
    struct fw_event *made = make_event();
    int status = fault_status_of(made);

    (void)opaque;
    // Whole or not at all.
    if (made)
        assert_non_null(strstr(made->json, "\"snapshot\":{\"state\":\"stored\",\"full\":{\"key\""));
    fw_event_unref(made);
    return status;
}

static int open_file_sink(struct fw_sink **sink)
{
    const struct fw_sink_options options = {.type = "file", .name = "mq", .path = alerts_path};
    struct fw_error error = {0};

    return fw_sink_open(sink, &options, &error);
}

// Delivered or counted as dropped, but never neither.
static int post(struct fw_dispatcher *dispatcher, size_t sinks)
{
    struct fw_sink_status sink[2];
    struct fw_event *made = make_event();
    int status = made ? fw_dispatcher_post(dispatcher, made) : FW_ENOMEM;

    if (made) {
        bool is_drained = fw_dispatcher_drain(dispatcher, 1000);
        fw_dispatcher_status(dispatcher, sink, 2);
        uint64_t seen = 0, waiting = 0;
        for (size_t i = 0; i < sinks; i++) {
            seen += sink[i].delivered + sink[i].dropped + sink[i].waiting;
            waiting += sink[i].waiting;
        }
        assert_true(seen > 0);
        assert_true(is_drained || waiting > 0);
    }
    fw_event_unref(made);
    return status;
}

static int dispatcher(void *opaque)
{
    const struct fw_dispatcher_options options = {
        .delivery = *(enum fw_delivery *)opaque, .fallback_after_ms = 1000, .max_events = 10};
    struct fw_sink *sinks[2] = {NULL};
    struct fw_dispatcher *made = NULL;
    int status = open_file_sink(&sinks[0]);

    if (status == FW_OK)
        status = open_file_sink(&sinks[1]);
    if (status != FW_OK) {
        fw_sink_close(sinks[0]);
        return status;
    }
    made = fw_dispatcher_create(&options, sinks, 2);
    status = made ? post(made, 2) : FW_ENOMEM;
    assert_int_equal(fw_dispatcher_destroy(made, 3000), FW_OK);
    return status;
}

// Files that were put before are found again, and the oldest go.
static int store(void *opaque)
{
    const struct fw_store_options options = {
        .backend = "dir", .dir = opaque, .public_base_url = NULL, .max_bytes = 40};
    struct fw_store *opened = NULL;
    struct fw_error error = {0};
    int status = fw_store_open(&opened, &options, &error);

    for (int i = 0; i < 6 && status == FW_OK; i++) {
        char key[32];
        snprintf(key, sizeof(key), "camera/%d/face.jpg", i);
        status = fw_store_put(opened, key, (const uint8_t *)"0123456789", 10, "image/jpeg", NULL,
                              &error);
    }
    if (status == FW_OK) {
        char *url = fw_store_url(opened, "camera/1 2/face.jpg");
        status = fault_status_of(url);
        free(url);
    }
    fw_store_close(opened);
    return status;
}

static int config(void *opaque)
{
    struct fw_secrets *secrets = fw_secrets_create();
    struct fw_diagnostics diagnostics = {0};
    struct fw_config *loaded = NULL;
    int status = secrets ? fw_config_load(&loaded, opaque, secrets, &diagnostics) : FW_ENOMEM;

    assert_int_equal(status == FW_OK, loaded != NULL);
    fw_config_destroy(loaded);
    fw_diagnostics_free(&diagnostics);
    fw_secrets_destroy(secrets);
    return status;
}

// A text with everything: secrets, overrides, lists, and what makes warnings.
static int rich_config(void *opaque)
{
    struct fw_secrets *secrets = fw_secrets_create();
    struct fw_diagnostics diagnostics = {0};
    struct fw_config *loaded = NULL;
    int status = FW_ENOMEM;

    if (secrets)
        status = fw_config_load_text(&loaded, "rich.json", opaque, secrets, &diagnostics);
    assert_int_equal(status == FW_OK, loaded != NULL);
    if (status == FW_OK && diagnostics.count == 0)
        status = FW_ENOMEM; // the warning got lost
    fw_config_destroy(loaded);
    fw_diagnostics_free(&diagnostics);
    fw_secrets_destroy(secrets);
    return status;
}

static int option_texts(void *opaque)
{
    char *(*make)(void);

    memcpy(&make, opaque, sizeof(make));
    char *text = make();
    int status = fault_status_of(text);
    free(text);
    return status;
}

static void try_events(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "event", .run = event, .may_survive = true});
}

static void try_dispatchers(void **state)
{
    static enum fw_delivery deliveries[] = {FW_DELIVERY_FALLBACK, FW_DELIVERY_ALL};

    (void)state;
    for (int i = 0; i < 2; i++)
        fault_try(&(struct fault_scenario){.name = "dispatcher",
                                           .run = dispatcher,
                                           .opaque = &deliveries[i],
                                           .may_survive = true, // a delivery is tried again
                                           .most_tries = 60});
}

static void try_store(void **state)
{
    static char dir[64];

    (void)state;
    snprintf(dir, sizeof(dir), "%s/store", folder);
    fault_try(&(struct fault_scenario){
        .name = "store", .run = store, .opaque = dir, .may_survive = true, .most_tries = 100});
}

static void try_sample_config(void **state)
{
    const char *source = getenv("FACEWORKER_SOURCE");
    char path[4096];

    (void)state;
    assert_non_null(source);
    snprintf(path, sizeof(path), "%s/config.sample.json", source);
    fault_try(&(struct fault_scenario){
        .name = "config.sample.json", .run = config, .opaque = path, .most_tries = 300});
}

static void try_rich_config(void **state)
{
    static char text[] =
        "{\"worker\": {\"id\": \"w\", \"state_dir\": \"/tmp/x\"}, \"an_unknown_key\": 1,"
        " \"backend_alert_url\": \"http://user:secret@host/alerts\","
        " \"backend\": {\"token\": \"another-secret\"},"
        " \"mq\": {\"password\": \"third-secret\"},"
        " \"cameras\": [{\"id\": \"a\", \"rtsp\": \"rtsp://u:fourth@h/s\", \"username\": \"v\","
        " \"password\": \"fifth-secret\", \"detector\": {\"min_score\": 0.5},"
        " \"alerts\": {\"confirm\": \"2/4\"}, \"publish\": {\"outputs\": [\"rtmp://h/x\"]}}],"
        " \"local_mocks\": {\"use_mock_mq\": true, \"use_mock_s3\": true}}";

    (void)state;
    fault_try(&(struct fault_scenario){
        .name = "rich_config", .run = rich_config, .opaque = text, .most_tries = 300});
}

static void try_option_texts(void **state)
{
    static char *(*makers[])(void) = {fw_options_defaults, fw_options_schema, fw_options_docs};

    (void)state;
    for (int i = 0; i < 3; i++)
        fault_try(&(struct fault_scenario){
            .name = "option_texts", .run = option_texts, .opaque = &makers[i]});
}

static int prepare(void **state)
{
    (void)state;
    assert_int_equal(curl_global_init(CURL_GLOBAL_DEFAULT), 0);
    assert_non_null(mkdtemp(folder));
    snprintf(alerts_path, sizeof(alerts_path), "%s/alerts.jsonl", folder);
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
        cmocka_unit_test(try_events),      cmocka_unit_test(try_dispatchers),
        cmocka_unit_test(try_store),       cmocka_unit_test(try_sample_config),
        cmocka_unit_test(try_rich_config), cmocka_unit_test(try_option_texts),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
