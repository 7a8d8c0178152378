#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_client.h"
#include "util/clock.h"
#include "util/queue.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/thread.h"
#include "web/server.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CANARY        "p@ss:w/rd%canary"
#define PICTURE_BYTES 50000

// A daemon with one camera: pictures come 50 times a second while somebody watches.
struct fixture {
    struct fw_web *web;
    struct fw_secrets *secrets;
    struct fw_slot *slot;
    struct fw_thread *thread;
    atomic_bool is_ending, is_silent;
    atomic_int published;
    atomic_int limit_asked;
    char query_asked[256]; // written by the answer to a request that a test waits for
    atomic_bool is_ready;
    char folder[64];
    int port;
};

static void sleep_ms(long milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void publish_picture(struct fixture *fixture, int number)
{
    uint8_t *data = malloc(PICTURE_BYTES);
    assert_non_null(data);
    memset(data, number & 0xff, PICTURE_BYTES);
    memcpy(data, "\xff\xd8\xff", 3);
    struct fw_bytes *bytes = fw_bytes_create(data, PICTURE_BYTES);
    assert_non_null(bytes);
    fw_slot_publish(fixture->slot, bytes);
    fw_bytes_unref(bytes);
}

static void run_camera(void *opaque)
{
    struct fixture *fixture = opaque;
    while (!atomic_load(&fixture->is_ending)) {
        if (fw_slot_is_watched(fixture->slot) && !atomic_load(&fixture->is_silent))
            publish_picture(fixture, atomic_fetch_add(&fixture->published, 1));
        sleep_ms(20);
    }
}

static char *cameras_json(void *opaque)
{
    (void)opaque;
    return fw_strdup("{\"cameras\":[{\"id\":\"front\",\"reason\":\"rtsp://admin:" CANARY
                     "@10.0.0.5/ and " CANARY "\"}]}");
}

static char *events_json(void *opaque, const struct fw_web_events_query *query)
{
    struct fixture *fixture = opaque;
    atomic_store(&fixture->limit_asked, query->limit);
    snprintf(fixture->query_asked, sizeof fixture->query_asked, "%s %s-%s %s %s %lld %lld",
             query->camera_id ? query->camera_id : "-", query->type ? query->type : "-",
             query->without_type ? query->without_type : "", query->state ? query->state : "-",
             query->before_id ? query->before_id : "-", (long long)query->since_utc_us,
             (long long)query->until_utc_us);
    return fw_strdup("{\"events\":[]}");
}

static char *metrics_text(void *opaque)
{
    (void)opaque;
    return fw_strdup("faceworker_up 1\n# " CANARY "\n");
}

static char *ready_json(void *opaque, int *is_ready)
{
    struct fixture *fixture = opaque;
    *is_ready = atomic_load(&fixture->is_ready);
    return fw_strdup(*is_ready ? "{\"ready\":true,\"reasons\":[]}"
                               : "{\"ready\":false,\"reasons\":[\"" CANARY "\"]}");
}

static struct fw_slot *live_slot(void *opaque, const char *camera_id)
{
    struct fixture *fixture = opaque;
    return strcmp(camera_id, "front") == 0 ? fw_slot_ref(fixture->slot) : NULL;
}

static char *snapshot_path(void *opaque, const char *key)
{
    struct fixture *fixture = opaque;
    return fw_strdup_printf("%s/%s", fixture->folder, key);
}

static struct fw_web_source source_of(struct fixture *fixture)
{
    return (struct fw_web_source){
        .opaque = fixture,
        .cameras_json = cameras_json,
        .events_json = events_json,
        .metrics_text = metrics_text,
        .ready_json = ready_json,
        .live_slot = live_slot,
        .snapshot_path = snapshot_path,
    };
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct fw_error error = {0};
    assert_non_null(fixture);
    strcpy(fixture->folder, "/tmp/faceworker-web-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    fixture->slot = fw_slot_create();
    fixture->secrets = fw_secrets_create();
    assert_non_null(fixture->slot);
    assert_non_null(fixture->secrets);
    assert_int_equal(fw_secrets_add(fixture->secrets, CANARY), FW_OK);
    atomic_store(&fixture->is_ready, true);
    struct fw_web_source source = source_of(fixture);
    struct fw_web_options options = {
        .listen = "127.0.0.1:0", .source = &source, .secrets = fixture->secrets};
    assert_int_equal(fw_web_start(&fixture->web, &options, &error), FW_OK);
    fixture->port = fw_web_port(fixture->web);
    assert_true(fixture->port > 0);
    assert_int_equal(fw_thread_start(&fixture->thread, "camera", NULL, run_camera, fixture), FW_OK);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    fw_web_stop(fixture->web);
    atomic_store(&fixture->is_ending, true);
    assert_int_equal(fw_thread_join(fixture->thread, 5000), FW_OK);
    fw_slot_unref(fixture->slot);
    fw_secrets_destroy(fixture->secrets);
    snprintf(command, sizeof command, "rm -rf %s", fixture->folder);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

static void write_file(struct fixture *fixture, const char *name, const void *data, size_t length)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fixture->folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

// The count of watchers is exactly 0: one more makes it watched, and one less unwatched again.
static void assert_nobody_watches(struct fixture *fixture)
{
    int64_t end_us = fw_monotonic_us() + 3 * FW_US_PER_S;
    while (fw_slot_is_watched(fixture->slot) && fw_monotonic_us() < end_us)
        sleep_ms(5);
    assert_false(fw_slot_is_watched(fixture->slot));
    fw_slot_watch(fixture->slot, 1);
    assert_true(fw_slot_is_watched(fixture->slot));
    fw_slot_watch(fixture->slot, -1);
    assert_false(fw_slot_is_watched(fixture->slot));
}

static void expect(struct http_reply reply, int status, const char *contained)
{
    if (reply.status != status || !strstr(reply.data, contained))
        fail_msg("expected %d with \"%s\", got:\n%s", status, contained, reply.data);
    http_free(&reply);
}

static void every_text_route_answers(void **state)
{
    struct fixture *fixture = *state;
    int port = fixture->port;
    expect(http_get(port, "/"), 200, "Content-Type: text/html; charset=utf-8");
    expect(http_get(port, "/"), 200, "<!doctype html>");
    expect(http_get(port, "/app.js"), 200, "Content-Type: text/javascript");
    expect(http_get(port, "/style.css"), 200, "Content-Type: text/css");
    expect(http_get(port, "/icon.svg"), 200, "Content-Type: image/svg+xml");
    expect(http_get(port, "/healthz"), 200, "\r\n\r\nok\n");
    expect(http_get(port, "/readyz"), 200, "{\"ready\":true");
    expect(http_get(port, "/metrics"), 200, "Content-Type: text/plain; version=0.0.4");
    expect(http_get(port, "/metrics"), 200, "faceworker_up 1\n");
    expect(http_get(port, "/api/v1/cameras"), 200, "\"id\":\"front\"");
    expect(http_get(port, "/api/v1/events"), 200, "{\"events\":[]}");
    assert_int_equal(atomic_load(&fixture->limit_asked), 50);
    expect(http_get(port, "/api/v1/events?limit=7"), 200, "{\"events\":[]}");
    assert_int_equal(atomic_load(&fixture->limit_asked), 7);
    atomic_store(&fixture->is_ready, false);
    expect(http_get(port, "/readyz"), 503, "{\"ready\":false");
}

static void wrong_requests_are_refused_in_words(void **state)
{
    struct fixture *fixture = *state;
    int port = fixture->port;
    expect(http_get(port, "/nothing"), 404, "{\"error\":\"nothing is found");
    expect(http_get(port,
                    "/api/v1/events?camera=a%2Eb&type=face.left&without=b%2Bc&state=dead&before=x&"
                    "since=2026-01-31T00%3A00:01.5Z&until=2026-02-01"),
           200, "{\"events\":[]}");
    assert_string_equal(fixture->query_asked,
                        "a.b face.left-b+c dead x 1769817601500000 1769904000000000");
    expect(http_get(port, "/api/v1/events?state=lost"), 400, "{\"error\":\"state is none");
    expect(http_get(port, "/api/v1/events?since=yesterday"), 400, "{\"error\":\"since or");
    expect(http_get(port, "/api/v1/events?until=2026-02-30"), 400, "{\"error\":\"since or");
    expect(http_get(port, "/api/v1/events?limit=0"), 400, "{\"error\":\"limit is not");
    expect(http_get(port, "/api/v1/events?limit=501"), 400, "{\"error\"");
    expect(http_get(port, "/api/v1/events?limit=%31"), 400, "{\"error\"");
    expect(http_get(port, "/api/v1/cameras/absent/live"), 404, "no such camera");
    expect(http_get(port, "/api/v1/cameras/absent/snapshot.jpg"), 404, "no such camera");
    expect(http_get(port, "/snapshots/absent.jpg"), 404, "no such snapshot");
    expect(http_ask(port, "POST", "/healthz", "Content-Length: 0\r\n"), 405, "Allow: GET, HEAD");
    expect(http_ask(port, "DELETE", "/api/v1/cameras", ""), 405, "Allow: GET, HEAD");
    expect(http_ask(port, "OPTIONS", "/", ""), 405, "Allow: GET, HEAD");
    expect(http_ask(port, "GET", "/healthz", "Content-Length: 5\r\n"), 413, "{\"error\"");
}

static void foreign_hosts_are_refused(void **state)
{
    struct fixture *fixture = *state;
    int port = fixture->port;
    expect(http_raw(port, "GET / HTTP/1.1\r\nHost: evil.example:8080\r\nConnection: close\r\n\r\n"),
           403, "loopback addresses only");
    expect(http_raw(port, "POST / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n"
                          "Content-Length: 0\r\n\r\n"),
           403, "loopback addresses only");
    expect(http_raw(port, "GET /healthz HTTP/1.0\r\n\r\n"), 400, "");
    expect(http_raw(port, "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"), 400, "");
    expect(http_raw(port, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"
                          "Connection: close\r\n\r\n"),
           400, "");
    expect(http_raw(port, "GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n"),
           200, "ok\n");
    expect(http_raw(port, "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n"
                          "Connection: close\r\n\r\n"),
           404, "");
}

static void other_sites_may_only_link_to_the_page(void **state)
{
    struct fixture *fixture = *state;
    int port = fixture->port;
    static const char image[] = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"
                                "Sec-Fetch-Dest: image\r\n";
    static const char link[] = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"
                               "Sec-Fetch-Dest: document\r\n";
    static const char frame[] = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"
                                "Sec-Fetch-Dest: iframe\r\n";
    expect(http_ask(port, "GET", "/api/v1/cameras/front/live", image), 403, "another site");
    expect(http_ask(port, "GET", "/api/v1/cameras/front/snapshot.jpg", image), 403, "another");
    expect(http_ask(port, "GET", "/snapshots/a.jpg", image), 403, "another site");
    expect(http_ask(port, "GET", "/api/v1/cameras", link), 403, "another site");
    expect(http_ask(port, "GET", "/", frame), 403, "another site");
    expect(http_ask(port, "GET", "/", link), 200, "<!doctype html>");
    expect(http_ask(port, "GET", "/snapshots/a.jpg", link), 404, "no such snapshot");
    expect(http_ask(port, "GET", "/api/v1/cameras", "Sec-Fetch-Site: same-origin\r\n"), 200, "");
    assert_nobody_watches(fixture);
}

static void answers_carry_their_security_headers(void **state)
{
    struct fixture *fixture = *state;
    static const char *const paths[] = {"/", "/healthz", "/api/v1/cameras", "/nothing"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct http_reply reply = http_get(fixture->port, paths[i]);
        assert_non_null(strstr(reply.data, "Content-Security-Policy: default-src 'self'"));
        assert_non_null(strstr(reply.data, "X-Content-Type-Options: nosniff"));
        assert_non_null(strstr(reply.data, "Referrer-Policy: no-referrer"));
        assert_null(strstr(reply.data, "Access-Control-Allow-Origin"));
        http_free(&reply);
    }
    expect(http_get(fixture->port, "/api/v1/cameras"), 200, "Cache-Control: no-store");
}

static void secrets_are_redacted_everywhere(void **state)
{
    struct fixture *fixture = *state;
    static const char *const paths[] = {"/api/v1/cameras", "/metrics", "/readyz"};
    atomic_store(&fixture->is_ready, false);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct http_reply reply = http_get(fixture->port, paths[i]);
        assert_null(strstr(reply.data, CANARY));
        assert_null(strstr(reply.data, "canary"));
        assert_non_null(strstr(reply.body, "***"));
        http_free(&reply);
    }
}

static void head_sends_no_body(void **state)
{
    struct fixture *fixture = *state;
    static const char *const paths[] = {"/", "/healthz", "/api/v1/cameras",
                                        "/api/v1/cameras/front/live",
                                        "/api/v1/cameras/front/snapshot.jpg"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct http_reply reply = http_ask(fixture->port, "HEAD", paths[i], "");
        assert_int_equal(reply.status, 200);
        assert_int_equal(reply.body_length, 0);
        http_free(&reply);
    }
    assert_nobody_watches(fixture);
}

static void stored_snapshots_are_served(void **state)
{
    struct fixture *fixture = *state;
    static const char jpeg[] = "\xff\xd8\xff\xe0 picture";
    write_file(fixture, "a b.jpg", jpeg, sizeof jpeg);
    struct http_reply reply = http_get(fixture->port, "/snapshots/a%20b.jpg");
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.data, "Content-Type: image/jpeg"));
    assert_int_equal(reply.body_length, sizeof jpeg);
    assert_memory_equal(reply.body, jpeg, sizeof jpeg);
    http_free(&reply);
}

