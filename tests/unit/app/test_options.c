// The table, and what is made from it.
#include "app/config.h"
#include "app/options.h"
#include "util/secret.h"
#include "util/text.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// A file of the source tree; the test is told where that is.
static char *read_file(const char *name)
{
    const char *root = getenv("FACEWORKER_SOURCE");
    assert_non_null(root);
    char *path = fw_strdup_printf("%s/%s", root, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("no %s", path);
    struct fw_text text = FW_TEXT_INIT;
    char block[4096];
    size_t count;
    while ((count = fread(block, 1, sizeof(block), file)) > 0)
        fw_text_append_n(&text, block, count);
    fclose(file);
    free(path);
    return fw_text_steal(&text);
}

static void check_loads(const char *text)
{
    struct fw_secrets *secrets = fw_secrets_create();
    struct fw_diagnostics diagnostics = {0};
    struct fw_config *config = NULL;
    int status = fw_config_load_text(&config, "f", text, secrets, &diagnostics);
    if (diagnostics.count > 0)
        fail_msg("%s", diagnostics.items[0].message);
    assert_int_equal(status, FW_OK);
    fw_config_destroy(config);
    fw_diagnostics_free(&diagnostics);
    fw_secrets_destroy(secrets);
}

static void every_row_is_whole(void **state)
{
    (void)state;
    size_t count;
    const struct fw_option *options = fw_options(&count);
    assert_true(count > 80);
    for (size_t i = 0; i < count; i++) {
        const struct fw_option *option = &options[i], *found;
        json_t *value = json_loads(option->default_json, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        json_decref(value);
        if (option->example != NULL) {
            value = json_loads(option->example, JSON_DECODE_ANY, NULL);
            assert_non_null(value);
            json_decref(value);
        }
        assert_true(strlen(option->help) > 3 && !fw_ends_with(option->help, "."));
        const char *dot = strrchr(option->key, '.');
        char prefix[64] = "";
        if (dot != NULL)
            snprintf(prefix, sizeof(prefix), "%.*s", (int)(dot + 1 - option->key), option->key);
        assert_int_equal(fw_option_find(prefix, dot == NULL ? option->key : dot + 1, &found),
                         FW_KEY_OPTION);
        assert_ptr_equal(found, option);
    }
}

static void the_printed_defaults_are_a_configuration(void **state)
{
    (void)state;
    char *text = fw_options_defaults();
    assert_non_null(text);
    check_loads(text);
    free(text);
}

static void the_sample_is_right(void **state)
{
    (void)state;
    char *text = read_file("config.sample.json");
    check_loads(text);
    free(text);
}

static void the_page_is_as_committed(void **state)
{
    (void)state;
    char *made = fw_options_docs(), *committed = read_file("docs/config.md");
    assert_non_null(made);
    size_t count;
    const struct fw_option *options = fw_options(&count);
    for (size_t i = 0; i < count; i++)
        if (strstr(made, options[i].help) == NULL)
            fail_msg("%s is missing", options[i].key);
    if (strcmp(made, committed) != 0)
        fail_msg("docs/config.md is old; faceworker check --print-docs > docs/config.md");
    free(made);
    free(committed);
}

static void the_schema_is_as_committed(void **state)
{
    (void)state;
    char *made = fw_options_schema(), *committed = read_file("docs/config.schema.json");
    assert_non_null(made);
    size_t length = strlen(made);
    if (strncmp(made, committed, length) != 0 || strcmp(committed + length, "\n") != 0)
        fail_msg("docs/config.schema.json is old; "
                 "faceworker check --print-schema > docs/config.schema.json");
    free(made);
    free(committed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(the_printed_defaults_are_a_configuration),
        cmocka_unit_test(the_sample_is_right),
        cmocka_unit_test(the_page_is_as_committed),
        cmocka_unit_test(the_schema_is_as_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
