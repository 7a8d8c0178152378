// Overwriting of secrets; for this room alone.
#ifndef FW_UTIL_WIPE_H
#define FW_UTIL_WIPE_H

#include <stddef.h>

// Sets SIZE bytes to zero, even where the compiler sees that nobody reads them again.
void fw_wipe(void *memory, size_t size);
// Wipes the terminated STRING and frees it. NULL is allowed.
void fw_wipe_string(char *string);

#endif
