#include "media/exif.h"

#include <stdbool.h>
#include <string.h>

#define UPRIGHT         1
#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT      3
#define ENTRY_BYTES     12

// A TIFF file within the JPEG: its bytes, and their order.
struct tiff {
    const uint8_t *data;
    size_t length;
    bool is_big_endian;
};

// Numbers outside of the data are 0.
static uint32_t read_number(const struct tiff *tiff, size_t offset, size_t bytes)
{
    uint32_t number = 0;

    if (offset > tiff->length || bytes > tiff->length - offset)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        number = number << 8 | tiff->data[offset + (tiff->is_big_endian ? i : bytes - 1 - i)];
    return number;
}

static int orientation_of(const struct tiff *tiff)
{
    size_t directory = read_number(tiff, 4, 4);
    size_t count = read_number(tiff, directory, 2);

    for (size_t i = 0; i < count; i++) {
        size_t entry = directory + 2 + i * ENTRY_BYTES;

        if (read_number(tiff, entry, 2) == TAG_ORIENTATION &&
            read_number(tiff, entry + 2, 2) == TYPE_SHORT) {
            int value = (int)read_number(tiff, entry + 8, 2);
            return value >= 1 && value <= 8 ? value : UPRIGHT;
        }
    }
    return UPRIGHT;
}

// DATA is what an APP1 segment holds. False when that is something else than Exif.
static bool find_tiff(const uint8_t *data, size_t length, struct tiff *tiff)
{
    if (length < 14 || memcmp(data, "Exif\0\0", 6) != 0)
        return false;
    *tiff = (struct tiff){data + 6, length - 6, data[6] == 'M'};
    return memcmp(tiff->data, "II*\0", 4) == 0 || memcmp(tiff->data, "MM\0*", 4) == 0;
}

int fw_exif_orientation(const uint8_t *jpeg, size_t length)
{
    size_t at = 2; // behind the first marker

    // Segments: FF, a marker, and the length of what follows with the length's own two bytes.
    while (at + 4 <= length && jpeg[at] == 0xFF) {
        uint8_t marker = jpeg[at + 1];
        size_t size = (size_t)jpeg[at + 2] << 8 | jpeg[at + 3];
        struct tiff tiff;

        if (marker == 0xFF) { // padding
            at++;
            continue;
        }
        // The picture begins: what belongs to it came before.
        if (marker == 0xDA || size < 2 || size > length - at - 2)
            break;
        if (marker == 0xE1 && find_tiff(jpeg + at + 4, size - 2, &tiff))
            return orientation_of(&tiff);
        at += 2 + size;
    }
    return UPRIGHT;
}
