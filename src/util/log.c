#include "util/log.h"

#include "util/clock.h"
#include "util/secret.h"
#include "util/text.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPEAT_WINDOW_US (10 * FW_US_PER_S)
#define MAX_SPEAKERS     64
#define STUCK_MS         1000

// The last line of one name, to count its repetitions.
struct speaker {
    char *name;    // redacted; "" for lines without a name
    char *message; // redacted; NULL: this place is free
    enum fw_log_level level;
    int64_t first_us;
    unsigned repeats;
};

struct fw_logger {
    int fd;
    const struct fw_secrets *secrets;
    atomic_int level, format;

    pthread_mutex_t lock; // guards what follows, and the writing
    struct speaker speakers[MAX_SPEAKERS];
    bool torn; // the last line could be written in part only
};

static const char *const level_names[] = {
    [FW_LOG_ERROR] = "error",
    [FW_LOG_WARNING] = "warning",
    [FW_LOG_INFO] = "info",
    [FW_LOG_DEBUG] = "debug",
};

static _Thread_local const struct fw_log *bound;

void fw_log_bind_thread(const struct fw_log *log)
{
    bound = log;
}

const struct fw_log *fw_log_of_thread(void)
{
    return bound;
}

struct fw_logger *fw_logger_create(int fd, enum fw_log_level level, enum fw_log_format format,
                                   const struct fw_secrets *secrets)
{
    struct fw_logger *logger = calloc(1, sizeof *logger);
    if (!logger)
        return NULL;
    if (pthread_mutex_init(&logger->lock, NULL) != 0) {
        free(logger);
        return NULL;
    }
    logger->fd = fd;
    logger->secrets = secrets;
    fw_logger_set(logger, level, format);
    return logger;
}

void fw_logger_set(struct fw_logger *logger, enum fw_log_level level, enum fw_log_format format)
{
    atomic_store(&logger->level, (int)level);
    atomic_store(&logger->format, (int)format);
}

bool fw_log_level_parse(const char *name, enum fw_log_level *level)
{
    for (size_t i = 0; name && i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum fw_log_level)i;
            return true;
        }
    }
    return false;
}

bool fw_log_enabled(const struct fw_log *log, enum fw_log_level level)
{
    return log && log->logger && (int)level <= atomic_load(&log->logger->level);
}

static void write_all(struct fw_logger *logger, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(logger->fd, bytes, length);
        if (written >= 0) {
            bytes += written;
            length -= (size_t)written;
        } else if (errno == EAGAIN) {
            // A reader that takes nothing costs a line, not the camera that wanted to say it.
            struct pollfd entry = {.fd = logger->fd, .events = POLLOUT};
            if (poll(&entry, 1, STUCK_MS) == 0)
                break;
        } else if (errno != EINTR) {
            break;
        }
    }
    logger->torn = length > 0;
}

// NAME and MESSAGE are redacted. The lock is held.
static void write_line(struct fw_logger *logger, enum fw_log_level level, const char *name,
                       const char *message)
{
    char time[FW_UTC_TEXT_SIZE];
    fw_utc_format(fw_utc_us(), time);
    struct fw_text line = FW_TEXT_INIT;
    if (logger->torn)
        fw_text_append(&line, "\n");
    if (atomic_load(&logger->format) == FW_LOG_JSON) {
        fw_text_appendf(&line, "{\"time\":\"%s\",\"level\":\"%s\",", time, level_names[level]);
        if (*name) {
            fw_text_append(&line, "\"camera\":\"");
            fw_text_append_json(&line, name);
            fw_text_append(&line, "\",");
        }
        fw_text_append(&line, "\"message\":\"");
        fw_text_append_json(&line, message);
        fw_text_append(&line, "\"}\n");
    } else {
        fw_text_appendf(&line, "%s %-5s ", time, level_names[level]);
        if (*name) {
            fw_text_append(&line, "[");
            fw_text_append_visible(&line, name);
            fw_text_append(&line, "] ");
        }
        fw_text_append_visible(&line, message);
        fw_text_append(&line, "\n");
    }
    // Without memory the line is lost; there is nobody left to tell.
    if (!line.failed)
        write_all(logger, line.data, line.length);
    fw_text_free(&line);
}

