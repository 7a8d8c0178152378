#ifndef FW_TESTS_SINK_TESTS_H
#define FW_TESTS_SINK_TESTS_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "alert/message.h"

// A small message of camera "x"; the body holds NUMBER, and is never to be freed.
struct fw_message message_of(int number);

int run_sink_file_tests(void);
int run_sink_http_tests(void);

#endif
