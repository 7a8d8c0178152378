// Alerts as lines of a file (JSON Lines), a batch appended by one write and synced before it
// counts.
//
// One process writes, which a lock sees to: half a line is taken back by its length, and that must
// not cut off another's. Others read, rotate or remove the file as they like: before each line the
// path is looked at again, and opened anew when another file (or none) lies there.
#include "alert/sink.h"
#include "util/folder.h"
#include "util/log.h"
#include "util/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAX_BATCH = 256 }; // each message takes two of the 1024 parts that Linux writes at once

struct file_sink {
    char *path;
    int fd; // -1: to be opened
    const struct fw_log *log;
};

static int fail(const struct file_sink *sink, int error_number, const char *what,
                struct fw_error *error)
{
    const char *advice = "check the path and its permissions";

    if (fw_status_of_errno(error_number) == FW_EFULL)
        advice = "free some space";
    else if (error_number == EROFS)
        advice = "choose a path on a writable file system";
    return fw_fail(error, fw_status_of_errno(error_number), "can't %s '%s': %s; %s", what,
                   sink->path, strerror(error_number), advice);
}

static void close_file(struct file_sink *sink)
{
    if (sink->fd >= 0)
        close(sink->fd);
    sink->fd = -1;
}

// Ends the line that a crash may have left without an end: what follows begins a line of its own.
static int mend_tail(struct file_sink *sink, struct fw_error *error)
{
    off_t end = lseek(sink->fd, 0, SEEK_END);
    char last = '\n';

    if (end > 0 && pread(sink->fd, &last, 1, end - 1) != 1)
        return fail(sink, errno, "read", error);
    if (last == '\n')
        return FW_OK;
    fw_log_warning(sink->log, "the last line of '%s' is cut off; the next one begins after it",
                   sink->path);
    if (write(sink->fd, "\n", 1) != 1)
        return fail(sink, errno, "write to", error);
    return FW_OK;
}

// Fails when another process writes to the file. A file system without locks is used all the same.
static int lock_file(const struct file_sink *sink, struct fw_error *error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(sink->fd, F_SETLK, &lock) == 0 || (errno != EACCES && errno != EAGAIN))
        return FW_OK;
    return fw_fail(error, FW_EIO,
                   "another faceworker writes its alerts to '%s'; give each a file (or "
                   "worker.state_dir) of its own",
                   sink->path);
}

static int open_file(struct file_sink *sink, struct fw_error *error)
{
    struct stat info;
    int folder_error = fw_make_parents(sink->path);
    int status;

    // Without O_NONBLOCK a named pipe that nobody reads would hold us here for good.
    sink->fd = open(sink->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
    if (sink->fd < 0) // a folder that is missing says less than why it can't be made
        return fail(sink, errno == ENOENT && folder_error != 0 ? folder_error : errno, "open",
                    error);
    if (fstat(sink->fd, &info) != 0)
        status = fail(sink, errno, "look at", error);
    else if (!S_ISREG(info.st_mode))
        status = fw_fail(error, FW_EINVAL, "'%s' is no regular file; name one for the alerts",
                         sink->path);
    else
        status = lock_file(sink, error);
    if (status == FW_OK)
        status = mend_tail(sink, error);
    if (status != FW_OK)
        close_file(sink);
    return status;
}

static bool was_replaced(const struct file_sink *sink)
{
    struct stat ours, there;

    return fstat(sink->fd, &ours) != 0 || stat(sink->path, &there) != 0 ||
           ours.st_ino != there.st_ino || ours.st_dev != there.st_dev;
}

// Takes back what was written after LENGTH, so that a batch is in the file whole or not at all.
static void undo(struct file_sink *sink, off_t length)
{
    if (ftruncate(sink->fd, length) != 0)
        fw_log_warning(sink->log, "can't take half a line back out of '%s': %s", sink->path,
                       strerror(errno));
    close_file(sink); // opening mends the tail
}

// Puts MESSAGES' bodies, each with NEWLINE, into PARTS; returns the bytes in all.
static size_t gather(struct iovec *parts, const struct fw_message *messages, size_t count,
                     char *newline)
{
    size_t total = 0;

    for (size_t i = 0; i < count; i++) {
        parts[2 * i] = (struct iovec){.iov_base = messages[i].body, .iov_len = messages[i].length};
        parts[2 * i + 1] = (struct iovec){.iov_base = newline, .iov_len = 1};
        total += messages[i].length + 1;
    }
    return total;
}

static int append(struct file_sink *sink, const struct fw_message *messages, size_t count,
                  struct fw_error *error)
{
    struct iovec parts[2 * MAX_BATCH];
    char newline = '\n';
    const size_t total = gather(parts, messages, count, &newline);
    off_t length = lseek(sink->fd, 0, SEEK_END);
    ssize_t written;
    int error_number;

    if (length < 0)
        return fail(sink, errno, "seek in", error);
    do
        written = writev(sink->fd, parts, (int)(2 * count));
    while (written < 0 && errno == EINTR);
    error_number = errno;
    if (written >= 0 && (size_t)written < total)
        error_number = ENOSPC; // what else cuts a write to a file
    else if (written >= 0 && fdatasync(sink->fd) == 0)
        return FW_OK;
    else if (written >= 0)
        error_number = errno;
    undo(sink, length);
    return fail(sink, error_number, "write to", error);
}

static int file_deliver(void *state, const struct fw_message *messages, size_t count, int *results,
                        struct fw_cancel *cancel, struct fw_error *error)
{
    struct file_sink *sink = state;
    int status = FW_OK;
    (void)cancel; // the disk can't be interrupted

    if (sink->fd >= 0 && was_replaced(sink))
        close_file(sink);
    if (sink->fd < 0)
        status = open_file(sink, error);
    if (status == FW_EINVAL)
        status = FW_EIO; // what was fine at the start is not refused for good
    if (status == FW_OK)
        status = append(sink, messages, count, error);
    for (size_t i = 0; i < count; i++)
        results[i] = status;
    return status;
}

static void file_close(void *state)
{
    struct file_sink *sink = state;

    close_file(sink);
    free(sink->path);
    free(sink);
}

static int file_open(void **state, const struct fw_sink_options *options, struct fw_error *error)
{
    struct file_sink *sink;

    if (options->path == NULL || options->path[0] == '\0')
        return fw_fail(error, FW_EINVAL, "the sink '%s' has no path; name a file for it",
                       options->name);
    sink = calloc(1, sizeof(*sink));
    if (sink == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    *state = sink;
    sink->fd = -1;
    sink->log = options->log;
    sink->path = fw_strdup(options->path);
    if (sink->path == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    return open_file(sink, error);
}

const struct fw_sink_backend fw_sink_file = {
    .type = "file",
    .max_batch = MAX_BATCH,
    .open = file_open,
    .deliver = file_deliver,
    .close = file_close,
};
