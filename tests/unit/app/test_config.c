// What is wrong with a configuration, and where; and what a right one means.
#include "app/config.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct load {
    struct fw_secrets *secrets;
    struct fw_diagnostics diagnostics;
    struct fw_config *config;
    int status;
};

static void load(struct load *load, const char *text)
{
    *load = (struct load){.secrets = fw_secrets_create()};
    assert_non_null(load->secrets);
    load->status =
        fw_config_load_text(&load->config, "t.json", text, load->secrets, &load->diagnostics);
    assert_int_equal(load->status == FW_OK, load->config != NULL);
}

static void unload(struct load *load)
{
    fw_config_destroy(load->config);
    fw_diagnostics_free(&load->diagnostics);
    fw_secrets_destroy(load->secrets);
}

// Everything that was printed; the caller frees it.
static char *printed(const struct load *load)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    assert_non_null(stream);
    fw_diagnostics_print(&load->diagnostics, "t.json", load->secrets, stream);
    fclose(stream);
    return text;
}

// The smallest camera with MEMBERS more.
#define CAMERA(members) "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"rtsp://h/s\"" members "}]}"
// MEMBERS before the smallest camera.
#define ROOT(members) "{" members ", \"cameras\": [{\"id\": \"a\", \"rtsp\": \"rtsp://h/s\"}]}"

// Eight sinks whose names begin with PREFIX.
#define SINK(name) "{\"name\": \"" name "\", \"type\": \"file\", \"path\": \"" name "\"}"
#define SINKS_4(prefix)                                                                            \
    SINK(prefix "1") "," SINK(prefix "2") "," SINK(prefix "3") "," SINK(prefix "4")
#define SINKS_8(prefix) SINKS_4(prefix "x") ", " SINKS_4(prefix "y")

