// Log lines with a level, a name (the camera's, as a rule) and no secrets.
#ifndef FW_UTIL_LOG_H
#define FW_UTIL_LOG_H

#include <stdarg.h>
#include <stdbool.h>

struct fw_secrets;

enum fw_log_level { FW_LOG_ERROR, FW_LOG_WARNING, FW_LOG_INFO, FW_LOG_DEBUG };
enum fw_log_format { FW_LOG_TEXT, FW_LOG_JSON };

// Where lines go. One a process, made by main and passed down inside `struct fw_log` handles.
// Thread-safe: a line is built by its caller and written with one write(2) under a lock.
struct fw_logger;

// A handle: a logger and the name that its lines carry. Plain data, copied freely; NAME is borrowed
// and outlives the handle. A NULL handle or a NULL logger drops every line (unit tests).
struct fw_log {
    struct fw_logger *logger;
    const char *name; // the camera's id, or NULL
};

// Writes to FD (not closed). SECRETS is borrowed, may be NULL, and filters every line.
struct fw_logger *fw_logger_create(int fd, enum fw_log_level level, enum fw_log_format format,
                                   const struct fw_secrets *secrets);
void fw_logger_destroy(struct fw_logger *logger);
void fw_logger_set(struct fw_logger *logger, enum fw_log_level level, enum fw_log_format format);
// "error", "warning", "info" or "debug"; false if NAME is none of them.
bool fw_log_level_parse(const char *name, enum fw_log_level *level);
bool fw_log_enabled(const struct fw_log *log, enum fw_log_level level);

// One line, no trailing newline in FORMAT. A line that repeats within 10 s of itself for the same
// name is counted, and the count is written with the next different line of that name, with the
// first line of anybody once the 10 s are over, or at fw_logger_destroy(). Control characters are
// escaped, so that a message stays one line. errno is kept.
void fw_log(const struct fw_log *log, enum fw_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void fw_vlog(const struct fw_log *log, enum fw_log_level level, const char *format, va_list list)
    __attribute__((format(printf, 3, 0)));

#define fw_log_error(log, ...)   fw_log((log), FW_LOG_ERROR, __VA_ARGS__)
#define fw_log_warning(log, ...) fw_log((log), FW_LOG_WARNING, __VA_ARGS__)
#define fw_log_info(log, ...)    fw_log((log), FW_LOG_INFO, __VA_ARGS__)
#define fw_log_debug(log, ...)   fw_log((log), FW_LOG_DEBUG, __VA_ARGS__)

// The handle of the calling thread, for libraries whose log callback carries no context (libav).
// fw_thread_start() sets it; NULL where nothing was set. The handle must outlive the thread.
void fw_log_bind_thread(const struct fw_log *log);
const struct fw_log *fw_log_of_thread(void);

#endif
