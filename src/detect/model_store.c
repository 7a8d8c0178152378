#include "detect/model_store.h"

#include "detect/download.h"
#include "util/cancel.h"
#include "util/log.h"
#include "util/text.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CAP_UNKNOWN_BYTES (512L * 1024 * 1024)
#define READ_BYTES        65536
#define MAX_ADDRESSES     8
#define WHERE_CHARACTERS  250 // what a message has room for, all places together

// Where Debian's opencv-data and OpenCV's own installation put the cascades.
static const char *const cascade_folders[] = {
    "/usr/share/opencv4/haarcascades",
    "/usr/local/share/opencv4/haarcascades",
    "/usr/share/opencv/haarcascades",
    NULL,
};
static const char *const nowhere[] = {NULL};

// One file that is wanted, after the configuration has had its say.
struct want {
    const char *model;  // for messages
    const char *file;   // name in models.dir and under models.base_url
    const char *path;   // exactly this one instead, or NULL
    const char *sha256; // NULL: unknown
    long size_bytes;    // 0: unknown
    const char *const *addresses;
    const char *own_address; // the configuration's, instead of base_url and ADDRESSES; or NULL
    const char *const *system_folders;
    const char *file_key, *sum_key; // of the configuration, for messages; SUM_KEY may be NULL
    char sum[65];                   // the configuration's, in lower case
};

// What was tried in vain, for the message at the end.
struct attempts {
    struct fw_text places;
    struct fw_error worst; // the first wrong sum
    int count;
};

int fw_file_sha256(const char *path, char hex[65], struct fw_error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    unsigned char *buffer = malloc(READ_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int status = FW_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        status =
            fw_fail(error, errno == ENOENT ? FW_ENOENT : FW_EIO,
                    "can't read '%s' (%s); check the path and its rights", path, strerror(errno));
        goto done;
    }
    if (!buffer || !context || !EVP_DigestInit_ex(context, EVP_sha256(), NULL)) {
        status =
            fw_fail(error, FW_ENOMEM, "can't compute the SHA-256 of '%s'; is memory out?", path);
        goto done;
    }
    while (status == FW_OK) {
        ssize_t count = read(fd, buffer, READ_BYTES);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            status = fw_fail(error, FW_EIO, "can't read '%s' (%s); check the disk", path,
                             strerror(errno));
        if (count <= 0)
            break;
        if (!EVP_DigestUpdate(context, buffer, (size_t)count))
            status = fw_fail(error, FW_EIO, "libcrypto can't add up '%s'; check it", path);
    }
    if (status == FW_OK && !EVP_DigestFinal_ex(context, digest, &length))
        status = fw_fail(error, FW_EIO, "libcrypto can't add up '%s'; check it", path);
    for (unsigned int i = 0; status == FW_OK && i < 32; i++)
        snprintf(hex + (size_t)2 * i, 3, "%02x", digest[i]);
done:
    if (fd >= 0)
        close(fd);
    EVP_MD_CTX_free(context);
    free(buffer);
    return status;
}

static bool is_address(const char *text)
{
    return strstr(text, "://") != NULL;
}

static bool is_path(const char *text)
{
    return strchr(text, '/') && !is_address(text);
}

static bool file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int make_folders(const char *path, struct fw_error *error)
{
    char *copy = fw_strdup(path);
    if (!copy)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    int status = FW_OK;
    for (char *at = copy + 1; status == FW_OK; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char kept = *at;
        *at = '\0';
        if (mkdir(copy, 0755) != 0 && errno != EEXIST)
            status = fw_fail(error, FW_EIO,
                             "can't make the folder '%s' (%s); set models.dir to a folder of ours",
                             copy, strerror(errno));
        *at = kept;
        if (kept == '\0')
            break;
    }
    free(copy);
    return status;
}

// ---- What is wanted

// Takes the configuration's sum over.
static int want_sum(struct want *want, const char *sha256, struct fw_error *error)
{
    if (!sha256)
        return FW_OK;
    size_t length = strlen(sha256);
    bool valid = length == 64;
    for (size_t i = 0; valid && i < length; i++) {
        valid = isxdigit((unsigned char)sha256[i]) != 0;
        want->sum[i] = (char)tolower((unsigned char)sha256[i]);
    }
    if (!valid)
        return fw_fail(error, FW_EINVAL,
                       "%s is no SHA-256: it must be 64 hexadecimal digits; `sha256sum FILE` "
                       "prints them",
                       want->sum_key ? want->sum_key : "the sum");
    want->sha256 = want->sum;
    return FW_OK;
}