static const struct {
    const char *text;
    const char *line; // the whole of it, or its beginning where it ends with "..."
} wrong[] = {
    // Syntax.
    {"", "t.json:1:1: is not JSON: ..."},
    {"{\"a\": 1 \"b\": 2}", "t.json:1:9: is not JSON: '}' expected; look for a missing or ..."},
    {"{\n  \"cameras\": [,]\n}", "t.json:2:15: is not JSON: ..."},
    {"{\n \"web\": {}, \n \"web\": {}}",
     "t.json:3:2: the key \"web\" is there twice; leave one of the two out"},
    {"[]", "t.json:1:1: the file holds no object; write { \"cameras\": [ ... ] }"},
    // Cameras.
    {"{}", "t.json:1:1: the file names no camera; ..."},
    {"{\"cameras\": {}}", "t.json:1:13: cameras is an object; write a list, [ ... ]"},
    {"{\"cameras\": [\n  3]}",
     "t.json:2:3: cameras[0] is a whole number; write an object, { ... }"},
    {"{\"cameras\": [{\"rtsp\": \"rtsp://h/s\"}]}", "t.json:1:14: cameras[0] has no \"id\"; ..."},
    {"{\"cameras\": [{\"id\": \"a\"}]}",
     "t.json:1:14: cameras[0] has neither \"rtsp\" nor \"test_video\"; give it one of the two"},
    {"{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\"},\n {\"id\": \"a\", \"rtsp\": \"x\"}]}",
     "t.json:2:9: cameras[1].id is that of cameras[0] too; give each camera an id of its own"},
    {"{\"cameras\": [{\"id\": \"a/b\", \"rtsp\": \"x\"}]}",
     "t.json:1:21: cameras[0].id is no name that fits into addresses and file names; write ..."},
    {"{\"cameras\": [{\"id\": \"..\", \"rtsp\": \"x\"}]}",
     "t.json:1:21: cameras[0].id is no name ..."},
    // Outputs.
    {CAMERA(", \"ffmpeg_output\": \"rtsp://h/s\""),
     "t.json:1:14: cameras[0] publishes to the very address that it watches; give it another"},
    {CAMERA(", \"publish\": {\"outputs\": [\"rtmp://h/1\", \"rtmp://h/2\", \"rtmp://h/1\"]}"),
     "t.json:1:14: cameras[0] publishes to the same output twice; leave one of the two out"},
    // Alerts.
    {ROOT("\"s3\": {\"public_base_url\": \"https://me:pass-word@h/b\"}"),
     "t.json:1:28: s3.public_base_url holds a login, which every alert would tell; write it "
     "without"},
    {ROOT("\"sinks\": [" SINKS_8("a") ", " SINKS_8("b") "], \"backend_alert_url\": \"http://h/\""),
     "t.json:1:11: sinks makes 17 places that alerts go to, and 16 are possible; leave some out"},
    // Types, ranges, choices.
    {CAMERA(", \"analyze_fps\": \"5\""), "t.json:1:63: cameras[0].analyze_fps is a string; write a "
                                         "number from 0 to 1000, for example 10"},
    {CAMERA(", \"frame_skip\": 1.5"), "t.json:1:62: cameras[0].frame_skip is a number; write a "
                                      "whole number from 0 to 10000, for example 1"},
    {CAMERA(", \"max_frames\": -1"), "t.json:1:62: cameras[0].max_frames is -1; write a whole "
                                     "number from 0 to 9007199254740991, for example 250"},
    {CAMERA(", \"enabled\": \"yes\""),
     "t.json:1:59: cameras[0].enabled is a string; write true or false"},
    {CAMERA(", \"transport\": \"sctp\""),
     "t.json:1:61: cameras[0].transport is \"sctp\"; write \"auto\", \"tcp\" or \"udp\""},
    {CAMERA(", \"rtsp_\": 5"), "t.json:1:48: cameras[0].rtsp_ is no known key; did you mean "
                               "\"rtsp\"?"},
    {ROOT("\"worker\": []"), "t.json:1:12: worker is a list; write an object, { ... }"},
    {ROOT("\"worker\": {\"max_connects\": 0}"),
     "t.json:1:29: worker.max_connects is 0; write a whole number from 1 to 1024, for example 4"},
    {ROOT("\"models\": {\"onnx_sha256\": \"12\"}"),
     "t.json:1:28: models.onnx_sha256 is no SHA-256; write 64 hexadecimal digits, for ..."},
    {ROOT("\"alerts\": {\"confirm\": \"3/2\"}"),
     "t.json:1:24: alerts.confirm is no such pair; write \"n/m\" with n from 1 to m and m up to "
     "100, for example \"2/3\""},
    {ROOT("\"alerts\": {\"confirm\": \"2/3x\"}"),
     "t.json:1:24: alerts.confirm is no such pair; ..."},
    {ROOT("\"detector\": {\"tiles\": \"3x9\"}"),
     "t.json:1:24: detector.tiles is no such grid; write \"columns x rows\" without spaces, each "
     "from 1 to 8, for example \"3x2\""},
    {ROOT("\"detector\": {\"tiles\": 3}"), "t.json:1:24: detector.tiles is a whole number; ..."},
    {ROOT("\"detector\": {\"roi\": [0, 0.5, 1, 0.6]}"),
     "t.json:1:22: detector.roi is no area of the picture; write a list of x, y, width and height "
     "as fractions within the picture, for example [0, 0.25, 1, 0.5]"},
    {ROOT("\"detector\": {\"roi\": [0, 0, 1]}"), "t.json:1:22: detector.roi is no area ..."},
    {ROOT("\"detector\": {\"roi\": [0, 0, 1, \"1\"]}"), "t.json:1:22: detector.roi is no area ..."},
    {ROOT("\"detector\": {\"roi\": \"0,0,1,1\"}"), "t.json:1:22: detector.roi is a string; ..."},
    // Keys that are nearly right.
    {ROOT("\"worker\": {\"statedir\": \"/x\"}"),
     "t.json:1:13: worker.statedir is no known key; did you mean \"state_dir\"?"},
    {ROOT("\"worker\": {\"Max-Connects\": 3}"),
     "t.json:1:13: worker.Max-Connects is no known key; did you mean \"max_connects\"?"},
    {ROOT("\"detectors\": {}"),
     "t.json:1:2: detectors is no known key; did you mean \"detector\"?"},
    {ROOT("\"s3\": {\"acess_key_id\": \"k\"}"),
     "t.json:1:9: s3.acess_key_id is no known key; did you mean \"access_key_id\"?"},
    {CAMERA(", \"pasword_file\": \"x\""),
     "t.json:1:48: cameras[0].pasword_file is no known key; did you mean \"password_file\"?"},
    // Given twice.
    {ROOT("\"s3\": {\"endpoint\": \"http://a\", \"endpoint_url\": \"http://b\"}"),
     "t.json:1:33: s3.endpoint_url is given already, under another name; leave one of the two out"},
    // The environment and files.
    {CAMERA(", \"location\": \"${FW_TEST_UNSET}\""),
     "t.json:1:60: cameras[0].location takes ${FW_TEST_UNSET}, which is not in the environment; "
     "set it, or write \"$${\" for a plain \"${\""},
    {CAMERA(", \"location\": \"${}\""), "t.json:1:60: cameras[0].location has a \"${\" that begins "
                                        "no ${NAME}; write \"$${\" for a plain \"${\""},
    {CAMERA(", \"password_file\": \"/nonexistent/x\""),
     "t.json:1:65: cameras[0].password_file names a file that gives no secret: No such file or "
     "directory; write the path of a file that holds nothing but the secret"},
    {CAMERA(", \"password_file\": \"/dev/null\""),
     "t.json:1:65: cameras[0].password_file names a file that gives no secret: it is empty; ..."},
    // What this version lacks.
    {CAMERA(", \"substream\": \"rtsp://h/2\""),
     "t.json:1:48: cameras[0].substream is not in this version; leave it out"},
    {CAMERA(", \"publish\": {\"video\": \"copy\"}"),
     "t.json:1:69: cameras[0].publish.video is \"copy\", which is not in this version; write "
     "\"overlay\""},
    {CAMERA(", \"publish\": {\"audio\": \"copy\"}"),
     "t.json:1:69: cameras[0].publish.audio is ..."},
    {CAMERA(", \"publish\": {\"when\": \"faces\"}"), "t.json:1:68: cameras[0].publish.when is ..."},
    {CAMERA(", \"publish\": {\"encoder\": \"h264_vaapi\"}"),
     "t.json:1:71: cameras[0].publish.encoder is \"h264_vaapi\"; write \"libx264\""},
    {CAMERA(", \"privacy\": {\"faces\": true}"), "t.json:1:60: cameras[0].privacy.faces is not in "
                                                 "this version; leave it out, or write false"},
    {CAMERA(", \"privacy\": {\"areas\": [{}]}"),
     "t.json:1:60: cameras[0].privacy.areas is not ..."},
    {CAMERA(", \"ffmpeg_output\": \"srt://h:1\""),
     "t.json:1:65: cameras[0].ffmpeg_output can't be published to in this version; ..."},
    {CAMERA(", \"publish\": {\"outputs\": [\"a.flv\", \"whip://h\"]}"),
     "t.json:1:81: cameras[0].publish.outputs[1] can't be published to in this version; ..."},
    {CAMERA(", \"alerts\": {\"delivery\": \"all\"}"),
     "t.json:1:59: cameras[0].alerts.delivery can't differ from camera to camera; set "
     "alerts.delivery"},
    {ROOT("\"web\": {\"users_file\": \"u\"}"), "t.json:1:10: web.users_file is not in this ..."},
    {ROOT("\"web\": {\"listen\": \"0.0.0.0:8080\"}"),
     "t.json:1:20: web.listen is no loopback address with a port; write \"127.0.0.1:8080\" ..."},
    {ROOT("\"web\": {\"listen\": \"127.0.0.1\"}"), "t.json:1:20: web.listen is no loopback ..."},
    {ROOT("\"web\": {\"listen\": \"127.0.0.1.evil.example:80\"}"),
     "t.json:1:20: web.listen is ..."},
    // Zones.
    {CAMERA(", \"zones\": {}"),
     "t.json:1:57: cameras[0].zones is an object; write a list, [ ... ]"},
    {CAMERA(", \"zones\": [{\"points\": [[0, 0], [1, 0], [1, 1]]}]"),
     "t.json:1:58: cameras[0].zones[0] has no \"name\"; ..."},
    {CAMERA(", \"zones\": [{\"name\": \"z\"}]"),
     "t.json:1:58: cameras[0].zones[0] has no \"points\"; ..."},
    {CAMERA(", \"zones\": [{\"name\": \"z\", \"points\": [[0, 0], [1, 0]]}]"),
     "t.json:1:82: cameras[0].zones[0].points is no polygon; write a list of 3 to 64 corners ..."},
    {CAMERA(", \"zones\": [{\"name\": \"z\", \"points\": [[0, 0], [1, 0], [1, 1.5]]}]"),
     "t.json:1:82: cameras[0].zones[0].points is no polygon; ..."},
    {CAMERA(", \"zones\": [{\"name\": \"z\", \"points\": [[0, 0], [1, 0], [1]]}]"),
     "t.json:1:82: cameras[0].zones[0].points is no polygon; ..."},
    {CAMERA(", \"zones\": [{\"name\": \"z\", \"type\": \"both\", \"points\": [[0, 0], [1, 0], "
            "[1, 1]]}]"),
     "t.json:1:80: cameras[0].zones[0].type is \"both\"; write \"include\" or \"exclude\""},
    {CAMERA(
         ", \"zones\": [{\"name\": \"z\", \"points\": [[0, 0], [1, 0], [1, 1]]}, {\"name\": \"z\", "
         "\"points\": [[0, 0], [1, 0], [1, 1]]}]"),
     "t.json:1:118: cameras[0].zones[1].name is that of another zone too; ..."},
    {CAMERA(
         ", \"zones\": [{\"nam\": \"z\", \"name\": \"z\", \"points\": [[0, 0], [1, 0], [1, 1]]}]"),
     "t.json:1:59: cameras[0].zones[0].nam is no known key; did you mean \"name\"?"},
    // Hours.
    {ROOT("\"alerts\": {\"schedule\": \"mon 08:00-09:00\"}"),
     "t.json:1:25: alerts.schedule is a string; write a list of days and hours, for example ..."},
    {ROOT("\"alerts\": {\"schedule\": [\"mon 08:00-09:00\", \"someday\"]}"),
     "t.json:1:45: alerts.schedule[1] ..."},
    {CAMERA(", \"alerts\": {\"schedule\": [\"mon 08:00-09:00\"], \"time_zone\": \"Mars/Base\"}"),
     "t.json:1:105: cameras[0].alerts.time_zone ..."},
    // Brokers and S3.
    {ROOT("\"mq\": {\"url\": \"http://h/\"}"),
     "t.json:1:16: mq.url is no address of a sink of type \"rabbitmq\"; write one that begins with "
     "amqp:// or amqps://"},
    {ROOT("\"mq\": {\"type\": \"rabbitmq\", \"url\": \"redis://h/\"}"),
     "t.json:1:36: mq.url is no address of a sink of type \"rabbitmq\"; ..."},
    {ROOT("\"mq\": {\"url\": \"amqp:///\"}"), "t.json:1:16: mq.url ..."},
    {ROOT("\"mq\": {\"url\": \"amqps://h/\", \"key_file\": \"k.pem\"}"),
     "t.json:1:42: mq.key_file is half of a pair; give both certificate_file and key_file"},
    {ROOT("\"s3\": {\"enabled\": true, \"access_key\": \"a\", \"secret_key\": \"b\"}"),
     "t.json:1:8: s3 has no \"bucket\"; name the bucket that snapshots go to"},
    {ROOT("\"s3\": {\"enabled\": true, \"bucket\": \"b\", \"access_key\": \"a\"}"),
     "t.json:1:8: s3 has no keys; ..."},
    {ROOT("\"s3\": {\"enabled\": true, \"bucket\": \"b\", \"access_key\": \"a\", \"secret_key\": "
          "\"b\", \"endpoint_url\": \"minio:9000\"}"),
     "t.json:1:95: s3.endpoint_url is no http:// or https:// address; ..."},
    {ROOT("\"s3\": {\"prefix\": \"/faces\"}"),
     "t.json:1:19: s3.prefix is no beginning of keys: ..."},
    {ROOT("\"s3\": {\"prefix\": \"a/../b\"}"),
     "t.json:1:19: s3.prefix is no beginning of keys: ..."},
    // Alerts' places.
    {ROOT("\"backend_alert_url\": \"ftp://h/\""), "t.json:1:23: backend_alert_url is no address of "
                                                  "a sink of type \"http\"; write one that begins "
                                                  "with http:// or https://"},
    {ROOT("\"sinks\": [{\"name\": \"mq\", \"type\": \"file\", \"path\": \"x\"}]"),
     "t.json:1:21: sinks[0].name is taken by the common sink of this name; choose another"},
    {ROOT("\"sinks\": [{\"name\": \"x\", \"type\": \"file\"}]"),
     "t.json:1:12: sinks[0] has no \"path\"; name the file that alerts go to"},
    {ROOT("\"sinks\": [{\"name\": \"x\", \"type\": \"redis\"}]"),
     "t.json:1:12: sinks[0] has no \"url\"; give the address that alerts go to"},
    {ROOT("\"sinks\": [{\"name\": \"x\", \"type\": \"mqtt\", \"url\": \"amqp://h\"}]"),
     "t.json:1:49: sinks[0].url is no address of a sink of type \"mqtt\"; ..."},
    // Two cameras, one output.
    {"{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"ffmpeg_output\": \"rtmp://h/o\"},\n"
     "{\"id\": \"b\", \"rtsp\": \"x\", \"publish\": {\"outputs\": [\"rtmp://h/o\"]}}]}",
     "t.json:2:1: cameras[1] publishes to an output of cameras[0]; give each an output of its own"},
    // Columns count characters.
    {ROOT("\"_\": \"ééé\", \"worker\": {\"max_connects\": 0}"),
     "t.json:1:41: worker.max_connects is 0; ..."},
};

