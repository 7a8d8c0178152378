// What supervisor.c and status.c share.
#ifndef FW_APP_SUPERVISOR_INTERNAL_H
#define FW_APP_SUPERVISOR_INTERNAL_H

#include "app/supervisor.h"
#include "web/server.h"
#include <stdatomic.h>

// One running camera with the options made for it from its configuration.
struct fw_supervised_camera {
    struct fw_supervisor *supervisor;
    const struct fw_camera_config *config;
    struct fw_camera_options options;
    struct fw_output_options *outputs;
    struct fw_zone *zones;
    struct fw_camera *camera;
};

// Everything but `open_cameras` is written by fw_supervisor_start() before the web server and the
// cameras run, and read-only from then on until fw_supervisor_destroy().
struct fw_supervisor {
    struct fw_supervisor_options options;
    struct fw_log log;
    int64_t started_utc_us;
    struct fw_cancel *all_ended;
    atomic_int open_cameras;
    struct fw_limiter *connect_limiter;
    struct fw_resolver *resolver;
    struct fw_pool *pool;
    struct fw_alerts *alerts;
    struct fw_supervised_camera *cameras;
    size_t camera_count;
    struct fw_web_source web_source;
    struct fw_web *web;
};

// Fills SOURCE with this supervisor's answers (status.c).
void fw_status_source(struct fw_supervisor *supervisor, struct fw_web_source *source);

#endif
