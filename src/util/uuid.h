// UUIDs of version 7 (RFC 9562 §5.7): sortable by the time of their making.
#ifndef FW_UTIL_UUID_H
#define FW_UTIL_UUID_H

#include <stdint.h>

#define FW_UUID_TEXT_SIZE 37

// Writes a UUIDv7 for UTC_US as lower-case text. Random bits come from the kernel. Any thread.
void fw_uuid7(int64_t utc_us, char text[FW_UUID_TEXT_SIZE]);

#endif
