// Everything behind the cameras' reports, wired together: reporter, spool and store of pictures,
// outbox, dispatcher, sinks.
#ifndef FW_APP_ALERTS_H
#define FW_APP_ALERTS_H

#include "alert/dispatcher.h"
#include "app/config.h"
#include "app/reporter.h"
#include "storage/spool.h"

struct fw_alerts;
struct fw_cancel;
struct fw_resolver;

// Borrowed; all of it outlives the alerts.
struct fw_alerts_options {
    const struct fw_config *config;
    struct fw_resolver *resolver;
    const struct fw_log *log;
};

// How long the parts of an end may take.
struct fw_alerts_times {
    int64_t reporter_ms; // to work off what cameras reported
    int64_t drain_ms;    // to deliver and upload: what is left waits on the disk for the next start
    int64_t stop_ms;     // to end sinks and uploads, and to commit
};

// Opens what the configuration names and starts its threads. FW_OK with *ALERTS the caller's; else
// *ALERTS is NULL and ERROR says why.
int fw_alerts_start(struct fw_alerts **alerts, const struct fw_alerts_options *options,
                    struct fw_error *error);

struct fw_reporter *fw_alerts_reporter(struct fw_alerts *alerts);
struct fw_outbox *fw_alerts_outbox(struct fw_alerts *alerts);
struct fw_dispatcher *fw_alerts_dispatcher(struct fw_alerts *alerts);
struct fw_spool *fw_alerts_spool(struct fw_alerts *alerts); // NULL: no snapshots are stored

// Takes no more reports, works off and delivers what there is. HURRY (may be NULL) cuts it short.
// True if nothing hangs.
bool fw_alerts_finish(struct fw_alerts *alerts, const struct fw_alerts_times *times,
                      const struct fw_cancel *hurry);
// Ends all threads, commits, and frees. Nobody may report any more. Returns how many parts had to
// be left behind, with what they use. NULL is allowed.
int fw_alerts_destroy(struct fw_alerts *alerts, const struct fw_alerts_times *times);

#endif
