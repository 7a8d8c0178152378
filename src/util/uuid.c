#include "util/uuid.h"

#include "util/clock.h"
#include "util/random.h"
#include <stddef.h>

void fw_uuid7(int64_t utc_us, char text[FW_UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    if (utc_us < 0)
        utc_us = 0;
    const uint64_t ms = (uint64_t)(utc_us / FW_US_PER_MS);
    // RFC 9562 §6.2, method 3: the fraction of the millisecond goes on where the milliseconds end.
    const unsigned fraction = (unsigned)(utc_us % FW_US_PER_MS) * 4096u / 1000u;

    unsigned char bytes[16];
    fw_random_bytes(bytes + 8, 8);
    for (int i = 0; i < 6; i++)
        bytes[i] = (unsigned char)(ms >> (40 - 8 * i));
    bytes[6] = (unsigned char)(0x70 | fraction >> 8);
    bytes[7] = (unsigned char)(fraction & 0xff);
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f));

    char *to = text;
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
    *to = '\0';
}
