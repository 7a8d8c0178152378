// Random bytes from the kernel; for this room alone.
#ifndef FW_UTIL_RANDOM_H
#define FW_UTIL_RANDOM_H

#include <stddef.h>

// Fills SIZE bytes, 256 at most. Any thread. Ends the process where the kernel has no randomness:
// identifiers that repeat would lose alerts without a word.
void fw_random_bytes(void *bytes, size_t size);

#endif
