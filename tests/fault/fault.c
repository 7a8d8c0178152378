#include "fault.h"

#include "util/error.h"
#include <errno.h>
#include <execinfo.h>
#include <jansson.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

// ---- which call fails

enum { STACK_DEPTH = 12 };

// Zero-based numbers of calls. Any thread.
static struct {
    atomic_bool is_armed;
    atomic_long calls;
    atomic_long first, last; // these fail
    atomic_long failed;
    // The callers of the first that failed, for addr2line. Written by its thread.
    void *stack[STACK_DEPTH];
    int depth;
} fault;

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static bool must_fail(void)
{
    if (!atomic_load(&fault.is_armed))
        return false;
    long number = atomic_fetch_add(&fault.calls, 1);
    if (number < atomic_load(&fault.first) || number > atomic_load(&fault.last))
        return false;
    if (atomic_fetch_add(&fault.failed, 1) == 0) {
        fault.depth = backtrace(fault.stack, STACK_DEPTH);
    }
    return true;
}

static void arm(long first, long last)
{
    atomic_store(&fault.calls, 0);
    atomic_store(&fault.failed, 0);
    atomic_store(&fault.first, first);
    atomic_store(&fault.last, last);
    atomic_store(&fault.is_armed, true);
}

bool fault_has_struck(void)
{
    return atomic_load(&fault.failed) > 0;
}

void fault_pause(void)
{
    atomic_store(&fault.is_armed, false);
}

void fault_resume(void)
{
    atomic_store(&fault.is_armed, true);
}

// ---- the calls

// NAME is called as TYPE NAME PARAMETERS; RESULT is what a failure gives, after errno was set.
#define WRAP(type, name, parameters, arguments, result)                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        if (must_fail()) {                                                                         \
            errno = ENOMEM;                                                                        \
            return result;                                                                         \
        }                                                                                          \
        return __real_##name arguments;                                                            \
    }

WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t count, size_t size), (count, size), NULL)
WRAP(void *, realloc, (void *memory, size_t size), (memory, size), NULL)
WRAP(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size), NULL)
WRAP(char *, strndup, (const char *string, size_t size), (string, size), NULL)
WRAP(char *, realpath, (const char *path, char *resolved), (path, resolved), NULL)
WRAP(void *, fdopendir, (int fd), (fd), NULL)
WRAP(int, eventfd, (unsigned count, int flags), (count, flags), -1)

WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *opaque),
     (thread, attributes, run, opaque), EAGAIN)
WRAP(int, pthread_mutex_init, (pthread_mutex_t * mutex, const pthread_mutexattr_t *attributes),
     (mutex, attributes), ENOMEM)
WRAP(int, pthread_rwlock_init, (pthread_rwlock_t * lock, const pthread_rwlockattr_t *attributes),
     (lock, attributes), ENOMEM)
WRAP(int, pthread_condattr_init, (pthread_condattr_t * attributes), (attributes), ENOMEM)
WRAP(int, pthread_cond_init, (pthread_cond_t * condition, const pthread_condattr_t *attributes),
     (condition, attributes), ENOMEM)

WRAP(AVBufferRef *, av_buffer_create,
     (uint8_t * data, size_t size, void (*release)(void *, uint8_t *), void *opaque, int flags),
     (data, size, release, opaque, flags), NULL)
WRAP(int, av_dict_set, (AVDictionary * *dictionary, const char *key, const char *value, int flags),
     (dictionary, key, value, flags), AVERROR(ENOMEM))
WRAP(int, av_dict_set_int, (AVDictionary * *dictionary, const char *key, int64_t value, int flags),
     (dictionary, key, value, flags), AVERROR(ENOMEM))
WRAP(AVFrame *, av_frame_alloc, (void), (), NULL)
WRAP(AVFrame *, av_frame_clone, (const AVFrame *frame), (frame), NULL)
WRAP(AVPacket *, av_packet_alloc, (void), (), NULL)
WRAP(AVPacket *, av_packet_clone, (const AVPacket *packet), (packet), NULL)
WRAP(AVCodecContext *, avcodec_alloc_context3, (const AVCodec *codec), (codec), NULL)
WRAP(int, avcodec_open2, (AVCodecContext * context, const AVCodec *codec, AVDictionary **options),
     (context, codec, options), AVERROR(ENOMEM))
WRAP(AVCodecParameters *, avcodec_parameters_alloc, (void), (), NULL)
WRAP(int, avcodec_parameters_copy, (AVCodecParameters * to, const AVCodecParameters *from),
     (to, from), AVERROR(ENOMEM))
WRAP(int, avcodec_parameters_to_context, (AVCodecContext * to, const AVCodecParameters *from),
     (to, from), AVERROR(ENOMEM))
