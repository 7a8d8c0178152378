#include "camera/av_error.h"

#include "util/cancel.h"
#include <errno.h>
#include <libavutil/error.h>

struct meaning {
    int averror, code;
    const char *text; // what is wrong; what to do
};

static const struct meaning meanings[] = {
    {AVERROR_HTTP_UNAUTHORIZED, FW_EAUTH,
     "refused the user name or password (401); check username and password"},
    {AVERROR_HTTP_FORBIDDEN, FW_EAUTH, "forbids access (403); check the user's rights"},
    {AVERROR_HTTP_NOT_FOUND, FW_ENOENT,
     "has no such stream (404); check the path, or start what publishes there"},
    {AVERROR_HTTP_BAD_REQUEST, FW_ECONNECT, "did not understand the request (400); check the path"},
    {AVERROR_HTTP_OTHER_4XX, FW_ECONNECT, "refused the request (4xx); check path and transport"},
    {AVERROR_HTTP_SERVER_ERROR, FW_ECONNECT, "has an error of its own (5xx); look at its log"},
    {AVERROR(ECONNREFUSED), FW_ECONNECT,
     "refuses connections; check that it runs and that the port is right"},
    {AVERROR(EHOSTUNREACH), FW_ECONNECT,
     "cannot be reached (no route); check the address and the network"},
    {AVERROR(ENETUNREACH), FW_ECONNECT,
     "cannot be reached (no route); check the address and the network"},
    {AVERROR(ECONNRESET), FW_ECONNECT, "closed the connection; look at its log"},
    {AVERROR(EPIPE), FW_ECONNECT, "closed the connection; look at its log"},
    {AVERROR_EOF, FW_ECONNECT, "closed the connection; look at its log"},
    {AVERROR(ETIMEDOUT), FW_ETIMEDOUT, "does not answer; check the address and the network"},
    {AVERROR(ENOENT), FW_ENOENT, "does not exist; check the path"},
    {AVERROR(ENODEV), FW_ENOENT, "is no such device; check the path and the cable"},
    {AVERROR(EISDIR), FW_EIO, "is a folder; name a file"},
    {AVERROR(EACCES), FW_EIO, "may not be opened; check the permissions"},
    {AVERROR(EPERM), FW_EIO, "was refused; check the permissions or the server's log"},
    {AVERROR(EBUSY), FW_EIO, "is in use by another program; end that one"},
    {AVERROR(ENOSPC), FW_EFULL, "lies on a full disk; free some space"},
    {AVERROR(EROFS), FW_EIO, "lies on a read-only disk; choose another folder"},
    {AVERROR(ENOMEM), FW_ENOMEM, "needs more memory than there is"},
    {AVERROR(EPROTONOSUPPORT), FW_ENOTSUP,
     "does not offer this transport; set transport to tcp, udp or auto"},
    {AVERROR_PROTOCOL_NOT_FOUND, FW_ENOTSUP,
     "has a scheme that this build of libav does not know; use rtsp://, rtmp://, http:// or a "
     "file"},
    {AVERROR_DEMUXER_NOT_FOUND, FW_ENOTSUP, "has a format that this build of libav does not know"},
    {AVERROR_DECODER_NOT_FOUND, FW_ENOTSUP, "has a codec that this build of libav does not know"},
    {AVERROR_STREAM_NOT_FOUND, FW_EFORMAT, "carries no video; check the address"},
    {AVERROR_INVALIDDATA, FW_EFORMAT, "sends nothing that is a stream; check the address"},
};

int fw_av_fail(struct fw_error *error, int averror, const struct fw_deadline *deadline,
               const char *display)
{
    char text[AV_ERROR_MAX_STRING_SIZE];

    if (averror == AVERROR(ENOMEM))
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (deadline && deadline->interrupted == FW_ECANCELED)
        return fw_fail(error, FW_ECANCELED, "canceled");
    if (deadline && deadline->interrupted == FW_ETIMEDOUT)
        averror = AVERROR(ETIMEDOUT);
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (meanings[i].averror == averror)
            return fw_fail(error, meanings[i].code, "%s %s", display, meanings[i].text);
    }
    if (av_strerror(averror, text, sizeof(text)) < 0)
        return fw_fail(error, FW_EIO, "%s failed (libav's code %d); see the log at level debug",
                       display, averror);
    return fw_fail(error, FW_EIO, "%s failed: %s; see the log at level debug", display, text);
}
