// The marker file says since when the folder is ours. It is locked while the tree is open.
#include "storage/tree.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/folder.h"
#include "util/log.h"
#include "util/text.h"
#include "util/uuid.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MARKER_NAME "folder"
#define PREFIX      ".faceworker-"
#define MARKER      PREFIX MARKER_NAME
#define TEMPORARY   PREFIX "new-"

enum { MAX_DEPTH = 16, CHUNK_BYTES = 256 * 1024 };

struct fw_tree {
    char *path; // absolute
    int fd;
    int marker_fd; // holds the lock
    int64_t since_us;
    const struct fw_log *log;
    bool has_mutex;
    pthread_mutex_t mutex; // guards the making and removing of folders against each other
};

static int fail(const char *path, int error_number, const char *what, struct fw_error *error)
{
    const char *advice = "look at the disk and the system's log";

    if (fw_status_of_errno(error_number) == FW_EFULL)
        advice = "free some space, or lower the bound on snapshots";
    else if (error_number == EACCES || error_number == EPERM)
        advice = "give the user that runs faceworker the right to write there";
    else if (error_number == EROFS)
        advice = "choose a folder on a writable file system";
    else if (error_number == ENOTDIR || error_number == EEXIST)
        advice = "a file is in the way: move it, or choose another folder";
    return fw_fail(error, fw_status_of_errno(error_number), "can't %s '%s': %s; %s", what, path,
                   strerror(error_number), advice);
}

static int status_of_errno(int error_number)
{
    return error_number == ENOENT ? FW_ENOENT : fw_status_of_errno(error_number);
}

static int64_t time_of(const struct stat *info)
{
    return (int64_t)info->st_mtim.tv_sec * FW_US_PER_S + info->st_mtim.tv_nsec / 1000;
}

// Opening

static int open_folder(struct fw_tree *tree, const char *dir, struct fw_error *error)
{
    int error_number = fw_make_folders(dir);

    if (error_number != 0)
        return fail(dir, error_number, "make the folder", error);
    tree->path = realpath(dir, NULL);
    if (tree->path == NULL)
        return fail(dir, errno, "open the folder", error);
    tree->fd = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return tree->fd >= 0 ? FW_OK : fail(dir, errno, "open the folder", error);
}

static int lock_folder(const struct fw_tree *tree, struct fw_error *error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(tree->marker_fd, F_SETLK, &lock) == 0 || (errno != EACCES && errno != EAGAIN))
        return FW_OK;
    return fw_fail(error, FW_EIO,
                   "another faceworker stores its snapshots in '%s'; give each a "
                   "worker.state_dir of its own",
                   tree->path);
}

