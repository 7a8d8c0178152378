"""Speed and memory, as ratios of things that run in turn in one run.

Times of a machine mean nothing on another one, and little on the same one an hour later; so what is
compared runs alternately, round by round, each round gives one ratio, and the median and the range
of the ratios are printed. Nothing is asserted about time, only that the work was really done.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

import cv2
import numpy
import onnxruntime
import onnxruntime_avx2
import pytest
from harness import BUILD, FACEWORKER, Daemon

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1500)]

FRAMES = 300
ROUNDS = 5
DETECTOR_ROUNDS, DETECTOR_RUNS = 9, 30
STEP_ROUNDS = 20
WORKER_ROUNDS = 3
CAMERAS = 3
REAL_TIME_ROUNDS, REAL_TIME_S = 3, 10
BARE_ENCODER = ["-an", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
                "-threads", "1", "-b:v", "3M", "-f", "flv"]


def show(what, values, unit=""):
    print(f"  {what:66} {statistics.median(values):7.3g}{unit}"
          f"  ({min(values):.3g} to {max(values):.3g}, {len(values)} rounds)", flush=True)


def ratios(numerators, denominators):
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


# ---- the network

class Ours:
    """The project's kernels, through a program that runs them again and again."""

    def __init__(self, model, picture, folder, isa, precision):
        self.model, self.isa = model, isa
        self.options = ["int8"] if precision == "int8" else []
        self.height, self.width = picture.shape[:2]
        self.raw = folder / f"{self.width}.bgr"
        self.rows = folder / f"{self.width}-{isa}-{precision}.rows"
        picture.tofile(self.raw)

    def times(self):
        done = subprocess.run(
            [BUILD / "tests" / "tools" / "yunet_dump", self.model, self.raw, str(self.width),
             str(self.height), self.rows, self.isa, str(DETECTOR_RUNS), *self.options],
            check=True, capture_output=True, text=True)
        return [int(line) / 1e6 for line in done.stdout.split()]

    def best_class(self):
        return float(numpy.fromfile(self.rows, "<f4").reshape(-1, 16)[:, 0].max())


