#ifndef FW_TESTS_DISPATCHER_TESTS_H
#define FW_TESTS_DISPATCHER_TESTS_H

#include "alert/dispatcher.h"
#include "outbox_tests.h"
#include "script_sink.h"

// An outbox with a dispatcher and sinks that follow scripts.
struct dispatch_bench {
    struct outbox_bench *outbox;
    struct script *scripts[3]; // owned
    size_t count, max_batch;
    bool has_idle, embeds;
    struct fw_dispatcher_options options;
    struct fw_dispatcher *dispatcher;
};

struct dispatch_bench *new_dispatch_bench(enum fw_delivery delivery, struct script *const *scripts,
                                          size_t count);
void free_dispatch_bench(struct dispatch_bench *bench);
// Opens the outbox where it is closed.
void start_dispatcher(struct dispatch_bench *bench);
void stop_dispatcher(struct dispatch_bench *bench);

int run_dispatcher_property_tests(void);

#endif
