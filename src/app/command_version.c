// `faceworker version`.
#include "app/command_util.h"
#include "app/commands.h"
#include "detect/detector.h"
#include "nn/quant_net.h"
#include "nn/yunet_net.h"
#include <curl/curl.h>
#include <jansson.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <microhttpd.h>

static const char help[] = "Usage: faceworker version\n"
                           "\n"
                           "Prints the versions of the program and of the libraries that it runs "
                           "with, the detectors\nthat were built in, and the processor's "
                           "instruction sets that its kernels use.\n"
                           "\n"
                           "  -h, --help  this text\n"
                           "\n"
                           "Example:\n"
                           "  faceworker version\n";

static void print_av(const char *name, unsigned version)
{
    printf("%-14s %u.%u.%u\n", name, AV_VERSION_MAJOR(version), AV_VERSION_MINOR(version),
           AV_VERSION_MICRO(version));
}

static void print_versions(void)
{
    printf("faceworker %s\n", FW_VERSION);
    printf("%-14s %s\n", "FFmpeg", av_version_info());
    print_av("libavformat", avformat_version());
    print_av("libavcodec", avcodec_version());
    print_av("libavutil", avutil_version());
    printf("%-14s %s\n", "libcurl", curl_version_info(CURLVERSION_NOW)->version);
    printf("%-14s %s\n", "libmicrohttpd", MHD_get_version());
    printf("%-14s %s\n", "jansson", jansson_version_str());
    fputs("detectors     ", stdout);
    for (const struct fw_detector_backend *const *backend = fw_detector_backends();
         *backend != NULL; backend++)
        printf(" %s", (*backend)->name);
    printf("\n%-14s %s", "kernels", fw_isa_name(fw_isa_best()));
    static const enum fw_isa others[] = {FW_ISA_AVX512, FW_ISA_AVX2, FW_ISA_NEON, FW_ISA_SCALAR};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i] != fw_isa_best() && fw_isa_is_available(others[i]))
            printf(", %s", fw_isa_name(others[i]));
    }
    printf("\n%-14s %s\n", "int8 kernels", fw_quant_kernels_name(FW_ISA_AUTO));
}

int fw_command_version(int argc, char **argv)
{
    static const struct option long_options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option != 'h')
            return FW_EXIT_USAGE;
        fputs(help, stdout);
        return FW_EXIT_OK;
    }
    if (optind < argc) {
        fprintf(stderr, "faceworker version: unexpected argument '%s'\n", argv[optind]);
        return FW_EXIT_USAGE;
    }
    print_versions();
    return FW_EXIT_OK;
}
