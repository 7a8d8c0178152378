"""`faceworker probe`, and commands on a terminal; test_config.py and test_detect.py have the rest."""
import os
import pathlib
import pty
import re
import shutil
import subprocess
import tempfile

import pytest
from harness import FACEWORKER, free_port, run_faceworker


def probe(*arguments, timeout_s=60):
    return run_faceworker("probe", *arguments, timeout_s=timeout_s)


def test_probe_of_a_camera(mediamtx, make_clip, publish):
    publish(make_clip("head-pose-face-detection-female.mp4", "640:360"), mediamtx.rtsp("cam"))
    mediamtx.wait_for("cam")
    for transport in ("auto", "tcp", "udp"):
        done = probe("--seconds", "3", "--transport", transport, mediamtx.rtsp("cam"))
        assert done.returncode == 0, done
        for word in ("h264", "640", "360", "25"):
            assert word in done.stdout, (word, done.stdout)
        assert "nothing is wrong" in done.stdout, done.stdout


def test_probe_of_a_file_says_what_could_be_better(shared, make_clip):
    good = probe("--seconds", "2", make_clip("head-pose-face-detection-male.mp4"))
    assert good.returncode == 0, good
    assert "1280" in good.stdout and "h264" in good.stdout
    # 12 fps, B-frames, no regular keyframes: as the file comes.
    poor = probe("--seconds", "4", shared / "data" / "videos" / "head-pose-face-detection-male.mp4")
    assert poor.returncode == 0, poor
    assert "what to improve" in poor.stdout and "B-frames" in poor.stdout, poor.stdout


@pytest.mark.parametrize("url, word", [
    ("rtsp://127.0.0.1:{port}/cam", "refuses connections"),
    ("rtmp://127.0.0.1:{port}/cam", "refuses connections"),
    ("http://127.0.0.1:{port}/cam", "refuses connections"),
    ("rtsp://no-such-host.invalid/cam", "no-such-host.invalid"),
    ("/no/such/file.mp4", "does not exist"),
    ("/etc/passwd", "nothing that is a stream"),
    ("/dev/video99", "video99"),
])
def test_probe_of_what_is_not_there(url, word):
    done = probe(url.format(port=free_port()))
    assert done.returncode == 1, done
    assert word in done.stdout + done.stderr, done


def test_probe_of_a_wrong_path(mediamtx):
    done = probe(mediamtx.rtsp("nobody"))
    assert done.returncode == 1
    assert "404" in done.stdout and "path" in done.stdout, done.stdout


def test_probe_of_silence_and_of_nonsense(dead_port):
    for garbage in (False, True):
        done = probe(f"rtsp://127.0.0.1:{dead_port(garbage)}/cam", timeout_s=30)
        assert done.returncode == 1 and "failed: " in done.stdout, done


def on_terminal(*arguments, env=None):
    """(exit code, what a terminal shows, standard output) of a command."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([str(FACEWORKER), *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=theirs, stdin=subprocess.DEVNULL, env=env) as child:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        out = child.stdout.read()
    return child.returncode, shown.decode(), out.decode()


def test_detect_shows_progress_on_a_terminal_only(shared, models):
    arguments = ("detect", "--models-dir", models, "--input-size", "320", shared / "data" / "images")
    code, shown, out = on_terminal(*arguments)
    assert code == 0
    count = len(out.splitlines())
    assert count >= 10
    assert re.search(rf"{count} of {count}", shown), shown
    quiet = run_faceworker(*arguments)
    assert quiet.stderr == "" and quiet.stdout == out


def test_detect_of_a_truncated_picture(shared, models, tmp_path):
    data = (shared / "data" / "images" / "cv_faces.jpg").read_bytes()
    for share in (0.1, 0.5, 0.9):
        damaged = tmp_path / f"cut-{share}.jpg"
        damaged.write_bytes(data[:int(len(data) * share)])
        done = run_faceworker("detect", "--models-dir", models, damaged)
        assert done.returncode == 1 and damaged.name in done.stderr, done
        assert done.stdout == "", "a picture that is not whole was judged"
    none = run_faceworker("detect", "--models-dir", models, "/dev/null")
    assert none.returncode == 1 and "/dev/null" in none.stderr


def test_a_broken_pipe_ends_detect_quietly(shared, models):
    done = subprocess.run(["sh", "-c", '"$@" | head -n 1', "sh", str(FACEWORKER), "detect",
                           "--models-dir", str(models), "--input-size", "320",
                           str(shared / "data" / "images")],
                          capture_output=True, text=True, timeout=60, check=False)
    assert len(done.stdout.splitlines()) == 1
    assert "Aborted" not in done.stderr and "Segmentation" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_configuration_that_may_not_be_read():
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        file = folder / "faceworker.json"
        file.write_text("{}", encoding="utf-8")
        file.chmod(0)
        program = folder / "faceworker"
        shutil.copy(FACEWORKER, program)
        done = subprocess.run([str(program), "check", "-c", str(file)], capture_output=True,
                              text=True, timeout=30, user=65534, group=65534, check=False)
    assert done.returncode == 78 and "Permission denied" in done.stderr, done


def test_a_folder_as_configuration(tmp_path):
    for command in ("check", "run"):
        done = run_faceworker(command, "-c", tmp_path)
        assert done.returncode == 78 and str(tmp_path) in done.stderr, done
