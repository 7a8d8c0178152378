#include "detect/download.h"

#include "detect/model_store.h"
#include "util/backoff.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/secret.h"
#include "util/text.h"
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TRIES         3
#define CONNECT_TIMEOUT_S 10L
#define STALL_TIMEOUT_S   15L
#define MAX_REDIRECTS     5L
#define LOCK_POLL_MS      100
#define TELL_EVERY_US     (5 * FW_US_PER_S)

// A download under way. One thread.
struct transfer {
    const struct fw_download *download;
    char *display; // the address for people
    char *part;    // path of the temporary file
    int fd;        // it, locked
    CURL *curl;
    // Of the current try:
    int64_t offset; // bytes that were there before
    int64_t length; // bytes in the file now
    bool begun;     // the first byte came
    int refused;    // a status when we broke the transfer off, else FW_OK
    int write_errno;
    int64_t told_us;
};

char *fw_download_display(const char *address)
{
    struct fw_text text = FW_TEXT_INIT;
    fw_secrets_redact(NULL, address, &text);
    char *display = fw_text_steal(&text);
    char *query = display ? strchr(display, '?') : NULL;
    if (query)
        *query = '\0';
    return display;
}

static bool is_web_page(const struct transfer *transfer, const char *bytes, size_t length)
{
    const char *type = NULL;
    curl_easy_getinfo(transfer->curl, CURLINFO_CONTENT_TYPE, &type);
    if (type && strncasecmp(type, "text/html", 9) == 0)
        return true;
    while (length > 0 && *bytes && strchr(" \t\r\n", *bytes)) {
        bytes++;
        length--;
    }
    return (length >= 14 && strncasecmp(bytes, "<!doctype html", 14) == 0) ||
           (length >= 5 && strncasecmp(bytes, "<html", 5) == 0);
}

static bool refuse_errno(struct transfer *transfer)
{
    transfer->refused = FW_EIO;
    transfer->write_errno = errno;
    return false;
}

// The server may answer a request for the rest with the whole file.
static bool begin_file(struct transfer *transfer, const char *bytes, size_t length)
{
    long code = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &code);
    transfer->begun = true;
    if (transfer->offset > 0 && code != 206) {
        if (ftruncate(transfer->fd, 0) != 0)
            return refuse_errno(transfer);
        transfer->offset = 0;
        transfer->length = 0;
    }
    if (transfer->offset == 0 && is_web_page(transfer, bytes, length)) {
        transfer->refused = FW_EFORMAT;
        return false;
    }
    if (lseek(transfer->fd, (off_t)transfer->length, SEEK_SET) < 0)
        return refuse_errno(transfer);
    return true;
}

static size_t on_data(char *bytes, size_t size, size_t count, void *opaque)
{
    struct transfer *transfer = opaque;
    size_t length = size * count;
    if (!transfer->begun && !begin_file(transfer, bytes, length))
        return CURL_WRITEFUNC_ERROR;
    if (transfer->length + (int64_t)length > transfer->download->cap_bytes) {
        transfer->refused = FW_EFULL;
        return CURL_WRITEFUNC_ERROR;
    }
    for (size_t done = 0; done < length;) {
        ssize_t wrote = write(transfer->fd, bytes + done, length - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            refuse_errno(transfer);
            return CURL_WRITEFUNC_ERROR;
        }
        done += (size_t)wrote;
        transfer->length += wrote;
    }
    return length;
}

static int on_progress(void *opaque, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up_now)
{
    (void)now;
    (void)up_total;
    (void)up_now;
    struct transfer *transfer = opaque;
    int64_t now_us = fw_monotonic_us();
    if (total > 0 && now_us - transfer->told_us >= TELL_EVERY_US) {
        transfer->told_us = now_us;
        fw_log_info(transfer->download->log, "downloading %s: %lld of %lld kB", transfer->display,
                    (long long)transfer->length / 1000,
                    (long long)(transfer->offset + total) / 1000);
    }
    return fw_cancel_is_set(transfer->download->cancel);
}

