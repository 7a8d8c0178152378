"""Peers that are dead, silent or mad, disks that are full or closed, kills and stops at any moment:
what can work goes on, and says what is wrong with the rest."""
import contextlib
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
import uuid

import pytest
from conftest import missing
from harness import FACEWORKER, Daemon, Process, free_port, poll, run_faceworker

MOCKS = {"use_mock_s3": True, "use_mock_mq": True}


@pytest.fixture
def clip(make_clip):
    return str(make_clip("head-pose-face-detection-female.mp4", "640:360"))


@pytest.fixture
def needs_root():
    if os.geteuid() != 0:
        missing("needs root")


@pytest.fixture
def small_disk(needs_root, tmp_path):
    """small_disk(megabytes) mounts a file system of that size."""
    mounted = []

    def mount(megabytes):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"cannot mount: {done.stderr}")
        mounted.append(folder)
        return folder
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(folder):
    """Writes until nothing more goes onto the disk of FOLDER; returns the file, which grows when this
    is called again."""
    file = folder / "filler"
    with open(file, "ab", buffering=0) as out, contextlib.suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while out.write(b"x" * size) == size:
                    pass
    return file


def lines_of(file):
    """The alerts in a file of JSON lines, there or not."""
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return []


@pytest.mark.sanitizer
def test_a_camera_that_cannot_work_says_why_and_disturbs_no_other(run_daemon, clip, dead_port):
    cameras = {
        "garbage": (f"rtsp://127.0.0.1:{dead_port(garbage=True)}/x", ""),
        "garbage-http": (f"http://127.0.0.1:{dead_port(garbage=True)}/x", ""),
        "garbage-rtmp": (f"rtmp://127.0.0.1:{dead_port(garbage=True)}/x", ""),
        "silent": (f"rtsp://127.0.0.1:{dead_port()}/x", "does not answer"),
        "silent-http": (f"http://127.0.0.1:{dead_port()}/x", "does not answer"),
        "silent-rtmp": (f"rtmp://127.0.0.1:{dead_port()}/x", "does not answer"),
        "refused": (f"rtsp://127.0.0.1:{free_port()}/x", "refuses connections"),
        "missing": ("/no/such/file.mp4", "does not exist"),
        "no-video": ("/etc/passwd", "nothing that is a stream"),
        "no-device": ("/dev/video99", ""),
        "no-name": ("rtsp://no-such-host.invalid/x", "no-such-host.invalid"),
    }
    daemon = run_daemon({
        "worker": {"max_connects": 3},
        "cameras": [{"id": "good", "test_video": clip}] + [
            {"id": name, "rtsp": url, "connect_timeout_ms": 1000, "packet_timeout_ms": 1000}
            for name, (url, _) in cameras.items()]})
    daemon.wait_for_state("good", "live")
    seen = {}

    def all_have_said_why():
        for name, camera in daemon.cameras().items():
            assert camera["state"] != "live" or name == "good", camera
            assert camera["state"] != "stopped", camera
            if camera["state"] in ("backoff", "stalled") and camera["reason"]:
                seen[name] = camera["reason"]
        return set(seen) == set(cameras)
    poll(all_have_said_why, 60, lambda: f"reasons of {set(cameras) - set(seen)}: {daemon.cameras()}",
         interval_s=0.1)
    for name, (_, word) in cameras.items():
        assert word in seen[name], (name, seen[name])
    assert daemon.camera("good")["state"] == "live"
    assert daemon.camera("good")["fps"] > 20


def test_ten_cameras_of_which_half_are_dead_keep_their_rate(run_daemon, clip, dead_port):
    live = [f"live{i}" for i in range(5)]
    dead = [f"rtsp://127.0.0.1:{dead_port()}/x", f"rtsp://127.0.0.1:{free_port()}/x",
            f"rtsp://127.0.0.1:{dead_port(garbage=True)}/x", "/no/such/file.mp4",
            f"http://127.0.0.1:{dead_port()}/x"]
    daemon = run_daemon({
        "cameras": [{"id": name, "test_video": clip, "analyze_fps": 2} for name in live] +
                   [{"id": f"dead{i}", "rtsp": url} for i, url in enumerate(dead)]})
    for name in live:
        daemon.wait_for_state(name, "live")

    def decoded():
        return {name: daemon.camera(name)["frames"]["decoded"] for name in live}
    began, before = time.monotonic(), decoded()
    poll(lambda: time.monotonic() - began > 10, 15, "ten seconds")
    after, took = decoded(), time.monotonic() - began
    rates = {name: (after[name] - before[name]) / took for name in live}
    assert all(24 < rate < 26 for rate in rates.values()), rates
    assert sum(camera["state"] == "live" for camera in daemon.cameras().values()) == len(live)