static bool is_line(const char *text, const char *wanted)
{
    size_t length = strlen(wanted);
    bool is_whole = !fw_ends_with(wanted, "...");
    if (!is_whole)
        length -= 3;
    if (strncmp(text, wanted, length) == 0 && (!is_whole || text[length] == '\n'))
        return true;
    print_error("wanted: %s\n   got: %s", wanted, text);
    return false;
}

// Loads TEXT, which must give STATUS and one finding, LINE.
static bool gives(const char *text, int status, const char *line)
{
    struct load l;
    load(&l, text);
    char *lines = printed(&l);
    bool is_right = is_line(lines, line) && l.status == status && l.diagnostics.count == 1;
    if (!is_right)
        print_error("status %d, %zu findings\n", l.status, l.diagnostics.count);
    free(lines);
    unload(&l);
    return is_right;
}

static void each_error_names_place_and_remedy(void **state)
{
    (void)state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        failed += !gives(wrong[i].text, FW_EINVAL, wrong[i].line);
    assert_int_equal(failed, 0);
}

static const struct {
    const char *text;
    const char *line;
} doubtful[] = {
    {ROOT("\"colour\": 1"),
     "t.json:1:2: warning: colour is no known key and ignored; remove it, or begin its name with "
     "\"_\" to keep it as a comment"},
    {CAMERA(", \"vendor\": {\"rtsp\": 5}"), "t.json:1:48: warning: cameras[0].vendor is no ..."},
    {ROOT("\"models\": {\"caffemodel\": \"c\"}"),
     "t.json:1:27: warning: models.caffemodel is not used, because res10 needs both ..."},
    {CAMERA(", \"test_video\": \"a.mp4\""), "t.json:1:62: warning: cameras[0].test_video is played "
                                            "in place of rtsp; leave one of the ..."},
    {CAMERA(", \"save_snapshots\": true"),
     "t.json:1:66: warning: cameras[0].save_snapshots has nowhere to store them; ..."},
    {CAMERA(", \"enabled\": false"), "t.json:1:13: warning: cameras has no camera that is ..."},
};