// Takes the configuration's file name, path or address over. An address' last part becomes the
// name; what no longer is the known file loses its known sum and addresses.
static int want_file(struct want *want, const char *file, struct fw_error *error)
{
    if (!file)
        return FW_OK;
    const char *name = base_name(file);
    if (*name == '\0' || strchr(name, '?'))
        return fw_fail(error, FW_EINVAL, "%s names no file; let it end with the file's name",
                       want->file_key);
    bool known = strcmp(name, want->file) == 0;
    if (!known) {
        want->sha256 = NULL;
        want->size_bytes = 0;
        want->addresses = nowhere;
    }
    want->file = name;
    if (is_address(file))
        want->own_address = file;
    else if (is_path(file))
        want->path = file;
    return FW_OK;
}

static int want_model(const struct fw_model_store_options *options,
                      const struct fw_model_info *info, struct want *want, struct fw_error *error)
{
    *want = (struct want){
        .model = info->name,
        .file = info->file,
        .sha256 = info->sha256,
        .size_bytes = info->size_bytes,
        .addresses = info->addresses,
        .system_folders = nowhere,
    };
    const char *file = NULL;
    const char *sum = NULL;
    if (strcmp(info->name, "yunet") == 0) {
        file = options->onnx;
        sum = options->onnx_sha256;
        want->file_key = "models.onnx";
        want->sum_key = "models.onnx_sha256";
    } else if (strcmp(info->name, "res10") == 0) {
        file = options->caffemodel;
        sum = options->caffemodel_sha256;
        want->file_key = "models.caffemodel";
        want->sum_key = "models.caffemodel_sha256";
    } else if (strcmp(info->name, "haar") == 0) {
        file = options->cascade;
        want->file_key = "models.cascade";
        want->system_folders = cascade_folders;
    }
    int status = want_file(want, file, error);
    return status == FW_OK ? want_sum(want, sum, error) : status;
}

static int want_config(const struct fw_model_store_options *options,
                       const struct fw_model_info *info, struct want *want, struct fw_error *error)
{
    *want = (struct want){
        .model = info->name,
        .file = info->config_file,
        .sha256 = info->config_sha256,
        .addresses = info->config_addresses,
        .system_folders = nowhere,
        .file_key = "models.prototxt",
        .sum_key = "models.prototxt_sha256",
    };
    int status = want_file(want, options->prototxt, error);
    return status == FW_OK ? want_sum(want, options->prototxt_sha256, error) : status;
}

// ---- Verifying

// Compares the sum of PATH; HEX is set on FW_OK.
static int verify(const struct fw_model_store_options *options, const struct want *want,
                  const char *path, char hex[65], struct fw_error *error)
{
    int status = fw_file_sha256(path, hex, error);
    if (status != FW_OK || !want->sha256 || strcmp(hex, want->sha256) == 0)
        return status;
    const char *from = want->own_address ? want->own_address : want->addresses[0];
    char *display = from ? fw_download_display(from) : NULL;
    bool ours = options->dir && fw_starts_with(path, options->dir);
    status =
        fw_fail(error, FW_ECHECKSUM, "'%s' is not used: its SHA-256 is %s, wanted is %s%s%s; %s",
                path, hex, want->sha256, display ? " as at " : "", display ? display : "",
                ours ? "delete it and run `faceworker models fetch`" : "check file and sum");
    free(display);
    return status;
}

// A file whose content nobody vouches for may be used, but not unnoticed.
static void warn_unchecked(const struct fw_model_store_options *options, const struct want *want,
                           const char *path, const char *hex)
{
    for (size_t i = 0; fw_model_table()[i]; i++)
        if (fw_model_table()[i]->sha256 && strcmp(fw_model_table()[i]->sha256, hex) == 0)
            return;
    if (want->sum_key)
        fw_log_warning(options->log,
                       "'%s' is used unchecked, because its SHA-256 is not known; if it is the "
                       "right file, set %s to %s",
                       path, want->sum_key, hex);
    else
        fw_log_warning(options->log, "'%s' is used unchecked (SHA-256 %s)", path, hex);
}

// The backend of the table's row with this very file, else OTHERWISE.
static const char *backend_of(const char *hex, const char *otherwise)
{
    for (size_t i = 0; fw_model_table()[i]; i++) {
        const struct fw_model_info *info = fw_model_table()[i];
        if (info->sha256 && strcmp(info->sha256, hex) == 0)
            return info->backend;
    }
    return otherwise;
}