WRAP(int, avcodec_parameters_from_context, (AVCodecParameters * to, const AVCodecContext *from),
     (to, from), AVERROR(ENOMEM))
WRAP(AVFormatContext *, avformat_alloc_context, (void), (), NULL)
WRAP(int, avformat_alloc_output_context2,
     (AVFormatContext * *context, const AVOutputFormat *format, const char *name, const char *path),
     (context, format, name, path), AVERROR(ENOMEM))
WRAP(AVStream *, avformat_new_stream, (AVFormatContext * context, const AVCodec *codec),
     (context, codec), NULL)
WRAP(struct SwsContext *, sws_getContext,
     (int from_width, int from_height, enum AVPixelFormat from, int to_width, int to_height,
      enum AVPixelFormat to, int flags, SwsFilter *from_filter, SwsFilter *to_filter,
      const double *parameters),
     (from_width, from_height, from, to_width, to_height, to, flags, from_filter, to_filter,
      parameters),
     NULL)

// A context that it can't replace is gone.
struct SwsContext *__real_sws_getCachedContext(struct SwsContext *context, int from_width,
                                               int from_height, enum AVPixelFormat from,
                                               int to_width, int to_height, enum AVPixelFormat to,
                                               int flags, SwsFilter *from_filter,
                                               SwsFilter *to_filter, const double *parameters);
struct SwsContext *__wrap_sws_getCachedContext(struct SwsContext *context, int from_width,
                                               int from_height, enum AVPixelFormat from,
                                               int to_width, int to_height, enum AVPixelFormat to,
                                               int flags, SwsFilter *from_filter,
                                               SwsFilter *to_filter, const double *parameters);
struct SwsContext *__wrap_sws_getCachedContext(struct SwsContext *context, int from_width,
                                               int from_height, enum AVPixelFormat from,
                                               int to_width, int to_height, enum AVPixelFormat to,
                                               int flags, SwsFilter *from_filter,
                                               SwsFilter *to_filter, const double *parameters)
{
    if (!must_fail())
        return __real_sws_getCachedContext(context, from_width, from_height, from, to_width,
                                           to_height, to, flags, from_filter, to_filter,
                                           parameters);
    sws_freeContext(context);
    return NULL;
}

// The rest is named by its address alone: no header of its library is needed for that.
WRAP(void *, EVP_MD_CTX_new, (void), (), NULL)
WRAP(void *, EVP_MAC_fetch, (void *library, const char *name, const char *properties),
     (library, name, properties), NULL)
WRAP(void *, EVP_MAC_CTX_new, (void *mac), (mac), NULL)
WRAP(void *, curl_easy_init, (void), (), NULL)
WRAP(void *, curl_multi_init, (void), (), NULL)
WRAP(void *, curl_slist_append, (void *list, const char *string), (list, string), NULL)
WRAP(int, redisFormatCommandArgv,
     (char **command, int count, const char **words, const size_t *lengths),
     (command, count, words, lengths), -1)
WRAP(void *, redisReaderCreateWithFunctions, (void *functions), (functions), NULL)
WRAP(int, redisReaderFeed, (void *reader, const char *bytes, size_t length),
     (reader, bytes, length), -1)
WRAP(void *, mosquitto_new, (const char *id, bool is_clean, void *opaque), (id, is_clean, opaque),
     NULL)
enum { MOSQUITTO_NO_MEMORY = 1 };
WRAP(int, mosquitto_username_pw_set, (void *client, const char *user, const char *password),
     (client, user, password), MOSQUITTO_NO_MEMORY)
WRAP(int, mosquitto_property_add_string, (void *list, int key, const char *value),
     (list, key, value), MOSQUITTO_NO_MEMORY)
WRAP(int, mosquitto_publish_v5,
     (void *client, int *number, const char *topic, int length, const void *payload, int qos,
      bool is_retained, const void *properties),
     (client, number, topic, length, payload, qos, is_retained, properties), MOSQUITTO_NO_MEMORY)
enum { SQLITE_NO_MEMORY = 7 };
WRAP(int, sqlite3_open_v2, (const char *path, void **handle, int flags, const char *vfs),
     (path, handle, flags, vfs), SQLITE_NO_MEMORY)
WRAP(int, sqlite3_prepare_v2,
     (void *handle, const char *sql, int length, void **statement, const char **tail),
     (handle, sql, length, statement, tail), SQLITE_NO_MEMORY)
WRAP(int, sqlite3_prepare_v3,
     (void *handle, const char *sql, int length, unsigned flags, void **statement,
      const char **tail),
     (handle, sql, length, flags, statement, tail), SQLITE_NO_MEMORY)