static void what_is_doubtful_is_a_warning(void **state)
{
    (void)state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof(doubtful) / sizeof(doubtful[0]); i++)
        failed += !gives(doubtful[i].text, FW_OK, doubtful[i].line);
    assert_int_equal(failed, 0);
}

static void findings_come_in_the_order_of_the_file(void **state)
{
    (void)state;
    struct load l;
    load(&l, "{\"cameras\": [{\n\"id\": 5.5,\n\"rtsp\": 1,\n\"frame_skip\": true}],\n"
             "\"mq\": {\"typ\": 1}}");
    assert_int_equal(l.status, FW_EINVAL);
    assert_int_equal(l.diagnostics.error_count, 4);
    int lines[] = {2, 3, 4, 5};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(l.diagnostics.items[i].line, lines[i]);
    unload(&l);
}

static void the_smallest_file_gets_the_defaults(void **state)
{
    (void)state;
    struct load l;
    setenv("XDG_STATE_HOME", "/s", 1);
    setenv("XDG_CACHE_HOME", "/c", 1);
    load(&l, CAMERA(""));
    assert_int_equal(l.status, FW_OK);
    assert_int_equal(l.diagnostics.count, 0);
    const struct fw_config *config = l.config;
    const struct fw_camera_config *camera = &config->cameras[0];
    assert_true(config->worker.id[0] != '\0');
    assert_string_equal(config->worker.state_dir, "/s/faceworker");
    assert_string_equal(config->models.dir, "/c/faceworker/models");
    assert_string_equal(config->web.listen, "127.0.0.1:8080");
    assert_int_equal(config->worker.max_connects, 4);
    assert_int_equal(config->log.level, FW_LOG_INFO);
    assert_int_equal(config->alerts.delivery, FW_DELIVERY_FALLBACK);
    assert_int_equal(config->sink_count, 0);
    assert_null(config->snapshot_dir);
    assert_int_equal(config->camera_count, 1);
    assert_string_equal(camera->id, "a");
    assert_null(camera->name);
    assert_string_equal(camera->url->display, "rtsp://h/s");
    assert_true(camera->enabled && camera->tls_verify && camera->overlay_enabled);
    assert_false(camera->is_test_video || camera->save_snapshots);
    assert_int_equal(camera->transport, FW_TRANSPORT_AUTO);
    assert_true(camera->analyze_fps > 9.99 && camera->analyze_fps < 10.01);
    assert_int_equal(camera->max_frame_age_ms, 500);
    assert_int_equal(camera->connect_timeout_ms, 4000);
    assert_int_equal(camera->packet_timeout_ms, 4000);
    assert_int_equal(camera->keyframe_timeout_ms, 10000);
    assert_string_equal(camera->publish.encoder, "libx264");
    assert_int_equal(camera->publish.bitrate_kbps, 3000);
    assert_int_equal(camera->publish.output_count, 0);
    assert_string_equal(camera->detector.model, "yunet");
    assert_int_equal(camera->detector.input_size_px, 640);
    assert_true(camera->detector.min_score > 0.699 && camera->detector.min_score < 0.701);
    assert_int_equal(camera->alerts.confirm_hits, 2);
    assert_int_equal(camera->alerts.confirm_window, 3);
    assert_int_equal(camera->detector.tile_columns, 1);
    assert_int_equal(camera->detector.tile_rows, 1);
    const struct fw_box whole = {0, 0, 1, 1};
    assert_memory_equal(&camera->detector.roi, &whole, sizeof(whole));
    assert_int_equal(camera->alerts.lost_ms, 1500);
    unload(&l);
}