// ---- Finding

// *PATH is the file in FOLDER, or NULL when there is none.
static int look_in(const char *folder, const char *file, char **path, struct fw_error *error)
{
    *path = fw_strdup_printf("%s/%s", folder, file);
    if (!*path)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (!file_exists(*path)) {
        free(*path);
        *path = NULL;
    }
    return FW_OK;
}

// Fills ADDRESSES (of MAX_ADDRESSES) with malloc'd strings, NULL after the last.
static int list_addresses(const struct fw_model_store_options *options, const struct want *want,
                          char *addresses[MAX_ADDRESSES + 1], struct fw_error *error)
{
    int count = 0;
    bool failed = false;
    if (want->own_address) {
        addresses[count] = fw_strdup(want->own_address);
        failed = !addresses[count++];
    } else {
        if (options->base_url && *options->base_url) {
            struct fw_text text = FW_TEXT_INIT;
            fw_text_append(&text, options->base_url);
            if (!fw_ends_with(options->base_url, "/"))
                fw_text_append(&text, "/");
            fw_text_append_percent(&text, want->file, "");
            addresses[count] = fw_text_steal(&text);
            failed = !addresses[count++];
        }
        for (size_t i = 0; !failed && want->addresses[i] && count < MAX_ADDRESSES; i++) {
            addresses[count] = fw_strdup(want->addresses[i]);
            failed = !addresses[count++];
        }
    }
    return failed ? fw_fail(error, FW_ENOMEM, "out of memory") : FW_OK;
}

static void note_attempt(struct attempts *attempts, const char *address,
                         const struct fw_error *error)
{
    char *display = fw_download_display(address);
    attempts->count++;
    if (error->code == FW_ECHECKSUM && attempts->worst.code != FW_ECHECKSUM)
        attempts->worst = *error;
    // A sentence about an address begins with it as a rule.
    if (display && fw_starts_with(error->message, display))
        fw_text_appendf(&attempts->places, "; %s", error->message);
    else
        fw_text_appendf(&attempts->places, "; %s: %s", display ? display : "", error->message);
    free(display);
}

static int download_from(const struct fw_model_store_options *options, const struct want *want,
                         const char *address, const char *target, struct fw_cancel *cancel,
                         struct fw_error *error)
{
    // Plain HTTP is only for who wrote it down: a mirror in the own network, as a rule.
    bool http = fw_starts_with(address, "http://");
    if (options->offline && !fw_starts_with(address, "file://"))
        return fw_fail(error, FW_ENOENT, "not asked, because we are offline");
    if (http)
        fw_log_warning(options->log,
                       "models come over http://, which anybody on the way can read and change; "
                       "the SHA-256 is what protects them: use https:// where you can");
    const struct fw_download download = {
        .address = address,
        .target = target,
        .sha256 = want->sha256,
        .cap_bytes =
            want->size_bytes > 0 ? want->size_bytes + want->size_bytes / 4 : CAP_UNKNOWN_BYTES,
        .allow_http = http,
        .cancel = cancel,
        .log = options->log,
    };
    int status = fw_download(&download, error);
    if (status != FW_OK && status != FW_ECANCELED)
        fw_log_warning(options->log, "%s", error->message);
    return status;
}

static int fail_nowhere(const struct fw_model_store_options *options, const struct want *want,
                        const struct attempts *attempts, struct fw_error *error)
{
    if (attempts->worst.code == FW_ECHECKSUM) {
        if (error)
            *error = attempts->worst;
        return FW_ECHECKSUM;
    }
    return fw_fail(error, FW_ENOENT,
                   "the file %s of the model '%s' was found nowhere; run `faceworker models fetch` "
                   "where there is a network, or put it into '%s' yourself. Looked for there%.*s",
                   want->file, want->model, options->dir ? options->dir : "(models.dir)",
                   WHERE_CHARACTERS, fw_text_get(&attempts->places));
}

