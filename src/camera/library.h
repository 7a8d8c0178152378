// What libav's log lines tell about one camera's contexts; for this room alone.
#ifndef FW_CAMERA_LIBRARY_H
#define FW_CAMERA_LIBRARY_H

#include <stdatomic.h>

// Counts lines that mean lost or damaged data. An AVFormatContext or AVCodecContext whose `opaque`
// points to one has its lines counted there; only inputs set it, contexts of outputs leave it NULL.
// It outlives the context.
struct fw_loss {
    _Atomic unsigned transport_lines; // the demuxer's: RTP packets missed or late
    _Atomic unsigned decoder_lines;   // the decoder's errors
};

#endif
