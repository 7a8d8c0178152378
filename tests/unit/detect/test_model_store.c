#include "detect/model_store.h"

#include "util/cancel.h"
#include "util/error.h"
#include "util/text.h"
#include "util/thread.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

// SHA-256 of "abc" (FIPS 180-2, appendix B.1) and of nothing.
#define ABC_SHA256   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Two folders of this test: a mirror, and what would be models.dir.
struct folders {
    char root[32];
    char mirror[48], dir[48], base_url[64];
};

static char *path_in(const char *folder, const char *name)
{
    char *path = fw_strdup_printf("%s/%s", folder, name);
    assert_non_null(path);
    return path;
}

static void write_file(const char *folder, const char *name, const char *content, size_t length)
{
    char *path = path_in(folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(length, fwrite(content, 1, length, file));
    assert_int_equal(0, fclose(file));
    free(path);
}

static bool has_file(const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static int count_files(const char *folder)
{
    DIR *listing = opendir(folder);
    if (!listing)
        return 0;
    int count = -2; // . and ..
    while (readdir(listing))
        count++;
    closedir(listing);
    return count;
}

static void remove_files(const char *folder)
{
    DIR *listing = opendir(folder);
    if (!listing)
        return;
    for (struct dirent *entry; (entry = readdir(listing));) {
        char *path = path_in(folder, entry->d_name);
        unlink(path);
        free(path);
    }
    closedir(listing);
    rmdir(folder);
}

static int set_up(void **state)
{
    struct folders *folders = calloc(1, sizeof *folders);
    if (!folders)
        return -1;
    strcpy(folders->root, "/tmp/fw-store-XXXXXX");
    if (!mkdtemp(folders->root))
        return -1;
    snprintf(folders->mirror, sizeof folders->mirror, "%s/mirror", folders->root);
    snprintf(folders->dir, sizeof folders->dir, "%s/a/dir", folders->root);
    snprintf(folders->base_url, sizeof folders->base_url, "file://%s", folders->mirror);
    *state = folders;
    return mkdir(folders->mirror, 0700);
}

static int tear_down(void **state)
{
    struct folders *folders = *state;
    char *between = path_in(folders->root, "a");
    remove_files(folders->dir);
    remove_files(between);
    remove_files(folders->mirror);
    remove_files(folders->root);
    free(between);
    free(folders);
    return 0;
}

// Options under which "yunet" is the file my.onnx with the content "abc". Offline, so that nothing
// but the mirror is ever asked.
static struct fw_model_store_options options_for(const struct folders *folders)
{
    return (struct fw_model_store_options){.dir = folders->dir,
                                           .base_url = folders->base_url,
                                           .onnx = "my.onnx",
                                           .onnx_sha256 = ABC_SHA256,
                                           .offline = true};
}

static int locate(const struct fw_model_store_options *options, const char *model,
                  struct fw_model_files *files, struct fw_error *error)
{
    *error = (struct fw_error){0};
    int status = fw_model_locate(options, model, NULL, files, error);
    if (status != FW_OK) {
        assert_int_equal(status, error->code);
        assert_null(files->path);
        assert_null(files->config_path);
    }
    return status;
}

static void assert_says(const struct fw_error *error, const char *text)
{
    if (!strstr(error->message, text))
        fail_msg("'%s' is not in '%s'", text, error->message);
}

static void sums(void **state)
{
    struct folders *folders = *state;
    char hex[65];
    struct fw_error error = {0};
    write_file(folders->mirror, "abc", "abc", 3);
    write_file(folders->mirror, "empty", "", 0);
    char *path = path_in(folders->mirror, "abc");
    assert_int_equal(FW_OK, fw_file_sha256(path, hex, &error));
    assert_string_equal(ABC_SHA256, hex);
    free(path);
    path = path_in(folders->mirror, "empty");
    assert_int_equal(FW_OK, fw_file_sha256(path, hex, &error));
    assert_string_equal(EMPTY_SHA256, hex);
    free(path);
    assert_int_equal(FW_ENOENT, fw_file_sha256("/nowhere/at/all", hex, &error));
    assert_int_equal(FW_EIO, fw_file_sha256(folders->mirror, hex, &error));
}

static void the_table_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; fw_model_table()[i]; i++) {
        const struct fw_model_info *info = fw_model_table()[i];
        assert_ptr_equal(info, fw_model_find(info->name));
        assert_true(info->backend && info->file && info->addresses && info->licence);
        assert_true(!info->sha256 || strlen(info->sha256) == 64);
        assert_true(!info->sha256 || info->size_bytes > 0);
        assert_true(!info->config_file || (info->config_sha256 && info->config_addresses));
        for (size_t k = 0; info->addresses[k]; k++)
            assert_true(fw_starts_with(info->addresses[k], "https://"));
    }
    assert_string_equal("accurate", fw_model_find("centerface")->name);
    assert_null(fw_model_find("nothing"));
    assert_null(fw_model_find(NULL));
}

