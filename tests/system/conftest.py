import os
import pathlib
import shutil
import subprocess
import uuid

import pytest
from harness import IS_CI, Backend, Daemon, DeadPort, MediaMtx, Publisher
from s3_servers import S3Server
from servers import Certificates, RabbitMq, SinkTool

# A password with everything in it that breaks naive redaction; no output may ever hold it.
CANARY = "Ca%40na@ry:w/ith?sp#ecial"


def missing(what):
    """Data or a server that a test needs: without it a test is skipped, in CI it fails."""
    if IS_CI:
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def shared():
    folder = pathlib.Path(os.environ.get("FACEWORKER_SHARED", "../shared"))
    if not (folder / "models" / "yunet_n_640_640.onnx").exists():
        missing(f"no test data in {folder}; set FACEWORKER_SHARED")
    return folder.resolve()


@pytest.fixture(scope="session")
def models(shared, tmp_path_factory):
    """A model folder that is complete, so that no test asks the network."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("yunet_n_640_640.onnx", "yunet_s_640_640.onnx"):
        shutil.copy(shared / "models" / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def make_clip(shared, tmp_path_factory):
    """Re-encodes a video of the test data as a camera would send it: 25 fps, no B-frames, a keyframe
    a second, at least 20 s long. Made once a session for each set of arguments."""
    folder = tmp_path_factory.mktemp("clips")

    def make(name, size="1280:720"):
        clip = folder / f"{pathlib.Path(name).stem}-{size.replace(':', 'x')}.mp4"
        if not clip.exists():
            subprocess.run(
                ["ffmpeg", "-v", "error", "-y", "-stream_loop", "8", "-i",
                 str(shared / "data" / "videos" / name), "-t", "20", "-an", "-vf", f"scale={size},fps=25",
                 "-c:v", "libx264", "-preset", "superfast", "-crf", "22", "-bf", "0", "-g", "25",
                 "-keyint_min", "25", "-sc_threshold", "0", "-pix_fmt", "yuv420p", str(clip)],
                check=True)
        return clip
    return make


@pytest.fixture(scope="session")
def walker(shared, tmp_path_factory):
    """One face that walks through an empty scene and leaves it: 6 s at 25 fps."""
    clip = tmp_path_factory.mktemp("walker") / "walker.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "color=c=0x505860:s=960x540:r=25",
         "-i", str(shared / "data" / "images" / "astronaut.png"),
         "-filter_complex",
         r"[1]crop=240:260:110:0,scale=220:-1[f];[0][f]overlay=x='-w+t*260':y='140':eof_action=repeat",
         "-t", "6", "-c:v", "libx264", "-preset", "superfast", "-crf", "18", "-bf", "0", "-g", "25",
         "-pix_fmt", "yuv420p", str(clip)], check=True)
    return clip


@pytest.fixture(scope="session")
def empty_scene(tmp_path_factory):
    """A video without a face."""
    clip = tmp_path_factory.mktemp("empty") / "empty.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "color=c=0x505860:s=320x180:r=10",
                    "-t", "2", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
                    str(clip)], check=True)
    return clip


@pytest.fixture
def mediamtx(tmp_path):
    server = MediaMtx(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def publish(tmp_path):
    """publish(clip, url) starts a camera that sends the clip; all are ended after the test."""
    running = []

    def start(clip, url, **options):
        publisher = Publisher(clip, url, tmp_path, name=f"publisher{len(running)}", **options)
        running.append(publisher.start())
        return publisher
    yield start
    for publisher in running:
        publisher.kill()


@pytest.fixture
def start_backend():
    """start_backend(answers, standard) starts an HTTP backend, on a port of its own if none is given."""
    running = []

    def start(*arguments, **options):
        running.append(Backend(*arguments, **options))
        return running[-1]
    yield start
    for backend in running:
        backend.stop()


@pytest.fixture
def dead_port():
    """dead_port(garbage) is a port that takes connections and is silent, or talks nonsense."""
    running = []

    def start(garbage=False):
        running.append(DeadPort(garbage))
        return running[-1].port
    yield start
    for port in running:
        port.stop()


@pytest.fixture
def run_daemon(tmp_path, models):
    """run_daemon(config) starts a daemon; after the test it is stopped, and the stop is checked. The
    canary password may be in nothing that it wrote."""
    running = []

    def start(config, wait=True, env=None, name="daemon"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        config = {"models": {"dir": str(models)}, **config}
        daemon = Daemon(folder, config, env=env)
        running.append(daemon)
        return daemon.start(wait)
    yield start
    failures = []
    for daemon in running:
        try:
            daemon.stop()
        except AssertionError as failure:
            failures.append(str(failure))
        if CANARY in daemon.log():
            failures.append("the canary password is in the log")
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory, certificates):
    """One RabbitMQ for all tests, because it takes seconds to start."""
    if not RabbitMq.is_installed():
        missing("no RabbitMQ; install Debian's rabbitmq-server")
    server = RabbitMq(tmp_path_factory.mktemp("rabbitmq"), certificates,
                      users=[("we:ird@/us%er ü", CANARY), ("late", "wrong")],
                      vhosts=("/", "fa ces/1%2f"))
    yield server
    server.stop()


@pytest.fixture
def rabbitmq(rabbitmq_server):
    """It, running, whatever the test before left behind."""
    if not rabbitmq_server.is_running():
        rabbitmq_server.start()
    return rabbitmq_server


@pytest.fixture
def open_sink():
    """open_sink(type=..., url=..., ...) is a SinkTool with these options. No password may be in what
    it answers."""
    running = []

    def start(**options):
        running.append(SinkTool(**options))
        return running[-1]
    yield start
    for tool in running:
        tool.end()
        assert CANARY not in tool.output


@pytest.fixture
def queue():
    """A name for an exchange and a queue that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def s3(tmp_path):
    if not S3Server.program():
        missing("no S3 server; run tools/get-versitygw.sh")
    server = S3Server(tmp_path / "s3").start()
    yield server
    server.stop()