// Adds the options that do not change from try to try. CURLE_OK or the first refusal.
static CURLcode set_options(struct transfer *transfer)
{
    const struct fw_download *download = transfer->download;
    bool local = fw_starts_with(download->address, "file:");
    const char *web = download->allow_http ? "https,http" : "https";
    CURL *curl = transfer->curl;
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, download->address);
    if (code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, local ? "file" : web);
    if (code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, web);
    if (code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_USERAGENT, "faceworker/" FW_VERSION);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, MAX_REDIRECTS);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    return code;
}

static int fail_http(const struct transfer *transfer, struct fw_error *error)
{
    long code = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &code);
    if (code == 416)
        return fw_fail(error, FW_EAGAIN, "%s has less than what is already here",
                       transfer->display);
    if (code == 401 || code == 403 || code == 407)
        return fw_fail(error, FW_EAUTH,
                       "%s refuses us (HTTP %ld); put user and password into the address, or check "
                       "the proxy",
                       transfer->display, code);
    if (code == 408 || code == 429 || code >= 500)
        return fw_fail(error, FW_ECONNECT, "%s answers HTTP %ld; try again later",
                       transfer->display, code);
    return fw_fail(error, FW_ENOENT, "%s answers HTTP %ld; check the address", transfer->display,
                   code);
}

static int fail_refused(const struct transfer *transfer, struct fw_error *error)
{
    switch (transfer->refused) {
    case FW_EFORMAT:
        return fw_fail(error, FW_EFORMAT,
                       "%s answers with a web page instead of a model; a log-in page or a proxy "
                       "may stand in between: open the address in a browser",
                       transfer->display);
    case FW_EFULL:
        return fw_fail(error, FW_EFULL,
                       "%s is larger than the model can be (%ld bytes at most); check the address",
                       transfer->display, transfer->download->cap_bytes);
    default:
        return fw_fail(error, FW_EIO, "can't write '%s' (%s); make room or check its rights",
                       transfer->part, strerror(transfer->write_errno));
    }
}

static int fail_transfer(const struct transfer *transfer, CURLcode code, const char *detail,
                         struct fw_error *error)
{
    const char *display = transfer->display;
    const char *why = *detail ? detail : curl_easy_strerror(code);
    switch ((int)code) {
    case CURLE_OK:
        return FW_OK;
    case CURLE_WRITE_ERROR:
        return fail_refused(transfer, error);
    case CURLE_ABORTED_BY_CALLBACK:
        return fw_fail(error, FW_ECANCELED, "the download of %s was stopped", display);
    case CURLE_HTTP_RETURNED_ERROR:
        return fail_http(transfer, error);
    case CURLE_UNSUPPORTED_PROTOCOL:
        return fw_fail(error, FW_EINVAL,
                       "%s uses or leads to a kind of address that is not allowed (%s); use "
                       "https:// or file://",
                       display, why);
    case CURLE_URL_MALFORMAT:
        return fw_fail(error, FW_EINVAL, "'%s' is no valid address; correct it", display);
    case CURLE_FILE_COULDNT_READ_FILE:
        return fw_fail(error, FW_ENOENT, "%s does not exist or can't be read", display);
    case CURLE_OPERATION_TIMEDOUT:
        return fw_fail(error, FW_ETIMEDOUT, "%s does not answer in time (%s)", display, why);
    case CURLE_OUT_OF_MEMORY:
        return fw_fail(error, FW_ENOMEM, "out of memory");
    case CURLE_PEER_FAILED_VERIFICATION:
        return fw_fail(error, FW_ECONNECT,
                       "the certificate of %s can't be verified (%s); check the clock and the "
                       "package ca-certificates",
                       display, why);
    default:
        return fw_fail(error, FW_ECONNECT, "%s can't be fetched (%s)", display, why);
    }
}