def test_an_output_folder_that_is_missing_opens_once_it_is_there(run_daemon, clip, tmp_path):
    file = tmp_path / "recordings" / "cam.mp4"
    daemon = run_daemon({"cameras": [{"id": "cam", "test_video": clip, "ffmpeg_output": str(file)}]})
    daemon.wait_for_state("cam", "live")
    poll(lambda: "does not exist" in daemon.camera("cam")["outputs"][0]["reason"], 10,
         lambda: f"the output's reason: {daemon.camera('cam')['outputs']}")
    assert not daemon.camera("cam")["outputs"][0]["open"]
    file.parent.mkdir()
    poll(lambda: daemon.camera("cam")["outputs"][0]["open"], 10, "that the output opens")
    poll(lambda: file.exists() and file.stat().st_size > 1_000_000, 20, "a recording")
    daemon.stop()
    done = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v",
                           "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(file)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and int(done.stdout) > 20, done


def test_a_killed_daemon_leaves_a_recording_that_plays(run_daemon, clip, tmp_path):
    file = tmp_path / "cam.mp4"
    daemon = run_daemon({"cameras": [{"id": "cam", "test_video": clip, "ffmpeg_output": str(file)}]})
    poll(lambda: file.exists() and file.stat().st_size > 1_000_000, 30, "a recording")
    daemon.process.kill()
    done = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v",
                           "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(file)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and int(done.stdout) >= 50, done
    daemon.start()


def is_degraded(daemon):
    return daemon.metrics()["faceworker_outbox_degraded"] == 1


def assert_nothing_lost(outbox, file):
    """What FILE tells is what was committed, each once, in the order of posting; the newest may be on
    their way."""
    done = run_faceworker("outbox", "export", "--file", outbox)
    assert done.returncode == 0, done.stderr
    committed = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    told = [event["id"] for event in lines_of(file)]
    assert told == committed[:len(told)]
    assert len(committed) - len(told) < 10


def test_a_full_disk_costs_pictures_but_no_alert(run_daemon, walker, small_disk, tmp_path):
    """The reserve takes events first, then memory, and all of them reach a sink that is elsewhere."""
    disk, file = small_disk(48), tmp_path / "alerts.jsonl"
    daemon = run_daemon({
        "worker": {"state_dir": str(disk), "heartbeat_s": 0},
        "cameras": [{"id": "walk", "test_video": str(walker), "save_snapshots": True,
                     "test_video_realtime": False, "analyze_fps": 0}],
        "detector": {"input_size": 320},
        "alerts": {"lost_ms": 500}, "local_mocks": {"use_mock_s3": True},
        "sinks": [{"name": "elsewhere", "type": "file", "path": str(file)}]})

    def states():
        return [event["data"]["snapshot"]["state"] for event in lines_of(file)]
    poll(lambda: "stored" in states(), 20, "an alert with pictures")
    assert (disk / "outbox.db.reserve").stat().st_size == 16_000_000
    fill(disk)
    poll(lambda: "goes on with its reserve" in daemon.log(), 20, daemon.log)
    assert not is_degraded(daemon) and not (disk / "outbox.db.reserve").exists()
    # Each picture that goes makes room for an event or two, so this takes what there is again.
    poll(lambda: fill(disk) and is_degraded(daemon), 20, daemon.log)
    ready, reasons = daemon.readiness()
    assert not ready and "outbox events: degraded" in reasons and "space" in reasons, reasons
    before = len(states())
    poll(lambda: len(states()) >= before + 4, 40, "alerts out of memory")
    assert is_degraded(daemon) and daemon.camera("walk")["state"] == "live"
    assert daemon.metrics()["faceworker_snapshots_failed_total"] >= 2
    assert states()[-1] == "failed"
    (disk / "filler").unlink()
    poll(lambda: states()[-1] == "stored", 20, "that pictures are stored again")
    poll(lambda: (disk / "outbox.db.reserve").exists(), 20, "the reserve again")
    daemon.stop()
    assert_nothing_lost(disk / "outbox.db", file)
    # Nothing half-written lies about.
    for path in (disk / "snapshots" / "walk").rglob("*"):
        assert path.is_dir() or path.suffix == ".jpg" and path.read_bytes()[-2:] == b"\xff\xd9", path


