// Which way up a photograph is.
#ifndef FW_MEDIA_EXIF_H
#define FW_MEDIA_EXIF_H

#include <stddef.h>
#include <stdint.h>

// The orientation that the Exif data (JEITA CP-3451, tag 0x0112) of a JPEG file names, 1 to 8; 1,
// which is upright, when it names none or is damaged. Any bytes at all may be given.
int fw_exif_orientation(const uint8_t *jpeg, size_t length);

#endif
