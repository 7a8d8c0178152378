#include "camera/muxer.h"

#include "util/text.h"
#include "util/url.h"
#include <libavformat/avformat.h>
#include <stddef.h>
#include <string.h>

static const char *const rtmp[] = {"rtmp", "rtmps", NULL};
static const char *const rtsp[] = {"rtsp", "rtsps", NULL};
static const char *const file[] = {"file", NULL};

static const char *const mp4[] = {".mp4", ".m4v", ".mov", NULL};
static const char *const flv[] = {".flv", NULL};
static const char *const mkv[] = {".mkv", NULL};

static const char *const flv_options[] = {"flvflags", "no_duration_filesize", NULL};
static const char *const rtsp_options[] = {"rtsp_transport", "tcp", NULL};
// Fragments, so that the file can be played whatever ends its writer.
static const char *const mp4_options[] = {"movflags", "frag_keyframe+empty_moov+default_base_moof",
                                          NULL};
static const char *const no_options[] = {NULL};

// The first row that fits; files of no known extension become MPEG-TS, which needs no end.
static const struct fw_muxer muxers[] = {
    {rtmp, NULL, "flv", flv_options},    {rtsp, NULL, "rtsp", rtsp_options},
    {file, mp4, "mp4", mp4_options},     {file, flv, "flv", flv_options},
    {file, mkv, "matroska", no_options}, {file, NULL, "mpegts", no_options},
};

static bool is_one_of(const char *text, const char *const *list)
{
    for (; *list; list++) {
        if (strcmp(text, *list) == 0)
            return true;
    }
    return false;
}

static bool ends_with_one_of(const char *text, const char *const *list)
{
    for (; *list; list++) {
        if (fw_ends_with(text, *list))
            return true;
    }
    return false;
}

const struct fw_muxer *fw_muxer_find(const struct fw_url *url, struct fw_error *error)
{
    for (size_t i = 0; i < sizeof(muxers) / sizeof(muxers[0]); i++) {
        const struct fw_muxer *muxer = &muxers[i];

        if (!is_one_of(url->scheme, muxer->schemes))
            continue;
        if (muxer->extensions && !ends_with_one_of(url->path, muxer->extensions))
            continue;
        if (!av_guess_format(muxer->format, NULL, NULL)) {
            fw_fail(error, FW_ENOTSUP, "%s needs libavformat's muxer \"%s\", which is not built in",
                    url->display, muxer->format);
            return NULL;
        }
        return muxer;
    }
    fw_fail(error, FW_ENOTSUP,
            "nothing can be published to %s; use rtmp://, rtmps://, rtsp://, rtsps:// or a file's"
            " path (.mp4, .mkv, .flv, .ts)",
            url->display);
    return NULL;
}
