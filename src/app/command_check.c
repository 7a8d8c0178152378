// `faceworker check`: what is wrong with a configuration, else what it would do.
#include "app/command_util.h"
#include "app/commands.h"
#include "app/options.h"
#include "util/text.h"
#include "util/url.h"
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: faceworker check [-c FILE]\n"
    "\n"
    "Reads a configuration and prints what is wrong with it on standard error, each finding as\n"
    "file:line:column: what is wrong; what to do. When it can be used, tells in words what would\n"
    "run. The configuration is FILE, else $WORKER_CONFIG, else faceworker.json in the working\n"
    "directory, else /etc/faceworker/faceworker.json.\n"
    "\n"
    "  -c, --config FILE     the configuration\n"
    "      --print-defaults  print a configuration with every option and its default\n"
    "      --print-schema    print the JSON Schema of the configuration, for editors\n"
    "      --print-docs      print the description of every option (docs/config.md)\n"
    "  -h, --help            this text\n"
    "\n"
    "Exit status: 0 it can be used, 2 wrong usage, 78 it can't.\n"
    "\n"
    "Example:\n"
    "  faceworker check -c config.sample.json\n";

static void append_source(struct fw_text *text, const struct fw_camera_config *camera)
{
    fw_text_append(text, camera->url->display);
    if (camera->is_test_video)
        fw_text_append(text, camera->test_video_realtime ? " (a test video, at its own speed)"
                                                         : " (a test video, as fast as it goes)");
    if (camera->max_frames > 0)
        fw_text_appendf(text, ", %lld pictures", (long long)camera->max_frames);
}

static void append_detector(struct fw_text *text, const struct fw_detector_config *detector)
{
    const struct fw_box *roi = &detector->roi;
    fw_text_appendf(text, "model %s at %d px, score from %.2f, ", detector->model,
                    detector->input_size_px, detector->min_score);
    if (detector->tile_columns * detector->tile_rows > 1)
        fw_text_appendf(text, "in %dx%d tiles, ", detector->tile_columns, detector->tile_rows);
    if (roi->x > 0 || roi->y > 0 || roi->w < 1 || roi->h < 1)
        fw_text_appendf(text, "%.3g x %.3g of the picture from %.3g, %.3g, ", (double)roi->w,
                        (double)roi->h, (double)roi->x, (double)roi->y);
}

static void append_camera(struct fw_text *text, const struct fw_camera_config *camera)
{
    fw_text_appendf(text, "  %s", camera->id);
    if (camera->name != NULL)
        fw_text_appendf(text, " \"%s\"", camera->name);
    if (camera->location != NULL)
        fw_text_appendf(text, ", %s", camera->location);
    if (!camera->enabled) {
        fw_text_append(text, ": not enabled\n");
        return;
    }
    fw_text_append(text, "\n    watches ");
    append_source(text, camera);
    fw_text_append(text, "\n    faces: ");
    append_detector(text, &camera->detector);
    if (camera->analyze_fps > 0)
        fw_text_appendf(text, "up to %g analyses a second", camera->analyze_fps);
    else
        fw_text_append(text, "as many analyses as the processor can do");
    if (camera->frame_skip > 0)
        fw_text_appendf(text, ", %d pictures left out between two", camera->frame_skip);
    fw_text_appendf(text, ", real when found in %d of %d\n", camera->alerts.confirm_hits,
                    camera->alerts.confirm_window);
    for (size_t i = 0; i < camera->publish.output_count; i++)
        fw_text_appendf(text, "    publishes %s to %s\n",
                        camera->overlay_enabled ? "with overlay" : "without overlay",
                        camera->publish.outputs[i]->display);
    if (camera->publish.output_count == 0)
        fw_text_append(text, "    publishes nothing\n");
    if (camera->save_snapshots)
        fw_text_append(text, "    stores snapshots\n");
}

static void append_alerts(struct fw_text *text, const struct fw_config *config)
{
    if (config->sink_count == 0) {
        fw_text_append(text, "Alerts: to the page and the log only\n");
        return;
    }
    fw_text_append(text, config->alerts.delivery == FW_DELIVERY_ALL
                             ? "Alerts: to all of\n"
                             : "Alerts: to the first of these that takes them in time\n");
    for (size_t i = 0; i < config->sink_count; i++) {
        const struct fw_sink_config *sink = &config->sinks[i];
        if (sink->url != NULL)
            fw_text_appendf(text, "  %s: by POST to %s%s\n", sink->name, sink->url->display,
                            sink->token != NULL ? " with a token" : "");
        else
            fw_text_appendf(text, "  %s: to the file %s\n", sink->name, sink->path);
    }
}

static void append_summary(struct fw_text *text, const struct fw_config *config)
{
    fw_text_appendf(text, "%s can be used.\n", config->path);
    fw_text_appendf(text, "Worker %s: state in %s, models in %s, page at http://%s/\n",
                    config->worker.id, config->worker.state_dir, config->models.dir,
                    config->web.listen);
    fw_text_appendf(text, "Cameras: %zu\n", config->camera_count);
    for (size_t i = 0; i < config->camera_count; i++)
        append_camera(text, &config->cameras[i]);
    append_alerts(text, config);
    if (config->snapshot_dir != NULL)
        fw_text_appendf(text, "Snapshots: in the folder %s\n", config->snapshot_dir);
    else
        fw_text_append(text, "Snapshots: none\n");
}

static int check(const char *option)
{
    struct fw_command_context context;
    struct fw_config *config = NULL;
    struct fw_text text = FW_TEXT_INIT;
    int exit_code = FW_EXIT_FAILED;
    if (!fw_command_open(&context))
        goto done;
    exit_code = fw_command_load_config(&context, option, false, &config);
    if (exit_code != FW_EXIT_OK)
        goto done;
    append_summary(&text, config);
    fw_command_print(&context, stdout, fw_text_get(&text));
    if (text.failed)
        exit_code = FW_EXIT_FAILED;
done:
    fw_text_free(&text);
    fw_config_destroy(config);
    fw_command_close(&context);
    return exit_code;
}

static int print(char *text)
{
    bool is_whole = text != NULL && fputs(text, stdout) >= 0 &&
                    (fw_ends_with(text, "\n") || putchar('\n') >= 0) && fflush(stdout) == 0;
    if (!is_whole)
        fputs("faceworker check: can't print; is the disk full?\n", stderr);
    free(text);
    return is_whole ? FW_EXIT_OK : FW_EXIT_FAILED;
}

int fw_command_check(int argc, char **argv)
{
    enum { PRINT_DEFAULTS = 256, PRINT_SCHEMA, PRINT_DOCS };
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {"print-defaults", no_argument, NULL, PRINT_DEFAULTS},
        {"print-schema", no_argument, NULL, PRINT_SCHEMA},
        {"print-docs", no_argument, NULL, PRINT_DOCS},
        {0},
    };
    const char *config = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            config = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return FW_EXIT_OK;
        case PRINT_DEFAULTS:
            return print(fw_options_defaults());
        case PRINT_SCHEMA:
            return print(fw_options_schema());
        case PRINT_DOCS:
            return print(fw_options_docs());
        default:
            return FW_EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "faceworker check: unexpected argument '%s'; write -c %s\n", argv[optind],
                argv[optind]);
        return FW_EXIT_USAGE;
    }
    return check(config);
}
