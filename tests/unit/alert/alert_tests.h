#ifndef FW_TESTS_ALERT_TESTS_H
#define FW_TESTS_ALERT_TESTS_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "alert/event.h"

// A small event of CAMERA.
struct fw_event *event_of(const char *camera, uint64_t track);

int run_dispatcher_tests(void);
int run_sink_file_tests(void);
int run_sink_http_tests(void);

#endif