static void only_jpegs_of_the_store_are_served(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    int port = fixture->port;
    write_file(fixture, "notes.txt", "not a picture", 13);
    write_file(fixture, "empty.jpg", "", 0);
    snprintf(path, sizeof path, "%s/link.jpg", fixture->folder);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    snprintf(path, sizeof path, "%s/pipe.jpg", fixture->folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof path, "%s/folder", fixture->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    expect(http_get(port, "/snapshots/notes.txt"), 404, "no such snapshot");
    expect(http_get(port, "/snapshots/empty.jpg"), 404, "no such snapshot");
    expect(http_get(port, "/snapshots/link.jpg"), 404, "no such snapshot");
    expect(http_get(port, "/snapshots/pipe.jpg"), 404, "no such snapshot");
    expect(http_get(port, "/snapshots/folder"), 404, "no such snapshot");
    expect(http_get(port, "/snapshots/../../etc/passwd"), 404, "{\"error\"");
    expect(http_get(port, "/snapshots/%2e%2e/%2e%2e/etc/passwd"), 404, "{\"error\"");
    expect(http_get(port, "/snapshots/..%2f..%2fetc%2fpasswd"), 404, "{\"error\"");
    expect(http_get(port, "/snapshots//etc/passwd"), 404, "{\"error\"");
}

static void a_camera_gives_its_newest_picture(void **state)
{
    struct fixture *fixture = *state;
    publish_picture(fixture, 0xee); // hours old, as far as the server can know
    struct http_reply reply = http_get(fixture->port, "/api/v1/cameras/front/snapshot.jpg");
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.data, "Content-Type: image/jpeg"));
    assert_int_equal(reply.body_length, PICTURE_BYTES);
    assert_memory_equal(reply.body, "\xff\xd8\xff", 3);
    assert_int_not_equal((unsigned char)reply.body[100], 0xee);
    http_free(&reply);
    assert_nobody_watches(fixture);
}

