// Wires the rooms: makes what cameras share, starts them, and takes all of it down within a
// deadline.
#ifndef FW_APP_SUPERVISOR_H
#define FW_APP_SUPERVISOR_H

#include "app/config.h"

struct fw_cancel;
struct fw_supervisor;
struct fw_web_source;

// Borrowed; outlives the supervisor.
struct fw_supervisor_options {
    const struct fw_config *config;
    struct fw_logger *logger;
    struct fw_secrets *secrets;
    struct fw_cancel *stop; // ends the start too, a model's download for one
};

// Opens store and sinks, finds the detector's models, starts every enabled camera and the web
// server. On failure ERROR says what to do, and *LOST counts the threads that did not end: above 0
// they still use OPTIONS, and the process must end without freeing anything. FW_ECANCELED: STOP was
// triggered.
int fw_supervisor_start(struct fw_supervisor **supervisor,
                        const struct fw_supervisor_options *options, int *lost,
                        struct fw_error *error);

// Triggered when every camera has ended by itself (max_frames, end of a file).
struct fw_cancel *fw_supervisor_all_ended(struct fw_supervisor *supervisor);

// Ends everything: cameras first, so that their last reports still go out. BY_ITSELF: the cameras
// have ended and what they left to do is waited for until STOP is triggered; else all of it takes
// less than 2 s and what is not done then is logged. Returns the number of threads left behind (0
// as a rule); above 0 the process must end without freeing anything more.
int fw_supervisor_destroy(struct fw_supervisor *supervisor, bool by_itself);

#endif
