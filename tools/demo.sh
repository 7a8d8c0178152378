#!/bin/sh
# The demo: three cameras with real faces, or the user's own one.
#
#   tools/demo.sh FACEWORKER [CAMERA]        (CAMERA: a URL, a device or a video file)
set -eu

faceworker=$1
camera=${2:-}
demo=build/demo
models=${XDG_CACHE_HOME:-$HOME/.cache}/faceworker/models
mkdir -p "$demo"

tools/get-model.sh "$faceworker" "$models"
[ -n "$camera" ] || tools/make-clips.sh "$demo/clips"

mediamtx_pid=
cleanup() {
    [ -z "$mediamtx_pid" ] || kill "$mediamtx_pid" 2>/dev/null || true
    wait 2>/dev/null || true
}
trap cleanup EXIT
# Ctrl-C reaches the daemon, which ends by itself; this shell goes on to clean up.
trap : INT TERM

port_is_open() { python3 -c "
import socket, sys
sys.exit(socket.socket().connect_ex(('127.0.0.1', $1)) != 0)"; }

publish=
if port_is_open 1935; then
    echo "MediaMTX, or another RTMP server, is running: publishing to it."
    publish=yes
elif mediamtx=$(tools/get-mediamtx.sh --no-build); then
    cat >"$demo/mediamtx.yml" <<END
logLevel: warn
rtspAddress: 127.0.0.1:8554
rtspTransports: [tcp]
rtmpAddress: 127.0.0.1:1935
webrtcAddress: 127.0.0.1:8889
webrtcLocalUDPAddress: 127.0.0.1:8189
hls: no
srt: no
moq: no
paths:
  all_others:
END
    # In a session of its own, so that Ctrl-C ends the publisher before its server.
    setsid "$mediamtx" "$demo/mediamtx.yml" >"$demo/mediamtx.log" 2>&1 &
    mediamtx_pid=$!
    publish=yes
else
    echo "No MediaMTX here, so nothing is published (docs/publishing.md says how to get it)."
fi

python3 - "$demo" "$camera" "$publish" "$models" <<'END'
import json, os, sys
demo, camera, publish, models = sys.argv[1:]
def entry(name, title, place, source):
    made = {"id": name, "name": title, "location": place, "save_snapshots": True, **source}
    if publish:
        made["ffmpeg_output"] = f"rtmp://127.0.0.1/{name}"
    return made
if camera:
    cameras = [entry("camera", "Your camera", None, {"rtsp": camera})]
    if os.path.isfile(camera):
        cameras = [entry("camera", "Your video", None, {"test_video": camera})]
else:
    cameras = [
        entry("door", "Front door", "Ground floor", {"test_video": f"{demo}/clips/door.mp4"}),
        entry("hall", "Hall", "Ground floor", {"test_video": f"{demo}/clips/hall.mp4"}),
        entry("yard", "Yard", "Outside", {"test_video": f"{demo}/clips/yard.mp4"})]
config = {"worker": {"id": "demo", "state_dir": f"{demo}/state"}, "models": {"dir": models},
          "cameras": cameras, "local_mocks": {"use_mock_s3": True, "use_mock_mq": True}}
with open(f"{demo}/faceworker.json", "w", encoding="utf-8") as file:
    json.dump(config, file, indent=2)
END

echo
echo "  The page:     http://127.0.0.1:8080/"
[ -z "$publish" ] || [ -n "$camera" ] ||
    echo "  Published to: http://127.0.0.1:8889/door (and hall, yard) by MediaMTX, over WebRTC"
echo "  Alerts:       $demo/state/alerts.jsonl, and below as they come"
echo "  Pictures:     $demo/state/snapshots/"
echo "  Ctrl-C ends it."
echo
status=0
"$faceworker" run -c "$demo/faceworker.json" || status=$?
exit "$status"