static void a_silent_camera_gives_no_picture(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->is_silent, true);
    struct http_reply reply = http_get(fixture->port, "/api/v1/cameras/front/snapshot.jpg");
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.data, "gives no picture now"));
    assert_in_range(reply.took_ms, 1900, 3000);
    http_free(&reply);
    assert_nobody_watches(fixture);
    fw_slot_close(fixture->slot);
    expect(http_get(fixture->port, "/api/v1/cameras/front/snapshot.jpg"), 503, "has stopped");
    expect(http_get(fixture->port, "/api/v1/cameras/front/live"), 503, "has stopped");
}

static void live_pictures_come_whole(void **state)
{
    struct fixture *fixture = *state;
    size_t size = 4 * PICTURE_BYTES;
    char *data = malloc(size + 1);
    assert_non_null(data);
    // HTTP/1.0, so that no chunk heads stand between the bytes.
    int fd = http_connect(fixture->port);
    static const char request[] =
        "GET /api/v1/cameras/front/live HTTP/1.0\r\nHost: localhost\r\n\r\n";
    http_send(fd, request, sizeof request - 1);
    assert_int_equal(http_read(fd, data, size), size);
    data[size] = '\0';
    assert_non_null(strstr(data, "Content-Type: multipart/x-mixed-replace; boundary=faceworker"));
    const char *at = strstr(data, "\r\n\r\n--faceworker\r\n");
    assert_non_null(at);
    at += strlen("\r\n\r\n--faceworker\r\n");
    for (int i = 0; i < 2; i++) {
        static const char head[] = "Content-Type: image/jpeg\r\nContent-Length: 50000\r\n\r\n";
        assert_memory_equal(at, head, sizeof head - 1);
        at += sizeof head - 1;
        assert_memory_equal(at, "\xff\xd8\xff", 3);
        for (size_t byte = 4; byte < PICTURE_BYTES; byte++)
            assert_int_equal(at[byte], at[3]);
        at += PICTURE_BYTES;
        assert_memory_equal(at, "\r\n--faceworker\r\n", 16);
        at += 16;
    }
    free(data);
    close(fd);
    assert_nobody_watches(fixture);
}