// One try, from where the file ends. *AGAIN tells whether another one may help.
static int try_once(struct transfer *transfer, bool *again, struct fw_error *error)
{
    char detail[CURL_ERROR_SIZE] = "";
    char range[32];
    snprintf(range, sizeof range, "%lld-", (long long)transfer->length);
    bool resumes = transfer->length > 0 && !fw_starts_with(transfer->download->address, "file:");
    if (!resumes && ftruncate(transfer->fd, 0) != 0)
        return fw_fail(error, FW_EIO, "can't write '%s' (%s)", transfer->part, strerror(errno));
    if (!resumes)
        transfer->length = 0;
    transfer->offset = transfer->length;
    transfer->begun = false;
    transfer->refused = FW_OK;
    transfer->told_us = fw_monotonic_us();
    curl_easy_setopt(transfer->curl, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(transfer->curl, CURLOPT_RANGE, resumes ? range : NULL);
    CURLcode code = curl_easy_perform(transfer->curl);
    curl_easy_setopt(transfer->curl, CURLOPT_ERRORBUFFER, NULL);

    curl_off_t connected_us = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_CONNECT_TIME_T, &connected_us);
    int status = fail_transfer(transfer, code, detail, error);
    // Where no name server or no host answers, more tries only make the user wait for nothing.
    *again = (status == FW_ECONNECT && code != CURLE_COULDNT_RESOLVE_HOST &&
              code != CURLE_COULDNT_RESOLVE_PROXY && code != CURLE_TOO_MANY_REDIRECTS &&
              code != CURLE_PEER_FAILED_VERIFICATION) ||
             (status == FW_ETIMEDOUT && connected_us > 0);
    return status;
}

static int check_sum(const struct transfer *transfer, struct fw_error *error)
{
    char hex[65];
    int status = fw_file_sha256(transfer->part, hex, error);
    if (status == FW_OK && strcmp(hex, transfer->download->sha256) != 0)
        status = fw_fail(error, FW_ECHECKSUM,
                         "%s is not the file that was asked for: its SHA-256 is %s, wanted is %s; "
                         "the download was removed: check the address and the sum",
                         transfer->display, hex, transfer->download->sha256);
    return status;
}

// Tries until the file is whole and right, or it makes no sense any more.
static int fetch(struct transfer *transfer, struct fw_error *error)
{
    struct fw_backoff backoff;
    fw_backoff_init(&backoff, &fw_backoff_default);
    int status = FW_EAGAIN;
    bool again = true;
    for (int tries = 1; tries <= MAX_TRIES && again; tries++) {
        if (tries > 1 &&
            fw_cancel_wait(transfer->download->cancel,
                           fw_backoff_next_ms(&backoff, fw_monotonic_us(), fw_random_u32())))
            return fw_fail(error, FW_ECANCELED, "the download of %s was stopped",
                           transfer->display);
        status = try_once(transfer, &again, error);
        if (status == FW_OK)
            status = check_sum(transfer, error);
        bool wrong = status == FW_ECHECKSUM || status == FW_EFULL || status == FW_EAGAIN;
        if (!wrong)
            continue;
        // What was here before may have been the beginning of another file.
        again = transfer->offset > 0;
        transfer->length = 0;
        if (ftruncate(transfer->fd, 0) != 0)
            return fw_fail(error, FW_EIO, "can't write '%s' (%s)", transfer->part, strerror(errno));
    }
    // The one status that means nothing to a caller.
    return status == FW_EAGAIN ? FW_ECONNECT : status;
}

static bool is_linked(int fd, const char *path)
{
    struct stat ours;
    struct stat theirs;
    return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
           ours.st_dev == theirs.st_dev;
}

// Waits for the lock on FD. There is no lock to be waited for with a deadline or a cancel object,
// so this looks again every LOCK_POLL_MS.
static int lock(const struct fw_download *download, int fd, struct fw_error *error)
{
    bool told = false;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fw_fail(error, FW_EIO, "can't lock beside '%s' (%s)", download->target,
                           strerror(errno));
        if (!told)
            fw_log_info(download->log, "another process downloads '%s'; waiting", download->target);
        told = true;
        if (fw_cancel_wait(download->cancel, LOCK_POLL_MS))
            return fw_fail(error, FW_ECANCELED, "the wait for '%s' was stopped", download->target);
    }
    return FW_OK;
}

