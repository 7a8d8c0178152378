#include "cmocka_includes.h"
#include "util/error.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/wipe.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void check(const struct fw_secrets *secrets, const char *text, const char *expected)
{
    struct fw_text out = FW_TEXT_INIT;
    fw_secrets_redact(secrets, text, &out);
    assert_string_equal(fw_text_get(&out), expected);
    fw_text_free(&out);
}

static int set_up(void **state)
{
    *state = fw_secrets_create();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    fw_secrets_destroy(*state);
    return 0;
}

static void every_spelling_is_masked(void **state)
{
    struct fw_secrets *secrets = *state;
    assert_int_equal(fw_secrets_add(secrets, "p@ss:w/rd%41 \"x\\"), FW_OK);
    check(secrets, "raw p@ss:w/rd%41 \"x\\.", "raw ***.");
    check(secrets, "upper p%40ss%3Aw%2Frd%2541%20%22x%5C.", "upper ***.");
    check(secrets, "lower p%40ss%3aw%2frd%2541%20%22x%5c.", "lower ***.");
    check(secrets, "mixed p%40ss:w%2frd%2541+%22x%5C.", "mixed ***.");
    check(secrets, "whole %70%40%73%73%3A%77%2F%72%64%25%34%31%20%22%78%5c.", "whole ***.");
    check(secrets, "json p@ss:w/rd%41 \\\"x\\\\.", "json ***.");
    check(secrets, "json p@ss:w\\/rd%41 \\\"x\\\\.", "json ***.");
    check(secrets, "base64 cEBzczp3L3JkJTQxICJ4XA==.", "base64 ***.");
    check(secrets, "base64 cEBzczp3L3JkJTQxICJ4XA.", "base64 ***.");
    check(secrets, "p@ss:w/rd%41", "p@ss:w/rd%41");
    check(secrets, "", "");
}

static void base64_of_every_length(void **state)
{
    struct fw_secrets *secrets = *state;
    assert_int_equal(fw_secrets_add(secrets, "foob"), FW_OK);
    assert_int_equal(fw_secrets_add(secrets, "quuxy"), FW_OK);
    assert_int_equal(fw_secrets_add(secrets, "barbar"), FW_OK);
    assert_int_equal(fw_secrets_add(secrets, "\xff\xfe\xfb\xef"), FW_OK);
    check(secrets, "Zm9vYg== cXV1eHk= YmFyYmFy", "*** *** ***");
    check(secrets, "//777w== __777w __777w==", "*** *** ***");
}

static void login_is_masked_as_basic_authentication_spells_it(void **state)
{
    struct fw_secrets *secrets = *state;
    assert_int_equal(fw_secrets_add_login(secrets, "Aladdin", "open sesame"), FW_OK);
    check(secrets, "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Authorization: Basic ***");
    check(secrets, "open sesame by Aladdin", "*** by Aladdin");
    assert_int_equal(fw_secrets_add_login(secrets, NULL, "tokentoken"), FW_OK);
    check(secrets, "OnRva2VudG9rZW4=", "***");
    assert_int_equal(fw_secrets_add_login(secrets, "admin", NULL), FW_OK);
    assert_int_equal(fw_secrets_add_login(secrets, "admin", ""), FW_OK);
    check(secrets, "admin: YWRtaW46", "admin: YWRtaW46");
    assert_int_equal(fw_secrets_add_login(NULL, "a", "bcd"), FW_OK);
}

static void short_values_are_ignored(void **state)
{
    struct fw_secrets *secrets = *state;
    assert_int_equal(fw_secrets_add(secrets, "a"), FW_OK);
    assert_int_equal(fw_secrets_add(secrets, "ab"), FW_OK);
    assert_int_equal(fw_secrets_add(secrets, ""), FW_OK);
    assert_int_equal(fw_secrets_add(secrets, NULL), FW_OK);
    assert_int_equal(fw_secrets_add(NULL, "abcdef"), FW_OK);
    check(secrets, "a ab abc YWI=", "a ab abc YWI=");
    assert_int_equal(fw_secrets_add(secrets, "abc"), FW_OK);
    check(secrets, "a ab abc", "a ab ***");
}

static void longest_and_overlapping_secrets(void **state)
{
    struct fw_secrets *secrets = *state;
    assert_int_equal(fw_secrets_add(secrets, "secret"), FW_OK);
    assert_int_equal(fw_secrets_add(secrets, "secretary"), FW_OK);
    assert_int_equal(fw_secrets_add(secrets, "aryan99"), FW_OK);
    assert_int_equal(fw_secrets_add(secrets, "secret"), FW_OK);
    check(secrets, "secretary", "***");
    check(secrets, "secretaryan99!", "***!");
    check(secrets, "secretsecret", "******");
    check(secrets, "secre", "secre");
}

