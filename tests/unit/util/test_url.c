#include "cmocka_includes.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <stdlib.h>
#include <string.h>

// What a URL is to be taken apart into; NULL means NULL.
struct expected {
    const char *text, *scheme, *username, *password, *host;
    int port;
    const char *path, *query, *display;
};

static void assert_optional(const char *got, const char *expected)
{
    if (!expected)
        assert_null(got);
    else
        assert_string_equal(got ? got : "(null)", expected);
}

static void check(const struct expected *expected)
{
    struct fw_secrets *secrets = fw_secrets_create();
    assert_non_null(secrets);
    struct fw_error error = {0};
    struct fw_url *url = NULL;
    assert_int_equal(fw_url_parse(&url, expected->text, NULL, NULL, secrets, &error), FW_OK);
    assert_string_equal(url->scheme, expected->scheme);
    assert_string_equal(url->host, expected->host);
    assert_int_equal(url->port, expected->port);
    assert_string_equal(url->path, expected->path);
    assert_optional(url->username, expected->username);
    assert_optional(url->password ? fw_secret_reveal(url->password) : NULL, expected->password);
    assert_optional(url->query ? fw_secret_reveal(url->query) : NULL, expected->query);
    assert_string_equal(url->display, expected->display);
    fw_url_destroy(url);
    fw_secrets_destroy(secrets);
}