static void downloads_once_and_keeps(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = options_for(folders);
    struct fw_model_files files;
    struct fw_error error;
    write_file(folders->mirror, "my.onnx", "abc", 3);
    assert_int_equal(FW_OK, locate(&options, "yunet", &files, &error));
    assert_string_equal("yunet", files.backend);
    assert_true(fw_starts_with(files.path, folders->dir));
    fw_model_files_free(&files);
    assert_true(has_file(folders->dir, "my.onnx"));
    assert_int_equal(1, count_files(folders->dir));

    options.base_url = NULL;
    assert_int_equal(FW_OK, locate(&options, "yunet", &files, &error));
    fw_model_files_free(&files);
}

static void a_wrong_sum_in_the_folder(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = options_for(folders);
    struct fw_model_files files;
    struct fw_error error;
    write_file(folders->mirror, "my.onnx", "abc", 3);
    assert_int_equal(FW_OK, locate(&options, "yunet", &files, &error));
    fw_model_files_free(&files);
    write_file(folders->dir, "my.onnx", "", 0);
    assert_int_equal(FW_ECHECKSUM, locate(&options, "yunet", &files, &error));
    assert_says(&error, ABC_SHA256);
    assert_says(&error, EMPTY_SHA256);
    assert_says(&error, "my.onnx");
}

static void a_wrong_sum_at_the_mirror(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = options_for(folders);
    struct fw_model_files files;
    struct fw_error error;
    write_file(folders->mirror, "my.onnx", "", 0);
    assert_int_equal(FW_ECHECKSUM, locate(&options, "yunet", &files, &error));
    assert_says(&error, ABC_SHA256);
    assert_says(&error, EMPTY_SHA256);
    assert_says(&error, folders->base_url);
    assert_int_equal(0, count_files(folders->dir));
}

static void what_was_left_is_no_danger(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = options_for(folders);
    struct fw_model_files files;
    struct fw_error error;
    write_file(folders->mirror, "my.onnx", "abc", 3);
    assert_int_equal(FW_OK, locate(&options, "yunet", &files, &error));
    unlink(files.path);
    fw_model_files_free(&files);
    write_file(folders->dir, ".my.onnx.part", "rubbish of another file", 23);
    assert_int_equal(FW_OK, locate(&options, "yunet", &files, &error));
    fw_model_files_free(&files);
    assert_int_equal(1, count_files(folders->dir));

    // A whole one that was not renamed any more needs no source.
    write_file(folders->dir, ".my.onnx.part", "abc", 3);
    char *path = path_in(folders->dir, "my.onnx");
    unlink(path);
    free(path);
    path = path_in(folders->mirror, "my.onnx");
    unlink(path);
    free(path);
    assert_int_equal(FW_OK, locate(&options, "yunet", &files, &error));
    fw_model_files_free(&files);
    assert_int_equal(1, count_files(folders->dir));
}

