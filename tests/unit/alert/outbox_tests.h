#ifndef FW_TESTS_OUTBOX_TESTS_H
#define FW_TESTS_OUTBOX_TESTS_H

#include "alert/outbox.h"
#include "alert/outbox_file.h"
#include "alert/outbox_queue.h"
#include "alert_tests.h"

// A folder of its own for each test, with the paths in it.
struct outbox_bench {
    char folder[64], path[96];
    const char *names[3]; // "first", "second", "third"
    struct fw_outbox_options options;
    struct fw_outbox *outbox;
};

// Makes the folder; options for SINKS sinks (none opened yet), without bounds.
struct outbox_bench *new_outbox_bench(enum fw_delivery delivery, size_t sinks);
void free_outbox_bench(struct outbox_bench *bench); // closes and removes all

void open_outbox(struct outbox_bench *bench);
void close_outbox(struct outbox_bench *bench);
// Posts an `appeared` of CAMERA; its id comes into ID, unless that is NULL.
void post_to(struct outbox_bench *bench, const char *camera, char *id);
// Events that end at once, so that nothing is open after a restart.
void post_quiet(struct outbox_bench *bench, const char *camera, char *id);
void flush_outbox(struct outbox_bench *bench);
// What is waiting in QUEUE for the sink that may be skipped; at most 64. Returns how many; their
// ids are in IDS.
size_t fetch_ids(struct outbox_bench *bench, size_t queue, size_t skip_sink, char ids[64][37],
                 int64_t seqs[64]);
void mark_record(struct outbox_bench *bench, int64_t seq, size_t queue, size_t sink,
                 enum fw_outbox_outcome outcome);
// A number from the database, read from outside.
int64_t ask_database(const char *path, const char *sql);
void tell_database(const char *path, const char *sql);
bool is_intact(const char *path);
void nap_ms(int64_t ms);

int run_outbox_damage_tests(void);
int run_outbox_disk_tests(void);
int run_outbox_file_tests(void);

#endif
