// Snapshots in a local folder, one file a key.
//
// A file is written under a name of its own, synced, renamed, and its folder synced. What is there
// is kept in an index, oldest first, so that no put has to walk the folder.
//
// The marker file says since when the folder is ours: files older than it are somebody else's and
// are neither counted nor removed. It is locked while the store is open, because another process
// would take what is being written for a crash's rest, and would not see the bytes of the other.
#include "storage/index.h"
#include "storage/store.h"
#include "util/cancel.h"
#include "util/clock.h"
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
#include <unistd.h>

#define MARKER_NAME "folder"
#define PREFIX      ".faceworker-"
#define MARKER      PREFIX MARKER_NAME
#define TEMPORARY   PREFIX "new-"

enum { MAX_DEPTH = 16, CHUNK_BYTES = 256 * 1024, MAX_REMOVALS = 256 };

struct dir_store {
    char *path; // absolute
    int fd;
    int marker_fd; // holds the lock
    int64_t max_bytes, max_age_us;
    const struct fw_log *log;
    bool has_mutex;
    // Guards the index, and the making and removing of folders against each other.
    pthread_mutex_t mutex;
    struct fw_store_index index;
};

static bool is_bounded(const struct dir_store *store)
{
    return store->max_bytes > 0 || store->max_age_us > 0;
}

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

// Removing

// Removes the folders above KEY that became empty.
static void remove_empty_parents(const struct dir_store *store, char *key)
{
    char *slash = strrchr(key, '/');

    while (slash != NULL) {
        *slash = '\0';
        if (unlinkat(store->fd, key, AT_REMOVEDIR) != 0)
            return;
        slash = strrchr(key, '/');
    }
}

static bool is_one_too_many(const struct dir_store *store, int64_t now_us)
{
    const struct fw_store_index *index = &store->index;

    if (index->count == 0)
        return false;
    return (store->max_bytes > 0 && index->bytes > store->max_bytes) ||
           (store->max_age_us > 0 &&
            fw_store_index_first(index)->time_us < now_us - store->max_age_us);
}

// The mutex is held.
static void remove_surplus(struct dir_store *store)
{
    int64_t now_us = fw_utc_us();

    for (int i = 0; i < MAX_REMOVALS && is_one_too_many(store, now_us); i++) {
        char *key = fw_store_index_take_first(&store->index);
        if (unlinkat(store->fd, key, 0) != 0 && errno != ENOENT)
            fw_log_warning(store->log, "can't remove the old snapshot '%s/%s': %s", store->path,
                           key, strerror(errno));
        remove_empty_parents(store, key);
        free(key);
    }
}

static void dir_sweep(void *state)
{
    struct dir_store *store = state;

    pthread_mutex_lock(&store->mutex);
    remove_surplus(store);
    pthread_mutex_unlock(&store->mutex);
}

// Opening

static int64_t time_of(const struct stat *info)
{
    return (int64_t)info->st_mtim.tv_sec * FW_US_PER_S + info->st_mtim.tv_nsec / 1000;
}

// A walk through the folder.
struct scan {
    struct dir_store *store;
    int64_t since_us; // older files are not ours
    char key[PATH_MAX];
    struct fw_error *error;
};

static int scan_folder(struct scan *scan, int parent, const char *name, size_t key_length,
                       int depth);

static int scan_file(struct scan *scan, int folder, const char *name, const struct stat *info)
{
    struct dir_store *store = scan->store;

    if (fw_starts_with(name, TEMPORARY)) { // a crash left it
        (void)unlinkat(folder, name, 0);
        return FW_OK;
    }
    if (fw_starts_with(name, PREFIX) || time_of(info) < scan->since_us || !is_bounded(store))
        return FW_OK;
    if (fw_store_index_add(&store->index, scan->key, time_of(info), info->st_size) != FW_OK)
        return fw_fail(scan->error, FW_ENOMEM, "no memory for the list of snapshots in '%s'",
                       store->path);
    return FW_OK;
}

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
    if (S_ISREG(info.st_mode))
        return scan_file(scan, folder, name, &info);
    return FW_OK;
}