static void nobody_watching_means_no_pictures(void **state)
{
    struct fixture *fixture = *state;
    char start[2000]; // more than the head
    int fd = http_open_stream(fixture->port, "/api/v1/cameras/front/live", start, sizeof start);
    assert_true(fw_slot_is_watched(fixture->slot));
    close(fd);
    assert_nobody_watches(fixture);
    sleep_ms(50);
    int published = atomic_load(&fixture->published);
    sleep_ms(200);
    assert_int_equal(atomic_load(&fixture->published), published);
}

// No write tells the server that the watcher went: the camera is silent.
static void an_abrupt_end_is_noticed_without_pictures(void **state)
{
    struct fixture *fixture = *state;
    char start[2000]; // more than the head
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int fds[2];
    for (int i = 0; i < 2; i++)
        fds[i] = http_open_stream(fixture->port, "/api/v1/cameras/front/live", start, sizeof start);
    atomic_store(&fixture->is_silent, true);
    sleep_ms(100);
    assert_true(fw_slot_is_watched(fixture->slot));
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    close(fds[0]); // RST
    close(fds[1]); // FIN, or RST with what was not read
    assert_nobody_watches(fixture);
}

static void thirty_watchers_starve_nobody(void **state)
{
    struct fixture *fixture = *state;
    enum { WATCHERS = 30 };
    char start[2000]; // more than the head
    int fds[WATCHERS];
    for (int i = 0; i < WATCHERS; i++)
        fds[i] = http_open_stream(fixture->port, "/api/v1/cameras/front/live", start, sizeof start);
    // They read no more, so that the server's writes to them block.
    sleep_ms(300);
    for (int i = 0; i < 10; i++) {
        struct http_reply reply = http_get(fixture->port, "/healthz");
        assert_int_equal(reply.status, 200);
        assert_in_range(reply.took_ms, 0, 500);
        http_free(&reply);
    }
    for (int i = 0; i < WATCHERS; i++)
        close(fds[i]);
    assert_nobody_watches(fixture);
}

