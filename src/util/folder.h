// Folders on the disk.
#ifndef FW_UTIL_FOLDER_H
#define FW_UTIL_FOLDER_H

#include <stdbool.h>

// Makes PATH and the folders above it, those that are missing. 0, or the errno of what could not be
// made. PATH must not be empty. Any thread.
int fw_make_folders(const char *path);
// The same for the folders above PATH, not PATH itself.
int fw_make_parents(const char *path);

#endif
