#include "alert/sink.h"
#include "http_peer.h"
#include "sink_tests.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/secret.h"
#include "util/thread.h"
#include "util/url.h"
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// A peer and a sink that posts to it.
struct fixture {
    struct http_peer peer;
    struct fw_secrets *secrets;
    struct fw_secret *token;
    struct fw_url *url;
    struct fw_sink *sink;
    struct fw_message message;
};

static struct fw_sink *open_to(const struct fixture *f, const struct fw_url *url)
{
    struct fw_sink_options options = {
        .type = "http", .name = "backend", .url = url, .token = f->token, .timeout_ms = 500};
    struct fw_error error = {0};
    struct fw_sink *sink;

    if (fw_sink_open(&sink, &options, &error) != FW_OK)
        fail_msg("%s", error.message);
    return sink;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct fw_error error = {0};
    char text[128];

    unsetenv("http_proxy");
    if (f == NULL || !http_peer_start(&f->peer, 200))
        return -1;
    snprintf(text, sizeof(text), "http://127.0.0.1:%d/alerts?key=c4nary", f->peer.port);
    f->secrets = fw_secrets_create();
    f->token = fw_secret_create(f->secrets, "t0p/secret");
    if (fw_url_parse(&f->url, text, NULL, NULL, f->secrets, &error) != FW_OK)
        return -1;
    f->sink = open_to(f, f->url);
    f->message = message_of(1);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    fw_sink_close(f->sink);
    http_peer_stop(&f->peer);
    fw_url_destroy(f->url);
    fw_secret_destroy(f->token);
    fw_secrets_destroy(f->secrets);
    free(f);
    return 0;
}

static int deliver_to(struct fixture *f, struct fw_sink *sink, struct fw_cancel *cancel,
                      struct fw_error *error)
{
    int result = FW_ECANCELED, status;

    *error = (struct fw_error){0};
    status = fw_sink_deliver(sink, &f->message, 1, &result, cancel, error);
    // A rejected message is no failure of the sink.
    assert_int_equal(status, result == FW_EREJECTED ? FW_OK : result);
    return result;
}

static int deliver(struct fixture *f, struct fw_error *error)
{
    return deliver_to(f, f->sink, NULL, error);
}

static void posts_the_message_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct fw_error error;
    const char *request = f->peer.request, *body;

    assert_int_equal(deliver(f, &error), FW_OK);
    assert_int_equal(http_peer_requests(&f->peer), 1);
    assert_memory_equal(request, "POST /alerts?key=c4nary HTTP/1.1\r\n", 34);
    assert_non_null(strstr(request, "\r\nContent-Type: application/cloudevents+json"));
    assert_non_null(strstr(request, "\r\nAuthorization: Bearer t0p/secret\r\n"));
    assert_non_null(strstr(request, "\r\nUser-Agent: faceworker/" FW_VERSION "\r\n"));
    assert_non_null(
        strstr(request, "\r\nX-Faceworker-Event-Id: 01900000-0000-7000-8000-000000000001"));
    assert_non_null(strstr(request, "\r\nIdempotency-Key: 01900000-0000-7000-8000-000000000001"));
    assert_null(strstr(request, "X-Faceworker-Signature"));
    assert_null(strstr(request, "Expect:"));
    body = strstr(request, "\r\n\r\n");
    assert_non_null(body);
    assert_string_equal(body + 4, f->message.body);
}

static void names_the_type_of_each_message(void **state)
{
    struct fixture *f = *state;
    struct fw_error error;

    f->message.content_type = "application/json";
    assert_int_equal(deliver(f, &error), FW_OK);
    assert_non_null(strstr(f->peer.request, "\r\nContent-Type: application/json\r\n"));
    assert_null(strstr(f->peer.request, "cloudevents"));
}