// Marks the folder as a tree when it is not yet, which shows too that it can be written.
static int mark_folder(struct fw_tree *tree, struct fw_error *error)
{
    struct stat info;

    tree->marker_fd = openat(tree->fd, MARKER, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (tree->marker_fd < 0)
        return fail(tree->path, errno, "write into the folder", error);
    if (fstat(tree->marker_fd, &info) != 0)
        return fail(tree->path, errno, "look into the folder", error);
    tree->since_us = time_of(&info);
    return lock_folder(tree, error);
}

static int open_tree(struct fw_tree *tree, const char *dir, struct fw_error *error)
{
    int status;

    if (pthread_mutex_init(&tree->mutex, NULL) != 0)
        return fw_fail(error, FW_ENOMEM, "no memory for the store of snapshots");
    tree->has_mutex = true;
    status = open_folder(tree, dir, error);
    return status == FW_OK ? mark_folder(tree, error) : status;
}

int fw_tree_open(struct fw_tree **tree, const char *dir, const struct fw_log *log,
                 struct fw_error *error)
{
    struct fw_tree *made = calloc(1, sizeof(*made));
    int status;

    *tree = NULL;
    if (made == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the store of snapshots");
    made->fd = -1;
    made->marker_fd = -1;
    made->log = log;
    status = open_tree(made, dir, error);
    if (status == FW_OK)
        *tree = made;
    else
        fw_tree_close(made);
    return status;
}

void fw_tree_close(struct fw_tree *tree)
{
    if (tree == NULL)
        return;
    if (tree->marker_fd >= 0)
        close(tree->marker_fd);
    if (tree->fd >= 0)
        close(tree->fd);
    if (tree->has_mutex)
        pthread_mutex_destroy(&tree->mutex);
    free(tree->path);
    free(tree);
}

const char *fw_tree_path(const struct fw_tree *tree)
{
    return tree->path;
}

int64_t fw_tree_since_us(const struct fw_tree *tree)
{
    return tree->since_us;
}

char *fw_tree_path_of(const struct fw_tree *tree, const char *key)
{
    return fw_strdup_printf("%s/%s", tree->path, key);
}

int64_t fw_tree_short_bytes(const struct fw_tree *tree, int64_t wanted_bytes)
{
    struct statvfs disk;
    int64_t eighth, free_bytes;

    if (wanted_bytes <= 0 || fstatvfs(tree->fd, &disk) != 0)
        return 0;
    eighth = (int64_t)disk.f_blocks / 8 * (int64_t)disk.f_frsize;
    free_bytes = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    if (wanted_bytes > eighth)
        wanted_bytes = eighth;
    return free_bytes < wanted_bytes ? wanted_bytes - free_bytes : 0;
}

// Scanning

// A walk through the folder.
struct scan {
    struct fw_tree *tree;
    fw_tree_visit visit;
    void *opaque;
    char key[PATH_MAX];
};

static int scan_folder(struct scan *scan, int parent, const char *name, size_t key_length,
                       int depth);

static int scan_entry(struct scan *scan, int folder, const char *name, size_t key_length, int depth)
{
    size_t room = sizeof(scan->key) - key_length;
    int written = snprintf(scan->key + key_length, room, "%s%s", key_length > 0 ? "/" : "", name);
    struct stat info;

    if (written < 0 || (size_t)written >= room)
        return FW_OK; // no key of ours is so long
    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return FW_OK; // it has just gone
    if (S_ISDIR(info.st_mode) && depth < MAX_DEPTH)
        return scan_folder(scan, folder, name, key_length + (size_t)written, depth + 1);
    if (!S_ISREG(info.st_mode))
        return FW_OK;
    if (fw_starts_with(name, TEMPORARY)) // a crash left it
        (void)unlinkat(folder, name, 0);
    if (fw_starts_with(name, PREFIX))
        return FW_OK;
    return scan->visit(scan->opaque, scan->key, time_of(&info), info.st_size);
}

// A crash leaves empty folders, too; those that are not ours are left alone.
static void remove_if_empty(const struct scan *scan, int parent, const char *name, int fd)
{
    struct stat info;

    if (fstat(fd, &info) == 0 && time_of(&info) >= scan->tree->since_us)
        (void)unlinkat(parent, name, AT_REMOVEDIR);
}

static int scan_folder(struct scan *scan, int parent, const char *name, size_t key_length,
                       int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    int status = FW_OK;

    if (folder == NULL) {
        fw_log_warning(scan->tree->log, "can't look into '%s/%.*s': %s", scan->tree->path,
                       (int)key_length, scan->key, strerror(errno));
        if (fd >= 0)
            close(fd);
        return FW_OK; // what is unreadable is left alone
    }
    while (status == FW_OK && (entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = scan_entry(scan, fd, entry->d_name, key_length, depth);
    if (depth > 0)
        remove_if_empty(scan, parent, name, fd);
    closedir(folder);
    return status;
}

int fw_tree_scan(struct fw_tree *tree, fw_tree_visit visit, void *opaque)
{
    struct scan scan = {.tree = tree, .visit = visit, .opaque = opaque};

    return scan_folder(&scan, tree->fd, ".", 0, 0);
}

// Folders

// The folder NAME in PARENT, made when missing; -1 with errno set. PARENT is closed unless it is
// the tree's own.
static int enter_folder(const struct fw_tree *tree, int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error_number;

    // The parent is synced so that the new folder outlives a crash.
    if (fd < 0 && errno == ENOENT && (mkdirat(parent, name, 0755) == 0 || errno == EEXIST) &&
        fsync(parent) == 0)
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    error_number = errno;
    if (parent != tree->fd)
        close(parent);
    errno = error_number;
    return fd;
}

// Opens the folder of KEY, whose last part is left in *NAME; -1 with errno set. KEY is cut into its
// parts. The mutex is held.
static int enter_parents(const struct fw_tree *tree, char *key, const char **name)
{
    int fd = tree->fd;

    for (char *slash = strchr(key, '/'); slash != NULL; slash = strchr(key, '/')) {
        *slash = '\0';
        fd = enter_folder(tree, fd, key);
        if (fd < 0)
            return -1;
        key = slash + 1;
    }
    *name = key;
    if (fd == tree->fd)
        fd = openat(tree->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd;
}

// Removes the folders above KEY that became empty. KEY is cut. The mutex is held.
static void remove_empty_parents(const struct fw_tree *tree, char *key)
{
    char *slash = strrchr(key, '/');

    while (slash != NULL) {
        *slash = '\0';
        if (unlinkat(tree->fd, key, AT_REMOVEDIR) != 0)
            return;
        slash = strrchr(key, '/');
    }
}

// Writing

// A file on its way to its name.
struct upload {
    int folder; // the key's folder
    int fd;
    const char *name; // of the file in its folder
    char temporary[sizeof(TEMPORARY) + FW_UUID_TEXT_SIZE];
};

// 0, or an errno. The mutex is held, so that no folder goes before the file is in it.
static int begin(const struct fw_tree *tree, char *key, struct upload *upload)
{
    char uuid[FW_UUID_TEXT_SIZE];

    upload->folder = enter_parents(tree, key, &upload->name);
    if (upload->folder < 0)
        return errno;
    fw_uuid7(fw_utc_us(), uuid);
    snprintf(upload->temporary, sizeof(upload->temporary), "%s%s", TEMPORARY, uuid);
    upload->fd =
        openat(upload->folder, upload->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return upload->fd < 0 ? errno : 0;
}

// 0, or an errno; ECANCELED when CANCEL was triggered.
static int write_all(int fd, const uint8_t *data, size_t length, const struct fw_cancel *cancel)
{
    while (length > 0) {
        ssize_t written;
        if (cancel != NULL && fw_cancel_is_set(cancel))
            return ECANCELED;
        written = write(fd, data, length < CHUNK_BYTES ? length : CHUNK_BYTES);
        if (written < 0 && errno != EINTR)
            return errno;
        if (written > 0) {
            data += written;
            length -= (size_t)written;
        }
    }
    return fsync(fd) == 0 ? 0 : errno;
}

// Gives the file its name for good. 0, or an errno.
static int finish(const struct upload *upload, bool *replaced)
{
    struct stat info;

    if (replaced != NULL)
        *replaced = fstatat(upload->folder, upload->name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (renameat(upload->folder, upload->temporary, upload->folder, upload->name) != 0)
        return errno;
    return fsync(upload->folder) == 0 ? 0 : errno;
}

// PARTS is a copy of the key to cut up. 0, or an errno.
static int write_file(struct fw_tree *tree, char *parts, const uint8_t *data, size_t length,
                      const struct fw_cancel *cancel, bool *replaced)
{
    struct upload upload = {.folder = -1, .fd = -1};
    int error_number;

    pthread_mutex_lock(&tree->mutex);
    error_number = begin(tree, parts, &upload);
    pthread_mutex_unlock(&tree->mutex);
    if (error_number == 0)
        error_number = write_all(upload.fd, data, length, cancel);
    if (upload.fd >= 0 && close(upload.fd) != 0 && error_number == 0)
        error_number = errno;
    if (error_number == 0)
        error_number = finish(&upload, replaced);
    if (error_number != 0 && upload.fd >= 0)
        (void)unlinkat(upload.folder, upload.temporary, 0);
    if (upload.folder >= 0)
        close(upload.folder);
    return error_number;
}

int fw_tree_write(struct fw_tree *tree, const char *key, const uint8_t *data, size_t length,
                  const struct fw_cancel *cancel, bool *replaced, struct fw_error *error)
{
    char *parts = fw_strdup(key);
    int error_number;

    if (parts == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to store a snapshot");
    error_number = write_file(tree, parts, data, length, cancel, replaced);
    free(parts);
    if (error_number == ECANCELED)
        return fw_fail(error, FW_ECANCELED, "storing a snapshot was given up");
    return error_number == 0 ? FW_OK : fail(tree->path, error_number, "store a snapshot in", error);
}

// Reading, moving, removing

bool fw_tree_has(const struct fw_tree *tree, const char *key)
{
    struct stat info;

    return fstatat(tree->fd, key, &info, 0) == 0 && S_ISREG(info.st_mode);
}

// The bytes of an open file of SIZE bytes at most (it may have been cut meanwhile).
static int read_bytes(int fd, size_t size, uint8_t **data, size_t *length)
{
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    size_t done = 0;
    ssize_t got = 1;

    if (bytes == NULL)
        return FW_ENOMEM;
    while (done < size && got != 0) {
        got = read(fd, bytes + done, size - done);
        if (got < 0 && errno != EINTR) {
            free(bytes);
            return FW_EIO;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    *data = bytes;
    *length = done;
    return FW_OK;
}

int fw_tree_read(struct fw_tree *tree, const char *key, uint8_t **data, size_t *length)
{
    int fd = openat(tree->fd, key, O_RDONLY | O_CLOEXEC);
    struct stat info;
    int status;

    if (fd < 0)
        return status_of_errno(errno);
    status = fstat(fd, &info) == 0 ? read_bytes(fd, (size_t)info.st_size, data, length) : FW_EIO;
    close(fd);
    return status;
}

// 0, or an errno. The mutex is held.
static int rename_into(const struct fw_tree *tree, const char *from, char *to)
{
    const char *name = to;
    int folder = enter_parents(tree, to, &name);
    int error_number;

    if (folder < 0)
        return errno;
    error_number = renameat(tree->fd, from, folder, name) == 0 ? 0 : errno;
    close(folder);
    return error_number;
}

int fw_tree_move(struct fw_tree *tree, const char *from, const char *to)
{
    char *target = fw_strdup(to);
    int error_number;

    if (target == NULL)
        return FW_ENOMEM;
    pthread_mutex_lock(&tree->mutex);
    error_number = rename_into(tree, from, target);
    pthread_mutex_unlock(&tree->mutex);
    free(target);
    return error_number == 0 ? FW_OK : status_of_errno(error_number);
}

int fw_tree_remove(struct fw_tree *tree, const char *key)
{
    char *parts = fw_strdup(key);
    int status = FW_OK;

    if (parts == NULL)
        return FW_ENOMEM;
    pthread_mutex_lock(&tree->mutex);
    if (unlinkat(tree->fd, key, 0) != 0 && errno != ENOENT)
        status = fw_status_of_errno(errno);
    else
        remove_empty_parents(tree, parts);
    pthread_mutex_unlock(&tree->mutex);
    free(parts);
    return status;
}

int fw_tree_empty(struct fw_tree *tree, const char *key)
{
    int fd = openat(tree->fd, key, O_WRONLY | O_TRUNC | O_CLOEXEC);

    if (fd < 0)
        return status_of_errno(errno);
    close(fd);
    return FW_OK;
}

static void prune_below(struct fw_tree *tree, int parent, const char *name, int64_t before_us,
                        int depth);

// The folder NAME, empty or emptied by this, if nothing came or went for long.
static void prune_folder(struct fw_tree *tree, int parent, const char *name, int64_t before_us,
                         int depth)
{
    struct stat info;

    if (depth > MAX_DEPTH || fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISDIR(info.st_mode))
        return;
    prune_below(tree, parent, name, before_us, depth);
    if (time_of(&info) >= before_us)
        return;
    pthread_mutex_lock(&tree->mutex); // no writer is between making it and its file
    (void)unlinkat(parent, name, AT_REMOVEDIR);
    pthread_mutex_unlock(&tree->mutex);
}

static void prune_below(struct fw_tree *tree, int parent, const char *name, int64_t before_us,
                        int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;

    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return; // the next time
    }
    while ((entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            prune_folder(tree, fd, entry->d_name, before_us, depth + 1);
    closedir(folder);
}

void fw_tree_prune(struct fw_tree *tree, const char *folder, int64_t before_us)
{
    prune_below(tree, tree->fd, folder[0] != '\0' ? folder : ".", before_us, 0);
}