static void userinfo_is_masked_known_or_not(void **state)
{
    (void)state;
    check(NULL, "rtsp://john.doe:secret@host/", "rtsp://***@host/");
    check(NULL, "rtsp://john.doe:s@cr:et/x@host/", "rtsp://***@host/");
    check(NULL, "open rtsp://u:p@h:554/a failed", "open rtsp://***@h:554/a failed");
    check(NULL, "rtsp://a:b@h1/ and rtmp://c:d@h2/x", "rtsp://***@h1/ and rtmp://***@h2/x");
    check(NULL, "token http://TOKEN@host", "token http://***@host");
    check(NULL, "'rtsp://u:p@h/' and 'x@y'", "'rtsp://***@h/' and 'x@y'");
    check(NULL, "rtsp://h/path?mail=a@b", "rtsp://h/path?mail=a@b");
    check(NULL, "rtsp://h:554?mail=a@b", "rtsp://h:554?mail=a@b");
    check(NULL, "rtsp://[fe80::1]:554/?mail=a@b", "rtsp://[fe80::1]:554/?mail=a@b");
    check(NULL, "rtsp://u:p?x@host/", "rtsp://***@host/");
    check(NULL, "rtsp://u:p\"x@host/", "rtsp://***@host/");
    check(NULL, "rtsp://u:?c?@host/", "rtsp://***@host/");
    check(NULL, "rtsp://u:/c@host/?", "rtsp://***@host/?");
    check(NULL, "rtsp://u:a/b?c@host/", "rtsp://***@host/");
    check(NULL, "{\"u\":\"rtsp:\\/\\/u:p@h\\/x\"}", "{\"u\":\"rtsp:\\/\\/***@h\\/x\"}");
    check(NULL, "rtsp://***@host", "rtsp://***@host");
    check(NULL, "mail a@b, http://host/ and c@d", "mail a@b, http://host/ and c@d");
    check(NULL, "://", "://");
    check(NULL, "://@", "://***@");
    check(NULL, "http://", "http://");
}

static void secret_holds_and_registers(void **state)
{
    struct fw_secrets *secrets = *state;
    struct fw_secret *secret = fw_secret_create(secrets, "hunter2");
    assert_string_equal(fw_secret_reveal(secret), "hunter2");
    assert_true(fw_secret_is_set(secret));
    check(secrets, "it is hunter2", "it is ***");
    fw_secret_destroy(secret);
    check(secrets, "still hunter2", "still ***"); // the registry only grows

    struct fw_secret *empty = fw_secret_create(NULL, NULL);
    assert_string_equal(fw_secret_reveal(empty), "");
    assert_false(fw_secret_is_set(empty));
    fw_secret_destroy(empty);

    assert_string_equal(fw_secret_reveal(NULL), "");
    assert_false(fw_secret_is_set(NULL));
    fw_secret_destroy(NULL);
    fw_secrets_destroy(NULL);
}

static void redact_appends_and_takes_null(void **state)
{
    struct fw_text out = FW_TEXT_INIT;
    fw_text_append(&out, "x:");
    fw_secrets_redact(*state, NULL, &out);
    fw_secrets_redact(*state, "y", &out);
    assert_string_equal(fw_text_get(&out), "x:y");
    fw_text_free(&out);
}

static void wipe_sets_zero(void **state)
{
    (void)state;
    char bytes[4] = {1, 2, 3, 4};
    fw_wipe(bytes, 3);
    assert_memory_equal(bytes, "\0\0\0\4", 4);
    fw_wipe(NULL, 3);
    fw_wipe_string(NULL);
}

static atomic_int leaks;

static void *redact_often(void *opaque)
{
    for (int i = 0; i < 300; i++) {
        struct fw_text out = FW_TEXT_INIT;
        fw_secrets_redact(opaque, "canary-word in rtsp://u:p@h/", &out);
        if (strcmp(fw_text_get(&out), "*** in rtsp://***@h/") != 0)
            atomic_fetch_add(&leaks, 1);
        fw_text_free(&out);
    }
    return NULL;
}

static void threads_add_and_redact(void **state)
{
    struct fw_secrets *secrets = *state;
    assert_int_equal(fw_secrets_add(secrets, "canary-word"), FW_OK);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, redact_often, secrets), 0);
    for (int i = 0; i < 50; i++) {
        char *value = fw_strdup_printf("secret number %d", i);
        assert_int_equal(fw_secrets_add(secrets, value), FW_OK);
        free(value);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&leaks), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_spelling_is_masked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(base64_of_every_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(login_is_masked_as_basic_authentication_spells_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(short_values_are_ignored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(longest_and_overlapping_secrets, set_up, tear_down),
        cmocka_unit_test(userinfo_is_masked_known_or_not),
        cmocka_unit_test_setup_teardown(secret_holds_and_registers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(redact_appends_and_takes_null, set_up, tear_down),
        cmocka_unit_test(wipe_sets_zero),
        cmocka_unit_test_setup_teardown(threads_add_and_redact, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