static void a_camera_overrides_the_common_sections(void **state)
{
    (void)state;
    struct load l;
    load(&l, "{\"detector\": {\"input_size\": 480, \"min_score\": 0.5, \"tiles\": \"3x2\","
             "  \"roi\": [0, 0.5, 1, 0.5]},"
             " \"alerts\": {\"lost_ms\": 2000},"
             " \"cameras\": [{\"id\": 1, \"rtsp\": \"/dev/video0\","
             "  \"detector\": {\"input_size\": 320, \"model\": \"haar\","
             "  \"roi\": [0.25, 0, 0.75, 1]},"
             "  \"alerts\": {\"confirm\": \"3/5\"}},"
             " {\"id\": \"b\", \"rtsp\": \"x\"}]}");
    assert_int_equal(l.status, FW_OK);
    const struct fw_camera_config *own = &l.config->cameras[0], *common = &l.config->cameras[1];
    assert_string_equal(own->id, "1");
    assert_string_equal(own->detector.model, "haar");
    assert_int_equal(own->detector.input_size_px, 320);
    assert_true(own->detector.min_score < 0.51);
    assert_int_equal(own->alerts.lost_ms, 2000);
    assert_int_equal(own->alerts.confirm_hits, 3);
    assert_int_equal(own->alerts.confirm_window, 5);
    assert_string_equal(common->detector.model, "yunet");
    assert_int_equal(common->detector.input_size_px, 480);
    assert_true(own->detector.tile_columns == 3 && own->detector.tile_rows == 2);
    assert_true(common->detector.tile_columns == 3 && common->detector.tile_rows == 2);
    const struct fw_box rois[] = {{0.25F, 0, 0.75F, 1}, {0, 0.5F, 1, 0.5F}};
    assert_memory_equal(&own->detector.roi, &rois[0], sizeof(rois[0]));
    assert_memory_equal(&common->detector.roi, &rois[1], sizeof(rois[1]));
    assert_int_equal(common->alerts.confirm_window, 3);
    unload(&l);
}

