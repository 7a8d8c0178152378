// A detector pool that is played: what is submitted is "analysed" at once, with the faces of the
// test.
#ifndef FW_TESTS_PLAYED_POOL_H
#define FW_TESTS_PLAYED_POOL_H

#include "detect/pool.h"

struct fw_pool {
    struct fw_faces faces; // that the next picture holds
};

#endif
