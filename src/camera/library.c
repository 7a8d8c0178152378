#include "camera/library.h"

#include "camera/camera.h"
#include "util/log.h"
#include <dlfcn.h>
#include <libavcodec/avcodec.h>
#include <libavdevice/avdevice.h>
#include <libavformat/avformat.h>
#include <libavutil/macros.h>
#include <stdio.h>
#include <string.h>

#define DEVICE_LIBRARY "libavdevice.so." AV_STRINGIFY(LIBAVDEVICE_VERSION_MAJOR)

static bool contains_one_of(const char *line, const char *const *words)
{
    for (; *words; words++) {
        if (strstr(line, *words))
            return true;
    }
    return false;
}

static void count_transport_line(struct fw_loss *loss, const char *line)
{
    static const char *const words[] = {"issed ", "dropping old packet", "bad cseq", "corrupt",
                                        NULL};

    if (contains_one_of(line, words))
        atomic_fetch_add(&loss->transport_lines, 1);
}

static void count_decoder_line(struct fw_loss *loss, int level, const char *line)
{
    // Errors about things beside the picture; some cameras cause one with every frame.
    static const char *const harmless[] = {"SEI", "APP fields", "VUI", "EXIF", NULL};

    if (level <= AV_LOG_ERROR && !contains_one_of(line, harmless))
        atomic_fetch_add(&loss->decoder_lines, 1);
}

// Several cameras share this callback, so the context that speaks tells whose loss it is.
static void count_line(void *context, int level, const char *line)
{
    const AVClass *class = context ? *(const AVClass *const *)context : NULL;

    if (class && class == avformat_get_class()) {
        const AVFormatContext *format = context;
        if (format->opaque && format->iformat)
            count_transport_line(format->opaque, line);
    } else if (class && class == avcodec_get_class()) {
        const AVCodecContext *codec = context;
        if (codec->opaque)
            count_decoder_line(codec->opaque, level, line);
    }
}

static void on_line(void *context, int level, const char *format, va_list list)
    __attribute__((format(printf, 3, 0)));

// A secret that is cut in two is no longer recognised as one, so the word at the cut goes whole.
static void drop_last_word(char *line)
{
    char *space = strrchr(line, ' ');

    if (space)
        *space = '\0';
    else
        line[0] = '\0';
}

static void on_line(void *context, int level, const char *format, va_list list)
{
    const AVClass *class = context ? *(const AVClass *const *)context : NULL;
    char line[512];
    size_t length;

    level &= 0xff;
    if (level > AV_LOG_WARNING)
        return;
    if (vsnprintf(line, sizeof(line), format, list) >= (int)sizeof(line))
        drop_last_word(line);
    length = strlen(line);
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        line[--length] = '\0';
    if (length == 0)
        return;
    count_line(context, level, line);
    // What fails is reported by its caller in our own words; libav's are for the curious.
    fw_log(fw_log_of_thread(), level <= AV_LOG_FATAL ? FW_LOG_WARNING : FW_LOG_DEBUG,
           "libav: %s: %s", class && class->item_name ? class->item_name(context) : "-", line);
}

void fw_camera_library_init(void)
{
    av_log_set_level(AV_LOG_WARNING);
    av_log_set_callback(on_line);
    avformat_network_init();
}

int fw_library_device_input(const AVInputFormat **input, struct fw_error *error)
{
    void *library = dlopen(DEVICE_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    void (*register_all)(void) = NULL;

    if (library)
        register_all = (void (*)(void))dlsym(library, "avdevice_register_all");
    if (!register_all)
        return fw_fail(error, FW_ENOTSUP,
                       "a camera that is a device needs " DEVICE_LIBRARY
                       "; install Debian's libavdevice" AV_STRINGIFY(LIBAVDEVICE_VERSION_MAJOR));
    register_all();
    *input = av_find_input_format("v4l2");
    return *input ? FW_OK
                  : fw_fail(error, FW_ENOTSUP,
                            DEVICE_LIBRARY " was built without Video4Linux; install Debian's");
}