static void too_large_and_a_web_page(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = {
        .dir = folders->dir, .base_url = folders->base_url, .offline = true};
    struct fw_model_files files;
    struct fw_error error;
    size_t length = 500000;
    char *large = calloc(1, length);
    assert_non_null(large);
    write_file(folders->mirror, "yunet_n_640_640.onnx", large, length);
    free(large);
    assert_int_equal(FW_ENOENT, locate(&options, "yunet", &files, &error));
    assert_says(&error, "larger than");
    const char page[] = "\n <!DOCTYPE HTML><html>Log in</html>";
    write_file(folders->mirror, "yunet_n_640_640.onnx", page, strlen(page));
    assert_int_equal(FW_ENOENT, locate(&options, "yunet", &files, &error));
    assert_says(&error, "web page");
    assert_int_equal(0, count_files(folders->dir));
}

static void what_has_no_sum(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = options_for(folders);
    struct fw_model_files files;
    struct fw_error error;
    write_file(folders->mirror, "my.onnx", "abc", 3);
    options.onnx_sha256 = NULL;
    assert_int_equal(FW_ENOENT, locate(&options, "yunet", &files, &error));
    assert_says(&error, "models.onnx_sha256");
    options.onnx_sha256 = "abc";
    assert_int_equal(FW_EINVAL, locate(&options, "yunet", &files, &error));
    assert_says(&error, "64 hexadecimal");
    // Upper case is fine.
    char upper[] = ABC_SHA256;
    for (char *at = upper; *at; at++)
        if (*at >= 'a')
            *at = (char)(*at - 'a' + 'A');
    options.onnx_sha256 = upper;
    assert_int_equal(FW_OK, locate(&options, "yunet", &files, &error));
    fw_model_files_free(&files);
}

static void sources_that_are_not_allowed(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = options_for(folders);
    struct fw_model_files files;
    struct fw_error error;
    options.offline = false;
    options.base_url = "ftp://127.0.0.1/";
    assert_int_equal(FW_ENOENT, locate(&options, "yunet", &files, &error));
    assert_says(&error, "not allowed");
    options.offline = true;
    options.base_url = "https://127.0.0.1/";
    assert_int_equal(FW_ENOENT, locate(&options, "yunet", &files, &error));
    assert_says(&error, "offline");
    options.onnx = "https://127.0.0.1/";
    assert_int_equal(FW_EINVAL, locate(&options, "yunet", &files, &error));
    assert_says(&error, "models.onnx");
}

static void credentials_stay_secret(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = options_for(folders);
    struct fw_model_files files;
    struct fw_error error;
    options.offline = false;
    options.onnx = "https://someone:hunter2@127.0.0.1:1/my.onnx?token=sesame";
    assert_int_equal(FW_EINVAL, locate(&options, "yunet", &files, &error));
    assert_null(strstr(error.message, "sesame"));
    options.onnx = "https://someone:hunter2@127.0.0.1:1/my.onnx";
    assert_int_equal(FW_ENOENT, locate(&options, "yunet", &files, &error));
    assert_says(&error, "127.0.0.1:1");
    assert_null(strstr(error.message, "hunter2"));
}

static void an_address_of_its_own(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = options_for(folders);
    struct fw_model_files files;
    struct fw_error error;
    write_file(folders->mirror, "other.onnx", "abc", 3);
    char *address = path_in(folders->base_url, "other.onnx");
    options.onnx = address;
    assert_int_equal(FW_OK, locate(&options, "yunet", &files, &error));
    fw_model_files_free(&files);
    assert_true(has_file(folders->dir, "other.onnx"));
    free(address);
}