// Opens and locks the temporary file. Whoever held it before us may have renamed or removed it:
// then the lock is on a file without a name, and a new one is made.
static int open_part(struct transfer *transfer, struct fw_error *error)
{
    for (;;) {
        transfer->fd = open(transfer->part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (transfer->fd < 0)
            return fw_fail(error, FW_EIO,
                           "can't write '%s' (%s); set models.dir to a folder of "
                           "ours or check its rights",
                           transfer->part, strerror(errno));
        int status = lock(transfer->download, transfer->fd, error);
        if (status != FW_OK)
            return status;
        if (is_linked(transfer->fd, transfer->part))
            break;
        close(transfer->fd);
        transfer->fd = -1;
    }
    struct stat info;
    if (fstat(transfer->fd, &info) != 0)
        return fw_fail(error, FW_EIO, "can't read '%s' (%s)", transfer->part, strerror(errno));
    transfer->length = info.st_size;
    return FW_OK;
}

static int sync_folder_of(const char *path)
{
    char *copy = fw_strdup(path);
    int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int status = fd >= 0 && fsync(fd) == 0 ? FW_OK : FW_EIO;
    if (fd >= 0)
        close(fd);
    free(copy);
    return status;
}

static int put_in_place(const struct transfer *transfer, struct fw_error *error)
{
    const char *target = transfer->download->target;
    if (fsync(transfer->fd) != 0 || rename(transfer->part, target) != 0 ||
        sync_folder_of(target) != FW_OK)
        return fw_fail(error, fw_status_of_errno(errno), "can't write '%s' (%s); check the disk",
                       target, strerror(errno));
    return FW_OK;
}

static bool target_is_right(const struct fw_download *download)
{
    char hex[65];
    return fw_file_sha256(download->target, hex, NULL) == FW_OK &&
           strcmp(hex, download->sha256) == 0;
}

// With the lock held: whatever happens, no part file is left that is no use to the next try.
static int fetch_locked(struct transfer *transfer, struct fw_error *error)
{
    int status = FW_OK;
    if (!target_is_right(transfer->download)) {
        if (transfer->length == 0 || check_sum(transfer, NULL) != FW_OK) {
            fw_log_info(transfer->download->log, "downloading %s", transfer->display);
            status = fetch(transfer, error);
        }
        if (status == FW_OK)
            return put_in_place(transfer, error);
    }
    if (status == FW_OK || transfer->length == 0)
        unlink(transfer->part);
    return status;
}

static char *part_of(const char *target)
{
    const char *slash = strrchr(target, '/');
    int folder = slash ? (int)(slash + 1 - target) : 0;
    return fw_strdup_printf("%.*s.%s.part", folder, target, target + folder);
}

int fw_download(const struct fw_download *download, struct fw_error *error)
{
    struct transfer transfer = {.download = download, .fd = -1};
    int status = FW_ENOMEM;
    transfer.display = fw_download_display(download->address);
    transfer.part = part_of(download->target);
    transfer.curl = curl_easy_init();
    if (!transfer.display || !transfer.part || !transfer.curl) {
        fw_fail(error, FW_ENOMEM, "out of memory");
        goto done;
    }
    CURLcode code = set_options(&transfer);
    if (code != CURLE_OK) {
        status = fail_transfer(&transfer, code, "", error);
        goto done;
    }
    status = open_part(&transfer, error);
    if (status == FW_OK)
        status = fetch_locked(&transfer, error);
done:
    if (transfer.fd >= 0)
        close(transfer.fd);
    curl_easy_cleanup(transfer.curl);
    free(transfer.part);
    free(transfer.display);
    return status;
}
