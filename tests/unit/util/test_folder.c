// Folders on the disk.
#include "cmocka_includes.h"
#include "util/folder.h"
#include "util/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static void missing_folders_are_made(void **state)
{
    (void)state;
    char root[] = "/tmp/faceworker-folder-XXXXXX";
    assert_non_null(mkdtemp(root));
    char *parent = fw_strdup_printf("%s/a", root);
    char *path = fw_strdup_printf("%s/a/b/c", root);
    char *above = fw_strdup_printf("%s/a/b", root);
    assert_int_equal(fw_make_parents(path), 0);
    assert_true(is_folder(above));
    assert_false(is_folder(path));
    assert_int_equal(fw_make_folders(path), 0);
    assert_int_equal(fw_make_folders(path), 0);
    assert_true(is_folder(path));
    rmdir(path);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    char *below = fw_strdup_printf("%s/d", path);
    assert_int_equal(fw_make_folders(below), ENOTDIR);
    unlink(path);
    rmdir(above);
    rmdir(parent);
    rmdir(root);
    free(below);
    free(above);
    free(path);
    free(parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(missing_folders_are_made)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
