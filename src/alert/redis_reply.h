// What a Redis server answers, within bounds: hiredis parses, nothing is allocated an answer.
#ifndef FW_ALERT_REDIS_REPLY_H
#define FW_ALERT_REDIS_REPLY_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>

#define FW_REDIS_MAX_ELEMENTS 64
// An answer that is longer is none to our commands.
#define FW_REDIS_MAX_REPLY_BYTES (64 * 1024)

// One answer. An array may hold strings, numbers and errors, but no arrays.
struct fw_redis_reply {
    bool is_error, is_array;
    char text[192];                      // the answer, or an array's latest error; cut
    size_t count;                        // of an array's elements
    int statuses[FW_REDIS_MAX_ELEMENTS]; // FW_OK; FW_EAUTH: fw_redis_advice() knows it; FW_EIO
};

// One thread at a time.
struct fw_redis_reader;

// NULL when memory is out.
struct fw_redis_reader *fw_redis_reader_create(void);
void fw_redis_reader_destroy(struct fw_redis_reader *reader); // NULL is allowed
// Takes LENGTH bytes of a server's. FW_OK, FW_EFORMAT (too much of one answer), FW_ENOMEM.
int fw_redis_reader_feed(struct fw_redis_reader *reader, const void *bytes, size_t length);
// The next whole answer. FW_OK, FW_EAGAIN (none yet), FW_EFORMAT (this is no Redis, or no answer to
// commands of ours), FW_ENOMEM. After a failure READER is of no more use.
int fw_redis_reader_next(struct fw_redis_reader *reader, struct fw_redis_reply *reply);

// What a person has to do about the server's error TEXT ("WRONGPASS invalid username..."): a
// sentence about "it", the server, without anything of TEXT. NULL when time alone may help (memory,
// disk, loading, a replica that is promoted). Any thread.
const char *fw_redis_advice(const char *text);

#endif