static void urls_are_taken_apart(void **state)
{
    (void)state;
    static const struct expected table[] = {
        {"rtsp://host", "rtsp", NULL, NULL, "host", 0, "", NULL, "rtsp://host"},
        {"RTSP://Host/", "rtsp", NULL, NULL, "Host", 0, "/", NULL, "rtsp://Host/"},
        {"rtsp://10.0.0.5:8554/stream1", "rtsp", NULL, NULL, "10.0.0.5", 8554, "/stream1", NULL,
         "rtsp://10.0.0.5:8554/stream1"},
        {"rtsp://host:/x", "rtsp", NULL, NULL, "host", 0, "/x", NULL, "rtsp://host/x"},
        {"rtsp://joe@host/x", "rtsp", "joe", NULL, "host", 0, "/x", NULL, "rtsp://host/x"},
        {"rtsp://joe:@host/x", "rtsp", "joe", "", "host", 0, "/x", NULL, "rtsp://host/x"},
        {"rtsp://john.doe:hunter22@host/x", "rtsp", "john.doe", "hunter22", "host", 0, "/x", NULL,
         "rtsp://host/x"},
        {"rtsp://j%40x:p%3Aw%2Fd@host/x", "rtsp", "j@x", "p:w/d", "host", 0, "/x", NULL,
         "rtsp://host/x"},
        {"rtsp://[fe80::1%25eth0]:554/a", "rtsp", NULL, NULL, "fe80::1%eth0", 554, "/a", NULL,
         "rtsp://[fe80::1%eth0]:554/a"},
        {"rtsp://u:pw:d@[2001:db8::5]/a", "rtsp", "u", "pw:d", "2001:db8::5", 0, "/a", NULL,
         "rtsp://[2001:db8::5]/a"},
        {"http://h/p?channel=1&token=abcdef&x", "http", NULL, NULL, "h", 0, "/p",
         "channel=1&token=abcdef&x", "http://h/p?channel=***&token=***&***"},
        {"http://h?a=b@c", "http", NULL, NULL, "h", 0, "", "a=b@c", "http://h?a=***"},
        {"srt://:9000?mode=listener", "srt", NULL, NULL, "", 9000, "", "mode=listener",
         "srt://:9000?mode=***"},
        {"udp://@239.0.0.1:1234", "udp", NULL, NULL, "239.0.0.1", 1234, "", NULL,
         "udp://239.0.0.1:1234"},
        {"amqp://guest:guest@mq:5672/vhost", "amqp", "guest", "guest", "mq", 5672, "/vhost", NULL,
         "amqp://mq:5672/vhost"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        check(&table[i]);
}

static void nasty_passwords_are_understood(void **state)
{
    (void)state;
    static const struct expected table[] = {
        {"rtsp://joe:p@ss:w/rd%41%zz@cam.lan:554/live", "rtsp", "joe", "p@ss:w/rdA%zz", "cam.lan",
         554, "/live", NULL, "rtsp://cam.lan:554/live"},
        {"rtsp://joe:p@ssword@host/x", "rtsp", "joe", "p@ssword", "host", 0, "/x", NULL,
         "rtsp://host/x"},
        {"rtsp://joe:pa/ss@host/x", "rtsp", "joe", "pa/ss", "host", 0, "/x", NULL, "rtsp://host/x"},
        {"rtsp://joe:100%@host/x", "rtsp", "joe", "100%", "host", 0, "/x", NULL, "rtsp://host/x"},
        {"rtsp://joe:100%/!@host/x?a=1@2", "rtsp", "joe", "100%/!", "host", 0, "/x", "a=1@2",
         "rtsp://host/x?a=***"},
        {"rtsp://joe:wh?at@host/x", "rtsp", "joe", "wh?at", "host", 0, "/x", NULL, "rtsp://host/x"},
        {"rtsp://joe:a#b c@host/x", "rtsp", "joe", "a#b c", "host", 0, "/x", NULL, "rtsp://host/x"},
        {"rtsp://joe:[x]://y@host/x", "rtsp", "joe", "[x]://y", "host", 0, "/x", NULL,
         "rtsp://host/x"},
        {"rtsp://joe:p@ss:1/w%3@10.0.0.5/x", "rtsp", "joe", "p@ss:1/w%3", "10.0.0.5", 0, "/x", NULL,
         "rtsp://10.0.0.5/x"},
        {"rtsp://joe:p@ss/w@localhost/x", "rtsp", "joe", "p@ss/w", "localhost", 0, "/x", NULL,
         "rtsp://localhost/x"},
        {"rtsp://joe:p@ss/w@[::1]/x", "rtsp", "joe", "p@ss/w", "::1", 0, "/x", NULL,
         "rtsp://[::1]/x"},
        {"rtsp://joe:p@ss/w@cam:554/x", "rtsp", "joe", "p@ss/w", "cam", 554, "/x", NULL,
         "rtsp://cam:554/x"},
        {"rtsp://joe:pw1@10.0.0.5/@x", "rtsp", "joe", "pw1", "10.0.0.5", 0, "/@x", NULL,
         "rtsp://***@x"},
        {"rtsp://proxy:8554/cam@10.0.0.5/x", "rtsp", NULL, NULL, "proxy", 8554, "/cam@10.0.0.5/x",
         NULL, "rtsp://***@10.0.0.5/x"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        check(&table[i]);
}

// A '/' behind what looks like a host: RFC 3986 says path. What may be a password is not shown.
static void doubtful_text_is_not_displayed(void **state)
{
    (void)state;
    check(&(struct expected){"rtsp://joe:12/34xy@host/z", "rtsp", NULL, NULL, "joe", 12,
                             "/34xy@host/z", NULL, "rtsp://***@host/z"});
}

static void files_and_devices(void **state)
{
    (void)state;
    static const struct expected table[] = {
        {"/dev/video0", "file", NULL, NULL, "", 0, "/dev/video0", NULL, "/dev/video0"},
        {"clips/a b?.mp4", "file", NULL, NULL, "", 0, "clips/a b?.mp4", NULL, "clips/a b?.mp4"},
        {"./a:b@c.mp4", "file", NULL, NULL, "", 0, "./a:b@c.mp4", NULL, "./a:b@c.mp4"},
        {"file:///tmp/x.mp4", "file", NULL, NULL, "", 0, "/tmp/x.mp4", NULL, "/tmp/x.mp4"},
        {"file://localhost/x.mp4", "file", NULL, NULL, "", 0, "/x.mp4", NULL, "/x.mp4"},
        {"clip@home.mp4", "file", NULL, NULL, "", 0, "clip@home.mp4", NULL, "clip@home.mp4"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        check(&table[i]);
}

static void refuse(const char *text)
{
    struct fw_error error = {0};
    struct fw_url *url = (struct fw_url *)&error;
    assert_int_equal(fw_url_parse(&url, text, NULL, NULL, NULL, &error), FW_EINVAL);
    assert_null(url);
    assert_int_equal(error.code, FW_EINVAL);
    assert_non_null(strchr(error.message, ';'));
    assert_null(strstr(error.message, "s3cr3t"));
    assert_int_equal(fw_url_parse(&url, text, NULL, NULL, NULL, NULL), FW_EINVAL);
}

static void bad_urls_are_refused_without_being_repeated(void **state)
{
    (void)state;
    refuse(NULL);
    refuse("");
    refuse("rtsp://");
    refuse("rtsp:///path");
    refuse("rtsp://joe:s3cr3t@/path");
    refuse("rtsp://joe:s3cr3t@host:99999/");
    refuse("rtsp://joe:s3cr3t@host:0/");
    refuse("rtsp://joe:s3cr3t@host:5x4/");
    refuse("rtsp://joe:s3cr3t/path");
    refuse("rtsp://[::1/s3cr3t");
    refuse("rtsp://[s3cr3t]/");
    refuse("rtsp://[fe80::1%]/s3cr3t");
    refuse("rtsp://[fe80::1%s3cr3t%40]/");
    refuse("rtsp://[::1]x/s3cr3t");
    refuse("rtsp:/joe:s3cr3t@host/");
    refuse("rtsp:joe:s3cr3t@host");
    refuse("joe:s3cr3t@host/stream");
    refuse("rtsp://host/a\ns3cr3t");
    refuse("rtsp://ho st/s3cr3t");
}

static void credentials_apart_replace_those_of_the_url(void **state)
{
    (void)state;
    struct fw_secrets *secrets = fw_secrets_create();
    struct fw_url *url = NULL;
    assert_int_equal(fw_url_parse(&url, "rtsp://old:oldpass@h/x", "new", "n@w:p%41", secrets, NULL),
                     FW_OK);
    assert_string_equal(url->username, "new");
    assert_string_equal(fw_secret_reveal(url->password), "n@w:p%41"); // taken as it is
    struct fw_text out = FW_TEXT_INIT;
    fw_secrets_redact(secrets, "oldpass n@w:p%41 n%40w%3ap%2541 bmV3Om5AdzpwJTQx", &out);
    assert_string_equal(fw_text_get(&out), "*** *** *** ***");
    fw_text_free(&out);
    struct fw_secret *whole = fw_url_reveal(url, NULL, secrets);
    assert_string_equal(fw_secret_reveal(whole), "rtsp://new:n%40w%3Ap%2541@h/x");
    fw_secret_destroy(whole);
    fw_url_destroy(url);

    assert_int_equal(fw_url_parse(&url, "rtsp://joe:keepme@h/x", "amy", NULL, secrets, NULL), 0);
    assert_string_equal(url->username, "amy");
    assert_string_equal(fw_secret_reveal(url->password), "keepme");
    fw_url_destroy(url);
    fw_secrets_destroy(secrets);
    fw_url_destroy(NULL);
}

static void check_reveal(const char *text, const char *address, const char *expected)
{
    struct fw_url *url = NULL;
    assert_int_equal(fw_url_parse(&url, text, NULL, NULL, NULL, NULL), FW_OK);
    struct fw_secret *whole = fw_url_reveal(url, address, NULL);
    assert_non_null(whole);
    assert_string_equal(fw_secret_reveal(whole), expected);
    fw_secret_destroy(whole);
    fw_url_destroy(url);
}

static void reveal_gives_an_openable_url(void **state)
{
    (void)state;
    check_reveal("rtsp://joe:p@ss:w/rd%41%zz@cam:554/live?a=b", NULL,
                 "rtsp://joe:p%40ss%3Aw%2FrdA%25zz@cam:554/live?a=b");
    check_reveal("rtsp://cam/live", "192.0.2.7", "rtsp://192.0.2.7/live");
    check_reveal("rtsp://u:p@cam:554/", "2001:db8::1", "rtsp://u:p@[2001:db8::1]:554/");
    check_reveal("rtsp://[::1]:8554", NULL, "rtsp://[::1]:8554");
    check_reveal("rtsp://host", NULL, "rtsp://host");
    check_reveal("rtsp://joe:@host", NULL, "rtsp://joe:@host");
    check_reveal("/dev/video0", NULL, "/dev/video0");
    check_reveal("file:///a/b.mp4", "10.0.0.1", "/a/b.mp4");
}

static void queries_are_registered_with_judgement(void **state)
{
    (void)state;
    struct fw_secrets *secrets = fw_secrets_create();
    struct fw_url *url = NULL;
    const char *text = "http://h/p?codec=h264&AuthToken=tok%20en9&blob=0123456789abcdefXYZ";
    assert_int_equal(fw_url_parse(&url, text, NULL, NULL, secrets, NULL), FW_OK);
    struct fw_text out = FW_TEXT_INIT;
    fw_secrets_redact(secrets, "h264 tok en9 tok%20en9 0123456789abcdefXYZ", &out);
    assert_string_equal(fw_text_get(&out), "h264 *** *** ***");
    fw_text_clear(&out);
    fw_secrets_redact(secrets, text, &out);
    assert_string_equal(fw_text_get(&out), "http://h/p?***");
    fw_text_free(&out);
    fw_url_destroy(url);
    fw_secrets_destroy(secrets);
}

static void canaries_appear_in_no_display(void **state)
{
    (void)state;
    static const char *const passwords[] = {"can@ry:1/2%3", "c/a/n@a@r:y", "%ca%6e@ry",
                                            "canary?x@y",   "::canary//@", "@canary@",
                                            "/canary/",     "?canary?"};
    for (size_t i = 0; i < sizeof passwords / sizeof *passwords; i++) {
        struct fw_secrets *secrets = fw_secrets_create();
        char *text = fw_strdup_printf("rtsp://joe:%s@camera.lan:8554/live", passwords[i]);
        struct fw_url *url = NULL;
        assert_int_equal(fw_url_parse(&url, text, NULL, NULL, secrets, NULL), FW_OK);
        assert_string_equal(url->host, "camera.lan");
        assert_string_equal(url->display, "rtsp://camera.lan:8554/live");
        struct fw_secret *whole = fw_url_reveal(url, NULL, secrets);
        struct fw_text out = FW_TEXT_INIT;
        fw_secrets_redact(secrets, fw_secret_reveal(whole), &out);
        fw_text_append(&out, " ");
        fw_secrets_redact(secrets, text, &out);
        fw_text_append(&out, " ");
        fw_secrets_redact(secrets, passwords[i], &out);
        assert_string_equal(fw_text_get(&out),
                            "rtsp://***@camera.lan:8554/live rtsp://***@camera.lan:8554/live ***");
        fw_text_free(&out);
        fw_secret_destroy(whole);
        fw_url_destroy(url);
        free(text);
        fw_secrets_destroy(secrets);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(nasty_passwords_are_understood),
        cmocka_unit_test(doubtful_text_is_not_displayed),
        cmocka_unit_test(files_and_devices),
        cmocka_unit_test(bad_urls_are_refused_without_being_repeated),
        cmocka_unit_test(credentials_apart_replace_those_of_the_url),
        cmocka_unit_test(reveal_gives_an_openable_url),
        cmocka_unit_test(queries_are_registered_with_judgement),
        cmocka_unit_test(canaries_appear_in_no_display),
    };
    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
