"""Starts that fail, stops at odd moments, and two workers that want the same."""
import contextlib
import json
import os
import socket
import subprocess
import time

import pytest
from harness import FACEWORKER, Daemon, free_port, poll


@pytest.fixture
def clip(make_clip):
    return str(make_clip("head-pose-face-detection-female.mp4", "640:360"))


@pytest.mark.sanitizer
@pytest.mark.parametrize("mock, words", [
    ("use_mock_s3", "another faceworker stores its snapshots in"),
    ("use_mock_mq", "outbox.db; give each one a worker.state_dir of its own")])
def test_two_workers_do_not_share_a_state_dir(run_daemon, clip, tmp_path, mock, words):
    config = {"worker": {"state_dir": str(tmp_path / "shared")}, "local_mocks": {mock: True},
              "cameras": [{"id": "door", "test_video": clip, "save_snapshots": True}]}
    first = run_daemon(config)
    first.wait_for_state("door", "live")
    second = Daemon(tmp_path, {**json.loads(first.config.read_text()), "web": {}}).start(wait=False)
    assert second.wait_for_end() == 1, second.log()
    assert words in second.log()
    first.stop()
    third = run_daemon(config, name="third")
    third.wait_for_state("door", "live")


@pytest.mark.sanitizer
def test_a_port_that_is_taken_ends_the_start_cleanly(clip, models, tmp_path):
    daemon = Daemon(tmp_path, {"models": {"dir": str(models)},
                               "cameras": [{"id": "door", "test_video": clip},
                                           {"id": "gone", "rtsp": "rtsp://no-such-host.invalid/x"}]})
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", daemon.port))
        holder.listen()
        daemon.start(wait=False)
        assert daemon.wait_for_end() == 1, daemon.log()
    assert f'web.listen "127.0.0.1:{daemon.port}" is taken by another program' in daemon.log()


@pytest.mark.sanitizer
def test_what_is_no_utf8_spoils_no_answer(run_daemon, clip):
    daemon = run_daemon({"cameras": [{"id": "door", "test_video": clip, "location": "${PLACE}"},
                                     {"id": "gone", "rtsp": "/no/such/${PLACE}.mp4"}]},
                        env={"PLACE": b"caf\xe9"})
    daemon.wait_for_state("gone", "backoff")
    assert daemon.camera("door")["location"] == "caf\N{REPLACEMENT CHARACTER}"
    assert "/no/such/caf" in daemon.camera("gone")["reason"]
    ready, reasons = daemon.readiness()
    assert not ready and "/no/such/caf" in reasons


def test_a_signal_ends_the_waiting_for_a_backend_after_the_cameras_end(run_daemon, clip):
    daemon = run_daemon({
        "cameras": [{"id": "door", "test_video": clip, "test_video_realtime": False, "max_frames": 100}],
        "backend_alert_url": f"http://127.0.0.1:{free_port()}/alerts"})
    poll(lambda: "every camera has ended" in daemon.log(), 30, daemon.log)
    assert daemon.process.is_running()
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 2.5
    assert "alerts wait on the disk for the next start" in daemon.log()


@pytest.mark.parametrize("arguments", [["help"], ["version"], ["models", "list"], ["run", "--help"],
                                       ["check", "--print-schema"]])
def test_what_cannot_be_printed_is_a_failure(arguments):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([FACEWORKER, *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
                              check=False)
    assert done.returncode == 1
    assert "can't print" in done.stderr
    closed = subprocess.run(["sh", "-c", '"$0" "$@" >&-', FACEWORKER, *arguments], check=False,
                            stderr=subprocess.PIPE)
    assert closed.returncode == 1


def test_closed_streams_are_not_mistaken_for_files(clip, models, tmp_path):
    daemon = Daemon(tmp_path, {"models": {"dir": str(models)},
                               "cameras": [{"id": "door", "test_video": clip}]})
    with subprocess.Popen(["sh", "-c", 'exec "$0" run -c "$1" <&- >&- 2>&-', FACEWORKER,
                           daemon.config]) as child:
        def answers():
            with contextlib.suppress(OSError):
                return daemon.get("/healthz")[0] == 200
            return False
        try:
            poll(answers, 30, "no answer")
            for number in range(3):
                assert os.readlink(f"/proc/{child.pid}/fd/{number}") == "/dev/null"
        finally:
            child.terminate()
        assert child.wait(10) == 0
