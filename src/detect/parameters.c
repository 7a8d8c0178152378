// How people write what a call asks for; apart from the detectors, for the configuration's sake.
#include "detect/detector.h"

#include <ctype.h>
#include <stdlib.h>

bool fw_detect_roi_is_valid(const struct fw_box *roi)
{
    // What people write as 0.7 and 0.3 adds up to a bit more than 1.
    const float whole = 1.0001F;
    return roi->x >= 0 && roi->y >= 0 && roi->w > 0 && roi->h > 0 && roi->x + roi->w <= whole &&
           roi->y + roi->h <= whole;
}

bool fw_tiles_parse(const char *text, int *columns, int *rows)
{
    char *end;
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    long first = strtol(text, &end, 10), second;
    if (*end != 'x' || !isdigit((unsigned char)end[1])) {
        return false;
    }
    second = strtol(end + 1, &end, 10);
    if (*end != '\0' || first < 1 || first > FW_TILES_MAX || second < 1 || second > FW_TILES_MAX) {
        return false;
    }
    *columns = (int)first;
    *rows = (int)second;
    return true;
}