static void the_older_workers_file_keeps_its_meaning(void **state)
{
    (void)state;
    struct load l;
    load(&l,
         "{\"cameras\": [{\"id\": \"cam-1\", \"rtsp\": null, \"test_video\": \"a.mp4\","
         "   \"ffmpeg_output\": \"rtmp://localhost/cam-1\", \"save_snapshots\": true,"
         "   \"max_frames\": 50, \"frame_skip\": 2}],"
         " \"backend_alert_url\": \"http://localhost:9000/alerts\","
         " \"s3\": {\"enabled\": true, \"bucket_name\": \"b\", \"aws_access_key_id\": \"AKCANARY\","
         "   \"aws_secret_access_key\": \"SKCANARY\", \"endpoint\": \"http://m:9000\","
         "   \"region_name\": \"eu-west-1\", \"public_base_url\": \"http://p\"},"
         " \"models\": {\"base_url\": \"http://m/\", \"prototxt\": \"d.prototxt\","
         "   \"caffemodel\": \"r.caffemodel\", \"prototxt_sha256\": null},"
         " \"mq\": {\"type\": \"redis\", \"url\": \"redis://u:MQCANARY@h/0\", \"exchange\": \"e\","
         "   \"routing_key\": \"r\"},"
         " \"local_mocks\": {\"use_mock_s3\": true, \"use_mock_mq\": true},"
         " \"worker\": {\"state_dir\": \"/st\"}, \"backend\": {\"timeout_s\": 3}}");
    assert_int_equal(l.status, FW_OK);
    assert_int_equal(l.diagnostics.count, 0);
    const struct fw_config *config = l.config;
    const struct fw_camera_config *camera = &config->cameras[0];
    assert_true(camera->is_test_video && camera->test_video_realtime && camera->save_snapshots);
    assert_string_equal(camera->url->path, "a.mp4");
    assert_int_equal(camera->max_frames, 50);
    assert_int_equal(camera->frame_skip, 2);
    assert_int_equal(camera->publish.output_count, 1);
    assert_string_equal(camera->publish.outputs[0]->display, "rtmp://localhost/cam-1");
    assert_string_equal(camera->detector.model, "res10");
    assert_string_equal(config->s3.bucket, "b");
    assert_string_equal(config->s3.endpoint_url, "http://m:9000");
    assert_string_equal(config->s3.region, "eu-west-1");
    assert_string_equal(fw_secret_reveal(config->s3.access_key), "AKCANARY");
    assert_string_equal(fw_secret_reveal(config->s3.secret_key), "SKCANARY");
    assert_string_equal(config->snapshot_dir, "/st/snapshots");
    assert_int_equal(config->sink_count, 2);
    assert_string_equal(config->sinks[0].name, "mq");
    assert_string_equal(config->sinks[0].type, "file");
    assert_string_equal(config->sinks[0].path, "/st/alerts.jsonl");
    assert_string_equal(config->sinks[1].name, "backend");
    assert_string_equal(config->sinks[1].url->display, "http://localhost:9000/alerts");
    assert_int_equal(config->sinks[1].timeout_ms, 3000);
    unload(&l);
}

static void a_model_that_is_named_wins_over_the_older_keys(void **state)
{
    (void)state;
    struct load l;
    load(&l, ROOT("\"models\": {\"prototxt\": \"p\", \"caffemodel\": \"c\"}, "
                  "\"detector\": {\"model\": \"yunet-s\"}"));
    assert_int_equal(l.status, FW_OK);
    assert_string_equal(l.config->cameras[0].detector.model, "yunet-s");
    unload(&l);
}

static void outputs_begin_with_ffmpeg_output(void **state)
{
    (void)state;
    struct load l;
    load(&l, CAMERA(", \"publish\": {\"outputs\": [\"out.flv\", \"rtsp://h/2\"]}, "
                    "\"ffmpeg_output\": \"rtmp://h/1\""));
    assert_int_equal(l.status, FW_OK);
    const struct fw_publish_config *publish = &l.config->cameras[0].publish;
    assert_int_equal(publish->output_count, 3);
    assert_string_equal(publish->outputs[0]->display, "rtmp://h/1");
    assert_string_equal(publish->outputs[1]->path, "out.flv");
    assert_string_equal(publish->outputs[2]->display, "rtsp://h/2");
    unload(&l);
    load(&l, CAMERA(", \"publish\": {\"outputs\": [\"rtmp://h/1\", \"rtsp://h/2\"]}, "
                    "\"ffmpeg_output\": \"rtmp://h/1\""));
    assert_int_equal(l.config->cameras[0].publish.output_count, 2);
    unload(&l);
}

static void sinks_of_ones_own(void **state)
{
    (void)state;
    struct load l;
    load(&l, ROOT("\"sinks\": [{\"name\": \"f\", \"type\": \"file\", \"path\": \"p\"}, {\"name\": "
                  "\"h\", \"type\": \"http\", \"url\": \"https://h/\", \"token\": \"TCANARY\", "
                  "\"timeout_s\": 2}], \"local_mocks\": {\"use_mock_mq\": true}"));
    assert_int_equal(l.status, FW_OK);
    assert_int_equal(l.config->sink_count, 3);
    assert_string_equal(l.config->sinks[0].name, "mq");
    assert_string_equal(l.config->sinks[1].path, "p");
    assert_int_equal(l.config->sinks[2].timeout_ms, 2000);
    assert_string_equal(fw_secret_reveal(l.config->sinks[2].token), "TCANARY");
    unload(&l);
}

