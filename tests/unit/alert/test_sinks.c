// The main of the tests of sinks that need no broker, and what they share.
#include "sink_tests.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fw_message message_of(int number)
{
    static char bodies[16][64];
    char *body = bodies[number % 16];
    struct fw_message message = {.type = FW_EVENT_FACE_APPEARED,
                                 .camera_id = "x",
                                 .content_type = "application/cloudevents+json; charset=utf-8",
                                 .time_utc_us = 1700000000000000,
                                 .body = body};

    snprintf(body, sizeof(bodies[0]), "{\"id\":\"%d\",\"data\":{\"text\":\"some words\"}}", number);
    snprintf(message.id, sizeof(message.id), "01900000-0000-7000-8000-%012d", number);
    message.length = strlen(body);
    return message;
}

int main(void)
{
    int failed = 0;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return EXIT_FAILURE;
    failed += run_sink_file_tests();
    failed += run_sink_http_tests();
    curl_global_cleanup();
    return failed != 0;
}
