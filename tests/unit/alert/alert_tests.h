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

// What a small `appeared` of CAMERA, and the `left` that ends it, are made from.
struct fw_event_input input_of(const char *camera, uint64_t track);
struct fw_event_input left_input_of(const struct fw_event *appeared);
// The event itself.
struct fw_event *event_of(const char *camera, uint64_t track);

int run_message_tests(void);

#endif