WRAP(int, sqlite3_step, (void *statement), (statement), SQLITE_NO_MEMORY)
WRAP(int, sqlite3_exec, (void *handle, const char *sql, void *visit, void *opaque, char **message),
     (handle, sql, visit, opaque, message), SQLITE_NO_MEMORY)
WRAP(void *, MHD_create_response_from_buffer, (size_t size, void *buffer, int mode),
     (size, buffer, mode), NULL)
WRAP(void *, MHD_create_response_from_callback,
     (uint64_t size, size_t block_size, void *reader, void *opaque, void *release),
     (size, block_size, reader, opaque, release), NULL)

WRAP(json_t *, json_object, (void), (), NULL)
WRAP(json_t *, json_array, (void), (), NULL)
WRAP(json_t *, json_string, (const char *text), (text), NULL)
WRAP(json_t *, json_stringn_nocheck, (const char *text, size_t length), (text, length), NULL)
WRAP(json_t *, json_loadb, (const char *text, size_t length, size_t flags, json_error_t *error),
     (text, length, flags, error), NULL)
WRAP(json_t *, json_integer, (json_int_t value), (value), NULL)
WRAP(json_t *, json_real, (double value), (value), NULL)
WRAP(char *, json_dumps, (const json_t *json, size_t flags), (json, flags), NULL)

// Owns what it packs, too.
json_t *__wrap_json_pack(const char *format, ...);
json_t *__wrap_json_pack(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_t *packed = json_vpack_ex(NULL, 0, format, arguments);
    va_end(arguments);
    if (!must_fail())
        return packed;
    json_decref(packed);
    errno = ENOMEM;
    return NULL;
}

// These own VALUE on failure, too.
int __real_json_object_set_new(json_t *object, const char *key, json_t *value);
int __wrap_json_object_set_new(json_t *object, const char *key, json_t *value);
int __wrap_json_object_set_new(json_t *object, const char *key, json_t *value)
{
    if (!must_fail())
        return __real_json_object_set_new(object, key, value);
    json_decref(value);
    errno = ENOMEM;
    return -1;
}

int __real_json_array_append_new(json_t *array, json_t *value);
int __wrap_json_array_append_new(json_t *array, json_t *value);
int __wrap_json_array_append_new(json_t *array, json_t *value)
{
    if (!must_fail())
        return __real_json_array_append_new(array, value);
    json_decref(value);
    errno = ENOMEM;
    return -1;
}

// ---- trying

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_armed(const struct fault_scenario *scenario, long first, long last)
{
    arm(first, last);
    int status = scenario->run(scenario->opaque);
    fault_pause();
    return status;
}

static void check(const struct fault_scenario *scenario, int status, long number)
{
    long failed = atomic_load(&fault.failed);
    const char *problem = NULL;
    if (status > 0)
        problem = "gave no status";
    else if (failed == 0)
        problem = status == FW_OK ? NULL : "failed though every call succeeded";
    else if (status == FW_OK)
        problem = scenario->may_survive ? NULL : "succeeded though a call failed";
    else if (status != FW_ENOMEM && status != FW_EAGAIN && !scenario->has_other_codes)
        problem = "did not say that memory or threads are out";
    if (!problem)
        return;
    backtrace_symbols_fd(fault.stack, fault.depth, STDERR_FILENO);
    fail_msg("%s: %s: status %d (%s); call %ld, see above for its callers", scenario->name, problem,
             status, fw_status_text(status), number);
}

void fault_try(const struct fault_scenario *scenario)
{
    double began_s = now_s();
    int status = run_armed(scenario, LONG_MAX, LONG_MAX);
    if (status != FW_OK)
        fail_msg("%s: status %d (%s) without any failure", scenario->name, status,
                 fw_status_text(status));
    long calls = atomic_load(&fault.calls), step = 1, tried = 0;
    if (calls == 0)
        fail_msg("%s: makes no call that could fail", scenario->name);
    if (scenario->most_tries > 0 && !getenv("FAULT_EVERY"))
        step = (calls + scenario->most_tries - 1) / scenario->most_tries;
    for (long number = 0; number < calls; number += step) {
        check(scenario, run_armed(scenario, number, number), number);
        check(scenario, run_armed(scenario, number, LONG_MAX), number);
        tried += 2;
    }
    print_message("fault: %s: %ld calls, %ld failures tried, %.2f s\n", scenario->name, calls,
                  tried, now_s() - began_s);
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
        fail_msg("%s: leaks", scenario->name);
}

int fault_status_of(const void *pointer)
{
    return pointer ? FW_OK : FW_ENOMEM;
}