def test_a_full_disk_delays_alerts_but_loses_none(run_daemon, walker, small_disk):
    """The sink's own file is on the full disk, too, which is too small for a reserve."""
    disk = small_disk(4)
    file = disk / "alerts.jsonl"
    daemon = run_daemon({
        "worker": {"state_dir": str(disk), "heartbeat_s": 0},
        "cameras": [{"id": "walk", "test_video": str(walker), "test_video_realtime": False,
                     "analyze_fps": 0}],
        "detector": {"input_size": 320},
        "alerts": {"lost_ms": 500}, "local_mocks": {"use_mock_mq": True}})
    daemon.wait_for_state("walk", "live")

    def is_told():
        reasons = daemon.readiness()[1]
        return "sink mq: retrying" in reasons and "outbox events: degraded" in reasons
    poll(lambda: fill(disk) and is_told(), 20, lambda: f"that /readyz says it: {daemon.readiness()}")
    poll(lambda: daemon.metrics()["faceworker_outbox_waiting"] >= 6, 40, "events in memory")
    assert is_degraded(daemon)
    count = len(lines_of(file)) + daemon.metrics()["faceworker_outbox_waiting"]
    (disk / "filler").unlink()
    poll(lambda: len(lines_of(file)) >= count + 2, 20, "that all are delivered, and new ones")
    poll(lambda: daemon.readiness()[0], 20, lambda: f"readiness: {daemon.readiness()}")
    daemon.stop()
    assert_nothing_lost(disk / "outbox.db", file)


def as_nobody(command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                          user=65534, group=65534, **options)


def test_a_state_folder_that_cannot_be_written_is_a_clear_error(needs_root, models, walker):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        program = shutil.copy(FACEWORKER, f"{name}/faceworker")
        for file in models.iterdir():
            shutil.copy(file, name)
        shutil.copy(walker, f"{name}/walker.mp4")
        for mocks in ({"use_mock_s3": True}, {"use_mock_mq": True}):
            with open(f"{name}/faceworker.json", "w", encoding="utf-8") as file:
                json.dump({"worker": {"state_dir": "/proc/nowhere"}, "models": {"dir": name},
                           "web": {"listen": f"127.0.0.1:{free_port()}"},
                           "cameras": [{"id": "walk", "test_video": f"{name}/walker.mp4",
                                        "save_snapshots": True}], "local_mocks": mocks}, file)
            done = as_nobody([program, "run", "-c", f"{name}/faceworker.json"])
            assert done.returncode == 1, done
            assert "cannot start" in done.stderr and "/proc/nowhere" in done.stderr, done.stderr


def test_a_killed_daemon_leaves_whole_lines_and_goes_on_after_them(run_daemon, walker):
    config = {"worker": {"heartbeat_s": 0},
              "cameras": [{"id": "walk", "test_video": str(walker), "save_snapshots": True,
                           "test_video_realtime": False, "analyze_fps": 0}],
              "alerts": {"lost_ms": 500}, "local_mocks": MOCKS}
    daemon = run_daemon(config)
    known = set()

    def new_ids():
        return {alert["id"] for alert in daemon.alerts()} - known  # each line is parsed
    for _ in range(3):
        poll(new_ids, 30, "another alert")
        daemon.kill()
        known |= new_ids()
        for alert in daemon.alerts():
            if alert["data"].get("reason") == "worker_restarted":
                assert alert["data"]["snapshot"] is None
                continue
            picture = alert["data"]["snapshot"]["full"]
            path = daemon.folder / "state" / "snapshots" / picture["key"]
            assert path.stat().st_size == picture["bytes"]
        daemon.start()
    # A line that was cut off, as by a crash of the machine, spoils no later one.
    daemon.kill()
    file = daemon.folder / "state" / "alerts.jsonl"
    known = {alert["id"] for alert in daemon.alerts()}
    with open(file, "ab") as out:
        out.write(b'{"specversion": "1.0", "id": "cut')
    before = len(file.read_bytes().splitlines())
    daemon.start()

    def whole_lines():
        lines = file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in [*lines[:before - 1], *lines[before:]]]
    poll(lambda: {alert["id"] for alert in whole_lines()} - known, 30, "another alert")
    daemon.stop()
    first = {}
    for alert in whole_lines():
        assert uuid.UUID(alert["id"]).version == 7
        # What the sink took just before a kill comes again, as the same event.
        assert alert == first.setdefault(alert["id"], alert)