static void watchers_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    enum { LIMIT = 80 };
    char start[2000]; // more than the head
    int fds[LIMIT];
    for (int i = 0; i < LIMIT; i++)
        fds[i] = http_open_stream(fixture->port, "/api/v1/cameras/front/live", start, sizeof start);
    expect(http_get(fixture->port, "/api/v1/cameras/front/live"), 503, "too many watch");
    expect(http_get(fixture->port, "/api/v1/cameras/front/snapshot.jpg"), 503, "too many watch");
    expect(http_get(fixture->port, "/healthz"), 200, "ok\n");
    for (int i = 0; i < LIMIT; i++)
        close(fds[i]);
    assert_nobody_watches(fixture);
    expect(http_get(fixture->port, "/api/v1/cameras/front/snapshot.jpg"), 200, "image/jpeg");
}

static void huge_requests_are_refused(void **state)
{
    struct fixture *fixture = *state;
    size_t size = 200 * 1024;
    char *text = malloc(size);
    assert_non_null(text);
    int length = snprintf(text, size, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Filler: ");
    memset(text + length, 'x', size - (size_t)length);
    memcpy(text + size - 5, "\r\n\r\n", 5);
    struct http_reply reply = http_raw(fixture->port, text);
    assert_true(reply.status == 0 || (reply.status >= 400 && reply.status < 500));
    http_free(&reply);
    length = snprintf(text, size, "GET /");
    memset(text + length, 'x', size - (size_t)length);
    memcpy(text + size - 5, "\r\n\r\n", 5);
    reply = http_raw(fixture->port, text);
    assert_true(reply.status == 0 || (reply.status >= 400 && reply.status < 500));
    http_free(&reply);
    free(text);
    expect(http_get(fixture->port, "/healthz"), 200, "ok\n");
}

static void a_client_that_says_nothing_is_dropped(void **state)
{
    struct fixture *fixture = *state;
    int64_t began_us = fw_monotonic_us();
    struct http_reply reply = http_raw(fixture->port, "GET /healthz HTTP/1.1\r\nHost: loc");
    int64_t took_ms = (fw_monotonic_us() - began_us) / FW_US_PER_MS;
    assert_true(reply.status == 0 || reply.status == 408);
    assert_in_range(took_ms, 8000, 13000);
    http_free(&reply);
}

static void stopping_ends_watchers_at_once(void **state)
{
    struct fixture *fixture = *state;
    enum { WATCHERS = 20 };
    char start[2000]; // more than the head
    int fds[WATCHERS];
    for (int i = 0; i < WATCHERS; i++)
        fds[i] = http_open_stream(fixture->port, "/api/v1/cameras/front/live", start, sizeof start);
    int idle = http_connect(fixture->port);
    atomic_store(&fixture->is_silent, true); // some wait for pictures, some for their client
    int64_t began_us = fw_monotonic_us();
    fw_web_stop(fixture->web);
    fixture->web = NULL;
    assert_in_range((fw_monotonic_us() - began_us) / FW_US_PER_MS, 0, 999);
    assert_nobody_watches(fixture);
    for (int i = 0; i < WATCHERS; i++)
        close(fds[i]);
    close(idle);
}

static void a_taken_port_is_named(void **state)
{
    struct fixture *fixture = *state;
    struct fw_web *second = NULL;
    struct fw_error error = {0};
    char listen[32];
    struct fw_web_source source = source_of(fixture);
    snprintf(listen, sizeof listen, "127.0.0.1:%d", fixture->port);
    struct fw_web_options options = {.listen = listen, .source = &source};
    assert_int_equal(fw_web_start(&second, &options, &error), FW_ECONNECT);
    assert_null(second);
    assert_non_null(strstr(error.message, "is taken"));
    options.listen = "0.0.0.0:0";
    assert_int_equal(fw_web_start(&second, &options, &error), FW_EINVAL);
    assert_null(second);
    fw_web_stop(NULL);
}

static void ipv6_is_served_too(void **state)
{
    struct fixture *fixture = *state;
    struct fw_web *second = NULL;
    struct fw_error error = {0};
    struct fw_web_source source = source_of(fixture);
    struct fw_web_options options = {.listen = "[::1]:0", .source = &source};
    int code = fw_web_start(&second, &options, &error);
    if (code == FW_EIO) // a machine without IPv6
        skip();
    assert_int_equal(code, FW_OK);
    assert_true(fw_web_port(second) > 0);
    fw_web_stop(second);
}

#define WEB_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WEB_TEST(every_text_route_answers),
        WEB_TEST(wrong_requests_are_refused_in_words),
        WEB_TEST(foreign_hosts_are_refused),
        WEB_TEST(other_sites_may_only_link_to_the_page),
        WEB_TEST(answers_carry_their_security_headers),
        WEB_TEST(secrets_are_redacted_everywhere),
        WEB_TEST(head_sends_no_body),
        WEB_TEST(stored_snapshots_are_served),
        WEB_TEST(only_jpegs_of_the_store_are_served),
        WEB_TEST(a_camera_gives_its_newest_picture),
        WEB_TEST(a_silent_camera_gives_no_picture),
        WEB_TEST(live_pictures_come_whole),
        WEB_TEST(nobody_watching_means_no_pictures),
        WEB_TEST(an_abrupt_end_is_noticed_without_pictures),
        WEB_TEST(thirty_watchers_starve_nobody),
        WEB_TEST(watchers_are_bounded),
        WEB_TEST(huge_requests_are_refused),
        WEB_TEST(a_client_that_says_nothing_is_dropped),
        WEB_TEST(stopping_ends_watchers_at_once),
        WEB_TEST(a_taken_port_is_named),
        WEB_TEST(ipv6_is_served_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