static int download(const struct fw_model_store_options *options, const struct want *want,
                    struct fw_cancel *cancel, char **path, struct fw_error *error)
{
    char *addresses[MAX_ADDRESSES + 1] = {NULL};
    struct attempts attempts = {.places = FW_TEXT_INIT};
    char *target = fw_strdup_printf("%s/%s", options->dir, want->file);
    int status = target ? list_addresses(options, want, addresses, error)
                        : fw_fail(error, FW_ENOMEM, "out of memory");
    if (status == FW_OK)
        status = make_folders(options->dir, error);
    if (status != FW_OK)
        goto done;
    for (int i = 0; addresses[i]; i++) {
        struct fw_error why = {0};
        status = download_from(options, want, addresses[i], target, cancel, &why);
        if (status == FW_OK) {
            fw_log_info(options->log, "model file '%s' is here and right", target);
            *path = target;
            target = NULL;
            goto done;
        }
        if (status == FW_ECANCELED || status == FW_ENOMEM || status == FW_EIO) {
            if (error)
                *error = why;
            goto done;
        }
        note_attempt(&attempts, addresses[i], &why);
    }
    status = fail_nowhere(options, want, &attempts, error);
done:
    for (int i = 0; i < MAX_ADDRESSES; i++)
        free(addresses[i]);
    fw_text_free(&attempts.places);
    free(target);
    return status;
}

// *PATH is where the file lies, not verified when it lay there already.
static int find(const struct fw_model_store_options *options, const struct want *want,
                struct fw_cancel *cancel, char **path, struct fw_error *error)
{
    int status = FW_OK;
    if (want->path) {
        *path = fw_strdup(want->path);
        return *path ? FW_OK : fw_fail(error, FW_ENOMEM, "out of memory");
    }
    if (options->dir)
        status = look_in(options->dir, want->file, path, error);
    for (size_t i = 0; status == FW_OK && !*path && want->system_folders[i]; i++)
        status = look_in(want->system_folders[i], want->file, path, error);
    if (status != FW_OK || *path)
        return status;
    if (want->system_folders == cascade_folders && !want->own_address)
        return fw_fail(error, FW_ENOENT,
                       "the face cascade %s is not installed; install the package opencv-data",
                       want->file);
    if (!options->dir)
        return fw_fail(error, FW_ENOENT, "models.dir is not set, so %s can't be kept; set it",
                       want->file);
    if (!want->sha256)
        return fw_fail(error, FW_ENOENT,
                       "%s is not in '%s', and is not downloaded because its SHA-256 is not known; "
                       "%s%s",
                       want->file, options->dir,
                       want->sum_key ? "give it in " : "put the file there yourself",
                       want->sum_key ? want->sum_key : "");
    return download(options, want, cancel, path, error);
}

static int obtain(const struct fw_model_store_options *options, const struct want *want,
                  struct fw_cancel *cancel, char **path, char hex[65], struct fw_error *error)
{
    int status = find(options, want, cancel, path, error);
    if (status != FW_OK || !*path)
        return status;
    status = verify(options, want, *path, hex, error);
    bool system = want->system_folders == cascade_folders &&
                  !(options->dir && fw_starts_with(*path, options->dir)) && !want->path;
    if (status == FW_OK && !want->sha256 && !system)
        warn_unchecked(options, want, *path, hex);
    return status;
}

// ---- Models

static int locate_known(const struct fw_model_store_options *options,
                        const struct fw_model_info *info, struct fw_cancel *cancel,
                        struct fw_model_files *files, struct fw_error *error)
{
    char hex[65];
    struct want want;
    int status = want_model(options, info, &want, error);
    if (status == FW_OK)
        status = obtain(options, &want, cancel, &files->path, hex, error);
    if (status != FW_OK)
        return status;
    files->backend = backend_of(hex, info->backend);
    if (!info->config_file)
        return FW_OK;
    status = want_config(options, info, &want, error);
    if (status == FW_OK)
        status = obtain(options, &want, cancel, &files->config_path, hex, error);
    return status;
}

// The sum that the configuration gives for PATH: one for this file, or for no file by name.
static const char *sum_for(const char *path, const char *file, const char *sha256)
{
    return !file || strcmp(path, file) == 0 ? sha256 : NULL;
}

static int want_path(const struct fw_model_store_options *options, const char *path,
                     struct want *want, const char **backend, struct fw_error *error)
{
    const char *sum = NULL;
    *want = (struct want){.model = path,
                          .file = base_name(path),
                          .path = path,
                          .addresses = nowhere,
                          .system_folders = nowhere};
    if (fw_ends_with(path, ".onnx")) {
        *backend = "yunet";
        want->sum_key = "models.onnx_sha256";
        sum = sum_for(path, options->onnx, options->onnx_sha256);
    } else if (fw_ends_with(path, ".caffemodel")) {
        *backend = "res10";
        want->sum_key = "models.caffemodel_sha256";
        sum = sum_for(path, options->caffemodel, options->caffemodel_sha256);
    } else if (fw_ends_with(path, ".xml")) {
        *backend = "haar";
    } else {
        return fw_fail(error, FW_EINVAL,
                       "'%s' is no model; give a file that ends with .onnx, .caffemodel or .xml",
                       path);
    }
    if (!file_exists(path))
        return fw_fail(error, FW_ENOENT, "the model '%s' does not exist; check the path", path);
    return want_sum(want, sum, error);
}

