// util/ when memory or threads run out.
#include "fault.h"

#include "util/backoff.h"
#include "util/cancel.h"
#include "util/condition.h"
#include "util/error.h"
#include "util/face.h"
#include "util/log.h"
#include "util/queue.h"
#include "util/resolve.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/thread.h"
#include "util/url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRET "p@ss:w/rd%canary"

enum { SECRET_GOT_OUT = 1 }; // no status: fault_try() objects to it

static int texts(void *opaque)
{
    struct fw_text text = FW_TEXT_INIT;
    int status = FW_OK;

    (void)opaque;
    for (int i = 0; i < 100; i++)
        fw_text_appendf(&text, "line %d\n", i);
    fw_text_append_json(&text, "a \"quoted\"\x01 text");
    fw_text_append_visible(&text, "a\x1b[0mtext");
    fw_text_append_percent(&text, "a b/c", "/");
    if (text.failed)
        status = FW_ENOMEM;
    char *stolen = fw_text_steal(&text);
    if ((status == FW_OK) != (stolen != NULL))
        status = 1;
    free(stolen);
    fw_text_free(&text);
    if (status != FW_OK)
        return status;
    char *copy = fw_strdup("copy"), *printed = fw_strdup_printf("%d", 5);
    if (!copy || !printed)
        status = FW_ENOMEM;
    free(copy);
    free(printed);
    return status;
}

static int url(void *opaque)
{
    struct fw_secrets *secrets = fw_secrets_create();
    struct fw_url *parsed = NULL;
    struct fw_secret *revealed = NULL;
    struct fw_error error = {0};
    int status = FW_ENOMEM;

    if (secrets)
        status = fw_url_parse(&parsed, opaque, NULL, NULL, secrets, &error);
    if (status == FW_OK) {
        revealed = fw_url_reveal(parsed, "::1", secrets);
        status = fault_status_of(revealed);
    } else if (strstr(error.message, SECRET)) {
        status = SECRET_GOT_OUT;
    }
    fw_secret_destroy(revealed);
    fw_url_destroy(parsed);
    fw_secrets_destroy(secrets);
    return status;
}

static int secrets(void *opaque)
{
    struct fw_secrets *registry = fw_secrets_create();
    struct fw_secret *secret = NULL;
    struct fw_text out = FW_TEXT_INIT;
    int status = FW_ENOMEM;

    (void)opaque;
    if (registry)
        status = fw_secrets_add_login(registry, "user", "another secret");
    if (status == FW_OK) {
        secret = fw_secret_create(registry, SECRET);
        status = fault_status_of(secret);
    }
    if (status == FW_OK) {
        status = fw_secrets_redact(registry, "it says " SECRET " and rtsp://u:pass@host/x", &out);
        if (strstr(fw_text_get(&out), SECRET) || strstr(fw_text_get(&out), "pass@"))
            status = SECRET_GOT_OUT;
    }
    fw_text_free(&out);
    fw_secret_destroy(secret);
    fw_secrets_destroy(registry);
    return status;
}

// What FILE holds of the secret.
static bool holds_secret(FILE *file)
{
    char content[8192];

    rewind(file);
    content[fread(content, 1, sizeof(content) - 1, file)] = '\0';
    return strstr(content, SECRET) != NULL;
}

static int logger(void *opaque)
{
    FILE *file = tmpfile();
    struct fw_secrets *registry = fw_secrets_create();
    struct fw_logger *made = NULL;
    int status = FW_ENOMEM;

    assert_non_null(file);
    if (registry)
        status = fw_secrets_add(registry, SECRET);
    if (status == FW_OK) {
        made =
            fw_logger_create(fileno(file), FW_LOG_DEBUG, *(enum fw_log_format *)opaque, registry);
        status = fault_status_of(made);
    }
    if (status == FW_OK) {
        const struct fw_log camera = {made, "camera"}, other = {made, "other"};
        for (int i = 0; i < 3; i++)
            fw_log_error(&camera, "the password is %s", SECRET);
        fw_log_info(&other, "%0600d", 7);
        fw_log_info(&camera, "something else");
    }
    fw_logger_destroy(made);
    fw_secrets_destroy(registry);
    if (holds_secret(file))
        status = SECRET_GOT_OUT;
    fclose(file);
    return status;
}

