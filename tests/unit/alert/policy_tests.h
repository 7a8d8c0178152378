#ifndef FW_TESTS_POLICY_TESTS_H
#define FW_TESTS_POLICY_TESTS_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

static inline uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

int run_schedule_tests(void);

#endif