// Computes the signature a second way: the one-shot function over one buffer.
static void signs_time_and_body(void **state)
{
    struct fixture *f = *state;
    struct fw_secret *secret = fw_secret_create(f->secrets, "sh4red secret");
    struct fw_sink_options options = {
        .type = "http", .name = "backend", .url = f->url, .timeout_ms = 500, .hmac_secret = secret};
    struct fw_sink *sink;
    struct fw_error error = {0};
    const char *header;
    char text[512], expected[2 * 32 + 1];
    unsigned char digest[32];
    unsigned digest_length = 0;
    long long time = 0;

    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_OK);
    assert_int_equal(deliver_to(f, sink, NULL, &error), FW_OK);
    header = strstr(f->peer.request, "\r\nX-Faceworker-Signature: t=");
    assert_non_null(header);
    time = strtoll(header + 28, NULL, 10);
    assert_true(time > 1700000000 && llabs(time - (long long)(fw_utc_us() / FW_US_PER_S)) < 10);
    snprintf(text, sizeof(text), "%lld.%s", time, f->message.body);
    assert_non_null(HMAC(EVP_sha256(), "sh4red secret", 13, (unsigned char *)text, strlen(text),
                         digest, &digest_length));
    assert_int_equal(digest_length, 32);
    for (size_t i = 0; i < 32; i++)
        snprintf(expected + 2 * i, 3, "%02x", digest[i]);
    snprintf(text, sizeof(text), "\r\nX-Faceworker-Signature: t=%lld,v1=%s\r\n", time, expected);
    assert_non_null(strstr(f->peer.request, text));
    assert_null(strstr(f->peer.request, "sh4red"));
    fw_sink_close(sink);
    fw_secret_destroy(secret);
}

static void honours_a_date_to_come_back_at(void **state)
{
    struct fixture *f = *state;
    struct fw_error error;
    int64_t wait_ms;

    http_peer_behave(&f->peer, PEER_BUSY_UNTIL);
    assert_int_equal(deliver(f, &error), FW_EIO);
    wait_ms = fw_sink_retry_after_ms(f->sink);
    assert_true(wait_ms > 25000 && wait_ms <= 30000);
}

static void keeps_its_connection(void **state)
{
    struct fixture *f = *state;
    struct fw_error error;

    for (int i = 0; i < 5; i++)
        assert_int_equal(deliver(f, &error), FW_OK);
    assert_int_equal(http_peer_requests(&f->peer), 5);
    assert_int_equal(http_peer_connections(&f->peer), 1);
}

static void a_status_says_what_to_do_with_the_event(void **state)
{
    static const struct {
        int status, code;
    } cases[] = {
        {200, FW_OK},        {201, FW_OK},    {202, FW_OK},        {204, FW_OK},
        {301, FW_EAUTH},     {302, FW_EAUTH}, {400, FW_EREJECTED}, {401, FW_EAUTH},
        {403, FW_EAUTH},     {404, FW_EAUTH}, {407, FW_EAUTH},     {408, FW_EIO},
        {413, FW_EREJECTED}, {425, FW_EIO},   {415, FW_EREJECTED}, {422, FW_EREJECTED},
        {429, FW_EIO},       {500, FW_EIO},   {502, FW_EIO},       {503, FW_EIO},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fw_error error;
        char digits[8];
        http_peer_behave(&f->peer, cases[i].status);
        assert_int_equal(deliver(f, &error), cases[i].code);
        assert_int_equal(http_peer_requests(&f->peer), i + 1); // redirects are not followed
        assert_int_equal(fw_sink_retry_after_ms(f->sink), cases[i].status == 429 ? 7000 : 0);
        if (cases[i].code == FW_OK)
            continue;
        snprintf(digits, sizeof(digits), "%d", cases[i].status);
        assert_non_null(strstr(error.message, digits));
        assert_non_null(strstr(error.message, "127.0.0.1"));
        assert_null(strstr(error.message, "secret")); // neither the token nor the body
        assert_null(strstr(error.message, "c4nary"));
    }
}

static void a_peer_that_hangs_is_left_after_the_timeout(void **state)
{
    struct fixture *f = *state;
    struct fw_error error;
    int64_t began_us = fw_monotonic_us();

    assert_int_equal(deliver(f, &error), FW_OK);
    http_peer_behave(&f->peer, PEER_HANG);
    assert_int_equal(deliver(f, &error), FW_ETIMEDOUT);
    assert_non_null(strstr(error.message, "500 ms"));
    assert_true(fw_monotonic_us() - began_us < 3 * FW_US_PER_S);
    http_peer_behave(&f->peer, 200);
    assert_int_equal(deliver(f, &error), FW_OK);
}

static void a_peer_that_hangs_up_is_tried_again_later(void **state)
{
    struct fixture *f = *state;
    struct fw_error error;

    assert_int_equal(deliver(f, &error), FW_OK);
    http_peer_behave(&f->peer, PEER_CLOSE);
    assert_int_equal(deliver(f, &error), FW_ECONNECT);
    http_peer_behave(&f->peer, 200);
    assert_int_equal(deliver(f, &error), FW_OK);
}

