#include "app/detect_inputs.h"
#include "util/error.h"
#include "util/text.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define MAX_DEPTH 64

static int add(struct fw_detect_inputs *inputs, const char *path, bool is_video)
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
    inputs->items[inputs->count++] = (struct fw_detect_input){copy, is_video};
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

static int add_folder(struct fw_detect_inputs *inputs, const char *path, int depth);

// One name in a folder. Links are followed to files only: links to folders may go in circles.
static int add_entry(struct fw_detect_inputs *inputs, const char *folder, const char *name,
                     int depth)
{
    struct stat link, target;
    char *path = fw_strdup_printf("%s%s%s", folder, fw_ends_with(folder, "/") ? "" : "/", name);
    if (path == NULL)
        return FW_ENOMEM;
    int status = FW_OK;
    if (lstat(path, &link) == 0 && S_ISDIR(link.st_mode))
        status = depth < MAX_DEPTH ? add_folder(inputs, path, depth + 1) : FW_OK;
    else if (is_named_like_picture(name) && stat(path, &target) == 0 && S_ISREG(target.st_mode))
        status = add(inputs, path, false);
    free(path);
    return status;
}

static int add_folder(struct fw_detect_inputs *inputs, const char *path, int depth)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort), status = FW_OK;
    if (count < 0)
        return FW_EIO;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (status != FW_ENOMEM && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            int one = add_entry(inputs, path, name, depth);
            status = one != FW_OK ? one : status;
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

int fw_detect_inputs_add(struct fw_detect_inputs *inputs, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return errno == ENOENT ? FW_ENOENT : FW_EIO;
    if (S_ISDIR(info.st_mode))
        return add_folder(inputs, path, 0);
    return add(inputs, path, !is_named_like_picture(path) && !begins_like_picture(path));
}

void fw_detect_inputs_free(struct fw_detect_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++)
        free(inputs->items[i].path);
    free(inputs->items);
    *inputs = (struct fw_detect_inputs){0};
}
