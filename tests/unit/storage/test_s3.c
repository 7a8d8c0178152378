// S3 without a server: addresses, presigning, what answers mean, what options make no sense.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "storage/s3_answer.h"
#include "storage/s3_sign.h"
#include "storage/store.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/secret.h"
#include "util/thread.h"
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fw_secret *access_key, *secret_key, *session_token;

static int make_keys(void **state)
{
    (void)state;
    access_key = fw_secret_create(NULL, "AKIAIOSFODNN7EXAMPLE");
    secret_key = fw_secret_create(NULL, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    session_token = fw_secret_create(NULL, "to/ken+==&x");
    return access_key && secret_key && session_token &&
                   curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK
               ? 0
               : -1;
}

static int drop_keys(void **state)
{
    (void)state;
    fw_secret_destroy(access_key);
    fw_secret_destroy(secret_key);
    fw_secret_destroy(session_token);
    curl_global_cleanup();
    return 0;
}

// Presigning

// The example of "Authenticating Requests: Using Query Parameters", Amazon S3 API Reference.
static void presigns_as_in_amazons_example(void **state)
{
    struct fw_s3_keys keys = {"us-east-1", access_key, secret_key, NULL};
    char *url;
    (void)state;

    url = fw_s3_presign(&keys, "https://examplebucket.s3.amazonaws.com/test.txt",
                        1369353600 * FW_US_PER_S, 86400);
    assert_string_equal(
        url, "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
             "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
             "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
             "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    free(url);
}

// The signature is botocore's (1.44) for the same URL, keys and time.
static void presigns_odd_keys_tokens_and_ports(void **state)
{
    struct fw_secret *access = fw_secret_create(NULL, "ASIA+KEY/ID");
    struct fw_secret *secret = fw_secret_create(NULL, "s3cr3t/+k=y");
    struct fw_s3_keys keys = {"eu-central-1", access, secret, session_token};
    char *url;
    (void)state;

    url = fw_s3_presign(&keys, "https://minio.local:9000/faces/t%C3%BCr%201/a%2Bb~c%25.jpg",
                        1769903998 * FW_US_PER_S, 3600);
    assert_non_null(url);
    assert_non_null(strstr(url,
                           "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIA%2BKEY%2FID"
                           "%2F20260131%2Feu-central-1%2Fs3%2Faws4_request&X-Amz-Date="
                           "20260131T235958Z&X-Amz-Expires=3600&X-Amz-Security-Token="
                           "to%2Fken%2B%3D%3D%26x&X-Amz-SignedHeaders=host&X-Amz-Signature="
                           "5dc7ba4404c925a8b3bcaf64ca558f7fd99fdb91fe8ef57ebc39053d5b861bc9"));
    free(url);
    assert_null(fw_s3_presign(&keys, "no url", 0, 3600));
    assert_null(fw_s3_presign(&keys, "https://host", 0, 3600));
    fw_secret_destroy(access);
    fw_secret_destroy(secret);
}

// Addresses

static struct fw_store_options options_of(const char *bucket, const char *endpoint)
{
    return (struct fw_store_options){.backend = "s3",
                                     .s3 = {.bucket = bucket,
                                            .endpoint_url = endpoint,
                                            .access_key = access_key,
                                            .secret_key = secret_key,
                                            .path_style = -1,
                                            .timeout_ms = 1000,
                                            .tls_verify = true}};
}

static char *url_with(const struct fw_store_options *options, const char *key)
{
    struct fw_error error = {0};
    struct fw_store *store;
    char *url;

    if (fw_store_open(&store, options, &error) != FW_OK)
        fail_msg("%s", error.message);
    assert_null(fw_store_tree(store));
    url = fw_store_url(store, key);
    fw_store_sweep(store);
    fw_store_close(store);
    return url;
}

static void addresses_are_made_in_both_styles(void **state)
{
    static const struct {
        const char *bucket, *endpoint, *region;
        int style;
        const char *url;
    } cases[] = {
        {"faces", NULL, NULL, -1, "https://faces.s3.us-east-1.amazonaws.com/a"},
        {"faces", NULL, "eu-west-3", -1, "https://faces.s3.eu-west-3.amazonaws.com/a"},
        {"faces", NULL, "cn-north-1", -1, "https://faces.s3.cn-north-1.amazonaws.com.cn/a"},
        {"fa.ces", NULL, NULL, -1, "https://s3.us-east-1.amazonaws.com/fa.ces/a"},
        {"Faces_1", NULL, NULL, -1, "https://s3.us-east-1.amazonaws.com/Faces_1/a"},
        {"faces", NULL, NULL, 1, "https://s3.us-east-1.amazonaws.com/faces/a"},
        {"faces", "http://minio.local:9000/", NULL, -1, "http://minio.local:9000/faces/a"},
        {"faces", "https://minio.local:443", NULL, -1, "https://minio.local/faces/a"},
        {"faces", "http://minio.local:443", NULL, -1, "http://minio.local:443/faces/a"},
        {"faces", "https://[::1]:9000", NULL, -1, "https://[::1]:9000/faces/a"},
        {"faces", "https://gate/s3/v1//", NULL, -1, "https://gate/s3/v1/faces/a"},
        {"faces", "https://s3.example.com", NULL, 0, "https://faces.s3.example.com/a"},
        {"fa.ces", "https://s3.example.com:80", NULL, 0, "https://fa.ces.s3.example.com:80/a"},
        {"team:faces", "https://ceph", NULL, -1, "https://ceph/team%3Afaces/a"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fw_store_options options = options_of(cases[i].bucket, cases[i].endpoint);
        char *url;
        options.s3.region = cases[i].region;
        options.s3.path_style = cases[i].style;
        url = url_with(&options, "a");
        assert_string_equal(url, cases[i].url);
        free(url);
    }
}

// As the AWS SDKs encode keys: all but letters, digits, "-._~" and '/'.
static void keys_are_encoded_by_amazons_rules(void **state)
{
    struct fw_store_options options = options_of("faces", "http://h");
    char *url;
    (void)state;

    url = url_with(&options, "a b/c+d~e%41/t\xc3\xbcr_1-2.jpg!*'();:@&=$,?#[]");
    assert_string_equal(url,
                        "http://h/faces/a%20b/c%2Bd~e%2541/t%C3%BCr_1-2.jpg%21%2A%27%28%29%3B%3A"
                        "%40%26%3D%24%2C%3F%23%5B%5D");
    free(url);
}

static void public_addresses_stand_in_and_can_be_presigned(void **state)
{
    struct fw_store_options options = options_of("faces", "http://minio:9000");
    char *url;
    (void)state;

    options.public_base_url = "https://cdn.example.com/f/";
    url = url_with(&options, "a b");
    assert_string_equal(url, "https://cdn.example.com/f/a%20b");
    free(url);
    options.s3.presign_s = 60;
    url = url_with(&options, "a b");
    assert_non_null(strstr(url, "https://cdn.example.com/f/a%20b?X-Amz-Algorithm="));
    assert_non_null(strstr(url, "&X-Amz-Expires=60&"));
    free(url);
    options.public_base_url = NULL;
    url = url_with(&options, "a");
    assert_non_null(strstr(url, "http://minio:9000/faces/a?X-Amz-Algorithm="));
    free(url);
}

static void expect_refused(const struct fw_store_options *options, const char *words)
{
    struct fw_error error = {0};
    struct fw_store *store;

    assert_int_equal(fw_store_open(&store, options, &error), FW_EINVAL);
    assert_null(store);
    if (strstr(error.message, words) == NULL)
        fail_msg("'%s' is not in: %s", words, error.message);
    assert_null(strstr(error.message, fw_secret_reveal(secret_key)));
}

static void options_that_make_no_sense_are_named(void **state)
{
    struct fw_secret *broken = fw_secret_create(NULL, "two\nlines");
    struct fw_store_options options = options_of("faces", "ftp://h");
    (void)state;

    expect_refused(&options, "http://");
    options = options_of("faces", "minio:9000");
    expect_refused(&options, "http://");
    options = options_of("faces", "http://user:pw@h");
    expect_refused(&options, "can't have");
    options = options_of("faces", "http://h/?a=b");
    expect_refused(&options, "can't have");
    options = options_of(NULL, NULL);
    expect_refused(&options, "s3.bucket");
    options = options_of("a/b", NULL);
    expect_refused(&options, "s3.bucket");
    options = options_of("faces", "http://10.0.0.1:9000");
    options.s3.path_style = 0;
    expect_refused(&options, "10.0.0.1");
    options = options_of("faces", "http://[::1]:9000");
    options.s3.path_style = 0;
    expect_refused(&options, "path_style");
    options = options_of("Faces_1", "http://h");
    options.s3.path_style = 0;
    expect_refused(&options, "path_style");
    options = options_of("faces", NULL);
    options.s3.region = "eu:west";
    expect_refused(&options, "s3.region");
    options = options_of("faces", NULL);
    options.s3.timeout_ms = 0;
    expect_refused(&options, "s3.timeout_s");
    options = options_of("faces", NULL);
    options.s3.presign_s = 604801;
    expect_refused(&options, "604800");
    options = options_of("faces", NULL);
    options.s3.ca_file = "/nowhere/ca.pem";
    expect_refused(&options, "/nowhere/ca.pem");
    options = options_of("faces", NULL);
    options.s3.secret_key = NULL;
    expect_refused(&options, "s3.secret_key");
    options.s3.secret_key = broken;
    expect_refused(&options, "line break");
    fw_secret_destroy(broken);
}

// Answers

static struct fw_s3_answer parse(const char *body)
{
    struct fw_s3_answer answer = {.status = 400};

    fw_s3_answer_parse(&answer, body, strlen(body));
    return answer;
}

static void errors_are_read_from_all_kinds_of_xml(void **state)
{
    struct fw_s3_answer answer;
    (void)state;

    answer = parse("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n <Code>NoSuchBucket</Code>"
                   "<Message>It&apos;s &lt;gone&gt; &amp; \n away&#33;&#x21;&#0;&nbsp;</Message>"
                   "<Region>eu-west-1</Region></Error>");
    assert_string_equal(answer.code, "NoSuchBucket");
    assert_string_equal(answer.message, "It's <gone> &   away!!&#0;&nbsp;");
    assert_string_equal(answer.region, "eu-west-1");
    answer = parse("<Error xmlns=\"x\"><Code xml:lang=\"en\"> A </Code><CodeX>no</CodeX></Error>");
    assert_string_equal(answer.code, "A");
    answer = parse("<CodeX>no</CodeX><Code/><Message></Message>");
    assert_string_equal(answer.code, "");
    assert_string_equal(answer.message, "");
    answer = parse("<Code>cut off");
    assert_string_equal(answer.code, "");
    answer = parse("<Code");
    assert_string_equal(answer.code, "");
    answer = parse("<html><body>Bad gateway</body></html>");
    assert_string_equal(answer.code, "");
    answer = parse("");
    assert_string_equal(answer.code, "");
}

static void long_contents_are_cut(void **state)
{
    char body[2000] = "<Message>";
    struct fw_s3_answer answer = {0};
    (void)state;

    memset(body + 9, 'm', 1000);
    strcpy(body + 1009, "</Message>");
    fw_s3_answer_parse(&answer, body, strlen(body));
    assert_int_equal(strlen(answer.message), sizeof(answer.message) - 1);
    // What lies behind the end is not looked at.
    answer.message[0] = '\0';
    fw_s3_answer_parse(&answer, body, 500);
    assert_string_equal(answer.message, "");
}

static void each_answer_has_its_sentence(void **state)
{
    static const struct {
        struct fw_s3_answer answer;
        int status;
        const char *words;
    } cases[] = {
        {{404, "NoSuchBucket", "", "", 0}, FW_EAUTH, "no such bucket (NoSuchBucket, HTTP 404)"},
        {{403, "AccessDenied", "User x may not", "", 0}, FW_EAUTH, "User x may not); give"},
        {{403, "InvalidAccessKeyId", "", "", 0}, FW_EAUTH, "correct s3.access_key"},
        {{403, "SignatureDoesNotMatch", "long words", "", 0},
         FW_EAUTH,
         "HTTP 403); correct s3.sec"},
        {{400, "ExpiredToken", "", "", 0}, FW_EAUTH, "s3.session_token"},
        {{403, "RequestTimeTooSkewed", "", "", -11100}, FW_EAUTH, "3 h 5 min ahead"},
        {{403, "RequestTimeTooSkewed", "", "", 1200}, FW_EAUTH, "20 min behind"},
        {{403, "RequestTimeTooSkewed", "", "", 172800}, FW_EAUTH, "2 days behind"},
        {{403, "RequestTimeTooSkewed", "", "", 0}, FW_EAUTH, "clock here is wrong"},
        {{403, "AccessDenied", "", "", 1000}, FW_EAUTH, "16 min behind the server's"},
        {{403, "AccessDenied", "", "", 800}, FW_EAUTH, "s3:PutObject"},
        {{301, "PermanentRedirect", "", "eu-west-1", 0}, FW_EAUTH, "in the region 'eu-west-1'"},
        {{400, "AuthorizationHeaderMalformed", "", "eu-2", 0}, FW_EAUTH, "in the region 'eu-2'"},
        {{307, "", "", "", 0}, FW_EAUTH, "not to be reached there with the region 'us-east-1'"},
        {{400, "EntityTooLarge", "", "", 0}, FW_EREJECTED, "too large"},
        {{413, "", "", "", 0}, FW_EREJECTED, "HTTP 413"},
        {{400, "", "", "", 0}, FW_EAUTH, "no S3 server (HTTP 400); check s3.endpoint_url"},
        {{411, "", "", "", 0}, FW_EAUTH, "no S3 server"},
        {{400, "SomethingNew", "its words", "", 0},
         FW_EREJECTED,
         "SomethingNew, HTTP 400: its wor"},
        {{503, "SlowDown", "", "", 0}, FW_EIO, "SlowDown, HTTP 503"},
        {{400, "RequestTimeout", "", "", 0}, FW_EIO, "too slowly"},
        {{400, "BadDigest", "", "", 0}, FW_EIO, "damaged"},
        {{500, "InternalError", "", "", 0}, FW_EIO, "asked again"},
        {{429, "", "", "", 0}, FW_EIO, "HTTP 429"},
        {{403, "", "", "", 0}, FW_EAUTH, "refuses us (HTTP 403)"},
        {{404, "", "", "", 0}, FW_EAUTH, "s3.endpoint_url"},
        {{404, "NoSuchUser", "who?", "", 0}, FW_EAUTH, "refuses us (NoSuchUser, HTTP 404: who?)"},
        {{407, "", "", "", 0}, FW_EAUTH, "proxy"},
        {{501, "", "", "", 0}, FW_EAUTH, "Signature Version 4"},
    };
    static const struct fw_s3_place place = {"faces", "minio:9000", "us-east-1"};
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fw_error error = {0};
        assert_int_equal(fw_s3_answer_explain(&cases[i].answer, &place, &error), cases[i].status);
        if (strstr(error.message, cases[i].words) == NULL)
            fail_msg("'%s' is not in: %s", cases[i].words, error.message);
        assert_non_null(strstr(error.message, "S3 bucket 'faces' at minio:9000: "));
        assert_non_null(strstr(error.message, "; "));
    }
}

// Nobody answers

struct deaf {
    int listener, port;
};

// Takes connections (the kernel does) and never answers.
static struct deaf make_deaf(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    struct deaf deaf = {.listener = socket(AF_INET, SOCK_STREAM, 0)};

    assert_true(deaf.listener >= 0);
    assert_int_equal(bind(deaf.listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(deaf.listener, 4), 0);
    assert_int_equal(getsockname(deaf.listener, (struct sockaddr *)&address, &size), 0);
    deaf.port = ntohs(address.sin_port);
    return deaf;
}

static void wait_and_trigger(void *opaque)
{
    (void)fw_cancel_wait(opaque, 100);
    fw_cancel_trigger(opaque);
}

static void a_silent_server_is_left_in_time(void **state)
{
    struct deaf deaf = make_deaf();
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_thread *thread = NULL;
    char endpoint[64];
    struct fw_store_options options = options_of("faces", endpoint);
    struct fw_error error = {0};
    struct fw_store *store;
    int64_t began_us = fw_monotonic_us();
    uint8_t byte = 1;
    (void)state;

    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d", deaf.port);
    options.s3.timeout_ms = 300;
    assert_int_equal(fw_store_open(&store, &options, NULL), FW_OK);
    assert_int_equal(fw_store_put(store, "a", &byte, 1, "x/y", NULL, &error), FW_ETIMEDOUT);
    assert_non_null(strstr(error.message, "in time"));
    assert_in_range(fw_monotonic_us() - began_us, 250000, 3000000);
    fw_store_close(store);

    options.s3.timeout_ms = 60000;
    assert_int_equal(fw_store_open(&store, &options, NULL), FW_OK);
    assert_int_equal(fw_thread_start(&thread, "trigger", NULL, wait_and_trigger, cancel), FW_OK);
    began_us = fw_monotonic_us();
    assert_int_equal(fw_store_put(store, "a", &byte, 1, "x/y", cancel, &error), FW_ECANCELED);
    assert_in_range(fw_monotonic_us() - began_us, 50000, 2000000);
    assert_int_equal(fw_thread_join(thread, -1), FW_OK);
    close(deaf.listener);
    fw_cancel_destroy(cancel);
    cancel = NULL;
    assert_int_equal(fw_store_put(store, "a", &byte, 1, "x/y", cancel, &error), FW_ECONNECT);
    assert_non_null(strstr(error.message, "takes no connection"));
    fw_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presigns_as_in_amazons_example),
        cmocka_unit_test(presigns_odd_keys_tokens_and_ports),
        cmocka_unit_test(addresses_are_made_in_both_styles),
        cmocka_unit_test(keys_are_encoded_by_amazons_rules),
        cmocka_unit_test(public_addresses_stand_in_and_can_be_presigned),
        cmocka_unit_test(options_that_make_no_sense_are_named),
        cmocka_unit_test(errors_are_read_from_all_kinds_of_xml),
        cmocka_unit_test(long_contents_are_cut),
        cmocka_unit_test(each_answer_has_its_sentence),
        cmocka_unit_test(a_silent_server_is_left_in_time),
    };

    return cmocka_run_group_tests_name("s3", tests, make_keys, drop_keys);
}
