// Drives a spool from its standard input, for the system tests.
//
//   spool_put NAME=VALUE...
//
// NAME is a field of struct fw_spool_options, fw_store_options or fw_s3_options. Each line of the
// input is a command, its words parted by tabs; each is answered by one line of JSON:
//
//   put KEY FILE | state KEY | url KEY | path KEY | read KEY FILE | stats | drain MS | sweep
#include "storage/spool.h"
#include "util/log.h"
#include "util/secret.h"
#include "util/text.h"
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STOP_MS = 2000, MAX_PICTURE_BYTES = 64 * 1024 * 1024 };

struct driver {
    struct fw_secrets *secrets;
    struct fw_log log;
    struct fw_store_options store;
    struct fw_spool_options spool;
    struct fw_spool *opened;
};

static bool is_name(const char *argument, const char *name, const char **value)
{
    size_t length = strlen(name);

    *value = argument + length + 1;
    return strncmp(argument, name, length) == 0 && argument[length] == '=';
}

static bool take_secret(struct driver *driver, const struct fw_secret **secret, const char *value)
{
    *secret = fw_secret_create(driver->secrets, value);
    return *secret != NULL;
}

static bool take_s3_option(struct driver *driver, const char *argument)
{
    struct fw_s3_options *s3 = &driver->store.s3;
    const char *value;

    if (is_name(argument, "bucket", &value))
        s3->bucket = value;
    else if (is_name(argument, "endpoint_url", &value))
        s3->endpoint_url = value;
    else if (is_name(argument, "region", &value))
        s3->region = value;
    else if (is_name(argument, "path_style", &value))
        s3->path_style = (int)strtol(value, NULL, 10);
    else if (is_name(argument, "presign_s", &value))
        s3->presign_s = strtol(value, NULL, 10);
    else if (is_name(argument, "timeout_ms", &value))
        s3->timeout_ms = strtol(value, NULL, 10);
    else if (is_name(argument, "ca_file", &value))
        s3->ca_file = value;
    else if (is_name(argument, "tls_verify", &value))
        s3->tls_verify = strcmp(value, "1") == 0;
    else if (is_name(argument, "access_key", &value))
        return take_secret(driver, &s3->access_key, value);
    else if (is_name(argument, "secret_key", &value))
        return take_secret(driver, &s3->secret_key, value);
    else if (is_name(argument, "session_token", &value))
        return take_secret(driver, &s3->session_token, value);
    else
        return false;
    return true;
}

static bool take_option(struct driver *driver, const char *argument)
{
    const char *value;

    if (is_name(argument, "backend", &value))
        driver->store.backend = value;
    else if (is_name(argument, "store_dir", &value))
        driver->store.dir = value;
    else if (is_name(argument, "public_base_url", &value))
        driver->store.public_base_url = value;
    else if (is_name(argument, "dir", &value))
        driver->spool.dir = value;
    else if (is_name(argument, "max_bytes", &value))
        driver->spool.max_bytes = strtol(value, NULL, 10);
    else if (is_name(argument, "max_age_us", &value))
        driver->spool.max_age_us = strtol(value, NULL, 10);
    else if (is_name(argument, "upload_threads", &value))
        driver->spool.upload_threads = (int)strtol(value, NULL, 10);
    else
        return take_s3_option(driver, argument);
    return true;
}

// Commands. Each gives the answer, or NULL when memory is out.

static json_t *status_answer(int status, const struct fw_error *error)
{
    return json_pack("{s:i, s:s}", "status", status, "error",
                     status == FW_OK ? "" : error->message);
}

static json_t *put(struct driver *driver, const char *key, const char *path)
{
    struct fw_error error = {0};
    uint8_t *data = malloc(MAX_PICTURE_BYTES);
    FILE *file = fopen(path, "rb");
    size_t length = 0;
    int status = FW_EIO;

    if (data != NULL && file != NULL) {
        length = fread(data, 1, MAX_PICTURE_BYTES, file);
        status = fw_spool_put(driver->opened, key, data, length, &error);
    }
    if (file != NULL && fclose(file) != 0)
        status = FW_EIO;
    free(data);
    return status_answer(status, &error);
}

static json_t *read_copy(struct driver *driver, const char *key, const char *path)
{
    struct fw_error error = {0};
    uint8_t *data = NULL;
    size_t length = 0;
    int status = fw_spool_read(driver->opened, key, &data, &length);
    FILE *file = status == FW_OK ? fopen(path, "wb") : NULL;

    if (status == FW_OK && (file == NULL || fwrite(data, 1, length, file) != length))
        status = FW_EIO;
    if (file != NULL && fclose(file) != 0)
        status = FW_EIO;
    free(data);
    return status_answer(status, &error);
}

