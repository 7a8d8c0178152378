#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/error.h"
#include "web/hosts.h"
#include "web/route.h"
#include <arpa/inet.h>
#include <string.h>

static void listen_addresses_are_parsed(void **state)
{
    struct fw_web_address address;
    struct fw_error error = {0};
    (void)state;
    assert_int_equal(fw_web_address_parse("127.0.0.1:8080", &address, &error), FW_OK);
    assert_int_equal(address.socket.v4.sin_port, htons(8080));
    assert_int_equal(ntohl(address.socket.v4.sin_addr.s_addr), 0x7f000001);
    assert_int_equal(fw_web_address_parse("localhost:0", &address, &error), FW_OK);
    assert_int_equal(fw_web_address_parse("127.8.9.10:1", &address, &error), FW_OK);
    assert_int_equal(fw_web_address_parse("[::1]:65535", &address, &error), FW_OK);
    assert_int_equal(address.socket.any.sa_family, AF_INET6);
    assert_int_equal(address.socket.v6.sin6_port, htons(65535));
}

static void listen_addresses_that_are_none_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",           "8080",         ":8080",   "127.0.0.1",       "127.0.0.1:",
        "::1:80",     "[::1]",        "[::1]80", "[::1:80",         "127.0.0.1:65536",
        "host:8080x", "127.0.0.1:-1", "[]:80",   "127.0.0.1:8 080", "127.0.0.1:000080",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct fw_web_address address;
        struct fw_error error = {0};
        assert_int_equal(fw_web_address_parse(wrong[i], &address, &error), FW_EINVAL);
        assert_non_null(strstr(error.message, "127.0.0.1:8080"));
    }
}

static void listening_to_the_network_is_refused(void **state)
{
    static const char *const open[] = {
        "0.0.0.0:8080", "192.168.1.4:80", "[::]:80", "[fe80::1]:80", "[::ffff:127.0.0.1]:80",
    };
    (void)state;
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        struct fw_web_address address;
        struct fw_error error = {0};
        assert_int_equal(fw_web_address_parse(open[i], &address, &error), FW_EINVAL);
        assert_non_null(strstr(error.message, "no log-in"));
    }
}

static void only_loopback_hosts_are_allowed(void **state)
{
    static const char *const ours[] = {
        "localhost", "localhost:8080",  "LocalHost:1", "127.0.0.1",
        "[::1]",     "127.0.0.1:65535", "[::1]:8080",  "127.1.2.3:80",
    };
    static const char *const foreign[] = {
        "",
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8080",
        "localhost:8080@evil.example",
        "localhost:99999",
        "localhost:",
        "10.0.0.1",
        "[::2]:80",
        "[::1",
        "::1",
        " localhost",
        "localhost, evil.example",
        "0x7f.1",
        "2130706433",
        "0.0.0.0",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:80",
    };
    (void)state;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        assert_true(fw_web_host_is_allowed(ours[i]));
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        assert_false(fw_web_host_is_allowed(foreign[i]));
}

static void check_route(const char *path, enum fw_web_route_kind kind, const char *argument)
{
    struct fw_web_route route;
    fw_web_route_find(path, &route);
    if (route.kind != kind || strcmp(route.argument, argument) != 0)
        fail_msg("%s: kind %d, argument \"%s\"", path, (int)route.kind, route.argument);
}

