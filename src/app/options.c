#include "app/options.h"
#include "app/config.h"
#include "util/text.h"
#include <string.h>

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const precisions[] = {"auto", "fp32", "int8", NULL};
static const char *const transports[] = {"auto", "tcp", "udp", NULL};
static const char *const videos[] = {"overlay", "copy", NULL};
static const char *const encoders[] = {"libx264", NULL};
static const char *const presets[] = {"ultrafast", "superfast", "veryfast", "faster",   "fast",
                                      "medium",    "slow",      "slower",   "veryslow", NULL};
static const char *const audios[] = {"none", "copy", NULL};
static const char *const whens[] = {"always", "faces", NULL};
static const char *const alert_formats[] = {"cloudevents", "plain", NULL};
static const char *const zone_types[] = {"include", "exclude", NULL};
static const char *const deliveries[] = {"fallback", "all", NULL};
static const char *const brokers[] = {"rabbitmq", "redis", "mqtt", NULL};
static const char *const sink_types[] = {"file", "http", "rabbitmq", "redis", "mqtt", NULL};

// FW_OPTION_ENUM stores indices.
_Static_assert(FW_LOG_ERROR == 0 && FW_LOG_DEBUG == 3, "log_levels follows enum fw_log_level");
_Static_assert(FW_LOG_TEXT == 0 && FW_LOG_JSON == 1, "log_formats follows enum fw_log_format");
_Static_assert(FW_TRANSPORT_AUTO == 0 && FW_TRANSPORT_UDP == 2, "transports follows its enum");
_Static_assert(FW_FORMAT_CLOUDEVENTS == 0 && FW_FORMAT_PLAIN == 1,
               "alert_formats follows its enum");
_Static_assert(FW_ZONE_INCLUDE == 0 && FW_ZONE_EXCLUDE == 1, "zone_types follows its enum");
_Static_assert(FW_DELIVERY_FALLBACK == 0 && FW_DELIVERY_ALL == 1, "deliveries follows its enum");

#define WORKER(field) offsetof(struct fw_config, field)
#define CAMERA(field) offsetof(struct fw_camera_config, field)
#define SINK(field)   offsetof(struct fw_sink_config, field)
#define ZONE(field)   offsetof(struct fw_zone_config, field)
#define MQ(field)     WORKER(mq.field)

// One field a line would make the table unreadable.
// clang-format off

// What a broker needs, the same for `mq` and for each of `sinks`.
#define BROKER_OPTIONS(PREFIX, AT) \
    {.key = PREFIX "username", .offset = AT(username), .type = FW_OPTION_STRING, \
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"worker\"", \
     .help = "User name, in place of the one in the address"}, \
    {.key = PREFIX "password", .offset = AT(password), .type = FW_OPTION_SECRET, \
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"${MQ_PASSWORD}\"", \
     .help = "Password, in place of the one in the address"}, \
    {.key = PREFIX "exchange", .offset = AT(exchange), .type = FW_OPTION_STRING, \
     .restart = FW_RESTART_ALERTS, .default_json = "\"\"", .example = "\"alerts\"", \
     .help = "AMQP exchange; empty: the default one, whose routing keys are names of queues"}, \
    {.key = PREFIX "routing_key", .offset = AT(routing_key), .type = FW_OPTION_STRING, \
     .restart = FW_RESTART_ALERTS, .default_json = "\"faces.{camera_id}\"", \
     .help = "AMQP routing key, Redis stream or MQTT topic; `{camera_id}`, `{type}` (such as " \
             "`face.appeared`) and `{worker_id}` are filled in"}, \
    {.key = PREFIX "declare", .offset = AT(declare), .type = FW_OPTION_BOOL, \
     .restart = FW_RESTART_ALERTS, .default_json = "false", \
     .help = "Makes the AMQP exchange (durable, topic), and the queue where one is named"}, \
    {.key = PREFIX "queue", .offset = AT(queue), .type = FW_OPTION_STRING, \
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"alerts\"", \
     .help = "Durable AMQP queue that `declare` makes and binds"}, \
    {.key = PREFIX "max_length", .offset = AT(max_length), .type = FW_OPTION_INT64, \
     .restart = FW_RESTART_ALERTS, .minimum = 0, .maximum = 9007199254740991, \
     .default_json = "100000", \
     .help = "About how many entries a Redis stream keeps; 0: all of them"}, \
    {.key = PREFIX "retain_state", .offset = AT(retain_state), .type = FW_OPTION_BOOL, \
     .restart = FW_RESTART_ALERTS, .default_json = "false", \
     .help = "Keeps each camera's state and the worker's presence as retained MQTT messages"}, \
    {.key = PREFIX "home_assistant", .offset = AT(home_assistant), .type = FW_OPTION_BOOL, \
     .restart = FW_RESTART_ALERTS, .default_json = "false", \
     .help = "Announces the cameras to Home Assistant by MQTT discovery"}, \
    {.key = PREFIX "discovery_prefix", .offset = AT(discovery_prefix), .type = FW_OPTION_STRING, \
     .restart = FW_RESTART_ALERTS, .default_json = "\"homeassistant\"", \
     .help = "Home Assistant's discovery prefix"}, \
    {.key = PREFIX "ca_file", .offset = AT(ca_file), .type = FW_OPTION_STRING, \
     .restart = FW_RESTART_ALERTS, .default_json = "null", \
     .example = "\"/etc/faceworker/ca.pem\"", \
     .help = "Authorities (PEM) that the peer's certificate is checked with, in place of the " \
             "system's"}, \
    {.key = PREFIX "certificate_file", .offset = AT(certificate_file), \
     .type = FW_OPTION_STRING, .restart = FW_RESTART_ALERTS, .default_json = "null", \
     .example = "\"/etc/faceworker/client.pem\"", \
     .help = "Certificate (PEM) that we show"}, \
    {.key = PREFIX "key_file", .offset = AT(key_file), .type = FW_OPTION_STRING, \
     .restart = FW_RESTART_ALERTS, .default_json = "null", \
     .example = "\"/etc/faceworker/client.key\"", \
     .help = "Private key (PEM) of that certificate"}, \
    {.key = PREFIX "tls_verify", .offset = AT(tls_verify), .type = FW_OPTION_BOOL, \
     .restart = FW_RESTART_ALERTS, .default_json = "true", \
     .help = "false accepts any certificate"}, \
    {.key = PREFIX "timeout_s", .offset = AT(timeout_ms), .type = FW_OPTION_INT, \
     .restart = FW_RESTART_ALERTS, .minimum = 1, .maximum = 600, .multiply = 1000, \
     .default_json = "10", .help = "Longest wait for a connection, and for an answer"}