static void a_body_cut_off_or_endless_after_a_200_is_still_a_yes(void **state)
{
    struct fixture *f = *state;
    struct fw_error error;

    http_peer_behave(&f->peer, PEER_CUT_BODY);
    assert_int_equal(deliver(f, &error), FW_OK);
    http_peer_behave(&f->peer, PEER_LONG_BODY);
    assert_int_equal(deliver(f, &error), FW_OK);
    http_peer_behave(&f->peer, 200);
    assert_int_equal(deliver(f, &error), FW_OK);
}

static void no_peer_is_a_failed_connection(void **state)
{
    struct fixture *f = *state;
    struct fw_error error = {0};
    struct fw_url *url;
    struct fw_sink *sink;

    // Port 9 of the loopback is closed on any sane machine.
    assert_int_equal(
        fw_url_parse(&url, "http://u:c4nary@127.0.0.1:9/", NULL, NULL, f->secrets, &error), FW_OK);
    sink = open_to(f, url);
    assert_int_equal(deliver_to(f, sink, NULL, &error), FW_ECONNECT);
    assert_null(strstr(error.message, "c4nary"));
    fw_sink_close(sink);
    fw_url_destroy(url);
}

static void trigger_soon(void *opaque)
{
    struct timespec pause = {.tv_nsec = 50000000};

    (void)nanosleep(&pause, NULL);
    fw_cancel_trigger(opaque);
}

static void a_cancel_ends_a_request_at_once(void **state)
{
    struct fixture *f = *state;
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_thread *thread;
    struct fw_error error = {0};
    int64_t began_us;

    assert_non_null(cancel);
    assert_int_equal(deliver(f, &error), FW_OK);
    http_peer_behave(&f->peer, PEER_HANG);
    assert_int_equal(fw_thread_start(&thread, "trigger", NULL, trigger_soon, cancel), FW_OK);
    began_us = fw_monotonic_us();
    assert_int_equal(deliver_to(f, f->sink, cancel, &error), FW_ECANCELED);
    assert_true(fw_monotonic_us() - began_us < 400 * FW_US_PER_MS);
    assert_int_equal(fw_thread_join(thread, -1), FW_OK);
    http_peer_behave(&f->peer, 200);
    assert_int_equal(deliver_to(f, f->sink, cancel, &error), FW_ECANCELED);
    assert_int_equal(deliver(f, &error), FW_OK);
    assert_int_equal(http_peer_requests(&f->peer), 3);
    fw_cancel_destroy(cancel);
}

static void refuses_what_is_no_web_address(void **state)
{
    struct fixture *f = *state;
    struct fw_sink_options options = {.type = "http", .name = "backend", .timeout_ms = 100};
    struct fw_error error = {0};
    struct fw_url *url;
    struct fw_sink *sink;

    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EINVAL);
    assert_int_equal(fw_url_parse(&url, "ftp://host/", NULL, NULL, f->secrets, &error), FW_OK);
    options.url = url;
    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EINVAL);
    assert_null(sink);
    options.url = f->url;
    options.timeout_ms = 0;
    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EINVAL);
    fw_url_destroy(url);
}

static void refuses_a_token_with_a_line_break(void **state)
{
    struct fixture *f = *state;
    struct fw_secret *token = fw_secret_create(f->secrets, "t0p\r\nX-Injected: yes");
    struct fw_sink_options options = {
        .type = "http", .name = "backend", .url = f->url, .token = token, .timeout_ms = 500};
    struct fw_error error = {0};
    struct fw_sink *sink = NULL;

    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EINVAL);
    assert_null(sink);
    assert_non_null(strstr(error.message, "line break"));
    assert_null(strstr(error.message, "t0p"));
    fw_secret_destroy(token);
}

int run_sink_http_tests(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(posts_the_message_as_it_is),
        TEST(names_the_type_of_each_message),
        TEST(signs_time_and_body),
        TEST(honours_a_date_to_come_back_at),
        TEST(keeps_its_connection),
        TEST(a_status_says_what_to_do_with_the_event),
        TEST(a_peer_that_hangs_is_left_after_the_timeout),
        TEST(a_peer_that_hangs_up_is_tried_again_later),
        TEST(a_body_cut_off_or_endless_after_a_200_is_still_a_yes),
        TEST(no_peer_is_a_failed_connection),
        TEST(a_cancel_ends_a_request_at_once),
        TEST(refuses_what_is_no_web_address),
        TEST(refuses_a_token_with_a_line_break),
    };
#undef TEST

    return cmocka_run_group_tests_name("HTTP sink", tests, NULL, NULL);
}
