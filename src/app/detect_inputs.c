#include "app/detect_inputs.h"
#include "util/cancel.h"
#include "util/text.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define MAX_DEPTH 64

static int add(struct fw_detect_inputs *inputs, const char *path, const struct stat *info,
               bool is_video)
{
    if (inputs->count == inputs->capacity) {
        size_t capacity = inputs->capacity == 0 ? 64 : inputs->capacity * 2;
        struct fw_detect_input *items = realloc(inputs->items, capacity * sizeof(*items));
        if (items == NULL)
            return FW_ENOMEM;
        inputs->items = items;
        inputs->capacity = capacity;
    }
    char *copy = fw_strdup(path);
    if (copy == NULL)
        return FW_ENOMEM;
    inputs->items[inputs->count++] =
        (struct fw_detect_input){copy, is_video, info->st_dev, info->st_ino};
    return FW_OK;
}

static bool is_named_like_picture(const char *path)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".webp", ".bmp"};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot != NULL && i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (strcasecmp(dot, suffixes[i]) == 0)
            return true;
    }
    return false;
}

static bool begins_like_picture(const char *path)
{
    unsigned char head[12] = {0};
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    size_t count = fread(head, 1, sizeof(head), file);
    fclose(file);
    return count == sizeof(head) &&
           (memcmp(head, "\xFF\xD8\xFF", 3) == 0 || memcmp(head, "\x89PNG\r\n\x1A\n", 8) == 0 ||
            memcmp(head, "BM", 2) == 0 ||
            (memcmp(head, "RIFF", 4) == 0 && memcmp(head + 8, "WEBP", 4) == 0));
}

// A walk through folders.
struct walk {
    struct fw_detect_inputs *inputs;
    const struct fw_cancel *cancel;
    struct fw_error *error;
};

static int fail(struct fw_error *error, const char *path, int reason)
{
    int status = reason == ENOENT ? FW_ENOENT : reason == ENOMEM ? FW_ENOMEM : FW_EIO;
    return fw_fail(error, status, "can't read '%s' (%s)", path, strerror(reason));
}

static int add_folder(const struct walk *walk, const char *path, int depth);

// One name in a folder. Links are followed to files only: links to folders may go in circles.
static int add_entry(const struct walk *walk, const char *folder, const char *name, int depth)
{
    struct stat link, target;
    char *path = fw_strdup_printf("%s%s%s", folder, fw_ends_with(folder, "/") ? "" : "/", name);
    if (path == NULL)
        return FW_ENOMEM;
    int status = FW_OK;
    if (lstat(path, &link) == 0 && S_ISDIR(link.st_mode))
        status = add_folder(walk, path, depth + 1);
    else if (is_named_like_picture(name) && stat(path, &target) == 0 && S_ISREG(target.st_mode))
        status = add(walk->inputs, path, &target, false);
    free(path);
    return status;
}

// What ends the walk; all else is told at its end.
static bool is_fatal(int status)
{
    return status == FW_ENOMEM || status == FW_ECANCELED;
}

static int add_folder(const struct walk *walk, const char *path, int depth)
{
    struct dirent **entries = NULL;
    struct fw_error later = {0};
    int count = depth <= MAX_DEPTH ? scandir(path, &entries, NULL, alphasort) : -1;
    if (count < 0)
        return fail(walk->error, path, depth <= MAX_DEPTH ? errno : ELOOP);
    int status = FW_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        // The first failure is the one to tell.
        const struct walk rest = {walk->inputs, walk->cancel,
                                  status == FW_OK ? walk->error : &later};
        if (!is_fatal(status) && fw_cancel_is_set(walk->cancel))
            status = FW_ECANCELED;
        if (!is_fatal(status) && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            int one = add_entry(&rest, path, name, depth);
            status = status == FW_OK || is_fatal(one) ? one : status;
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

int fw_detect_inputs_add(struct fw_detect_inputs *inputs, const char *path,
                         const struct fw_cancel *cancel, struct fw_error *error)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return fail(error, path, errno);
    if (S_ISDIR(info.st_mode))
        return add_folder(&(struct walk){inputs, cancel, error}, path, 0);
    // Opening a pipe would wait for its writer, and nothing but its beginning tells what it holds.
    if (!S_ISREG(info.st_mode))
        return fw_fail(error, FW_EINVAL,
                       "'%s' is neither a file nor a folder; write what it gives into a file first",
                       path);
    bool is_picture = is_named_like_picture(path) || begins_like_picture(path);
    return add(inputs, path, &info, !is_picture);
}

void fw_detect_inputs_free(struct fw_detect_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++)
        free(inputs->items[i].path);
    free(inputs->items);
    *inputs = (struct fw_detect_inputs){0};
}
