// What the tests of this room share: the model files of the test data.
#ifndef FW_TESTS_NN_TESTS_H
#define FW_TESTS_NN_TESTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct file_bytes {
    uint8_t *data;
    size_t length;
};

// Skips the test where the test data is missing; in CI that is a failure. Free `data`.
static inline struct file_bytes read_model(const char *name)
{
    char path[4096];
    const char *shared = getenv("FACEWORKER_SHARED");
    struct file_bytes bytes = {NULL, 0};
    (void)snprintf(path, sizeof(path), "%s/models/%s", shared == NULL ? "" : shared, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL && getenv("CI") != NULL) {
        fail_msg("no %s; set FACEWORKER_SHARED", path);
    } else if (file == NULL) {
        skip();
    }
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size > 0);
    rewind(file);
    bytes.data = malloc((size_t)size);
    bytes.length = (size_t)size;
    assert_non_null(bytes.data);
    assert_int_equal(fread(bytes.data, 1, bytes.length, file), bytes.length);
    assert_int_equal(fclose(file), 0);
    return bytes;
}

// Where TEXT first stands in BYTES; fails when nowhere.
static inline uint8_t *find_bytes(const struct file_bytes *bytes, const void *text, size_t length)
{
    for (size_t i = 0; i + length <= bytes->length; i++) {
        if (memcmp(bytes->data + i, text, length) == 0) {
            return bytes->data + i;
        }
    }
    fail_msg("not found in the model");
    abort();
}

static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

#endif