static const struct fw_option table[] = {
    {.key = "worker.id", .offset = WORKER(worker.id), .type = FW_OPTION_ID,
     .restart = FW_RESTART_WORKER, .default_json = "null", .default_words = "the host name",
     .example = "\"gate-1\"", .help = "Names this worker in alerts, for example in their source"},
    {.key = "worker.state_dir", .offset = WORKER(worker.state_dir), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WORKER, .default_json = "null",
     .default_words = "`$XDG_STATE_HOME/faceworker`, else `~/.local/state/faceworker`; for "
                      "root `/var/lib/faceworker`",
     .example = "\"/var/lib/faceworker\"",
     .help = "Folder for snapshots, alerts of the mock queue and whatever outlives a restart"},
    {.key = "worker.detector_threads", .offset = WORKER(worker.detector_threads),
     .type = FW_OPTION_INT, .restart = FW_RESTART_WORKER, .minimum = 0, .maximum = 256,
     .default_json = "0", .example = "2",
     .help = "Threads that look for faces, shared by all cameras; 0: one a processor core"},
    {.key = "worker.max_connects", .offset = WORKER(worker.max_connects), .type = FW_OPTION_INT,
     .restart = FW_RESTART_WORKER, .minimum = 1, .maximum = 1024, .default_json = "4",
     .help = "Cameras that may be connecting at the same time"},
    {.key = "worker.heartbeat_s", .offset = WORKER(worker.heartbeat_s), .type = FW_OPTION_INT,
     .restart = FW_RESTART_ALERTS, .minimum = 0, .maximum = 86400, .default_json = "0",
     .example = "60", .help = "Seconds between two `worker.heartbeat` events, before the first of which comes a "
             "`worker.started`; 0: none"},
    {.key = "web.listen", .offset = WORKER(web.listen), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WEB, .default_json = "\"127.0.0.1:8080\"",
     .example = "\"127.0.0.1:8080\"",
     .help = "Address and port of the page, the API and the metrics; loopback only in this "
             "version"},
    {.key = "web.users_file", .offset = FW_OPTION_NO_FIELD, .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WEB, .support = FW_UNSUPPORTED_ERROR, .default_json = "null",
     .example = "\"/etc/faceworker/users\"", .help = "File with the users who may see the page"},
    {.key = "web.tls_certificate", .offset = FW_OPTION_NO_FIELD, .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WEB, .support = FW_UNSUPPORTED_ERROR, .default_json = "null",
     .example = "\"/etc/faceworker/cert.pem\"", .help = "Certificate chain (PEM) of the page"},
    {.key = "web.tls_key_file", .offset = FW_OPTION_NO_FIELD, .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WEB, .support = FW_UNSUPPORTED_ERROR, .default_json = "null",
     .example = "\"/etc/faceworker/key.pem\"", .help = "Private key (PEM) of the page"},
    {.key = "log.level", .offset = WORKER(log.level), .type = FW_OPTION_ENUM,
     .restart = FW_RESTART_LOG, .choices = log_levels, .default_json = "\"info\"",
     .help = "The least important lines that are written"},
    {.key = "log.format", .offset = WORKER(log.format), .type = FW_OPTION_ENUM,
     .restart = FW_RESTART_LOG, .choices = log_formats, .default_json = "\"text\"",
     .help = "Lines for people, or one JSON object a line"},
    {.key = "detector.model", .offset = WORKER(detector.model), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_CAMERA, .default_json = "\"yunet\"", .example = "\"yunet\"",
     .help = "A name that `faceworker models list` knows, or the path of an .onnx, "
             ".caffemodel or .xml file; `res10` when `models.prototxt` and "
             "`models.caffemodel` are given and this is not"},
    {.key = "detector.precision", .offset = WORKER(detector.precision), .type = FW_OPTION_CHOICE,
     .restart = FW_RESTART_CAMERA, .choices = precisions, .default_json = "\"auto\"",
     .help = "Arithmetic of the network: `int8` takes less than half the time of `fp32` and needs a "
             "model that was calibrated for it (`yunet`, `yunet-s`); `auto` takes it where its "
             "measured loss of average precision is at most 0.005 and the processor gains by it"},
    {.key = "detector.input_size", .offset = WORKER(detector.input_size_px),
     .type = FW_OPTION_INT, .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 8192,
     .default_json = "640",
     .help = "Longer side in pixels that a picture is shrunk to before faces are looked for; "
             "320 for close cameras on small machines, 0 for the picture's own size"},
    {.key = "detector.min_score", .offset = WORKER(detector.min_score), .type = FW_OPTION_NUMBER,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 1, .default_json = "0.7",
     .help = "Faces with a lower score are left out"},
    {.key = "detector.nms_iou", .offset = WORKER(detector.nms_iou), .type = FW_OPTION_NUMBER,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 1, .default_json = "0.45",
     .help = "Boxes that overlap more than this are one face (intersection over union)"},
    {.key = "detector.min_face_px", .offset = WORKER(detector.min_face_px), .type = FW_OPTION_INT,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 16384, .default_json = "0",
     .example = "40",
     .help = "Faces whose longer side is smaller, in pixels of the camera's picture, are left "
             "out"},
    {.key = "detector.tiles", .offset = WORKER(detector.tile_columns), .type = FW_OPTION_GRID,
     .restart = FW_RESTART_CAMERA, .default_json = "\"1x1\"", .example = "\"3x2\"",
     .help = "The picture is also looked at in so many columns and rows of overlapping tiles, "
             "each shrunk to `input_size` for itself: that finds small and distant faces, and an "
             "analysis takes longer by as many times as there are tiles"},
    {.key = "detector.roi", .offset = WORKER(detector.roi), .type = FW_OPTION_AREA,
     .restart = FW_RESTART_CAMERA, .default_json = "[0, 0, 1, 1]",
     .example = "[0, 0.25, 1, 0.5]",
     .help = "The part of the picture where faces are looked for: x, y, width and height as "
             "fractions of the picture's"},
    {.key = "models.dir", .offset = WORKER(models.dir), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WORKER, .default_json = "null",
     .default_words = "`$XDG_CACHE_HOME/faceworker/models`, else `~/.cache/faceworker/models`; "
                      "for root `/var/cache/faceworker/models`",
     .example = "\"/var/cache/faceworker/models\"",
     .help = "Folder where model files are looked for first, and downloaded to"},
    {.key = "models.base_url", .offset = WORKER(models.base_url), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WORKER, .default_json = "null",
     .example = "\"https://models.example.com/faces\"",
     .help = "Your own mirror (https://, http:// or file://), asked before the official "
             "addresses"},
    {.key = "models.onnx", .offset = WORKER(models.onnx), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WORKER, .default_json = "null", .example = "\"yunet_n_640_640.onnx\"",
     .help = "File, path or address of the ONNX model to use instead of the known one"},
    {.key = "models.onnx_sha256", .offset = WORKER(models.onnx_sha256), .type = FW_OPTION_SHA256,
     .restart = FW_RESTART_WORKER, .default_json = "null",
     .example = "\"25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31\"",
     .help = "SHA-256 that it must have"},
    {.key = "models.prototxt", .offset = WORKER(models.prototxt), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WORKER, .default_json = "null", .example = "\"deploy.prototxt\"",
     .help = "File, path or address of the res10 network"},
    {.key = "models.caffemodel", .offset = WORKER(models.caffemodel), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WORKER, .default_json = "null",
     .example = "\"res10_300x300_ssd_iter_140000.caffemodel\"",
     .help = "File, path or address of the res10 weights"},
    {.key = "models.prototxt_sha256", .offset = WORKER(models.prototxt_sha256),
     .type = FW_OPTION_SHA256, .restart = FW_RESTART_WORKER, .default_json = "null",
     .example = "\"dcd661dc48fc9de0a341db1f666a2164ea63a67265c7f779bc12d6b3f2fa67e9\"",
     .help = "SHA-256 that the network must have"},
    {.key = "models.caffemodel_sha256", .offset = WORKER(models.caffemodel_sha256),
     .type = FW_OPTION_SHA256, .restart = FW_RESTART_WORKER, .default_json = "null",
     .example = "\"2a56a11a57a4a295956b0660b4a3d76bbdca2206c4961cea8efe7d95c7cb2f2d\"",
     .help = "SHA-256 that the weights must have"},
    {.key = "models.cascade", .offset = WORKER(models.cascade), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_WORKER, .default_json = "null",
     .example = "\"/usr/share/opencv4/haarcascades/haarcascade_frontalface_default.xml\"",
     .help = "Path of the face cascade of the model `haar`"},
    {.key = "cameras[].id", .offset = CAMERA(id), .type = FW_OPTION_ID,
     .restart = FW_RESTART_CAMERA, .default_json = "null", .example = "\"front-door\"",
     .help = "Names the camera in alerts, addresses and file names; unique, of the characters "
             "A-Z a-z 0-9 . _ - (required)"},
    {.key = "cameras[].name", .offset = CAMERA(name), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_CAMERA, .default_json = "null", .default_words = "the id",
     .example = "\"Front door\"", .help = "Name for people, drawn on the picture"},
    {.key = "cameras[].location", .offset = CAMERA(location), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_CAMERA, .default_json = "null", .example = "\"Building 2\"",
     .help = "Place, drawn on the picture and part of alerts"},
    {.key = "cameras[].enabled", .offset = CAMERA(enabled), .type = FW_OPTION_BOOL,
     .restart = FW_RESTART_CAMERA, .default_json = "true", .help = "false leaves the camera out"},
    {.key = "cameras[].rtsp", .offset = CAMERA(url), .type = FW_OPTION_URL,
     .restart = FW_RESTART_CAMERA, .default_json = "null",
     .example = "\"rtsp://10.0.0.5/stream1\"",
     .help = "What to watch: any address that FFmpeg opens (rtsp, rtsps, rtmp, http), a file "
             "or /dev/videoN"},
    {.key = "cameras[].substream", .offset = FW_OPTION_NO_FIELD, .type = FW_OPTION_URL,
     .restart = FW_RESTART_CAMERA, .support = FW_UNSUPPORTED_ERROR, .default_json = "null",
     .example = "\"rtsp://10.0.0.5/stream2\"",
     .help = "Smaller stream of the same camera to look for faces in"},
    {.key = "cameras[].username", .offset = CAMERA(username), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_CAMERA, .default_json = "null", .example = "\"viewer\"",
     .help = "User name for `rtsp`, in place of the one in the address; may hold any character"},
    {.key = "cameras[].password", .offset = CAMERA(password), .type = FW_OPTION_SECRET,
     .restart = FW_RESTART_CAMERA, .default_json = "null",
     .example = "\"${FRONT_DOOR_PASSWORD}\"",
     .help = "Password for `rtsp`, in place of the one in the address; may hold any character"},
    {.key = "cameras[].transport", .offset = CAMERA(transport), .type = FW_OPTION_ENUM,
     .restart = FW_RESTART_CAMERA, .choices = transports, .default_json = "\"auto\"",
     .help = "How RTSP carries the pictures; auto tries TCP first, then UDP"},
    {.key = "cameras[].tls_verify", .offset = CAMERA(tls_verify), .type = FW_OPTION_BOOL,
     .restart = FW_RESTART_CAMERA, .default_json = "true",
     .help = "false accepts any certificate of an rtsps or https camera"},
    {.key = "cameras[].test_video", .offset = CAMERA(test_video), .type = FW_OPTION_URL,
     .restart = FW_RESTART_CAMERA, .default_json = "null", .example = "\"clips/lobby.mp4\"",
     .help = "Video file played as if it were the camera; wins over `rtsp`"},
    {.key = "cameras[].test_video_realtime", .offset = CAMERA(test_video_realtime),
     .type = FW_OPTION_BOOL, .restart = FW_RESTART_CAMERA, .default_json = "true",
     .help = "false plays it as fast as it can be analysed"},
    {.key = "cameras[].max_frames", .offset = CAMERA(max_frames), .type = FW_OPTION_INT64,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 9007199254740991, .default_json = "0",
     .example = "250",
     .help = "The camera ends after so many pictures, and the worker when all cameras have "
             "ended; 0: never"},
    {.key = "cameras[].frame_skip", .offset = CAMERA(frame_skip), .type = FW_OPTION_INT,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 10000, .default_json = "0",
     .example = "1", .help = "Pictures left out between two that are analysed"},
    {.key = "cameras[].analyze_fps", .offset = CAMERA(analyze_fps), .type = FW_OPTION_NUMBER,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 1000, .default_json = "10",
     .help = "Analyses a second at most; 0: no limit"},
    {.key = "cameras[].max_frame_age_ms", .offset = CAMERA(max_frame_age_ms),
     .type = FW_OPTION_INT, .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 60000,
     .default_json = "500", .help = "Older pictures are not analysed; 0: no limit"},
    {.key = "cameras[].save_snapshots", .offset = CAMERA(save_snapshots), .type = FW_OPTION_BOOL,
     .restart = FW_RESTART_CAMERA, .default_json = "false",
     .help = "Stores pictures of each face: whole and crop, clean and annotated"},
    {.key = "cameras[].ffmpeg_output", .offset = CAMERA(ffmpeg_output), .type = FW_OPTION_URL,
     .restart = FW_RESTART_CAMERA, .default_json = "null",
     .example = "\"rtmp://localhost/front-door\"",
     .help = "Where the picture with its overlay is published: rtmp, rtmps, rtsp, rtsps or a "
             "file; the first of `publish.outputs`"},
    {.key = "cameras[].connect_timeout_ms", .offset = CAMERA(connect_timeout_ms),
     .type = FW_OPTION_INT, .restart = FW_RESTART_CAMERA, .minimum = 100, .maximum = 600000,
     .default_json = "4000", .help = "Longest wait for a connection"},
    {.key = "cameras[].packet_timeout_ms", .offset = CAMERA(packet_timeout_ms),
     .type = FW_OPTION_INT, .restart = FW_RESTART_CAMERA, .minimum = 100, .maximum = 600000,
     .default_json = "4000",
     .help = "Longest wait for the next data before the camera counts as stalled"},
    {.key = "cameras[].keyframe_timeout_ms", .offset = CAMERA(keyframe_timeout_ms),
     .type = FW_OPTION_INT, .restart = FW_RESTART_CAMERA, .minimum = 100, .maximum = 600000,
     .default_json = "10000",
     .help = "Longest wait for the next clean keyframe before the camera counts as stalled"},
    {.key = "cameras[].publish.video", .offset = FW_OPTION_NO_FIELD, .type = FW_OPTION_CHOICE,
     .restart = FW_RESTART_CAMERA, .choices = videos, .missing_choices = " copy ",
     .default_json = "\"overlay\"",
     .help = "What is published: the picture with its overlay, or the camera's own stream"},
    {.key = "cameras[].publish.encoder", .offset = CAMERA(publish.encoder),
     .type = FW_OPTION_CHOICE, .restart = FW_RESTART_CAMERA, .choices = encoders,
     .default_json = "\"libx264\"", .help = "Video encoder"},
    {.key = "cameras[].publish.preset", .offset = CAMERA(publish.preset),
     .type = FW_OPTION_CHOICE, .restart = FW_RESTART_CAMERA, .choices = presets,
     .default_json = "\"ultrafast\"", .help = "Speed of libx264 against its quality"},
    {.key = "cameras[].publish.bitrate_kbps", .offset = CAMERA(publish.bitrate_kbps),
     .type = FW_OPTION_INT, .restart = FW_RESTART_CAMERA, .minimum = 50, .maximum = 200000,
     .default_json = "3000", .help = "Bit rate of the published picture"},
    {.key = "cameras[].publish.fps", .offset = CAMERA(publish.fps), .type = FW_OPTION_NUMBER,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 240, .default_json = "0",
     .example = "15", .help = "Pictures a second; 0: as the camera gives them"},
    {.key = "cameras[].publish.gop_s", .offset = CAMERA(publish.gop_s), .type = FW_OPTION_NUMBER,
     .restart = FW_RESTART_CAMERA, .minimum = 0.1, .maximum = 60, .default_json = "2",
     .help = "Seconds between keyframes"},
    {.key = "cameras[].publish.audio", .offset = FW_OPTION_NO_FIELD, .type = FW_OPTION_CHOICE,
     .restart = FW_RESTART_CAMERA, .choices = audios, .missing_choices = " copy ",
     .default_json = "\"none\"", .help = "Sound of the published stream"},
    {.key = "cameras[].publish.when", .offset = FW_OPTION_NO_FIELD, .type = FW_OPTION_CHOICE,
     .restart = FW_RESTART_CAMERA, .choices = whens, .missing_choices = " faces ",
     .default_json = "\"always\"", .help = "When something is published"},
    {.key = "cameras[].publish.outputs", .offset = CAMERA(publish.outputs),
     .type = FW_OPTION_URLS, .restart = FW_RESTART_CAMERA, .default_json = "[]",
     .example = "[\"rtsp://localhost:8554/front-door\"]",
     .help = "Further outputs, of the kinds of `ffmpeg_output`"},
    {.key = "cameras[].detector", .offset = CAMERA(detector), .type = FW_OPTION_SECTION,
     .restart = FW_RESTART_CAMERA, .default_json = "{}", .example = "{\"input_size\": 320}",
     .help = "Options of `detector` for this camera alone"},
    {.key = "cameras[].overlay.enabled", .offset = CAMERA(overlay_enabled),
     .type = FW_OPTION_BOOL, .restart = FW_RESTART_CAMERA, .default_json = "true",
     .help = "Draws boxes, name, place, time, number of faces and frame rate"},
    {.key = "cameras[].zones[].name", .offset = ZONE(name), .type = FW_OPTION_ID,
     .restart = FW_RESTART_CAMERA, .default_json = "null", .example = "\"door\"",
     .help = "Names the zone in alerts; unique within the camera (required)"},
    {.key = "cameras[].zones[].type", .offset = ZONE(type), .type = FW_OPTION_ENUM,
     .restart = FW_RESTART_CAMERA, .choices = zone_types, .default_json = "\"include\"",
     .help = "include: only faces in such zones are told; exclude: faces in it are ignored"},
    {.key = "cameras[].zones[].points", .offset = ZONE(points), .type = FW_OPTION_POINTS,
     .restart = FW_RESTART_CAMERA, .default_json = "null",
     .example = "[[0.1, 0.2], [0.9, 0.2], [0.5, 1]]",
     .help = "Corners as shares of the picture's width and height, 3 to 64 of them (required)"},
    {.key = "cameras[].zones[].min_score", .offset = ZONE(min_score), .type = FW_OPTION_NUMBER,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 1, .default_json = "0",
     .help = "Least score of a face here; 0: `detector.min_score`"},
    {.key = "cameras[].zones[].min_face_px", .offset = ZONE(min_face_px), .type = FW_OPTION_INT,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 16384, .default_json = "0",
     .help = "Least size of a face here; 0: `detector.min_face_px`"},
    {.key = "cameras[].zones[].cooldown_s", .offset = ZONE(cooldown_s),
     .type = FW_OPTION_NUMBER, .restart = FW_RESTART_CAMERA, .minimum = -1, .maximum = 86400,
     .default_json = "-1", .default_words = "`alerts.cooldown_s`", .example = "5",
     .help = "Least time between two alerts of this zone"},
    {.key = "cameras[].privacy.faces", .offset = FW_OPTION_NO_FIELD, .type = FW_OPTION_BOOL,
     .restart = FW_RESTART_CAMERA, .support = FW_UNSUPPORTED_ERROR, .default_json = "false",
     .help = "Blurs faces in what is published"},
    {.key = "cameras[].privacy.areas", .offset = FW_OPTION_NO_FIELD, .type = FW_OPTION_OBJECTS,
     .restart = FW_RESTART_CAMERA, .support = FW_UNSUPPORTED_ERROR, .default_json = "[]",
     .help = "Areas blurred in what is published"},
    {.key = "cameras[].alerts", .offset = CAMERA(alerts), .type = FW_OPTION_SECTION,
     .restart = FW_RESTART_CAMERA, .default_json = "{}", .example = "{\"confirm\": \"3/5\"}",
     .help = "Options of `alerts` for this camera alone"},
    {.key = "alerts.format", .offset = WORKER(alerts.format), .type = FW_OPTION_ENUM,
     .restart = FW_RESTART_ALERTS, .common_only = true, .choices = alert_formats,
     .default_json = "\"cloudevents\"",
     .help = "cloudevents: CloudEvents 1.0 in structured JSON mode; plain: the few fields that "
             "backends of the older worker read, faces only"},
    {.key = "alerts.delivery", .offset = WORKER(alerts.delivery), .type = FW_OPTION_ENUM,
     .restart = FW_RESTART_ALERTS, .common_only = true, .choices = deliveries,
     .default_json = "\"fallback\"",
     .help = "fallback: the queue first, the backend when the queue has not confirmed in "
             "time; all: every sink"},
    {.key = "alerts.fallback_after_ms", .offset = WORKER(alerts.fallback_after_ms),
     .type = FW_OPTION_INT, .restart = FW_RESTART_ALERTS, .common_only = true, .minimum = 0,
     .maximum = 600000, .default_json = "2000", .help = "How long the first sink has to confirm"},
    {.key = "alerts.cooldown_s", .offset = WORKER(alerts.cooldown_s), .type = FW_OPTION_NUMBER,
     .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 86400, .default_json = "30",
     .help = "Least time between two alerts of one camera and zone; it starts when an alert was "
             "sent"},
    {.key = "alerts.schedule", .offset = WORKER(alerts.spans), .type = FW_OPTION_SPANS,
     .restart = FW_RESTART_CAMERA, .default_json = "[]",
     .example = "[\"mon-fri 18:00-08:00\", \"sat,sun 00:00-24:00\"]",
     .help = "When faces are told; a span over midnight belongs to the day it begins on; none: "
             "always"},
    {.key = "alerts.time_zone", .offset = WORKER(alerts.time_zone), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_CAMERA, .default_json = "null", .default_words = "the machine's",
     .example = "\"Europe/Berlin\"", .help = "Time zone of `schedule`"},
    {.key = "alerts.max_per_minute", .offset = WORKER(alerts.max_per_minute),
     .type = FW_OPTION_NUMBER, .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 60000,
     .default_json = "60",
     .help = "Alerts a minute of one camera, and as many at once; 0: no limit"},
    {.key = "alerts.worker_max_per_minute", .offset = WORKER(alerts.worker_max_per_minute),
     .type = FW_OPTION_NUMBER, .restart = FW_RESTART_ALERTS, .common_only = true, .minimum = 0,
     .maximum = 600000, .default_json = "600",
     .help = "The same for all cameras together; 0: no limit"},
    {.key = "alerts.static_after_s", .offset = WORKER(alerts.static_after_s),
     .type = FW_OPTION_NUMBER, .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 86400,
     .default_json = "300",
     .help = "A face that has not moved for so long is a poster or a screen: what appears in its "
             "place is not told; 0: off"},
    {.key = "alerts.min_quality", .offset = WORKER(alerts.min_quality),
     .type = FW_OPTION_NUMBER, .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 1,
     .default_json = "0", .example = "0.2",
     .help = "A face is told once its quality (size, pose, sharpness, light) has reached this"},
    {.key = "alerts.camera_events", .offset = WORKER(alerts.camera_events),
     .type = FW_OPTION_BOOL, .restart = FW_RESTART_CAMERA, .default_json = "true",
     .help = "Tells when the camera comes online, stalls or goes offline"},
    {.key = "alerts.camera_debounce_s", .offset = WORKER(alerts.camera_debounce_s),
     .type = FW_OPTION_NUMBER, .restart = FW_RESTART_CAMERA, .minimum = 0, .maximum = 3600,
     .default_json = "10", .help = "How long a camera's state must last before it is told"},
    {.key = "alerts.confirm", .offset = WORKER(alerts.confirm_hits), .type = FW_OPTION_N_OF_M,
     .restart = FW_RESTART_CAMERA, .default_json = "\"2/3\"",
     .help = "A face is real when found in n of m analyses"},
    {.key = "alerts.lost_ms", .offset = WORKER(alerts.lost_ms), .type = FW_OPTION_INT,
     .restart = FW_RESTART_CAMERA, .minimum = 100, .maximum = 600000, .default_json = "1500",
     .help = "A face that is not seen for so long has left"},
    {.key = "alerts.snapshot_wait_s", .offset = WORKER(alerts.snapshot_wait_s),
     .type = FW_OPTION_NUMBER, .restart = FW_RESTART_ALERTS, .common_only = true,
     .minimum = 0, .maximum = 60, .default_json = "1",
     .help = "How long an alert waits for its pictures to be uploaded"},
    {.key = "alerts.max_age_days", .offset = WORKER(alerts.max_age_days),
     .type = FW_OPTION_NUMBER, .restart = FW_RESTART_ALERTS, .common_only = true,
     .minimum = 0.01, .maximum = 3650, .default_json = "7",
     .help = "Older events and pictures on this disk are removed, delivered or not"},
    {.key = "alerts.max_mb", .offset = WORKER(alerts.max_mb), .type = FW_OPTION_INT,
     .restart = FW_RESTART_ALERTS, .common_only = true, .minimum = 1, .maximum = 1048576,
     .default_json = "2048",
     .help = "Bound of the outbox, and of the pictures on this disk; the oldest are removed "
             "first"},
    {.key = "mq.type", .offset = MQ(type), .type = FW_OPTION_CHOICE,
     .restart = FW_RESTART_ALERTS, .choices = brokers, .default_json = "\"rabbitmq\"",
     .help = "Kind of broker"},
    {.key = "mq.url", .offset = MQ(url), .type = FW_OPTION_URL,
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"amqp://localhost/\"",
     .help = "Address of the broker: amqp, amqps, redis, rediss, mqtt or mqtts"},
    BROKER_OPTIONS("mq.", MQ),
    {.key = "sinks[].name", .offset = SINK(name), .type = FW_OPTION_ID,
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"archive\"",
     .help = "Names the sink in logs and metrics; unique (required)"},
    {.key = "sinks[].type", .offset = SINK(type), .type = FW_OPTION_CHOICE,
     .restart = FW_RESTART_ALERTS, .choices = sink_types, .default_json = "null",
     .example = "\"file\"", .help = "file: JSON lines; http: POST; others are brokers (required)"},
    {.key = "sinks[].path", .offset = SINK(path), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_ALERTS, .default_json = "null",
     .example = "\"/var/lib/faceworker/alerts.jsonl\"", .help = "File of a `file` sink"},
    {.key = "sinks[].url", .offset = SINK(url), .type = FW_OPTION_URL,
     .restart = FW_RESTART_ALERTS, .default_json = "null",
     .example = "\"https://backend.example.com/alerts\"",
     .help = "Address, of all but a `file` sink"},
    {.key = "sinks[].token", .offset = SINK(token), .type = FW_OPTION_SECRET,
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"${BACKEND_TOKEN}\"",
     .help = "Bearer token of an `http` sink"},
    {.key = "sinks[].hmac_secret", .offset = SINK(hmac_secret), .type = FW_OPTION_SECRET,
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"${HMAC_SECRET}\"",
     .help = "Key that an `http` sink's requests are signed with"},
    {.key = "sinks[].embed_snapshot", .offset = SINK(embed_snapshot), .type = FW_OPTION_BOOL,
     .restart = FW_RESTART_ALERTS, .default_json = "false",
     .help = "Sends the pictures within the alert, in base64"},
    BROKER_OPTIONS("sinks[].", SINK),
    {.key = "backend_alert_url", .offset = WORKER(backend_alert_url), .type = FW_OPTION_URL,
     .restart = FW_RESTART_ALERTS, .default_json = "null",
     .example = "\"https://backend.example.com/alerts\"",
     .help = "Alerts are sent there by POST"},
    {.key = "backend.token", .offset = WORKER(backend.token), .type = FW_OPTION_SECRET,
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"${BACKEND_TOKEN}\"",
     .help = "Bearer token for `backend_alert_url`"},
    {.key = "backend.hmac_secret", .offset = WORKER(backend.hmac_secret),
     .type = FW_OPTION_SECRET, .restart = FW_RESTART_ALERTS, .default_json = "null",
     .example = "\"${HMAC_SECRET}\"", .help = "Key that requests are signed with"},
    {.key = "backend.timeout_s", .offset = WORKER(backend.timeout_s), .type = FW_OPTION_INT,
     .restart = FW_RESTART_ALERTS, .minimum = 1, .maximum = 600, .default_json = "10",
     .help = "Longest wait for an answer"},
    {.key = "backend.embed_snapshot", .offset = WORKER(backend.embed_snapshot),
     .type = FW_OPTION_BOOL, .restart = FW_RESTART_ALERTS, .default_json = "false",
     .help = "Sends the pictures within the alert, in base64"},
    {.key = "backend.ca_file", .offset = WORKER(backend.ca_file), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_ALERTS, .default_json = "null",
     .example = "\"/etc/faceworker/ca.pem\"",
     .help = "Authorities (PEM) that its certificate is checked with, in place of the system's"},
    {.key = "backend.tls_verify", .offset = WORKER(backend.tls_verify), .type = FW_OPTION_BOOL,
     .restart = FW_RESTART_ALERTS, .default_json = "true",
     .help = "false accepts any certificate"},
    {.key = "s3.enabled", .offset = WORKER(s3.enabled), .type = FW_OPTION_BOOL,
     .restart = FW_RESTART_ALERTS, .default_json = "false",
     .help = "Stores snapshots in S3 or what speaks like it"},
    {.key = "s3.bucket", .offset = WORKER(s3.bucket), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"snapshots\"",
     .aliases = " bucket_name s3_bucket ", .help = "Bucket"},
    {.key = "s3.prefix", .offset = WORKER(s3.prefix), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_ALERTS, .default_json = "\"\"", .example = "\"gate-1/\"",
     .aliases = " key_prefix ", .help = "What keys begin with"},
    {.key = "s3.endpoint_url", .offset = WORKER(s3.endpoint_url), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_ALERTS, .default_json = "null",
     .example = "\"https://minio.example.com\"", .aliases = " endpoint s3_endpoint ",
     .help = "Address of a server other than Amazon's"},
    {.key = "s3.region", .offset = WORKER(s3.region), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_ALERTS, .default_json = "\"us-east-1\"",
     .aliases = " region_name aws_region ", .help = "Region"},
    {.key = "s3.access_key", .offset = WORKER(s3.access_key), .type = FW_OPTION_SECRET,
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"${AWS_ACCESS_KEY_ID}\"",
     .aliases = " access_key_id aws_access_key_id ", .help = "Access key; without one, `AWS_ACCESS_KEY_ID` in the environment"},
    {.key = "s3.secret_key", .offset = WORKER(s3.secret_key), .type = FW_OPTION_SECRET,
     .restart = FW_RESTART_ALERTS, .default_json = "null",
     .example = "\"${AWS_SECRET_ACCESS_KEY}\"",
     .aliases = " secret_access_key aws_secret_access_key ", .help = "Secret key; without one, `AWS_SECRET_ACCESS_KEY`"},
    {.key = "s3.session_token", .offset = WORKER(s3.session_token), .type = FW_OPTION_SECRET,
     .restart = FW_RESTART_ALERTS, .default_json = "null", .example = "\"${AWS_SESSION_TOKEN}\"",
     .aliases = " aws_session_token ", .help = "Session token; without one, `AWS_SESSION_TOKEN`"},
    {.key = "s3.path_style", .offset = WORKER(s3.path_style), .type = FW_OPTION_AUTO,
     .restart = FW_RESTART_ALERTS, .default_json = "\"auto\"", .example = "true",
     .help = "Whether the bucket stands in the path rather than in the host name"},
    {.key = "s3.public_base_url", .offset = WORKER(s3.public_base_url), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_ALERTS, .default_json = "null",
     .default_words = "`file://` and the folder for the mock",
     .example = "\"https://cdn.example.com/snapshots\"",
     .help = "What the addresses of snapshots in alerts begin with, of the mock too"},
    {.key = "s3.presign_s", .offset = WORKER(s3.presign_s), .type = FW_OPTION_INT,
     .restart = FW_RESTART_ALERTS, .minimum = 0, .maximum = 604800, .default_json = "0",
     .example = "86400",
     .help = "Addresses of snapshots are presigned and valid for so many seconds; 0: plain ones"},
    {.key = "s3.timeout_s", .offset = WORKER(s3.timeout_ms), .type = FW_OPTION_INT,
     .restart = FW_RESTART_ALERTS, .minimum = 1, .maximum = 600, .multiply = 1000,
     .default_json = "10", .help = "Longest wait for a connection, and for an answer"},
    {.key = "s3.ca_file", .offset = WORKER(s3.ca_file), .type = FW_OPTION_STRING,
     .restart = FW_RESTART_ALERTS, .default_json = "null",
     .example = "\"/etc/faceworker/ca.pem\"",
     .help = "Authorities (PEM) that its certificate is checked with, in place of the system's"},
    {.key = "s3.tls_verify", .offset = WORKER(s3.tls_verify), .type = FW_OPTION_BOOL,
     .restart = FW_RESTART_ALERTS, .default_json = "true",
     .help = "false accepts any certificate"},
    {.key = "local_mocks.use_mock_s3", .offset = WORKER(local_mocks.use_mock_s3),
     .type = FW_OPTION_BOOL, .restart = FW_RESTART_ALERTS, .default_json = "false",
     .help = "Snapshots go to the folder `snapshots` in `worker.state_dir`"},
    {.key = "local_mocks.use_mock_mq", .offset = WORKER(local_mocks.use_mock_mq),
     .type = FW_OPTION_BOOL, .restart = FW_RESTART_ALERTS, .default_json = "false",
     .help = "Alerts go to the file `alerts.jsonl` in `worker.state_dir`, one JSON object a "
             "line"},
};
// clang-format on

