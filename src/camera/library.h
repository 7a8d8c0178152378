// What concerns libav as a whole: its log lines, its devices; for this room alone.
#ifndef FW_CAMERA_LIBRARY_H
#define FW_CAMERA_LIBRARY_H

#include "util/error.h"
#include <stdatomic.h>

struct AVInputFormat;

// Counts lines that mean lost or damaged data. An AVFormatContext or AVCodecContext whose `opaque`
// points to one has its lines counted there; only inputs set it, contexts of outputs leave it NULL.
// It outlives the context.
struct fw_loss {
    _Atomic unsigned transport_lines; // the demuxer's: RTP packets missed or late
    _Atomic unsigned decoder_lines;   // the decoder's errors
};

// What opens /dev/video0, a constant of libavdevice. That library is loaded here and not with the
// program, because it brings over seventy others along, which cost every start 15 MB and a third of
// its CPU time; once loaded it stays. FW_ENOTSUP when it is not there. Any thread.
int fw_library_device_input(const struct AVInputFormat **input, struct fw_error *error);

#endif
