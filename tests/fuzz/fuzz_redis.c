// What a Redis server answers: no crash, nothing out of bounds, however it is cut into pieces.
#include "alert/redis_reply.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check(const struct fw_redis_reply *reply)
{
    require(memchr(reply->text, '\0', sizeof(reply->text)) != NULL);
    require(reply->count <= FW_REDIS_MAX_ELEMENTS);
    require(reply->is_array || reply->count == 0);
    for (size_t i = 0; i < reply->count; i++)
        require(reply->statuses[i] == FW_OK || reply->statuses[i] == FW_EAUTH ||
                reply->statuses[i] == FW_EIO);
    require(fw_redis_advice(reply->text) == NULL || fw_redis_advice(reply->text)[0] != '\0');
}

// False once the reader is of no more use.
static bool read_all(struct fw_redis_reader *reader)
{
    struct fw_redis_reply reply = {0};
    int status;

    while ((status = fw_redis_reader_next(reader, &reply)) == FW_OK)
        check(&reply);
    require(status == FW_EAGAIN || status == FW_EFORMAT);
    return status == FW_EAGAIN;
}

// The first byte says how long the pieces are.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fw_redis_reader *reader = fw_redis_reader_create();
    size_t piece = size > 0 ? 1 + data[0] : 1;

    require(reader != NULL);
    for (size_t at = 1; at < size; at += piece) {
        size_t length = size - at < piece ? size - at : piece;
        if (fw_redis_reader_feed(reader, data + at, length) != FW_OK || !read_all(reader))
            break;
    }
    fw_redis_reader_destroy(reader);
    return 0;
}