static void a_broker_of_any_kind_comes_first(void **state)
{
    (void)state;
    struct load l;
    load(&l,
         ROOT("\"mq\": {\"url\": \"redis://h/2\", \"username\": \"u\", \"password\": \"MQCANARY\", "
              "\"routing_key\": \"f:{camera_id}\", \"max_length\": 5, \"timeout_s\": 3}, "
              "\"backend_alert_url\": \"http://h/\", \"backend\": {\"embed_snapshot\": true, "
              "\"hmac_secret\": \"HMCANARY\"}, \"sinks\": [{\"name\": \"x\", \"type\": "
              "\"mqtt\", \"url\": \"mqtts://h\", \"home_assistant\": true, \"tls_verify\": "
              "false}]"));
    assert_int_equal(l.diagnostics.count, 0);
    assert_int_equal(l.config->sink_count, 3);
    const struct fw_sink_config *sinks = l.config->sinks;
    assert_string_equal(sinks[0].name, "mq");
    assert_string_equal(sinks[0].type, "redis"); // told by the address
    assert_string_equal(sinks[0].url->username, "u");
    assert_string_equal(fw_secret_reveal(sinks[0].url->password), "MQCANARY");
    assert_string_equal(sinks[0].routing_key, "f:{camera_id}");
    assert_int_equal(sinks[0].max_length, 5);
    assert_int_equal(sinks[0].timeout_ms, 3000);
    assert_true(sinks[0].tls_verify);
    assert_string_equal(sinks[1].name, "backend");
    assert_true(sinks[1].embed_snapshot && sinks[1].tls_verify);
    assert_string_equal(fw_secret_reveal(sinks[1].hmac_secret), "HMCANARY");
    assert_true(sinks[2].home_assistant && !sinks[2].tls_verify);
    assert_string_equal(sinks[2].routing_key, "faces.{camera_id}");
    unload(&l);
}

static void zones_and_hours_are_read(void **state)
{
    (void)state;
    struct load l;
    load(&l,
         "{\"alerts\": {\"schedule\": [\"mon-fri 18:00-08:00\"], \"time_zone\": \"Europe/Berlin\"},"
         " \"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"zones\": [{\"name\": \"door\", "
         "\"points\": [[0, 0], [0.5, 0], [0.5, 1]], \"cooldown_s\": 5, \"min_score\": 0.9}, "
         "{\"name\": \"tv\", \"type\": \"exclude\", \"points\": [[0.5, 0], [1, 0], [1, 1], "
         "[0.5, 1]]}]}, {\"id\": \"b\", \"rtsp\": \"y\", \"alerts\": {\"schedule\": []}}]}");
    assert_int_equal(l.diagnostics.count, 0);
    const struct fw_camera_config *a = &l.config->cameras[0], *b = &l.config->cameras[1];
    assert_int_equal(a->zone_count, 2);
    assert_string_equal(a->zones[0].name, "door");
    assert_int_equal(a->zones[0].type, FW_ZONE_INCLUDE);
    assert_int_equal(a->zones[0].point_count, 3);
    assert_true(a->zones[0].points[2].x == 0.5F && a->zones[0].points[2].y == 1.0F);
    assert_true(a->zones[0].cooldown_s > 4.9 && a->zones[1].cooldown_s < 0);
    assert_int_equal(a->zones[1].type, FW_ZONE_EXCLUDE);
    assert_int_equal(a->zones[1].point_count, 4);
    assert_int_equal(a->alerts.span_count, 1); // the common ones
    assert_int_equal(a->alerts.spans[0].days, 31);
    assert_int_equal(a->alerts.spans[0].from_minute, 18 * 60);
    assert_string_equal(a->alerts.time_zone, "Europe/Berlin");
    assert_int_equal(b->alerts.span_count, 0);
    assert_int_equal(b->zone_count, 0);
    unload(&l);
}

static void keys_of_s3_may_come_from_the_environment(void **state)
{
    (void)state;
    struct load l;
    setenv("AWS_ACCESS_KEY_ID", "AKCANARY", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "SKCANARY", 1);
    load(&l, ROOT("\"s3\": {\"enabled\": true, \"bucket\": \"b\"}"));
    assert_int_equal(l.diagnostics.count, 0);
    assert_true(l.config->stores_snapshots);
    assert_string_equal(fw_secret_reveal(l.config->s3.access_key), "AKCANARY");
    assert_string_equal(fw_secret_reveal(l.config->s3.secret_key), "SKCANARY");
    assert_null(l.config->s3.session_token);
    unload(&l);
    // A key in the file is never mixed with one of the environment.
    load(&l, ROOT("\"s3\": {\"enabled\": true, \"bucket\": \"b\", \"access_key\": \"own\"}"));
    assert_int_equal(l.status, FW_EINVAL);
    unload(&l);
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
}

static void the_environment_is_put_in(void **state)
{
    (void)state;
    struct load l;
    setenv("FW_TEST_HOST", "10.0.0.9", 1);
    setenv("FW_TEST_TRANSPORT", "udp", 1);
    load(&l, "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"rtsp://${FW_TEST_HOST}/s\", \"name\": "
             "\"$5 $${FW_TEST_HOST} $\", \"transport\": \"${FW_TEST_TRANSPORT}\"}]}");
    assert_int_equal(l.status, FW_OK);
    assert_string_equal(l.config->cameras[0].url->host, "10.0.0.9");
    assert_string_equal(l.config->cameras[0].name, "$5 ${FW_TEST_HOST} $");
    assert_int_equal(l.config->cameras[0].transport, FW_TRANSPORT_UDP);
    unload(&l);
}

static void a_secret_comes_from_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/fw-test-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "file@canary/1\n", 14), 14);
    close(fd);
    char *text =
        fw_strdup_printf(CAMERA(", \"username\": \"u:%%\", \"password_file\": \"%s\""), path);
    assert_non_null(text);
    struct load l;
    load(&l, text);
    assert_int_equal(l.status, FW_OK);
    assert_string_equal(l.config->cameras[0].url->username, "u:%");
    assert_string_equal(fw_secret_reveal(l.config->cameras[0].url->password), "file@canary/1");
    unload(&l);
    free(text);
    unlink(path);
}

