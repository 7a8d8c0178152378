// What an S3 server says instead of taking an object, in words that tell what to do.
#ifndef FW_STORAGE_S3_ANSWER_H
#define FW_STORAGE_S3_ANSWER_H

#include "util/error.h"
#include <stddef.h>
#include <stdint.h>

// Plain data. Texts are "" where the server said nothing, one line, cut when too long.
struct fw_s3_answer {
    long status; // of HTTP
    char code[64], message[256];
    char region[64];     // where the bucket really is
    int64_t clock_off_s; // the server's clock minus ours; 0 when it did not say
};

// Takes code, message and region out of an error's XML (BODY is LENGTH bytes of anything). What is
// missing stays as it is. Any thread.
void fw_s3_answer_parse(struct fw_s3_answer *answer, const char *body, size_t length);

// Whom we asked, for the sentence.
struct fw_s3_place {
    const char *bucket, *host, *region;
};

// The sentence for an answer that is no success. FW_EAUTH: everything is refused until somebody
// puts it right. FW_EREJECTED: this object is. FW_EIO: later it may be taken. Any thread.
int fw_s3_answer_explain(const struct fw_s3_answer *answer, const struct fw_s3_place *place,
                         struct fw_error *error);

#endif