@pytest.mark.sanitizer
def test_it_stops_within_two_seconds_at_any_moment(models, clip, dead_port, tmp_path):
    cameras = [{"id": "good", "test_video": clip, "save_snapshots": True,
                "ffmpeg_output": f"rtmp://127.0.0.1:{dead_port()}/out",
                "publish": {"outputs": [f"rtsp://127.0.0.1:{dead_port()}/out",
                                        f"rtmp://127.0.0.1:{dead_port(garbage=True)}/out",
                                        str(tmp_path / "out.mp4")]}},
               {"id": "silent", "rtsp": f"rtsp://127.0.0.1:{dead_port()}/x"},
               {"id": "silent-udp", "rtsp": f"rtsp://127.0.0.1:{dead_port()}/x", "transport": "udp"},
               {"id": "silent-http", "rtsp": f"http://127.0.0.1:{dead_port()}/x"},
               {"id": "silent-rtmp", "rtsp": f"rtmp://127.0.0.1:{dead_port()}/x"},
               {"id": "garbage", "rtsp": f"rtsp://127.0.0.1:{dead_port(garbage=True)}/x"},
               {"id": "no-name", "rtsp": "rtsp://no-such-host.invalid/x"},
               {"id": "refused", "rtsp": f"rtsp://127.0.0.1:{free_port()}/x"}]
    moments = random.Random(20)
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        daemon = Daemon(folder, {
            "models": {"dir": str(models)}, "cameras": cameras,
            "detector": {"input_size": 320},  # quick enough for a build with a sanitizer, too
            "backend_alert_url": f"http://127.0.0.1:{dead_port()}/alerts",
            "alerts": {"delivery": "all"}, "local_mocks": MOCKS})
        began = time.monotonic()
        # The first moments are the start's own: signals are held back before anything else is done.
        end = moments.uniform(0.05, 3)
        daemon.start(wait=False)
        poll(lambda: time.monotonic() - began >= end, 5, "the moment", interval_s=0.01)  # noqa: B023
        daemon.stop()
        assert "did not end in time" not in daemon.log(), daemon.log()
        assert "left behind" not in daemon.log(), daemon.log()


def test_a_second_signal_while_stopping_does_no_harm(run_daemon, clip, dead_port):
    daemon = run_daemon({"cameras": [
        {"id": "good", "test_video": clip, "ffmpeg_output": f"rtmp://127.0.0.1:{dead_port()}/x"},
        {"id": "silent", "rtsp": f"rtsp://127.0.0.1:{dead_port()}/x"}]})
    daemon.process.child.terminate()
    daemon.process.child.terminate()
    daemon.process.child.send_signal(2)
    assert daemon.wait_for_end(3) == 0


def test_many_watchers_do_not_take_the_health_check_away(run_daemon, clip, tmp_path):
    daemon = run_daemon({"cameras": [{"id": "cam", "test_video": clip}]})
    daemon.wait_for_state("cam", "live")
    url = f"http://127.0.0.1:{daemon.port}/api/v1/cameras/cam/live"
    crowd = [Process(["curl", "-s", "-o", "/dev/null", "--limit-rate", "1k", url],
                     tmp_path / "curl.log") for _ in range(100)]
    try:
        poll(lambda: not all(process.is_running() for process in crowd), 15,
             "that the last ones are turned away")
        assert daemon.get("/healthz")[0] == 200
        assert daemon.camera("cam")["fps"] > 20
    finally:
        for process in crowd:
            process.kill()
    poll(lambda: daemon.metrics()['faceworker_camera_live_watched{camera="cam"}'] == 0, 30,
         "that they are forgotten")
    assert daemon.get("/readyz")[0] == 200


def test_a_slow_camera_keeps_its_tracks(shared, tmp_path, run_daemon):
    """A picture every three seconds: a face is confirmed all the same, and no placeholder's pause
    makes it leave in between."""
    clip = tmp_path / "slow.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-loop", "1", "-framerate", "1/3", "-i",
         str(shared / "data" / "images" / "astronaut.png"), "-t", "60", "-c:v", "libx264", "-g", "1",
         "-pix_fmt", "yuv420p", str(clip)], check=True)
    daemon = run_daemon({"cameras": [{"id": "slow", "test_video": str(clip)}],
                         "alerts": {"lost_ms": 10000}, "local_mocks": {"use_mock_mq": True}})
    poll(lambda: daemon.camera("slow")["frames"]["analysed"] >= 5, 40, "five pictures")
    kinds = [alert["type"].removeprefix("faceworker.face.") for alert in daemon.alerts()]
    assert kinds == ["appeared"], kinds