// The network of a Caffe model: what the configuration says, else what lies beside it (of the same
// name, or deploy.prototxt), else res10's own.
static int want_config_beside(const struct fw_model_store_options *options, const char *path,
                              struct want *want, char **beside, struct fw_error *error)
{
    int status = want_config(options, fw_model_find("res10"), want, error);
    if (status != FW_OK || options->prototxt)
        return status;
    int stem = (int)(strlen(path) - strlen(".caffemodel"));
    *beside = fw_strdup_printf("%.*s.prototxt", stem, path);
    if (*beside && !file_exists(*beside)) {
        free(*beside);
        *beside = fw_strdup_printf("%.*sdeploy.prototxt", (int)(base_name(path) - path), path);
    }
    if (!*beside)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (!file_exists(*beside))
        return FW_OK;
    want->path = *beside;
    want->sha256 = options->prototxt_sha256 ? want->sum : NULL;
    return FW_OK;
}

static int locate_path(const struct fw_model_store_options *options, const char *path,
                       struct fw_cancel *cancel, struct fw_model_files *files,
                       struct fw_error *error)
{
    char hex[65];
    struct want want;
    int status = want_path(options, path, &want, &files->backend, error);
    if (status == FW_OK)
        status = obtain(options, &want, cancel, &files->path, hex, error);
    if (status != FW_OK)
        return status;
    files->backend = backend_of(hex, files->backend);
    if (strcmp(files->backend, "res10") != 0)
        return FW_OK;
    char *beside = NULL;
    status = want_config_beside(options, path, &want, &beside, error);
    if (status == FW_OK)
        status = obtain(options, &want, cancel, &files->config_path, hex, error);
    free(beside);
    return status;
}

static bool looks_like_file(const char *model)
{
    return strchr(model, '/') || fw_ends_with(model, ".onnx") ||
           fw_ends_with(model, ".caffemodel") || fw_ends_with(model, ".xml");
}

static int fail_unknown(const char *model, struct fw_error *error)
{
    struct fw_text names = FW_TEXT_INIT;
    for (size_t i = 0; fw_model_table()[i]; i++)
        fw_text_appendf(&names, "%s%s", i ? ", " : "", fw_model_table()[i]->name);
    int status = fw_fail(error, FW_EINVAL,
                         "there is no model '%s'; take one of %s, or the path of an .onnx, "
                         ".caffemodel or .xml file",
                         model, fw_text_get(&names));
    fw_text_free(&names);
    return status;
}

// A bare file name is looked for in the working directory, then in models.dir.
static int locate_file(const struct fw_model_store_options *options, const char *model,
                       struct fw_cancel *cancel, struct fw_model_files *files,
                       struct fw_error *error)
{
    char *path = NULL;
    int status = FW_OK;
    if (!strchr(model, '/') && !file_exists(model) && options->dir)
        status = look_in(options->dir, model, &path, error);
    if (status == FW_OK)
        status = locate_path(options, path ? path : model, cancel, files, error);
    free(path);
    return status;
}

int fw_model_locate(const struct fw_model_store_options *options, const char *model,
                    struct fw_cancel *cancel, struct fw_model_files *files, struct fw_error *error)
{
    *files = (struct fw_model_files){0};
    const struct fw_model_info *info = fw_model_find(model);
    if (!info && !looks_like_file(model))
        return fail_unknown(model, error);
    struct fw_cancel *own = cancel ? NULL : fw_cancel_create();
    if (!cancel && !own)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    int status = info ? locate_known(options, info, cancel ? cancel : own, files, error)
                      : locate_file(options, model, cancel ? cancel : own, files, error);
    if (status != FW_OK)
        fw_model_files_free(files);
    fw_cancel_destroy(own);
    return status;
}

void fw_model_files_free(struct fw_model_files *files)
{
    free(files->path);
    free(files->config_path);
    *files = (struct fw_model_files){0};
}