// Writes how often SPEAKER repeated its last line, and frees the place. The lock is held.
static void forget(struct fw_logger *logger, struct speaker *speaker)
{
    if (speaker->message && speaker->repeats > 0) {
        struct fw_text text = FW_TEXT_INIT;
        fw_text_appendf(&text, "%s (repeated %u more time%s)", speaker->message, speaker->repeats,
                        speaker->repeats == 1 ? "" : "s");
        write_line(logger, speaker->level, speaker->name, fw_text_get(&text));
        fw_text_free(&text);
    }
    free(speaker->name);
    free(speaker->message);
    *speaker = (struct speaker){0};
}

static void forget_expired(struct fw_logger *logger, int64_t now_us)
{
    for (size_t i = 0; i < MAX_SPEAKERS; i++) {
        struct speaker *speaker = &logger->speakers[i];
        if (speaker->message && now_us - speaker->first_us >= REPEAT_WINDOW_US)
            forget(logger, speaker);
    }
}

// The place of NAME, else a free one, else the one that was used longest ago.
static struct speaker *find_speaker(struct fw_logger *logger, const char *name)
{
    struct speaker *best = &logger->speakers[0];
    for (size_t i = 0; i < MAX_SPEAKERS; i++) {
        struct speaker *speaker = &logger->speakers[i];
        if (speaker->message && strcmp(speaker->name, name) == 0)
            return speaker;
        if (!best->message)
            continue;
        if (!speaker->message || speaker->first_us < best->first_us)
            best = speaker;
    }
    return best;
}

// True if the line is a repetition, which is counted instead of written. The lock is held.
static bool is_repeated(struct fw_logger *logger, enum fw_log_level level, const char *name,
                        const char *message)
{
    const int64_t now_us = fw_monotonic_us();
    forget_expired(logger, now_us);
    struct speaker *speaker = find_speaker(logger, name);
    bool is_same = speaker->message && speaker->level == level &&
                   strcmp(speaker->name, name) == 0 && strcmp(speaker->message, message) == 0;
    if (is_same) {
        speaker->repeats++;
        return true;
    }
    forget(logger, speaker);
    struct speaker fresh = {
        .name = fw_strdup(name),
        .message = fw_strdup(message),
        .level = level,
        .first_us = now_us,
    };
    if (fresh.name && fresh.message) {
        *speaker = fresh;
    } else {
        free(fresh.name);
        free(fresh.message);
    }
    return false;
}

void fw_logger_destroy(struct fw_logger *logger)
{
    if (!logger)
        return;
    for (size_t i = 0; i < MAX_SPEAKERS; i++)
        forget(logger, &logger->speakers[i]);
    pthread_mutex_destroy(&logger->lock);
    free(logger);
}

void fw_log(const struct fw_log *log, enum fw_log_level level, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fw_vlog(log, level, format, list);
    va_end(list);
}

void fw_vlog(const struct fw_log *log, enum fw_log_level level, const char *format, va_list list)
{
    if (!fw_log_enabled(log, level))
        return;
    const int kept = errno;
    struct fw_logger *logger = log->logger;
    struct fw_text raw = FW_TEXT_INIT, message = FW_TEXT_INIT, name = FW_TEXT_INIT;
    fw_text_vappendf(&raw, format, list);
    if (raw.failed)
        goto done;
    fw_secrets_redact(logger->secrets, fw_text_get(&raw), &message);
    fw_secrets_redact(logger->secrets, log->name, &name);
    if (message.failed || name.failed)
        goto done;
    pthread_mutex_lock(&logger->lock);
    if (!is_repeated(logger, level, fw_text_get(&name), fw_text_get(&message)))
        write_line(logger, level, fw_text_get(&name), fw_text_get(&message));
    pthread_mutex_unlock(&logger->lock);
done:
    fw_text_free(&raw);
    fw_text_free(&message);
    fw_text_free(&name);
    errno = kept;
}
