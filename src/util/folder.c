#include "util/folder.h"
#include "util/text.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

static int make_all(const char *path, bool is_last_made)
{
    char *copy = fw_strdup(path);
    if (copy == NULL)
        return ENOMEM;
    int number = 0;
    bool is_end = false;
    for (char *at = copy + 1; !is_end && number == 0; at++) {
        char kept = *at;
        is_end = kept == '\0';
        if (kept != '/' && !(is_end && is_last_made))
            continue;
        *at = '\0';
        if (mkdir(copy, 0755) != 0 && errno != EEXIST)
            number = errno;
        *at = kept;
    }
    free(copy);
    return number;
}

int fw_make_folders(const char *path)
{
    return make_all(path, true);
}

int fw_make_parents(const char *path)
{
    return make_all(path, false);
}