class OnnxRuntime:
    def __init__(self, model, blob):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # the outputs' sizes in the file are those of 640x640
        self.session = onnxruntime.InferenceSession(model, options,
                                                    providers=["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: blob}
        self.session.run(None, self.feed)

    def run(self):
        self.session.run(None, self.feed)

    def times(self):
        return times_of(self.run)

    def best_class(self):
        names = [output.name for output in self.session.get_outputs()]
        outputs = self.session.run(names, self.feed)
        return max(float(output.max()) for name, output in zip(names, outputs, strict=True)
                   if name.startswith("cls"))


class OnnxRuntimeAvx2:
    """What ONNX Runtime has for processors without AVX-512, in a process of its own."""

    def __init__(self, model, blob, folder):
        self.arguments = [folder / "copy", folder / "model.onnx", folder / "blob.npy"]
        onnxruntime_avx2.make_copy(pathlib.Path(onnxruntime.__file__).parent, self.arguments[0])
        self.arguments[1].write_bytes(model)
        numpy.save(self.arguments[2], blob)
        self.best = None

    def times(self):
        done = subprocess.run([sys.executable, onnxruntime_avx2.__file__, *self.arguments,
                               str(DETECTOR_RUNS)], check=True, capture_output=True, text=True)
        *times, self.best = map(float, done.stdout.split())
        return times

    def best_class(self):
        return self.best


class OpenCvDnn:
    def __init__(self, path, blob):
        cv2.setNumThreads(1)
        self.net = cv2.dnn.readNetFromONNX(str(path))
        self.names = self.net.getUnconnectedOutLayersNames()
        self.blob = blob
        self.run()

    def run(self):
        self.net.setInput(self.blob)
        return self.net.forward(self.names)

    def times(self):
        return times_of(self.run)

    def best_class(self):
        return max(float(output.max()) for name, output in
                   zip(self.names, self.run(), strict=True) if name.startswith("cls"))


class Libfacedetection:
    """The library of YuNet's author with its own weights, where FACEWORKER_LIBFACEDETECTION names
    its shared library (github.com/ShiqiYu/libfacedetection, built without OpenMP)."""

    def __init__(self, path, picture):
        self.function = ctypes.CDLL(path)["_Z14facedetect_cnnPhS_iii"]
        self.function.restype = ctypes.POINTER(ctypes.c_int)
        self.buffer = ctypes.create_string_buffer(0x9000)
        self.picture = numpy.ascontiguousarray(picture)
        self.found = self.run()

    def run(self):
        height, width = self.picture.shape[:2]
        return self.function(self.buffer, self.picture.ctypes.data_as(ctypes.c_char_p), width,
                             height, width * 3)[0]

    def times(self):
        return times_of(self.run)


def times_of(call):
    times = []
    for _ in range(DETECTOR_RUNS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def with_input_size(onnx, size):
    """The model with an input of SIZE x SIZE: the two 640 in the input's description (protobuf: a
    field of 3 bytes with a varint) become SIZE, which takes two bytes as well."""
    def field(number):
        return bytes([0x0a, 3, 8, number & 127 | 128, number >> 7]) * 2
    assert 128 <= size < 16384 and onnx.count(field(640)) >= 1
    at = onnx.index(field(640))
    return onnx[:at] + field(size) + onnx[at + len(field(640)):]


def processor_flags():
    return set(pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())


def instruction_sets(precision):
    """The sets of kernels that this machine can run: yunet_dump refuses the others."""
    words = processor_flags()
    sets = ["auto"]
    if {"avx2", "fma"} <= words:
        sets.append("avx2")
        if precision == "int8" and "avx_vnni" in words:
            sets.append("avxvnni")
    # In plain C int8 is a reference to test against, which nobody runs for speed.
    return sets if precision == "int8" else [*sets, "scalar"]


@pytest.mark.parametrize("size", [320, 640])
def test_the_network(shared, tmp_path, size):
    model = shared / "models" / "yunet_n_640_640.onnx"
    picture = cv2.resize(cv2.imread(str(shared / "data" / "images" / "astronaut.png")),
                         (size, size), interpolation=cv2.INTER_AREA)
    # In the order that ONNX Runtime reads it in, or it would have to copy it first in each run.
    blob = numpy.ascontiguousarray(picture.transpose(2, 0, 1)[None], numpy.float32)
    engines = {f"ours, {precision}, {isa}": Ours(model, picture, tmp_path, isa, precision)
               for precision in ("fp32", "int8") for isa in instruction_sets(precision)}
    engines["ONNX Runtime"] = OnnxRuntime(with_input_size(model.read_bytes(), size), blob)
    narrow = "ONNX Runtime, AVX2 only"
    if "avx512f" in processor_flags():
        engines[narrow] = OnnxRuntimeAvx2(with_input_size(model.read_bytes(), size), blob, tmp_path)
    engines["OpenCV DNN"] = OpenCvDnn(model, blob)
    agreeing = list(engines)
    if path := os.environ.get("FACEWORKER_LIBFACEDETECTION"):
        engines["libfacedetection, with its postprocessing"] = Libfacedetection(path, picture)
        assert engines["libfacedetection, with its postprocessing"].found == 1
    rounds = {name: [] for name in engines}
    for _ in range(DETECTOR_ROUNDS):
        for name, engine in engines.items():
            # The fastest call of a round is the one that the machine's other work disturbed least.
            rounds[name].append(min(engine.times()))
    # All of them computed the same thing.
    for name in agreeing:
        difference = abs(engines[name].best_class() - engines["ONNX Runtime"].best_class())
        assert difference < (0.1 if "int8" in name else 1e-3), name
    print(f"\nYuNet-n, {size}x{size}, one thread; ONNX Runtime {onnxruntime.__version__} is 1,"
          f" OpenCV {cv2.__version__}")
    for name in engines:
        if name != "ONNX Runtime":
            show(name, ratios(rounds[name], rounds["ONNX Runtime"]))
    if narrow in engines:
        show("ours, fp32, avx2 / ONNX Runtime, AVX2 only",
             ratios(rounds["ours, fp32, avx2"], rounds[narrow]))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("size", [320, 640])
def test_the_step_from_picture_to_faces(shared, size, precision):
    """Scaling, colours, the network and its results, of a 1080p I420 picture."""
    done = subprocess.run(
        [BUILD / "tests" / "tools" / "detect_time", shared / "models" / "yunet_n_640_640.onnx",
         shared / "data" / "images" / "detection1.jpg", str(size), precision,
         str(STEP_ROUNDS * DETECTOR_RUNS)], check=True, capture_output=True, text=True)
    assert int(done.stderr.split()[0]) > 0, done.stderr
    times = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    rounds = [times[i:i + DETECTOR_RUNS] for i in range(0, len(times), DETECTOR_RUNS)]
    print(f"\nFrom a 1080p picture to faces at {size}, {precision}, one thread")
    show("the whole step / the network alone",
         ratios([min(step for step, _ in part) for part in rounds],
                [min(network for _, network in part) for part in rounds]))


# ---- the outbox

def test_the_outbox(tmp_path):
    """Not a ratio: what matters is how far it is from the few events a second that cameras make."""
    program, events = BUILD / "tests" / "tools" / "outbox_bench", 20000
    posted, delivered = [], []
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = subprocess.run([program, folder, str(events)], check=True, capture_output=True, text=True)
        rate, count, commits, drained = done.stdout.split()
        assert int(count) == events and int(commits) < events / 5
        posted.append(float(rate))
        delivered.append(float(drained))
    print(f"\nThe outbox, {events} events of 1.3 KB, synchronous=FULL")
    show("events/s posted and committed by one thread", posted)
    show("events/s delivered to a sink that only counts, in batches of 64", delivered)


# ---- whole processes

class Run:
    """A child with all it starts: CPU time, and the sum of its processes' peak memory."""

    def __init__(self, command, log):
        self.log, self.peaks_kb = pathlib.Path(log), {}
        with open(log, "wb") as out:
            self.child = subprocess.Popen([str(word) for word in command], stdout=out, stderr=out,
                                          stdin=subprocess.DEVNULL)
        self.cpu_s = None

    def look(self):
        """Takes down the peak memory of every process that is there now."""
        waiting = [self.child.pid]
        while waiting:
            process = pathlib.Path(f"/proc/{waiting.pop()}")
            with contextlib.suppress(OSError, ValueError, StopIteration):
                lines = (process / "status").read_text(encoding="ascii").splitlines()
                peak = next(line for line in lines if line.startswith("VmHWM"))
                self.peaks_kb[process.name] = int(peak.split()[1])
                children = process / "task" / process.name / "children"
                waiting += children.read_text(encoding="ascii").split()

    def finish(self, codes=(0,)):
        """Waits for the end; the exit code must be one of CODES."""
        while True:
            self.look()
            pid, status, usage = os.wait4(self.child.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.02)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        assert self.child.returncode in codes, self.text()[-3000:]
        return self

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def peak_mb(self):
        return sum(self.peaks_kb.values()) / 1024


class Bench:
    """Runs the daemon and what it is compared with on one clip."""

    def __init__(self, clip, models, folder):
        self.clip, self.models, self.folder = clip, models, folder
        self.count = 0

    def path(self, suffix):
        self.count += 1
        return self.folder / f"{self.count}{suffix}"

    def start_daemon(self, cameras=1, frames=FRAMES, outputs=True, **options):
        """OUTPUTS: a file each, else nothing is encoded."""
        folder = self.path("")
        folder.mkdir()
        files = [folder / f"{i}.flv" for i in range(cameras)]
        config = Daemon(folder, {
            "models": {"dir": str(self.models)},
            "detector": {"input_size": 320},
            "cameras": [{"id": f"cam{i}", "test_video": str(self.clip), "max_frames": frames,
                         "ffmpeg_output": str(file) if outputs else None,
                         "publish": {"preset": "ultrafast", "bitrate_kbps": 3000},
                         **options} for i, file in enumerate(files)],
            "local_mocks": {"use_mock_mq": True, "use_mock_s3": True}}).config
        return Run([FACEWORKER, "run", "-c", config], folder / "log"), folder, files

    def daemon(self, **options):
        """As fast as it goes, detection on every 2nd picture."""
        run, folder, files = self.start_daemon(test_video_realtime=False, frame_skip=1,
                                               analyze_fps=100, **options)
        run.finish()
        alerts = (folder / "state" / "alerts.jsonl").read_text(encoding="utf-8")
        assert "faceworker.face.appeared" in alerts, run.text()
        if options.get("outputs", True):
            for file in files:
                assert published(file) == FRAMES
        return run

    def start_transcode(self, *input_options):
        file = self.path(".flv")
        command = ["ffmpeg", "-v", "error", "-y", "-threads", "1", *input_options, "-i", self.clip,
                   *BARE_ENCODER, file]
        return Run(command, self.path(".log")), file

    def transcode(self):
        run, file = self.start_transcode()
        run.finish()
        assert published(file) == FRAMES
        return run

    def decode(self):
        return Run(["ffmpeg", "-v", "error", "-threads", "1", "-i", self.clip, "-an", "-f", "null",
                    "-"], self.path(".log")).finish()

    def older_worker(self, script, detector, *options):
        file = self.path(".flv")
        run = Run([sys.executable, script, self.clip, file, "--detector", detector, *options],
                  self.path(".log")).finish()
        assert json.loads(run.text().splitlines()[-1])["frames"] == FRAMES, run.text()
        assert published(file) == FRAMES
        return run


def published(file):
    """How many pictures lie in FILE."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries",
         "stream=codec_name,width,height,nb_read_packets", "-of", "json", str(file)],
        check=True, capture_output=True, text=True)
    stream = json.loads(done.stdout)["streams"][0]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", 1920, 1080)
    assert int(stream["nb_read_packets"]) > 0, stream
    return int(stream["nb_read_packets"])


@pytest.fixture(scope="module")
def clip(shared, tmp_path_factory):
    """A head that moves in front of a camera: 1080p25 as cameras send it, 12 s."""
    file = tmp_path_factory.mktemp("bench-clip") / "clip.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i",
         shared / "data" / "videos" / "head-pose-face-detection-male.mp4", "-an", "-vf",
         "fps=25,scale=1920:1080", "-frames:v", str(FRAMES), "-c:v", "libx264", "-preset",
         "superfast", "-b:v", "4M", "-bf", "0", "-g", "50", "-pix_fmt", "yuv420p", file],
        check=True)
    return file


@pytest.fixture
def bench(clip, models, tmp_path):
    return Bench(clip, models, tmp_path)


def cpu(runs):
    return [run.cpu_s for run in runs]


def test_one_camera(bench):
    runs = {name: [] for name in ("ours", "bare", "watch", "decode")}
    for _ in range(ROUNDS):
        runs["ours"].append(bench.daemon())
        runs["bare"].append(bench.transcode())
        runs["watch"].append(bench.daemon(outputs=False))
        runs["decode"].append(bench.decode())
    print(f"\nOne 1080p25 camera, {FRAMES} pictures, CPU time of whole processes")
    show("detect on every 2nd, draw, encode, write / bare ffmpeg transcode",
         ratios(cpu(runs["ours"]), cpu(runs["bare"])))
    show("detect on every 2nd, nothing encoded / ffmpeg decode alone",
         ratios(cpu(runs["watch"]), cpu(runs["decode"])))
    show("ffmpeg decode alone / bare ffmpeg transcode",
         ratios(cpu(runs["decode"]), cpu(runs["bare"])))
    for what, name in (("with encoding", "ours"), ("nothing encoded", "watch"),
                       ("bare ffmpeg transcode", "bare")):
        show(f"peak memory, {what}", [run.peak_mb() for run in runs[name]], " MB")


def test_the_older_worker(bench, shared, tmp_path):
    """OpenCV's capture and DNN, a pipe of raw pictures, an ffmpeg child."""
    script = shared / "tools" / "python_worker.py"
    prototxt, weights = shared / "models" / "deploy.prototxt", tmp_path / "random.caffemodel"
    subprocess.run([sys.executable, shared / "tools" / "make_res10_weights.py", prototxt, weights],
                   check=True)
    runs = {name: [] for name in ("ours", "none", "res10")}
    for _ in range(WORKER_ROUNDS):
        runs["ours"].append(bench.daemon())
        runs["none"].append(bench.older_worker(script, "none"))
        runs["res10"].append(bench.older_worker(script, "res10", "--skip", "1", "--prototxt",
                                                prototxt, "--caffemodel", weights))
    print(f"\nThe older worker, one 1080p25 camera, {FRAMES} pictures, CPU time of all processes")
    show("older worker, res10 on every 2nd / ours", ratios(cpu(runs["res10"]), cpu(runs["ours"])))
    show("older worker, no detector at all / ours", ratios(cpu(runs["none"]), cpu(runs["ours"])))
    show("peak memory: older worker with its child / ours",
         ratios([run.peak_mb() for run in runs["res10"]],
                [run.peak_mb() for run in runs["ours"]]))


def play_for_a_while(runs):
    """Lets RUNS work side by side for REAL_TIME_S, then ends them."""
    time.sleep(REAL_TIME_S)
    for run in runs:
        run.child.send_signal(signal.SIGTERM)
    return [run.finish(codes=(0, 255)) for run in runs]


def real_time_daemon(bench, cameras, **options):
    """(its run, how many pictures it published)"""
    run, _, files = bench.start_daemon(cameras=cameras, frames=0, **options)
    play_for_a_while([run])
    assert "face appeared" in run.text(), run.text()
    return run, sum(map(published, files)) if options.get("outputs", True) else 0


def real_time_transcodes(bench):
    """(CPU time of all, how many pictures they published)"""
    started = [bench.start_transcode("-re", "-stream_loop", "-1") for _ in range(CAMERAS)]
    runs = play_for_a_while([run for run, _ in started])
    return sum(cpu(runs)), sum(published(file) for _, file in started)


def test_three_cameras_in_real_time(bench):
    daemon, bare, peaks = [], [], {}
    for _ in range(REAL_TIME_ROUNDS):
        for cameras, outputs in ((1, True), (CAMERAS, True), (1, False), (CAMERAS, False)):
            run, pictures = real_time_daemon(bench, cameras, outputs=outputs)
            peaks.setdefault((cameras, outputs), []).append(run.peak_mb())
            if (cameras, outputs) == (CAMERAS, True):
                daemon.append((run.cpu_s, pictures))
        bare.append(real_time_transcodes(bench))
    expected = CAMERAS * 25 * REAL_TIME_S
    print(f"\n{CAMERAS} 1080p25 cameras at once in real time, 10 analyses a second each")
    show("CPU time a picture, with encoding / as many bare ffmpeg transcodes",
         ratios([a / n for a, n in daemon], [b / n for b, n in bare]))
    show("share of a core that one camera takes", [a / REAL_TIME_S / CAMERAS for a, _ in daemon])
    show("share of the pictures published, ours", [n / expected for _, n in daemon])
    show("share of the pictures published, bare ffmpeg", [n / expected for _, n in bare])
    for outputs, what in ((True, "with encoding"), (False, "nothing encoded")):
        one, all_of_them = peaks[1, outputs], peaks[CAMERAS, outputs]
        show(f"peak memory of the daemon with {CAMERAS}, {what}, a camera",
             [peak / CAMERAS for peak in all_of_them], " MB")
        show(f"what one camera more takes, {what}",
             [(many - single) / (CAMERAS - 1)
              for many, single in zip(all_of_them, one, strict=True)], " MB")
