// storage/ when memory or threads run out: S3, and the spool before it.
#include "fault.h"

#include "storage/s3_answer.h"
#include "storage/s3_sign.h"
#include "storage/spool.h"
#include "util/cancel.h"
#include "util/secret.h"
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

static char folder[64];
static struct fw_secret *key;

static struct fw_store_options s3_options(void)
{
    return (struct fw_store_options){.backend = "s3",
                                     .s3 = {.bucket = "faces",
                                            .endpoint_url = "http://127.0.0.1:1",
                                            .access_key = key,
                                            .secret_key = key,
                                            .session_token = key,
                                            .path_style = -1,
                                            .presign_s = 60,
                                            .timeout_ms = 1000,
                                            .tls_verify = true}};
}

// Nobody listens there: being told so is all that is wanted.
static int s3(void *opaque)
{
    const struct fw_store_options options = s3_options();
    struct fw_store *store = NULL;
    struct fw_error error = {0};
    int status = fw_store_open(&store, &options, &error);

    (void)opaque;
    for (int i = 0; i < 2 && status == FW_OK; i++) {
        status = fw_store_put(store, "camera 1/face.jpg", (const uint8_t *)"0123456789", 10,
                              "image/jpeg", NULL, &error);
        if (status == FW_ECONNECT)
            status = FW_OK;
    }
    if (status == FW_OK) {
        char *url = fw_store_url(store, "camera 1/face.jpg");
        status = fault_status_of(url);
        if (url)
            assert_non_null(strstr(url, "&X-Amz-Signature="));
        free(url);
    }
    fw_store_close(store);
    return status;
}

// Whatever is missing of it, an answer is explained.
static int answer(void *opaque)
{
    static const char body[] = "<Error><Code>NoSuchBucket</Code><Message>No.</Message></Error>";
    static const struct fw_s3_place place = {"faces", "h", "us-east-1"};
    struct fw_s3_answer parsed = {.status = 404};
    struct fw_error error = {0};

    (void)opaque;
    fw_s3_answer_parse(&parsed, body, sizeof(body) - 1);
    assert_int_equal(fw_s3_answer_explain(&parsed, &place, &error), FW_EAUTH);
    assert_non_null(strstr(error.message, "; "));
    return FW_OK;
}

// A store that takes everything.

static int open_nothing(void **state, const struct fw_store_options *options,
                        struct fw_error *error)
{
    (void)state;
    (void)options;
    (void)error;
    return FW_OK;
}

static int put_nowhere(void *state, const char *name, const uint8_t *data, size_t length,
                       const char *content_type, struct fw_cancel *cancel, struct fw_error *error)
{
    (void)state;
    (void)name;
    (void)content_type;
    (void)error;
    assert_int_equal(length, 10);
    assert_memory_equal(data, "0123456789", 10);
    return fw_cancel_is_set(cancel) ? FW_ECANCELED : FW_OK;
}

static void close_nothing(void *state)
{
    (void)state;
}

static const struct fw_store_backend taker = {
    .name = "taker", .open = open_nothing, .put = put_nowhere, .close = close_nothing};

// Each put that was taken is in the store soon, or waits.
static int use_spool(struct fw_spool *spool)
{
    struct fw_error error = {0};
    struct fw_spool_stats stats;
    int taken = 0, status = FW_OK;

    for (int i = 0; i < 4 && status == FW_OK; i++) {
        char name[32];
        snprintf(name, sizeof(name), "camera/%d.jpg", i);
        status = fw_spool_put(spool, name, (const uint8_t *)"0123456789", 10, &error);
        if (status == FW_OK)
            taken++;
    }
    (void)fw_spool_drain(spool, 100);
    fw_spool_get_stats(spool, &stats);
    assert_true(stats.stored + stats.pending + stats.failed >= (uint64_t)taken);
    for (int i = 0; i < taken && status == FW_OK; i++) {
        char name[32], *path;
        uint8_t *data = NULL;
        size_t length = 0;
        snprintf(name, sizeof(name), "camera/%d.jpg", i);
        status = fw_spool_read(spool, name, &data, &length);
        assert_true(status == FW_OK || status == FW_ENOMEM || status == FW_ENOENT);
        free(data);
        path = fw_spool_path(spool, name);
        if (status == FW_OK || status == FW_ENOENT)
            status = fault_status_of(path);
        free(path);
    }
    return status;
}

// Twice in one folder, so that the second finds what the first left.
static int spool(void *opaque)
{
    struct fw_spool_options options = {.dir = opaque, .max_bytes = 1000};
    struct fw_store *store = NULL;
    int status = fw_store_open_backend(&store, &taker, &(struct fw_store_options){0}, NULL);

    for (int i = 0; i < 2 && status == FW_OK; i++) {
        struct fw_spool *opened = NULL;
        struct fw_error error = {0};
        options.store = store;
        status = fw_spool_open(&opened, &options, &error);
        assert_int_equal(status == FW_OK, opened != NULL);
        if (status == FW_OK)
            status = use_spool(opened);
        assert_int_equal(fw_spool_close(opened, 5000), FW_OK);
    }
    fw_store_close(store);
    return status;
}

static void try_s3(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "s3", .run = s3, .may_survive = true});
    fault_try(&(struct fault_scenario){.name = "s3_answer", .run = answer, .may_survive = true});
}

static void try_spool(void **state)
{
    static char dir[80];

    (void)state;
    snprintf(dir, sizeof(dir), "%s/spool", folder);
    fault_try(&(struct fault_scenario){
        .name = "spool", .run = spool, .opaque = dir, .may_survive = true, .most_tries = 120});
}

static int prepare(void **state)
{
    (void)state;
    assert_int_equal(curl_global_init(CURL_GLOBAL_DEFAULT), 0);
    // A disk would have to sync some thousand times.
    strcpy(folder, "/dev/shm/fw-fault-storage-XXXXXX");
    if (!mkdtemp(folder)) {
        strcpy(folder, "/tmp/fw-fault-storage-XXXXXX");
        assert_non_null(mkdtemp(folder));
    }
    key = fw_secret_create(NULL, "a key of theirs");
    return key ? 0 : -1;
}

static int clean(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    fw_secret_destroy(key);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(try_s3),
        cmocka_unit_test(try_spool),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
