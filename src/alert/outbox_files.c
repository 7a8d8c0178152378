// The files beside the database: the lock, the reserve, and what was moved aside.
#include "alert/outbox_internal.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const mode_t FILE_MODE = 0640;

static int refuse(struct fw_outbox *outbox, struct fw_error *error)
{
    char holder[24] = "";
    ssize_t length = pread(outbox->lock_fd, holder, sizeof(holder) - 1, 0);

    holder[length > 0 ? strspn(holder, "0123456789") : 0] = '\0';
    return fw_fail(error, FW_EIO,
                   "another faceworker (process %s) uses the outbox %s; give each one a "
                   "worker.state_dir of its own",
                   holder[0] != '\0' ? holder : "unknown", outbox->path);
}

int fw_outbox_lock(struct fw_outbox *outbox, struct fw_error *error)
{
    // flock(): unlike fcntl()'s locks it holds against ourselves, too, and outlives other closes.
    outbox->lock_fd = open(outbox->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (outbox->lock_fd < 0)
        return fw_fail(error, FW_EIO, "can't make the outbox's lock %s: %s; check worker.state_dir",
                       outbox->lock_path, strerror(errno));
    while (flock(outbox->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return refuse(outbox, error);
        if (errno != EINTR)
            return fw_fail(error, FW_EIO,
                           "can't lock %s: %s; use a local disk for "
                           "worker.state_dir",
                           outbox->lock_path, strerror(errno));
    }
    // Who holds it is for people only: a full disk must not keep us from starting.
    if (ftruncate(outbox->lock_fd, 0) != 0 || dprintf(outbox->lock_fd, "%ld\n", (long)getpid()) < 0)
        fw_log_debug(outbox->options.log, "can't write our number into %s", outbox->lock_path);
    return FW_OK;
}

void fw_outbox_unlock(struct fw_outbox *outbox)
{
    if (outbox->lock_fd >= 0)
        close(outbox->lock_fd);
    outbox->lock_fd = -1;
}

// The reserve

static bool is_whole(int fd, int64_t size)
{
    struct stat info;

    return fstat(fd, &info) == 0 && info.st_size == size && (int64_t)info.st_blocks * 512 >= size;
}

// True when the disk has room for the reserve and as much again: giving it to the outbox and taking
// it back at once would help nobody.
static bool has_room(const char *path, int64_t size)
{
    struct statvfs disk;

    if (statvfs(path, &disk) != 0)
        return false;
    return (int64_t)disk.f_bavail * (int64_t)disk.f_frsize / 2 >= size;
}

bool fw_outbox_make_reserve(struct fw_outbox *outbox)
{
    int64_t size = outbox->options.reserve_bytes;
    bool is_made;
    int fd;

    if (size <= 0)
        return false;
    fd = open(outbox->reserve_path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return false;
    is_made =
        is_whole(fd, size) || (ftruncate(fd, 0) == 0 && has_room(outbox->reserve_path, size) &&
                               posix_fallocate(fd, 0, size) == 0);
    close(fd);
    if (!is_made)
        unlink(outbox->reserve_path);
    return is_made;
}

void fw_outbox_release_reserve(struct fw_outbox *outbox)
{
    if (unlink(outbox->reserve_path) == 0)
        fw_log_warning(outbox->options.log,
                       "the disk is full; the outbox goes on with its reserve of %lld MB; free "
                       "some space",
                       (long long)(outbox->options.reserve_bytes / 1000000));
}

// Moving aside

static void rename_part(const char *from, const char *to, const char *suffix)
{
    char *source = fw_strdup_printf("%s%s", from, suffix);
    char *target = fw_strdup_printf("%s%s", to, suffix);

    if (source != NULL && target != NULL && rename(source, target) != 0)
        unlink(source); // it must not be taken for the new database's
    free(source);
    free(target);
}

// "/dir/outbox.db.damaged-20260131T235959Z", with a number where that is taken.
static char *aside_path(const char *path, const char *why)
{
    char time[FW_UTC_TEXT_SIZE], compact[FW_UTC_TEXT_SIZE];
    size_t length = 0;
    char *target = NULL;

    fw_utc_format(fw_utc_us(), time);
    for (const char *c = time; *c != '\0' && *c != '.'; c++)
        if (*c != '-' && *c != ':')
            compact[length++] = *c;
    compact[length] = '\0';
    for (int i = 0; i < 1000; i++) {
        struct stat info;
        free(target);
        target = i == 0 ? fw_strdup_printf("%s.%s-%sZ", path, why, compact)
                        : fw_strdup_printf("%s.%s-%sZ-%d", path, why, compact, i);
        if (target == NULL || lstat(target, &info) != 0)
            break;
    }
    return target;
}

int fw_outbox_move_aside(struct fw_outbox *outbox, const char *why, struct fw_error *error)
{
    char *target = aside_path(outbox->path, why);
    int status = FW_OK;

    if (target == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory");
    if (rename(outbox->path, target) != 0)
        status = fw_fail(error, FW_EIO, "can't move %s to %s: %s", outbox->path, target,
                         strerror(errno));
    if (status == FW_OK) {
        rename_part(outbox->path, target, "-wal");
        rename_part(outbox->path, target, "-shm");
        fw_log_error(outbox->options.log,
                     "the outbox %s is %s; it was moved to %s and a new one begun; 'faceworker "
                     "outbox export --file' reads what can be read of it",
                     outbox->path, why, target);
    }
    free(target);
    return status;
}