static void localhost_is_loopback(void **state)
{
    (void)state;
    struct load l;
    load(&l, ROOT("\"web\": {\"listen\": \"localhost:0\"}"));
    assert_int_equal(l.status, FW_OK);
    assert_string_equal(l.config->web.listen, "127.0.0.1:0");
    unload(&l);
    load(&l, ROOT("\"web\": {\"listen\": \"[::1]:8080\"}"));
    assert_int_equal(l.status, FW_OK);
    unload(&l);
}

// Every way in which a secret might get into a message.
static const char *const leaky[] = {
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"rtsp://u:CANARY@h:99999999/\"}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"rtsp://u:CANARY@h/s\", \"transport\": 5}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"password\": [\"CANARY\"]}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"pasword\": \"CANARY\"}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"password\": \"CANARY\" \"id\": 1}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"password\": CANARY}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"password\": \"CANARY}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"ffmpeg_output\": \"srt://u:CANARY@h\"}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\"}], \"mq\": {\"url\": \"http://u:CANARY@h\"}}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\"}], \"s3\": {\"secret_kye\": \"CANARY\"}}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"transport\": \"${FW_TEST_HIDDEN}\"}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\", \"alerts\": {\"confirm\": \"CANARY\"}}]}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\"}], \"web\": {\"listen\": \"CANARY\"}}",
    "{\"cameras\": [{\"id\": \"a\", \"rtsp\": \"x\"}], \"backend_alert_url\": \"x://u:CANARY@h/\"}",
};

static void no_message_repeats_a_secret(void **state)
{
    (void)state;
    setenv("FW_TEST_HIDDEN", "CANARY", 1);
    for (size_t i = 0; i < sizeof(leaky) / sizeof(leaky[0]); i++) {
        struct load l;
        load(&l, leaky[i]);
        assert_int_equal(l.status, FW_EINVAL);
        char *text = printed(&l);
        assert_true(text[0] != '\0');
        if (strstr(text, "CANARY") != NULL)
            fail_msg("%s", text);
        // Not even unfiltered: the filter is the second line of defence.
        for (size_t k = 0; k < l.diagnostics.count; k++)
            assert_null(strstr(l.diagnostics.items[k].message, "CANARY"));
        free(text);
        unload(&l);
    }
}

static void a_file_that_is_not_there(void **state)
{
    (void)state;
    struct load l = {.secrets = fw_secrets_create()};
    assert_int_equal(fw_config_load(&l.config, "/nonexistent/f.json", l.secrets, &l.diagnostics),
                     FW_ENOENT);
    assert_null(l.config);
    char *text = printed(&l);
    assert_string_equal(text, "t.json: can't be opened (No such file or directory); name the "
                              "configuration with -c FILE\n");
    free(text);
    fw_diagnostics_free(&l.diagnostics);
    l.diagnostics = (struct fw_diagnostics){0};
    assert_int_equal(fw_config_load(&l.config, "/", l.secrets, &l.diagnostics), FW_EIO);
    unload(&l);
}

static void the_file_is_looked_for(void **state)
{
    (void)state;
    char *path = NULL, dir[] = "/tmp/fw-test-XXXXXX", old[4096];
    struct fw_error error = {0};
    assert_non_null(getcwd(old, sizeof(old)));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    unsetenv("WORKER_CONFIG");
    if (access("/etc/faceworker/faceworker.json", F_OK) != 0) {
        assert_int_equal(fw_config_find(NULL, &path, &error), FW_ENOENT);
        assert_non_null(strstr(error.message, "WORKER_CONFIG"));
        assert_null(path);
    }
    FILE *file = fopen("faceworker.json", "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(fw_config_find(NULL, &path, &error), FW_OK);
    assert_string_equal(path, "faceworker.json");
    free(path);
    setenv("WORKER_CONFIG", "w.json", 1);
    assert_int_equal(fw_config_find(NULL, &path, &error), FW_OK);
    assert_string_equal(path, "w.json");
    free(path);
    assert_int_equal(fw_config_find("c.json", &path, &error), FW_OK);
    assert_string_equal(path, "c.json");
    free(path);
    unsetenv("WORKER_CONFIG");
    unlink("faceworker.json");
    assert_int_equal(chdir(old), 0);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_error_names_place_and_remedy),
        cmocka_unit_test(what_is_doubtful_is_a_warning),
        cmocka_unit_test(findings_come_in_the_order_of_the_file),
        cmocka_unit_test(the_smallest_file_gets_the_defaults),
        cmocka_unit_test(a_camera_overrides_the_common_sections),
        cmocka_unit_test(the_older_workers_file_keeps_its_meaning),
        cmocka_unit_test(a_model_that_is_named_wins_over_the_older_keys),
        cmocka_unit_test(outputs_begin_with_ffmpeg_output),
        cmocka_unit_test(sinks_of_ones_own),
        cmocka_unit_test(a_broker_of_any_kind_comes_first),
        cmocka_unit_test(zones_and_hours_are_read),
        cmocka_unit_test(keys_of_s3_may_come_from_the_environment),
        cmocka_unit_test(the_environment_is_put_in),
        cmocka_unit_test(a_secret_comes_from_a_file),
        cmocka_unit_test(localhost_is_loopback),
        cmocka_unit_test(no_message_repeats_a_secret),
        cmocka_unit_test(a_file_that_is_not_there),
        cmocka_unit_test(the_file_is_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
