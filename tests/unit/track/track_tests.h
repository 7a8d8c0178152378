#ifndef FW_TESTS_TRACK_TESTS_H
#define FW_TESTS_TRACK_TESTS_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

int run_tracker_tests(void);
int run_tracker_step_tests(void);
int run_zone_tests(void);

#endif