static void paths_lead_to_routes(void **state)
{
    (void)state;
    check_route("/", FW_WEB_ROUTE_ASSET, "");
    check_route("/app.js", FW_WEB_ROUTE_ASSET, "");
    check_route("/style.css", FW_WEB_ROUTE_ASSET, "");
    check_route("/healthz", FW_WEB_ROUTE_HEALTH, "");
    check_route("/readyz", FW_WEB_ROUTE_READY, "");
    check_route("/metrics", FW_WEB_ROUTE_METRICS, "");
    check_route("/api/v1/cameras", FW_WEB_ROUTE_CAMERAS, "");
    check_route("/api/v1/events", FW_WEB_ROUTE_EVENTS, "");
    check_route("/api/v1/cameras/front-door/live", FW_WEB_ROUTE_LIVE, "front-door");
    check_route("/api/v1/cameras/T%C3%BCr%201/live", FW_WEB_ROUTE_LIVE, "T\xc3\xbcr 1");
    check_route("/api/v1/cameras/a/snapshot.jpg", FW_WEB_ROUTE_CAMERA_SNAPSHOT, "a");
    check_route("/snapshots/cam/2026/x.jpg", FW_WEB_ROUTE_STORED, "cam/2026/x.jpg");
    check_route("/snapshots/cam%2Fx..y.jpg", FW_WEB_ROUTE_STORED, "cam/x..y.jpg");
    check_route("/snapshots/...", FW_WEB_ROUTE_STORED, "...");
}

static void paths_that_lead_out_lead_nowhere(void **state)
{
    static const char *const wrong[] = {
        "",
        "//",
        "/index.html",
        "/healthz/",
        "/Healthz",
        "http://127.0.0.1/healthz",
        "/api/v1/cameras/",
        "/api/v1/cameras//live",
        "/api/v1/cameras/a",
        "/api/v1/cameras/a/b/live",
        "/api/v1/cameras/a%2Fb/live",
        "/api/v1/cameras/a%00b/live",
        "/api/v1/cameras/a%0Ab/live",
        "/api/v1/cameras/%zz/live",
        "/api/v1/cameras/%4/live",
        "/snapshots/",
        "/snapshots",
        "/snapshots//etc/passwd",
        "/snapshots/%2Fetc/passwd",
        "/snapshots/../../etc/passwd",
        "/snapshots/%2e%2e/%2E%2E/etc/passwd",
        "/snapshots/a/../b",
        "/snapshots/a/./b",
        "/snapshots/a/..",
        "/snapshots/a//b",
        "/snapshots/a/",
        "/snapshots/..\\b",
        "/snapshots/..%5cb",
        "/snapshots/a%00.jpg",
        "/snapshots/a%",
        "/snapshots/a%2",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        check_route(wrong[i], FW_WEB_ROUTE_NONE, "");
}

static void overlong_keys_lead_nowhere(void **state)
{
    char path[FW_WEB_ARGUMENT_SIZE + 64];
    (void)state;
    memset(path, 'a', sizeof path);
    memcpy(path, "/snapshots/", strlen("/snapshots/"));
    path[strlen("/snapshots/") + FW_WEB_ARGUMENT_SIZE] = '\0';
    check_route(path, FW_WEB_ROUTE_NONE, "");
    path[strlen("/snapshots/") + FW_WEB_ARGUMENT_SIZE - 1] = '\0';
    check_route(path, FW_WEB_ROUTE_STORED, path + strlen("/snapshots/"));
}

static void limits_are_numbers_in_range(void **state)
{
    int limit = 0;
    (void)state;
    assert_true(fw_web_limit_parse(NULL, &limit));
    assert_int_equal(limit, 50);
    assert_true(fw_web_limit_parse("1", &limit));
    assert_int_equal(limit, 1);
    assert_true(fw_web_limit_parse("500", &limit));
    assert_int_equal(limit, 500);
    assert_false(fw_web_limit_parse("", &limit));
    assert_false(fw_web_limit_parse("0", &limit));
    assert_false(fw_web_limit_parse("501", &limit));
    assert_false(fw_web_limit_parse("-1", &limit));
    assert_false(fw_web_limit_parse("5x", &limit));
    assert_false(fw_web_limit_parse("99999999999999999999", &limit));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listen_addresses_are_parsed),
        cmocka_unit_test(listen_addresses_that_are_none_are_refused),
        cmocka_unit_test(listening_to_the_network_is_refused),
        cmocka_unit_test(only_loopback_hosts_are_allowed),
        cmocka_unit_test(paths_lead_to_routes),
        cmocka_unit_test(paths_that_lead_out_lead_nowhere),
        cmocka_unit_test(overlong_keys_lead_nowhere),
        cmocka_unit_test(limits_are_numbers_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