const struct fw_option *fw_options(size_t *count)
{
    *count = sizeof(table) / sizeof(table[0]);
    return table;
}

bool fw_option_is_in(const struct fw_option *option, const char *prefix, const char **name)
{
    if (!fw_starts_with(option->key, prefix))
        return false;
    *name = option->key + strlen(prefix);
    return strchr(*name, '.') == NULL;
}

// Whether WORDS, each between spaces, has the word KEY (LENGTH bytes).
static bool has_word(const char *words, const char *key, size_t length)
{
    for (const char *at = words; at != NULL && length > 0; at = strchr(at + 1, ' ')) {
        if (strncmp(at + 1, key, length) == 0 && at[1 + length] == ' ')
            return true;
    }
    return false;
}

bool fw_option_choice_is_missing(const struct fw_option *option, const char *choice)
{
    return has_word(option->missing_choices, choice, strlen(choice));
}

static bool name_is(const char *name, const char *aliases, const char *key, size_t length)
{
    return (strncmp(name, key, length) == 0 && name[length] == '\0') ||
           has_word(aliases, key, length);
}

// The part of OPTION's key behind PREFIX where that is a group within PREFIX: "publish" of
// "publish.fps" and "cameras" of "cameras[].id". Its length, or 0.
static size_t group_length(const struct fw_option *option, const char *prefix, const char **group)
{
    *group = option->key;
    if (!fw_starts_with(option->key, prefix))
        return 0;
    *group += strlen(prefix);
    size_t length = strcspn(*group, ".[");
    return (*group)[length] == '\0' ? 0 : length;
}

