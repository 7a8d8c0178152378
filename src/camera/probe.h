// What a camera address offers, and what is wrong with it, in words.
#ifndef FW_CAMERA_PROBE_H
#define FW_CAMERA_PROBE_H

#include "camera/source.h"

struct fw_text;

// Opens the source, reads for READ_MS, and appends a report for people to OUT: streams, size, frame
// rate as told and as measured, keyframe interval, B-frames, timestamps, first-picture delay,
// losses; and for each thing that is wrong a sentence that says what to do. FW_OK when pictures
// came, else the failure of fw_source_open() or fw_source_read(), with the report saying it too.
int fw_probe(const struct fw_source_options *options, int64_t read_ms, struct fw_text *out,
             struct fw_error *error);

#endif
