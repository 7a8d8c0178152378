// From the network's rows of numbers to faces.
#ifndef FW_DETECT_POSTPROCESS_H
#define FW_DETECT_POSTPROCESS_H

#include "detect/detector.h"
#include "nn/yunet_net.h"

// A cell whose score is high enough.
struct fw_candidate {
    float score;
    int level, cell;
};

// Working memory, kept from call to call. Zero-initialise; one thread at a time.
struct fw_postprocess {
    struct fw_candidate *candidates;
    size_t count, capacity;
};

// More candidates than this are cut, best first: suppression is quadratic.
#define FW_MAX_CANDIDATES 5000

// Appends to FACES those in LEVELS that PARAMETERS let pass, best score first (equal ones in the
// order of their cells), greedily freed of those that overlap a better one. Boxes and landmarks are
// multiplied by SCALE_X and SCALE_Y. Cells with NaN or infinite numbers are left out. FW_OK or
// FW_ENOMEM.
int fw_postprocess_run(struct fw_postprocess *post, const struct fw_yunet_level levels[3],
                       float scale_x, float scale_y, const struct fw_detect_parameters *parameters,
                       struct fw_faces *faces);
void fw_postprocess_free(struct fw_postprocess *post);

#endif
