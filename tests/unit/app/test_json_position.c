#include "app/json_position.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char text[] = "{\n"
                           "  \"a\" : [1, [2, {\"b\":\t\"x\\\"]\"}], {}, \"t\"],\n"
                           "  \"sl/ash~\": -1.5e3, \"\\u00e9\\n\": true,\n"
                           "  \"\\ud83d\\ude00\": null, \"é\": {\"k\": 0}, \"z\": []\n"
                           "}\n";

static const struct {
    const char *pointer;
    enum fw_json_part part;
    int line, column; // 0: not there
} cases[] = {
    {"", FW_JSON_VALUE, 1, 1},        {"/a", FW_JSON_KEY, 2, 3},
    {"/a", FW_JSON_VALUE, 2, 9},      {"/a/0", FW_JSON_VALUE, 2, 10},
    {"/a/1/1/b", FW_JSON_KEY, 2, 18}, {"/a/1/1/b", FW_JSON_VALUE, 2, 23},
    {"/a/2", FW_JSON_VALUE, 2, 33},   {"/a/3", FW_JSON_KEY, 2, 37},
    {"/a/4", FW_JSON_VALUE, 0, 0},    {"/a/x", FW_JSON_VALUE, 0, 0},
    {"/a/0/0", FW_JSON_VALUE, 0, 0},  {"/sl~1ash~0", FW_JSON_VALUE, 3, 14},
    {"/é\n", FW_JSON_VALUE, 3, 34},   {"/😀", FW_JSON_KEY, 4, 3},
    {"/é/k", FW_JSON_KEY, 4, 31},     {"/z/0", FW_JSON_VALUE, 0, 0},
    {"/b", FW_JSON_VALUE, 0, 0},      {"a", FW_JSON_VALUE, 0, 0},
};

static void finds_what_pointers_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fw_json_place place = {0, 0};
        bool found = fw_json_find(text, cases[i].pointer, cases[i].part, &place);
        if (found != (cases[i].line > 0) || place.line != cases[i].line ||
            place.column != cases[i].column)
            fail_msg("'%s': wanted %d:%d, got %d:%d", cases[i].pointer, cases[i].line,
                     cases[i].column, place.line, place.column);
    }
}

static void what_is_no_json_is_not_found(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",         "{",         "{\"",    "{\"a\"", "{\"a\":",    "[[[[",         "{\"b\":}",
        "{\"b\":1", "{\"b\" 1}", "{\"b\\", "]",      "{\"b\":\"x", "{\"\\u12\":1}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct fw_json_place place;
        assert_false(fw_json_find(texts[i], "/a/0", FW_JSON_VALUE, &place));
    }
}

static void places_stay_within_the_text(void **state)
{
    (void)state;
    struct fw_json_place place = fw_json_place_of("ab\ncd", 100);
    assert_int_equal(place.line, 2);
    assert_int_equal(place.column, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_pointers_name),
        cmocka_unit_test(what_is_no_json_is_not_found),
        cmocka_unit_test(places_stay_within_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
