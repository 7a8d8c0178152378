#include "camera/address.h"

#include "util/cancel.h"
#include "util/resolve.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <libavutil/dict.h>
#include <libavutil/opt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CA_FILE "/etc/ssl/certs/ca-certificates.crt"

static bool scheme_is_one_of(const struct fw_url *url, const char *const *schemes)
{
    for (; *schemes; schemes++) {
        if (strcmp(url->scheme, *schemes) == 0)
            return true;
    }
    return false;
}

bool fw_address_is_path(const struct fw_url *url)
{
    return strcmp(url->scheme, "file") == 0;
}

bool fw_address_is_device(const struct fw_url *url)
{
    return fw_address_is_path(url) && fw_starts_with(url->path, "/dev/");
}

bool fw_address_is_rtsp(const struct fw_url *url)
{
    return strcmp(url->scheme, "rtsp") == 0 || strcmp(url->scheme, "rtsps") == 0;
}

// TLS checks the name and HTTP servers choose the site by it; these do neither.
static bool takes_address(const struct fw_url *url)
{
    static const char *const schemes[] = {"rtsp", "rtmp", "udp", "rtp", "tcp", "srt", NULL};

    return scheme_is_one_of(url, schemes);
}

// "file:" keeps libav from reading a colon in a file's name as a protocol.
static int reveal_path(const struct fw_url *url, struct fw_secrets *secrets,
                       struct fw_secret **text, struct fw_error *error)
{
    char *path = fw_strdup_printf("%s%s", fw_address_is_device(url) ? "" : "file:", url->path);

    (void)secrets; // a path is none, and registering it would blank it in every line
    *text = path ? fw_secret_create(NULL, path) : NULL;
    free(path);
    return *text ? FW_OK : fw_fail(error, FW_ENOMEM, "out of memory");
}

int fw_address_reveal(const struct fw_url *url, struct fw_resolver *resolver,
                      struct fw_secrets *secrets, struct fw_deadline *deadline,
                      struct fw_secret **text, struct fw_error *error)
{
    char address[FW_ADDRESS_SIZE] = "";

    *text = NULL;
    if (fw_address_is_path(url))
        return reveal_path(url, secrets, text, error);
    if (resolver && url->host[0]) {
        int status = fw_resolve(resolver, url->host, deadline, address, error);
        if (status)
            return status;
    }
    *text = fw_url_reveal(url, address[0] && takes_address(url) ? address : NULL, secrets);
    return *text ? FW_OK : fw_fail(error, FW_ENOMEM, "out of memory");
}

int fw_address_tls_options(const struct fw_url *url, bool verify, const void *rtsp_class,
                           struct AVDictionary **options, struct fw_error *error)
{
    static const char *const schemes[] = {"https", "rtmps", "rtmpts", "tls", "rtsps", NULL};
    bool is_rtsps = strcmp(url->scheme, "rtsps") == 0;

    if (!verify || !scheme_is_one_of(url, schemes))
        return FW_OK;
    if (is_rtsps &&
        !(rtsp_class && av_opt_find(&rtsp_class, "tls_verify", NULL, 0, AV_OPT_SEARCH_FAKE_OBJ)))
        return fw_fail(error, FW_ENOTSUP,
                       "%s: this version of libav can't verify the certificate of an rtsps:// peer;"
                       " use rtsp:// inside a trusted network, or set tls_verify to false to accept"
                       " any certificate",
                       url->display);
    if (av_dict_set(options, "tls_verify", "1", 0) < 0 ||
        (access(CA_FILE, R_OK) == 0 && av_dict_set(options, "ca_file", CA_FILE, 0) < 0))
        return fw_fail(error, FW_ENOMEM, "out of memory");
    return FW_OK;
}
