// storage/ and the configuration when memory or threads run out.
#include "fault.h"

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
        cmocka_unit_test(try_store),
        cmocka_unit_test(try_sample_config),
        cmocka_unit_test(try_rich_config),
        cmocka_unit_test(try_option_texts),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