static int scan_folder(struct scan *scan, int parent, const char *name, size_t key_length,
                       int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    int status = FW_OK;

    if (folder == NULL) {
        fw_log_warning(scan->store->log, "can't look into '%s/%.*s': %s", scan->store->path,
                       (int)key_length, scan->key, strerror(errno));
        if (fd >= 0)
            close(fd);
        return FW_OK; // what is unreadable is left alone
    }
    while (status == FW_OK && (entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = scan_entry(scan, fd, entry->d_name, key_length, depth);
    closedir(folder);
    return status;
}

static int scan_all(struct dir_store *store, int64_t since_us, struct fw_error *error)
{
    struct scan scan = {.store = store, .since_us = since_us, .error = error};
    int status = scan_folder(&scan, store->fd, ".", 0, 0);

    if (status == FW_OK)
        fw_store_index_sort(&store->index);
    return status;
}

static int make_folders(char *path, struct fw_error *error)
{
    for (char *at = path + 1;; at++) {
        char kept = *at;
        if (kept != '/' && kept != '\0')
            continue;
        *at = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return fail(path, errno, "make the folder", error);
        *at = kept;
        if (kept == '\0')
            return FW_OK;
    }
}

static int open_folder(struct dir_store *store, const char *dir, struct fw_error *error)
{
    char *wanted = fw_strdup(dir);
    int status;

    if (wanted == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the store of snapshots");
    status = make_folders(wanted, error);
    free(wanted);
    if (status != FW_OK)
        return status;
    store->path = realpath(dir, NULL);
    if (store->path == NULL)
        return fail(dir, errno, "open the folder", error);
    store->fd = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return store->fd >= 0 ? FW_OK : fail(dir, errno, "open the folder", error);
}

// Fails when another process has the folder. A file system without locks is used all the same.
static int lock_folder(const struct dir_store *store, struct fw_error *error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(store->marker_fd, F_SETLK, &lock) == 0 || (errno != EACCES && errno != EAGAIN))
        return FW_OK;
    return fw_fail(error, FW_EIO,
                   "another faceworker stores its snapshots in '%s'; give each a "
                   "worker.state_dir of its own",
                   store->path);
}

// Marks the folder as a store when it is not yet, which shows too that it can be written.
static int mark_folder(struct dir_store *store, int64_t *since_us, struct fw_error *error)
{
    struct stat info;

    store->marker_fd = openat(store->fd, MARKER, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (store->marker_fd < 0)
        return fail(store->path, errno, "write into the folder", error);
    if (fstat(store->marker_fd, &info) != 0)
        return fail(store->path, errno, "look into the folder", error);
    *since_us = time_of(&info);
    return lock_folder(store, error);
}

static int dir_open(void **state, const struct fw_store_options *options, struct fw_error *error)
{
    struct dir_store *store;
    int64_t since_us = 0;
    int status;

    if (options->dir == NULL || options->dir[0] == '\0')
        return fw_fail(error, FW_EINVAL, "no folder is named for the snapshots; name one");
    store = calloc(1, sizeof(*store));
    if (store == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the store of snapshots");
    *state = store;
    store->fd = -1;
    store->marker_fd = -1;
    store->max_bytes = options->max_bytes;
    store->max_age_us = options->max_age_us;
    store->log = options->log;
    if (pthread_mutex_init(&store->mutex, NULL) != 0)
        return fw_fail(error, FW_ENOMEM, "no memory for the store of snapshots");
    store->has_mutex = true;
    status = open_folder(store, options->dir, error);
    if (status == FW_OK)
        status = mark_folder(store, &since_us, error);
    if (status == FW_OK)
        status = scan_all(store, since_us, error);
    if (status == FW_OK)
        dir_sweep(store);
    return status;
}

static void dir_close(void *state)
{
    struct dir_store *store = state;

    if (store->marker_fd >= 0)
        close(store->marker_fd);
    if (store->fd >= 0)
        close(store->fd);
    if (store->has_mutex)
        pthread_mutex_destroy(&store->mutex);
    fw_store_index_free(&store->index);
    free(store->path);
    free(store);
}

// Putting

// A file on its way to its name.
struct upload {
    int folder; // the key's folder
    int fd;
    char temporary[sizeof(TEMPORARY) + FW_UUID_TEXT_SIZE];
};

// The folder NAME in PARENT, made when missing; -1 with errno set. PARENT is closed unless it is
// the store's own.
static int enter_folder(const struct dir_store *store, int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error_number;

    if (fd < 0 && errno == ENOENT && (mkdirat(parent, name, 0755) == 0 || errno == EEXIST)) {
        (void)fsync(parent); // so that the new folder outlives a crash; the file's own sync counts
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    error_number = errno;
    if (parent != store->fd)
        close(parent);
    errno = error_number;
    return fd;
}

// Opens the folder of KEY, whose last part is left in *NAME. KEY is cut into its parts.
static int enter_parents(const struct dir_store *store, char *key, const char **name)
{
    int fd = store->fd;

    for (char *slash = strchr(key, '/'); slash != NULL; slash = strchr(key, '/')) {
        *slash = '\0';
        fd = enter_folder(store, fd, key);
        if (fd < 0)
            return -1;
        key = slash + 1;
    }
    *name = key;
    if (fd == store->fd)
        fd = openat(store->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd;
}

static void name_temporary(struct upload *upload)
{
    char uuid[FW_UUID_TEXT_SIZE];

    fw_uuid7(fw_utc_us(), uuid);
    snprintf(upload->temporary, sizeof(upload->temporary), "%s%s", TEMPORARY, uuid);
}

// 0, or an errno. The mutex is held, so that no folder goes before the file is in it.
static int begin(const struct dir_store *store, char *key, struct upload *upload, const char **name)
{
    upload->folder = enter_parents(store, key, name);
    if (upload->folder < 0)
        return errno;
    name_temporary(upload);
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

// Counts the file that has just got the name KEY. The mutex is held.
static int note(struct dir_store *store, const char *key, size_t length, bool was_there)
{
    if (!is_bounded(store))
        return FW_OK;
    if (was_there)
        fw_store_index_remove(&store->index, key);
    return fw_store_index_add(&store->index, key, fw_utc_us(), (int64_t)length);
}

// Gives the file its name for good. 0, or an errno.
static int finish(struct dir_store *store, const struct upload *upload, const char *name,
                  const char *key, size_t length)
{
    struct stat info;
    int error_number = 0;
    bool was_there;

    pthread_mutex_lock(&store->mutex);
    was_there = fstatat(upload->folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (renameat(upload->folder, upload->temporary, upload->folder, name) != 0)
        error_number = errno;
    else if (note(store, key, length, was_there) != FW_OK)
        fw_log_warning(store->log, "no memory to remember '%s'; it is kept until the next start",
                       key);
    remove_surplus(store);
    pthread_mutex_unlock(&store->mutex);
    if (error_number != 0)
        return error_number;
    return fsync(upload->folder) == 0 ? 0 : errno;
}

// Writes KEY's file; PARTS is a copy of KEY to cut up. 0, or an errno.
static int put_file(struct dir_store *store, const char *key, char *parts, const uint8_t *data,
                    size_t length, const struct fw_cancel *cancel)
{
    struct upload upload = {.folder = -1, .fd = -1};
    const char *name = key;
    int error_number;

    pthread_mutex_lock(&store->mutex);
    error_number = begin(store, parts, &upload, &name);
    pthread_mutex_unlock(&store->mutex);
    if (error_number == 0)
        error_number = write_all(upload.fd, data, length, cancel);
    if (upload.fd >= 0 && close(upload.fd) != 0 && error_number == 0)
        error_number = errno;
    if (error_number == 0)
        error_number = finish(store, &upload, name, key, length);
    if (error_number != 0 && upload.fd >= 0)
        (void)unlinkat(upload.folder, upload.temporary, 0);
    if (upload.folder >= 0)
        close(upload.folder);
    return error_number;
}

static int dir_put(void *state, const char *key, const uint8_t *data, size_t length,
                   const char *content_type, struct fw_cancel *cancel, struct fw_error *error)
{
    struct dir_store *store = state;
    char *parts = fw_strdup(key);
    int error_number;
    (void)content_type; // the key's ending says it

    if (parts == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to store a snapshot");
    error_number = put_file(store, key, parts, data, length, cancel);
    free(parts);
    if (error_number == ECANCELED)
        return fw_fail(error, FW_ECANCELED, "storing a snapshot was given up");
    return error_number == 0 ? FW_OK
                             : fail(store->path, error_number, "store a snapshot in", error);
}

static char *dir_url(const void *state, const char *key)
{
    const struct dir_store *store = state;
    struct fw_text url = FW_TEXT_INIT;

    fw_text_append(&url, "file://");
    fw_text_append_percent(&url, store->path, "/");
    fw_text_append(&url, "/");
    fw_text_append_percent(&url, key, "/");
    return fw_text_steal(&url);
}

const struct fw_store_backend fw_store_dir = {
    .name = "dir",
    .open = dir_open,
    .put = dir_put,
    .url = dir_url,
    .sweep = dir_sweep,
    .close = dir_close,
};
