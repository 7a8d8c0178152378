// cmocka's header needs these before it, in this order.
#ifndef FW_TESTS_CMOCKA_INCLUDES_H
#define FW_TESTS_CMOCKA_INCLUDES_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#endif
