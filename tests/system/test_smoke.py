"""The older worker's smoke test in its new form: a synthetic video, both mocks, max_frames."""
import hashlib
import json
import pathlib
import subprocess
import urllib.parse

import cv2
import numpy
import pytest
from harness import Daemon, run_faceworker

FRAMES = 150


@pytest.fixture
def finished(walker, models, tmp_path):
    """A daemon that has worked the video off and ended by itself."""
    daemon = Daemon(tmp_path, {
        "models": {"dir": str(models)},
        "cameras": [{"id": "walk", "name": "Walk", "location": "Lab", "test_video": str(walker),
                     "test_video_realtime": False, "max_frames": FRAMES, "analyze_fps": 0,
                     "save_snapshots": True, "ffmpeg_output": str(tmp_path / "out.mp4")}],
        "local_mocks": {"use_mock_s3": True, "use_mock_mq": True}})
    daemon.start(wait=False)
    assert daemon.wait_for_end(120) == 0, daemon.log()
    return daemon


def stored_file(daemon, picture):
    path = daemon.folder / "state" / "snapshots" / picture["key"]
    data = path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == picture["sha256"]
    assert len(data) == picture["bytes"]
    return path


@pytest.mark.sanitizer
def test_max_frames_ends_the_daemon_with_alerts_and_snapshots(finished, models):
    alerts = finished.alerts()
    kinds = [alert["type"].removeprefix("faceworker.face.") for alert in alerts]
    assert kinds == ["appeared", "left"], alerts
    appeared, left = alerts
    assert appeared["data"]["track"] == left["data"]["track"]
    assert appeared["id"] != left["id"]
    assert appeared["source"] == "/workers/test/cameras/walk"
    assert left["data"]["camera"] == {"id": "walk", "name": "Walk", "location": "Lab"}
    for alert in alerts:
        snapshot = alert["data"]["snapshot"]
        assert snapshot["state"] == "stored"
        face = alert["data"]["faces"][0]
        full = cv2.imread(str(stored_file(finished, snapshot["full"])))
        assert full.shape == (540, 960, 3)
        assert (snapshot["full"]["width"], snapshot["full"]["height"]) == (960, 540)
        crop = stored_file(finished, snapshot["face"])
        assert_holds_face(crop, models)
        drawn = cv2.imread(str(stored_file(finished, snapshot["full_annotated"])))
        assert_box_was_drawn(full, drawn, face["box"])
        url = urllib.parse.urlparse(snapshot["full"]["url"])
        assert url.scheme == "file" and pathlib.Path(urllib.parse.unquote(url.path)).exists()


def assert_holds_face(path, models):
    """The crop shows one face, and it fills a good part of it."""
    done = run_faceworker("detect", "--models-dir", models, path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["faces"]) == 1, found
    _, _, w, h = found["faces"][0]["box"]
    assert w * h > 0.1 * found["width"] * found["height"]


def assert_box_was_drawn(clean, drawn, box):
    """The outline differs from the clean picture on all four sides, the middle does not."""
    difference = numpy.abs(clean.astype(int) - drawn.astype(int)).max(axis=2) > 40
    x, y, w, h = (int(round(value)) for value in box)
    edge = 6
    height, width = difference.shape
    for top, bottom, left, right in (
            (y - edge, y + edge, x, x + w), (y + h - edge, y + h + edge, x, x + w),
            (y, y + h, x - edge, x + edge), (y, y + h, x + w - edge, x + w + edge)):
        side = difference[max(top, 0):min(bottom, height), max(left, 0):min(right, width)]
        if side.size:
            along = side.any(axis=0) if right - left > bottom - top else side.any(axis=1)
            assert along.mean() > 0.5, "a side of the box is missing"
    middle = difference[y + h // 3:y + 2 * h // 3, x + w // 3:x + 2 * w // 3]
    assert middle.mean() < 0.05


def test_published_file_has_every_frame_and_no_b_frames(finished, tmp_path):
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries",
         "stream=codec_name,width,height,has_b_frames,nb_read_frames:packet=dts_time,pts_time",
         "-of", "json", str(tmp_path / "out.mp4")], capture_output=True, text=True, check=True)
    probed = json.loads(done.stdout)
    stream = probed["streams"][0]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", 960, 540)
    assert stream["has_b_frames"] == 0
    assert int(stream["nb_read_frames"]) == FRAMES
    times = [float(packet["dts_time"]) for packet in probed["packets"]]
    assert all(later > earlier for earlier, later in zip(times, times[1:], strict=False))


def test_same_video_twice_tells_the_same(walker, models, tmp_path):
    """Without real time nothing is dropped, so two runs find the same faces."""
    told = []
    for run in ("first", "second"):
        folder = tmp_path / run
        folder.mkdir()
        daemon = Daemon(folder, {
            "models": {"dir": str(models)},
            "cameras": [{"id": "walk", "test_video": str(walker), "test_video_realtime": False,
                         "max_frames": FRAMES, "analyze_fps": 0}],
            "local_mocks": {"use_mock_mq": True}})
        daemon.start(wait=False)
        assert daemon.wait_for_end(120) == 0, daemon.log()
        told.append([(alert["type"], alert["data"]["faces"][0]["box"])
                     for alert in daemon.alerts()])
    assert told[0] == told[1] and len(told[0]) == 2