static json_t *text_answer(char *text)
{
    json_t *answer = json_pack("{s:s?}", "value", text);

    free(text);
    return answer;
}

static json_t *state(struct driver *driver, const char *key)
{
    static const char *const names[] = {
        [FW_SPOOL_STORED] = "stored", [FW_SPOOL_PENDING] = "pending", [FW_SPOOL_FAILED] = "failed"};

    return json_pack("{s:s}", "value", names[fw_spool_state(driver->opened, key)]);
}

static json_t *stats(struct driver *driver)
{
    struct fw_spool_stats now;

    fw_spool_get_stats(driver->opened, &now);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b}", "stored", (json_int_t)now.stored,
                     "failed", (json_int_t)now.failed, "evicted", (json_int_t)now.evicted,
                     "retried", (json_int_t)now.retried, "pending", (json_int_t)now.pending,
                     "bytes", (json_int_t)now.bytes, "last_error", now.last_error, "is_refused",
                     now.is_refused ? 1 : 0);
}

static json_t *answer(struct driver *driver, const char *command, const char *first,
                      const char *second)
{
    if (strcmp(command, "put") == 0)
        return put(driver, first, second);
    if (strcmp(command, "read") == 0)
        return read_copy(driver, first, second);
    if (strcmp(command, "state") == 0)
        return state(driver, first);
    if (strcmp(command, "url") == 0)
        return text_answer(fw_spool_url(driver->opened, first));
    if (strcmp(command, "path") == 0)
        return text_answer(fw_spool_path(driver->opened, first));
    if (strcmp(command, "stats") == 0)
        return stats(driver);
    if (strcmp(command, "drain") == 0)
        return json_pack("{s:b}", "value",
                         fw_spool_drain(driver->opened, strtol(first, NULL, 10)) ? 1 : 0);
    if (strcmp(command, "sweep") == 0) {
        fw_spool_sweep(driver->opened);
        return json_object();
    }
    return json_pack("{s:s}", "error", "no such command");
}

static int obey(struct driver *driver)
{
    char line[8192];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *rest = NULL, *command, *first, *second;
        json_t *object;
        line[strcspn(line, "\n")] = '\0';
        command = strtok_r(line, "\t", &rest);
        first = strtok_r(NULL, "\t", &rest);
        second = strtok_r(NULL, "\t", &rest);
        object = command != NULL ? answer(driver, command, first != NULL ? first : "",
                                          second != NULL ? second : "")
                                 : NULL;
        if (object == NULL || json_dumpf(object, stdout, JSON_COMPACT) != 0 ||
            putchar('\n') == EOF || fflush(stdout) != 0)
            return 1;
        json_decref(object);
    }
    return 0;
}

static int drive(struct driver *driver)
{
    struct fw_error error = {0};
    struct fw_store *store = NULL;
    int result = 2, status = fw_store_open(&store, &driver->store, &error);

    driver->spool.store = store;
    if (status == FW_OK)
        status = fw_spool_open(&driver->opened, &driver->spool, &error);
    if (status == FW_OK)
        result = obey(driver);
    else
        printf("{\"open\": %d}\n", status);
    if (status != FW_OK)
        fprintf(stderr, "%s\n", error.message);
    if (fw_spool_close(driver->opened, STOP_MS) != FW_OK)
        return 3;
    fw_store_close(store);
    return result;
}

static void free_secret(const struct fw_secret *secret)
{
    union {
        const struct fw_secret *in;
        struct fw_secret *out;
    } pointer = {.in = secret};

    fw_secret_destroy(pointer.out);
}

int main(int count, char **arguments)
{
    struct driver driver = {
        .secrets = fw_secrets_create(),
        .store = {.backend = "s3",
                  .s3 = {.path_style = -1, .timeout_ms = 5000, .tls_verify = true}}};
    int result = 2;

    if (driver.secrets == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return 2;
    driver.log.logger = fw_logger_create(STDERR_FILENO, FW_LOG_DEBUG, FW_LOG_TEXT, driver.secrets);
    driver.store.log = driver.spool.log = &driver.log;
    for (int i = 1; i < count; i++)
        if (!take_option(&driver, arguments[i])) {
            fprintf(stderr, "no such option: %s\n", arguments[i]);
            return 2;
        }
    result = drive(&driver);
    free_secret(driver.store.s3.access_key);
    free_secret(driver.store.s3.secret_key);
    free_secret(driver.store.s3.session_token);
    fw_logger_destroy(driver.log.logger);
    fw_secrets_destroy(driver.secrets);
    curl_global_cleanup();
    return result;
}
