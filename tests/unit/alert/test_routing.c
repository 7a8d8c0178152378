#include "alert/routing.h"
#include "broker_tests.h"
#include "util/text.h"
#include <string.h>

static void assert_filled(const char *template, const struct fw_message *message,
                          const char *expected)
{
    struct fw_text text = FW_TEXT_INIT;

    assert_int_equal(fw_routing_check(template, NULL), FW_OK);
    assert_int_equal(fw_routing_fill(&text, template, "edge-1", message), FW_OK);
    assert_string_equal(fw_text_get(&text), expected);
    fw_text_free(&text);
}

static void fills_in_the_words(void **state)
{
    const struct fw_message face = {.type = FW_EVENT_FACE_APPEARED, .camera_id = "front.door"};

    (void)state;
    assert_filled("faces", &face, "faces");
    assert_filled("faces.{camera_id}", &face, "faces.front.door");
    assert_filled("{worker_id}/{camera_id}/{type}", &face, "edge-1/front.door/face.appeared");
    assert_filled("{type}{type}}", &face, "face.appearedface.appeared}");
}

static void events_of_the_worker_have_no_camera(void **state)
{
    const struct fw_message heartbeat = {.type = FW_EVENT_WORKER_HEARTBEAT, .camera_id = ""};

    (void)state;
    assert_filled("a.{camera_id}.{type}", &heartbeat, "a._worker.worker.heartbeat");
}

static void refuses_unknown_words(void **state)
{
    static const char *const templates[] = {"", "{camera}", "a{", "{{camera_id}}", "{Type}"};

    (void)state;
    for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++) {
        struct fw_error error = {0};
        assert_int_equal(fw_routing_check(templates[i], &error), FW_EINVAL);
        assert_non_null(strstr(error.message, "routing_key"));
    }
    assert_int_equal(fw_routing_check(NULL, NULL), FW_EINVAL);
}

int run_routing_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_in_the_words),
        cmocka_unit_test(events_of_the_worker_have_no_camera),
        cmocka_unit_test(refuses_unknown_words),
    };

    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