enum fw_key_kind fw_option_find(const char *prefix, const char *key,
                                const struct fw_option **option)
{
    static const char file[] = "_file";
    size_t length = strlen(key), stem = length;
    if (fw_ends_with(key, file))
        stem -= sizeof(file) - 1;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *name;
        *option = &table[i];
        if (fw_option_is_in(&table[i], prefix, &name)) {
            if (name_is(name, table[i].aliases, key, length))
                return FW_KEY_OPTION;
            if (stem < length && table[i].type == FW_OPTION_SECRET &&
                name_is(name, table[i].aliases, key, stem))
                return FW_KEY_SECRET_FILE;
        } else {
            size_t group = group_length(&table[i], prefix, &name);
            if (group == length && strncmp(name, key, group) == 0)
                return FW_KEY_GROUP;
        }
    }
    *option = NULL;
    return FW_KEY_UNKNOWN;
}

static char plain(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

// KEY without case, '_' and '-', in which people's spellings differ.
static void simplify(const char *key, char *simple, size_t size)
{
    size_t length = 0;
    for (; *key != '\0' && length + 1 < size; key++) {
        if (*key != '_' && *key != '-')
            simple[length++] = plain(*key);
    }
    simple[length] = '\0';
}

struct nearest {
    char wanted[64];
    size_t distance;
    char *name;
    size_t size;
};

static void consider(struct nearest *nearest, const char *name, size_t length, const char *suffix)
{
    char whole[64], simple[64];
    if (length + strlen(suffix) >= sizeof(whole) || length + strlen(suffix) >= nearest->size)
        return;
    memcpy(whole, name, length);
    memcpy(whole + length, suffix, strlen(suffix) + 1);
    simplify(whole, simple, sizeof(simple));
    // One edit in a short word, two in a long one: "id" is not near "fps".
    size_t letters = strlen(simple), limit = letters < 4 ? 0 : letters < 6 ? 1 : 2;
    size_t distance = fw_edit_distance(nearest->wanted, simple, limit);
    if (distance <= limit && distance < nearest->distance) {
        nearest->distance = distance;
        memcpy(nearest->name, whole, length + strlen(suffix) + 1);
    }
}

bool fw_option_nearest(const char *prefix, const char *key, char *name, size_t size)
{
    struct nearest nearest = {.distance = SIZE_MAX, .name = name, .size = size};
    simplify(key, nearest.wanted, sizeof(nearest.wanted));
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *own;
        if (!fw_option_is_in(&table[i], prefix, &own)) {
            size_t group = group_length(&table[i], prefix, &own);
            if (group > 0)
                consider(&nearest, own, group, "");
            continue;
        }
        consider(&nearest, own, strlen(own), "");
        if (table[i].type == FW_OPTION_SECRET)
            consider(&nearest, own, strlen(own), "_file");
        for (const char *alias = table[i].aliases; alias != NULL && alias[1] != '\0';
             alias = strchr(alias + 1, ' '))
            consider(&nearest, alias + 1, strcspn(alias + 1, " "), "");
    }
    return nearest.distance != SIZE_MAX;
}