static void paths(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = {.dir = folders->dir, .offline = true};
    struct fw_model_files files;
    struct fw_error error;
    write_file(folders->mirror, "my.onnx", "abc", 3);
    write_file(folders->mirror, "my.xml", "abc", 3);
    write_file(folders->mirror, "my.caffemodel", "abc", 3);
    write_file(folders->mirror, "my.txt", "abc", 3);
    write_file(folders->mirror, "my.prototxt", "abc", 3);
    const char *names[] = {"my.onnx", "my.xml", "my.caffemodel"};
    const char *backends[] = {"yunet", "haar", "res10"};
    for (int i = 0; i < 3; i++) {
        char *path = path_in(folders->mirror, names[i]);
        assert_int_equal(FW_OK, locate(&options, path, &files, &error));
        assert_string_equal(backends[i], files.backend);
        assert_string_equal(path, files.path);
        assert_true((files.config_path != NULL) == (i == 2));
        fw_model_files_free(&files);
        free(path);
    }
    char *path = path_in(folders->mirror, "my.onnx");
    options.onnx_sha256 = EMPTY_SHA256;
    assert_int_equal(FW_ECHECKSUM, locate(&options, path, &files, &error));
    // That sum is now one of another file.
    options.onnx = "another.onnx";
    assert_int_equal(FW_OK, locate(&options, path, &files, &error));
    fw_model_files_free(&files);
    free(path);
    path = path_in(folders->mirror, "my.txt");
    assert_int_equal(FW_EINVAL, locate(&options, path, &files, &error));
    free(path);
    assert_int_equal(FW_ENOENT, locate(&options, "/nowhere/my.onnx", &files, &error));
    assert_int_equal(FW_EINVAL, locate(&options, "yunett", &files, &error));
    assert_says(&error, "yunet-s");
}

static void a_known_file_brings_its_backend(void **state)
{
    (void)state;
    const char *shared = getenv("FACEWORKER_SHARED");
    if (!shared || !*shared) {
        assert_null(getenv("CI"));
        skip();
    }
    const struct fw_model_store_options options = {.offline = true};
    struct fw_model_files files;
    struct fw_error error;
    char *path = path_in(shared, "models/yunet_s_640_640.onnx");
    assert_int_equal(FW_OK, locate(&options, path, &files, &error));
    assert_string_equal("yunet", files.backend);
    fw_model_files_free(&files);
    free(path);
    // The table's names, from a mirror with the table's sums.
    char *models = path_in(shared, "models");
    const struct fw_model_store_options here = {.dir = models, .offline = true};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(FW_OK, locate(&here, i ? "yunet-s" : "yunet", &files, &error));
        fw_model_files_free(&files);
    }
    free(models);
}

static void stopping(void **state)
{
    struct folders *folders = *state;
    struct fw_model_store_options options = options_for(folders);
    struct fw_model_files files;
    struct fw_error error = {0};
    struct fw_cancel *cancel = fw_cancel_create();
    assert_non_null(cancel);
    fw_cancel_trigger(cancel);
    options.offline = false;
    options.base_url = "https://127.0.0.1:1/";
    assert_int_equal(FW_ECANCELED, fw_model_locate(&options, "yunet", cancel, &files, &error));
    fw_cancel_destroy(cancel);
}

struct racer {
    struct fw_model_store_options options;
    int status;
};

static void race(void *opaque)
{
    struct racer *racer = opaque;
    struct fw_model_files files;
    racer->status = fw_model_locate(&racer->options, "yunet", NULL, &files, NULL);
    fw_model_files_free(&files);
}

static void several_at_once(void **state)
{
    struct folders *folders = *state;
    enum { RACERS = 8 };
    struct racer racers[RACERS];
    struct fw_thread *threads[RACERS];
    write_file(folders->mirror, "my.onnx", "abc", 3);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.options = options_for(folders), .status = FW_EINVAL};
        assert_int_equal(FW_OK, fw_thread_start(&threads[i], "racer", NULL, race, &racers[i]));
    }
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(FW_OK, fw_thread_join(threads[i], -1));
        assert_int_equal(FW_OK, racers[i].status);
    }
    assert_int_equal(1, count_files(folders->dir));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sums),
        TEST(the_table_is_whole),
        TEST(downloads_once_and_keeps),
        TEST(a_wrong_sum_in_the_folder),
        TEST(a_wrong_sum_at_the_mirror),
        TEST(what_was_left_is_no_danger),
        TEST(too_large_and_a_web_page),
        TEST(what_has_no_sum),
        TEST(sources_that_are_not_allowed),
        TEST(credentials_stay_secret),
        TEST(an_address_of_its_own),
        TEST(paths),
        TEST(a_known_file_brings_its_backend),
        TEST(stopping),
        TEST(several_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
