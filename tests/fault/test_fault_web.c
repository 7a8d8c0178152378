// web/ when memory or threads run out.
#include "fault.h"

#include "../unit/web/http_client.h"
#include "util/error.h"
#include "util/queue.h"
#include "util/secret.h"
#include "util/text.h"
#include "web/server.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRET "canary-in-an-answer"

static char file_path[] = "/tmp/fw-fault-web-XXXXXX";
static struct fw_slot *live;

static char *cameras_json(void *opaque)
{
    (void)opaque;
    return fw_strdup("{\"cameras\":[\"" SECRET "\"]}");
}

static char *events_json(void *opaque, const struct fw_web_events_query *query)
{
    (void)opaque;
    return fw_strdup_printf("{\"events\":[%d]}", query->limit);
}

static char *metrics_text(void *opaque)
{
    (void)opaque;
    return fw_strdup("faceworker_up 1\n");
}

static char *ready_json(void *opaque, int *is_ready)
{
    (void)opaque;
    *is_ready = 1;
    return fw_strdup("{\"ready\":true,\"reasons\":[]}");
}

static struct fw_slot *live_slot(void *opaque, const char *camera_id)
{
    (void)opaque;
    return strcmp(camera_id, "front") == 0 ? fw_slot_ref(live) : NULL;
}

static char *snapshot_path(void *opaque, const char *key)
{
    (void)opaque;
    (void)key;
    return fw_strdup(file_path);
}

// An answer is right, or says 503, or the connection is closed without one.
static int ask(int port, const char *path, int expected)
{
    fault_pause(); // the client is ours
    int fd = http_connect(port);
    char text[256];
    int length = snprintf(text, sizeof(text),
                          "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    fault_resume();
    http_send(fd, text, (size_t)length);
    char answer[8192];
    size_t got = http_read(fd, answer, sizeof(answer) - 1);
    answer[got] = '\0';
    close(fd);
    if (strstr(answer, SECRET))
        return 1;
    int status = got > 12 && strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
    if (status == expected)
        return FW_OK;
    // A source can't tell that it has no memory from that it has no such picture.
    bool is_honest = status == 503 || status == 0 || (status == 404 && fw_starts_with(path, "/s"));
    return is_honest ? FW_ENOMEM : status;
}

static int server(void *opaque)
{
    static const struct {
        const char *path;
        int status;
    } questions[] = {
        {"/api/v1/cameras", 200},
        {"/api/v1/events?limit=3", 200},
        {"/metrics", 200},
        {"/readyz", 200},
        {"/healthz", 200},
        {"/nothing", 404},
        {"/", 200},
        {"/api/v1/cameras/front/snapshot.jpg", 200},
        {"/snapshots/a.jpg", 200},
    };
    static const struct fw_web_source source = {.cameras_json = cameras_json,
                                                .events_json = events_json,
                                                .metrics_text = metrics_text,
                                                .ready_json = ready_json,
                                                .live_slot = live_slot,
                                                .snapshot_path = snapshot_path};
    struct fw_secrets *secrets = fw_secrets_create();
    struct fw_web *web = NULL;
    struct fw_error error = {0};
    int status = secrets ? fw_secrets_add(secrets, SECRET) : FW_ENOMEM;

    (void)opaque;
    if (status == FW_OK) {
        const struct fw_web_options options = {
            .listen = "127.0.0.1:0", .source = &source, .secrets = secrets};
        status = fw_web_start(&web, &options, &error);
    }
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]) && status == FW_OK; i++)
        status = ask(fw_web_port(web), questions[i].path, questions[i].status);
    fw_web_stop(web);
    fw_secrets_destroy(secrets);
    return status;
}

static void try_server(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "web", .run = server, .may_survive = true});
}

static int prepare(void **state)
{
    uint8_t *data = calloc(1, 100);
    struct fw_bytes *bytes = data ? fw_bytes_create(data, 100) : NULL;
    int fd = mkstemp(file_path);

    (void)state;
    live = fw_slot_create();
    assert_non_null(bytes);
    assert_non_null(live);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "\xff\xd8\xff", 3), 3);
    close(fd);
    fw_slot_publish(live, bytes);
    fw_slot_watch(live, 1); // so that what lies in it counts as new
    fw_bytes_unref(bytes);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    fw_slot_unref(live);
    return unlink(file_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(try_server)};
    return cmocka_run_group_tests(tests, prepare, clean);
}