static int queue(void *opaque)
{
    const struct fw_queue_options options = {.max_items = 40, .free_item = free};
    struct fw_queue *made = fw_queue_create(&options);
    int status = fault_status_of(made);

    (void)opaque;
    for (int i = 0; i < 50 && status == FW_OK; i++) {
        void *item = malloc(1);
        status = item ? fw_queue_put(made, item, 1) : FW_ENOMEM;
        if (status != FW_OK)
            free(item);
    }
    fw_queue_destroy(made);
    return status;
}

static int slot(void *opaque)
{
    struct fw_slot *made = fw_slot_create();
    uint8_t *data = calloc(1, 10);
    struct fw_bytes *bytes = data ? fw_bytes_create(data, 10) : NULL;
    int status = made && bytes ? FW_OK : FW_ENOMEM;

    (void)opaque;
    if (status == FW_OK) {
        uint64_t sequence = 0;
        fw_slot_publish(made, bytes);
        fw_bytes_unref(fw_slot_wait(made, &sequence, 0));
    }
    fw_bytes_unref(bytes);
    fw_slot_unref(made);
    return status;
}

static int small_objects(void *opaque)
{
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_limiter *limiter = fw_limiter_create(1);
    struct fw_condition condition;
    struct fw_faces faces = {0};
    int status = cancel && limiter ? FW_OK : FW_ENOMEM;

    (void)opaque;
    if (fw_condition_init(&condition) == FW_OK)
        fw_condition_destroy(&condition);
    else
        status = FW_ENOMEM;
    for (int i = 0; i < 40 && status == FW_OK; i++)
        status = fw_faces_add(&faces, &(struct fw_face){.score = 1});
    if (status == FW_OK) {
        status = fw_limiter_acquire(limiter, cancel);
        if (status == FW_OK)
            fw_limiter_release(limiter);
    }
    fw_faces_free(&faces);
    fw_limiter_destroy(limiter);
    fw_cancel_destroy(cancel);
    return status;
}

static void do_nothing(void *opaque)
{
    (void)opaque;
}

static int thread(void *opaque)
{
    struct fw_thread *started = NULL;
    int status = fw_thread_start(&started, "nothing", NULL, do_nothing, NULL);

    (void)opaque;
    if (status == FW_OK)
        status = fw_thread_join(started, -1);
    return status;
}

static int resolver(void *opaque)
{
    struct fw_resolver *made = fw_resolver_create(NULL);
    int status = fault_status_of(made);

    (void)opaque;
    for (int i = 0; i < 2 && status == FW_OK; i++) {
        struct fw_deadline deadline = {0};
        struct fw_error error = {0};
        char address[FW_ADDRESS_SIZE];

        fw_deadline_set(&deadline, 5000);
        status = fw_resolve(made, "localhost", &deadline, address, &error);
        // A machine without /etc/hosts does not know it; the look-up ran its course all the same.
        if (status == FW_ENOENT)
            status = FW_OK;
    }
    fw_resolver_destroy(made);
    return status;
}

#define TRY(function, ...)                                                                         \
    static void try_##function(void **state)                                                       \
    {                                                                                              \
        (void)state;                                                                               \
        fault_try(&(struct fault_scenario){.name = #function, .run = function, __VA_ARGS__});      \
    }

TRY(texts)
TRY(secrets)
TRY(queue)
TRY(slot)
TRY(small_objects)
TRY(thread)
TRY(resolver, .may_survive = true)

static void try_urls(void **state)
{
    static char samples[][80] = {
        "rtsp://user:p@ss:w/rd%canary@[fe80::1]:554/live?token=abcdef&x=1",
        "http://host/path?query",
        "/a/plain path.mp4",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
        fault_try(&(struct fault_scenario){.name = "url", .run = url, .opaque = samples[i]});
}

static void try_loggers(void **state)
{
    static enum fw_log_format formats[] = {FW_LOG_TEXT, FW_LOG_JSON};

    (void)state;
    for (int i = 0; i < 2; i++)
        fault_try(&(struct fault_scenario){
            .name = "logger", .run = logger, .opaque = &formats[i], .may_survive = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(try_texts),    cmocka_unit_test(try_secrets),
        cmocka_unit_test(try_urls),     cmocka_unit_test(try_loggers),
        cmocka_unit_test(try_queue),    cmocka_unit_test(try_slot),
        cmocka_unit_test(try_thread),   cmocka_unit_test(try_small_objects),
        cmocka_unit_test(try_resolver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
