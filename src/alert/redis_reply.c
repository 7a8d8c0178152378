#include "alert/redis_reply.h"
#include "util/text.h"
#include <hiredis/read.h>
#include <stdlib.h>
#include <string.h>

struct fw_redis_reader {
    redisReplyObjectFunctions functions;
    redisReader *parser;
    size_t pending_bytes; // fed since the last whole answer
    bool is_refused;      // the answer under way is of no kind that we take
    struct fw_redis_reply reply;
};

// Errors that only a person can put right, by their beginnings, and how.
static const struct {
    const char *beginning, *advice;
} refusals[] = {
    {"NOAUTH", "it asks for a password; set username and password"},
    {"WRONGPASS", "it refuses our password; check username and password"},
    {"ERR invalid password", "it refuses our password; check username and password"},
    {"ERR wrong number of arguments for 'auth'", "it is older than 6.0 and knows no users; leave "
                                                 "username out"},
    {"ERR AUTH", "it has no password; set one there, or leave ours out"},
    {"ERR Client sent AUTH", "it has no password; set one there, or leave ours out"},
    {"NOPERM", "the user lacks a right; allow it the stream, +xadd, +multi, +exec and +ping"},
    {"DENIED", "it is in protected mode; set a password there"},
    {"WRONGTYPE",
     "the key holds something that is no stream; delete it there or change routing_key"},
    {"MOVED", "it is a node of a cluster; alerts need a server that holds all streams"},
    {"ASK", "it is a node of a cluster; alerts need a server that holds all streams"},
    {"CROSSSLOT", "it is a node of a cluster; alerts need a server that holds all streams"},
    {"ERR SELECT", "it has a single database; leave the number out of the URL"},
    {"ERR DB index", "it has no such database; check the number in the URL"},
    {"ERR invalid DB index", "it has no such database; check the number in the URL"},
    {"ERR unknown command", "it lacks a command of ours; use Redis 5.0 or later"},
};

const char *fw_redis_advice(const char *text)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        if (fw_starts_with(text, refusals[i].beginning))
            return refusals[i].advice;
    return NULL;
}

static void keep_text(struct fw_redis_reply *reply, const char *text, size_t length)
{
    size_t kept = length < sizeof(reply->text) ? length : sizeof(reply->text) - 1;

    memcpy(reply->text, text, kept);
    reply->text[kept] = '\0';
}

static int status_of(const char *error_text)
{
    return fw_redis_advice(error_text) != NULL ? FW_EAUTH : FW_EIO;
}

static struct fw_redis_reader *reader_of(const redisReadTask *task)
{
    return task->privdata;
}

static void *take_string(const redisReadTask *task, char *text, size_t length)
{
    struct fw_redis_reply *reply = &reader_of(task)->reply;
    bool is_error = task->type == REDIS_REPLY_ERROR;

    if (task->parent == NULL || is_error)
        keep_text(reply, text, length);
    if (task->parent == NULL)
        reply->is_error = is_error;
    else
        reply->statuses[task->idx] = is_error ? status_of(reply->text) : FW_OK;
    return reply;
}

static void *take_array(const redisReadTask *task, int elements)
{
    struct fw_redis_reader *reader = reader_of(task);

    if (task->parent != NULL || elements < 0 || elements > FW_REDIS_MAX_ELEMENTS) {
        reader->is_refused = true;
        return NULL;
    }
    reader->reply.is_array = true;
    reader->reply.count = (size_t)elements;
    return &reader->reply;
}

static void *take_other(const redisReadTask *task)
{
    struct fw_redis_reply *reply = &reader_of(task)->reply;

    if (task->parent != NULL)
        reply->statuses[task->idx] = FW_EIO;
    return reply;
}

static void *take_integer(const redisReadTask *task, long long value)
{
    (void)value;
    return take_other(task);
}

static void release(void *reply)
{
    (void)reply; // a part of the reader
}

struct fw_redis_reader *fw_redis_reader_create(void)
{
    struct fw_redis_reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL)
        return NULL;
    reader->functions = (redisReplyObjectFunctions){.createString = take_string,
                                                    .createArray = take_array,
                                                    .createInteger = take_integer,
                                                    .createNil = take_other,
                                                    .freeObject = release};
    reader->parser = redisReaderCreateWithFunctions(&reader->functions);
    if (reader->parser == NULL) {
        free(reader);
        return NULL;
    }
    reader->parser->privdata = reader;
    return reader;
}

void fw_redis_reader_destroy(struct fw_redis_reader *reader)
{
    if (reader == NULL)
        return;
    redisReaderFree(reader->parser);
    free(reader);
}

int fw_redis_reader_feed(struct fw_redis_reader *reader, const void *bytes, size_t length)
{
    reader->pending_bytes += length;
    if (reader->pending_bytes > FW_REDIS_MAX_REPLY_BYTES)
        return FW_EFORMAT;
    return redisReaderFeed(reader->parser, bytes, length) == REDIS_OK ? FW_OK : FW_ENOMEM;
}

int fw_redis_reader_next(struct fw_redis_reader *reader, struct fw_redis_reply *reply)
{
    void *whole = NULL;

    if (redisReaderGetReply(reader->parser, &whole) != REDIS_OK)
        return reader->parser->err == REDIS_ERR_OOM && !reader->is_refused ? FW_ENOMEM : FW_EFORMAT;
    if (whole == NULL)
        return FW_EAGAIN;
    *reply = reader->reply;
    reader->reply = (struct fw_redis_reply){0};
    // What the parser still holds belongs to the next answers.
    reader->pending_bytes = reader->parser->len - reader->parser->pos;
    return FW_OK;
}
