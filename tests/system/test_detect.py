"""`faceworker detect` on pictures, folders and videos."""
import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess

import cv2
import numpy
import pytest
from conftest import missing
from harness import BUILD, FACEWORKER, poll, run_faceworker


@pytest.fixture
def detect(models):
    def run(*arguments):
        done = run_faceworker("detect", "--models-dir", models, *arguments)
        done.lines = [json.loads(line) for line in done.stdout.splitlines()]
        return done
    return run


@pytest.fixture
def folder(shared, tmp_path):
    """Pictures of every format in nested folders, a link in a circle, and a file that is none."""
    root = tmp_path / "pictures"
    (root / "b" / "inner").mkdir(parents=True)
    picture = cv2.imread(str(shared / "data" / "images" / "astronaut.png"))
    for name in ("z.png", "b/inner/a.BMP", "b/c.webp", "a.jpg"):
        assert cv2.imwrite(str(root / name.replace(".BMP", ".bmp")), picture)
    (root / "b/inner/a.bmp").rename(root / "b/inner/a.BMP")
    (root / "notes.txt").write_text("no picture", encoding="utf-8")
    (root / "b" / "circle").symlink_to(root)
    return root


def overlap(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def test_finds_the_face_of_the_astronaut(detect, shared):
    done = detect(shared / "data" / "images" / "astronaut.png")
    assert (done.returncode, done.stderr) == (0, "")
    line, = done.lines
    assert line["image"] == str(shared / "data" / "images" / "astronaut.png")
    assert (line["width"], line["height"]) == (512, 512)
    face, = line["faces"]
    assert overlap(face["box"], [178, 65, 91, 111]) > 0.8
    assert 0.8 < face["score"] <= 1
    x, y, w, h = face["box"]
    assert len(face["landmarks"]) == 5
    assert all(x < px < x + w and y < py < y + h for px, py in face["landmarks"])


def test_folders_are_sorted_and_entered_and_jobs_keep_the_order(detect, folder):
    done = detect(folder)
    assert done.returncode == 0, done.stderr
    names = [line["image"].removeprefix(f"{folder}/") for line in done.lines]
    assert names == ["a.jpg", "b/c.webp", "b/inner/a.BMP", "z.png"]
    assert all(len(line["faces"]) == 1 for line in done.lines)
    for jobs in ("1", "2", "0", "7"):
        assert detect("--jobs", jobs, folder).stdout == done.stdout
    assert detect("--jobs", "1.5", folder).returncode == 2


@pytest.mark.sanitizer
def test_a_video_among_pictures_keeps_its_place_with_any_number_of_threads(detect, folder, shared):
    video = shared / "data" / "videos" / "classroom.mp4"
    paths = (folder / "z.png", video, folder / "b", video, folder / "a.jpg")
    one = detect("--jobs", "1", *paths)
    assert one.returncode == 0, one.stderr
    numbers = [int(line["image"].rpartition("#")[2]) for line in one.lines if "#" in line["image"]]
    assert numbers == 2 * list(range(len(numbers) // 2)) and len(numbers) > 20
    for jobs in ("3", "8"):
        assert detect("--jobs", jobs, *paths).stdout == one.stdout


def test_what_cannot_be_read_is_told_and_the_rest_is_done(detect, folder, tmp_path):
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes((folder / "a.jpg").read_bytes()[:20])
    done = detect(tmp_path / "none.jpg", damaged, folder / "z.png", folder / "notes.txt")
    assert done.returncode == 1
    assert [line["image"] for line in done.lines] == [str(folder / "z.png")]
    for name in ("none.jpg", "damaged.jpg", "notes.txt"):
        assert name in done.stderr


def test_an_empty_folder_is_told(detect, tmp_path):
    done = detect(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no picture" in done.stderr


def test_output_goes_to_a_file(detect, folder, tmp_path):
    done = detect("--output", tmp_path / "out.jsonl", folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 4
    assert detect("--output", tmp_path / "none" / "out.jsonl", folder).returncode == 1
    full = detect("--output", "/dev/full", folder)
    assert full.returncode == 1 and "disk" in full.stderr


def test_each_face_is_cut_out(detect, folder, shared, tmp_path):
    group = shared / "data" / "images" / "identification1.jpg"
    done = detect("--crop", tmp_path / "crops", folder, group)
    assert done.returncode == 0, done.stderr
    assert len(done.lines[-1]["faces"]) > 1
    files = set()
    for line in done.lines:
        picture = cv2.imread(line["image"])
        name = line["image"].lstrip("/").removesuffix(".jpg")
        for number, face in enumerate(line["faces"], 1):
            assert face["crop"] == str(tmp_path / "crops" / f"{name}-{number}.jpg")
            files.add(face["crop"])
            crop = cv2.imread(face["crop"])
            x, y, w, h = face["box"]
            assert crop.shape[1] <= 1.8 * w + 2 and crop.shape[0] <= 1.8 * h + 2
            # What is cut out is that part of the picture, at its full size.
            left, top = max(int(x - 0.4 * w), 0), max(int(y - 0.4 * h), 0)
            part = picture[top:top + crop.shape[0], left:left + crop.shape[1]]
            assert part.shape == crop.shape
            assert numpy.abs(part.astype(int) - crop).mean() < 4
    assert files == {str(path) for path in (tmp_path / "crops").rglob("*") if path.is_file()}
    assert "crop" not in detect(group).lines[0]["faces"][0]
    blocked = detect("--crop", group / "no-folder", folder / "z.png")
    assert blocked.returncode == 1 and "no-folder" in blocked.stderr


def test_annotated_copies(detect, folder, tmp_path):
    done = detect("--annotate", tmp_path / "drawn", folder / "z.png", folder / "a.jpg")
    assert done.returncode == 0, done.stderr
    for line in done.lines:
        clean = cv2.imread(line["image"])
        name = line["image"].lstrip("/")
        drawn = cv2.imread(str(tmp_path / "drawn" / (name if name.endswith(".jpg") else name + ".jpg")))
        assert drawn.shape == clean.shape
        changed = numpy.abs(drawn.astype(int) - clean.astype(int)).max(axis=2) > 60
        x, y, w, h = (int(value) for value in line["faces"][0]["box"])
        assert changed[y + h // 4:y + 3 * h // 4, x - 6:x + 7].any(axis=1).mean() > 0.9
        assert changed[y + h // 3:y + 2 * h // 3, x + w // 3:x + 2 * w // 3].mean() < 0.05


def test_inputs_are_never_written_over(detect, folder, tmp_path):
    """Names that a folder's pictures and what is made of them share, links among them."""
    shutil.copy(folder / "a.jpg", folder / "a-1.jpg")
    (folder / "linked.jpg").symlink_to(folder / "a.jpg")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    drawn = detect("--annotate", "/", folder / "a.jpg", folder / "linked.jpg", folder / "b")
    assert drawn.returncode == 1
    for name in ("a.jpg", "linked.jpg"):
        assert f"{folder / name}' is one of the inputs" in drawn.stderr, drawn.stderr
    assert len(drawn.lines) == 2  # as the copies of what is no .jpg have names of their own
    cut = detect("--crop", "/", folder / "a.jpg", folder / "a-1.jpg")
    assert cut.returncode == 1 and "one of the inputs" in cut.stderr
    assert [line["image"] for line in cut.lines] == [str(folder / "a-1.jpg")]
    assert detect("--output", folder / "z.png", folder / "z.png").returncode == 1
    assert all(path.read_bytes() == content for path, content in before.items())
    # Again, over the copies of an earlier run; and two pictures that want one name.
    for _ in range(2):
        assert detect("--annotate", tmp_path / "drawn", folder / "a.jpg").returncode == 0
    twice = detect("--annotate", tmp_path / "drawn", "--jobs", "2", folder / "a.jpg",
                   f"{folder}/b/../a.jpg", f"/..{folder}/a.jpg")
    assert twice.returncode == 1 and "already" in twice.stderr
    assert len(twice.lines) == 2


def test_a_pipe_is_refused_at_once(detect, folder, tmp_path):
    """Waiting for its writer could not be interrupted."""
    os.mkfifo(tmp_path / "pipe.jpg")
    done = detect(tmp_path / "pipe.jpg", folder / "z.png")
    assert done.returncode == 1 and len(done.lines) == 1
    assert "pipe.jpg" in done.stderr and "neither a file nor a folder" in done.stderr


def test_half_a_crop_is_not_left_behind(folder, models, tmp_path):
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "sh", str(FACEWORKER), "detect",
         "--models-dir", str(models), "--annotate", str(tmp_path / "drawn"), str(folder / "z.png")],
        capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "disk" in done.stderr, done
    assert not [path for path in (tmp_path / "drawn").rglob("*") if path.is_file()]


def test_a_video_may_be_named_like_an_address(shared, models, tmp_path):
    shutil.copy(shared / "data" / "videos" / "classroom.mp4", tmp_path / "rtsp:x.mp4")
    done = subprocess.run([str(FACEWORKER), "detect", "--models-dir", str(models), "rtsp:x.mp4"],
                          capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.partition("\n")[0])["image"] == "rtsp:x.mp4#0"


def with_orientation(jpeg, orientation, big_endian):
    """JPEG with an Exif segment that says so."""
    order = "big" if big_endian else "little"

    def number(value, size):
        return value.to_bytes(size, order)
    tiff = (b"MM" if big_endian else b"II") + number(42, 2) + number(8, 4) + number(2, 2)
    tiff += number(0x010F, 2) + number(2, 2) + number(4, 4) + b"abc\0"
    tiff += number(0x0112, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + b"\0\0"
    tiff += number(0, 4)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


@pytest.mark.parametrize("big_endian", [False, True])
def test_photographs_are_seen_the_right_way_up(detect, shared, tmp_path, big_endian):
    """As phones store them: turned, with a note of how. OpenCV reads them in the same way."""
    stored = cv2.imread(str(shared / "data" / "images" / "grace_hopper.jpg"))[:, :400]
    done = None
    for orientation in range(1, 9):
        # The way back from upright to how a camera held like this stores it.
        turned = stored.transpose(1, 0, 2) if orientation >= 5 else stored
        if orientation in (2, 3, 7, 8):
            turned = turned[:, ::-1]
        if orientation in (3, 4, 6, 7):
            turned = turned[::-1]
        coded = cv2.imencode(".jpg", turned)[1].tobytes()
        photo = tmp_path / f"photo-{orientation}.jpg"
        photo.write_bytes(with_orientation(coded, orientation, big_endian))
        upright = cv2.imread(str(photo))
        assert upright.shape == stored.shape, orientation
        done = detect("--crop", tmp_path / "crops", photo)
        line, = done.lines
        assert (line["width"], line["height"]) == (400, stored.shape[0])
        face, = line["faces"]
        assert overlap(face["box"], [177, 123, 178, 212]) > 0.85, orientation
        crop = cv2.imread(face["crop"])
        x, y, w, h = face["box"]
        left, top = max(int(x - 0.4 * w), 0), max(int(y - 0.4 * h), 0)
        part = upright[top:top + crop.shape[0], left:left + crop.shape[1]]
        assert numpy.abs(part.astype(int) - crop).mean() < 4, orientation


def test_a_video_gives_a_line_a_picture(detect, shared):
    video = shared / "data" / "videos" / "classroom.mp4"
    done = detect(video)
    assert done.returncode == 0, done.stderr
    capture = cv2.VideoCapture(str(video))
    count = 0
    while capture.read()[0]:
        count += 1
    assert [line["image"] for line in done.lines] == [f"{video}#{i}" for i in range(count)]
    assert sum(len(line["faces"]) for line in done.lines) > count / 2


def found_of(truth, faces):
    """How many of TRUTH are found, and how many pairs of FACES are the same face."""
    hits = sum(any(overlap(box, face["box"]) > 0.5 for face in faces) for box in truth)
    twice = sum(overlap(a["box"], b["box"]) > 0.5 for i, a in enumerate(faces) for b in faces[:i])
    return hits, twice


def true_faces(shared, event, name):
    scipy_io = pytest.importorskip("scipy.io")
    val = scipy_io.loadmat(str(shared / "data" / "wider" / "ground_truth" / "wider_face_val.mat"))
    for i, row in enumerate(val["event_list"][:, 0]):
        names = [str(item[0]) for item in val["file_list"][i, 0][:, 0]]
        if str(row[0]) == event and name in names:
            return val["face_bbx_list"][i, 0][names.index(name), 0].astype(float).tolist()
    raise AssertionError(f"{event}/{name} is not in the ground truth")


def test_tiles_find_small_faces_and_each_once(detect, shared):
    """In the pictures of crowds; a region's boxes are those of the whole picture."""
    crowds = sorted((shared / "data" / "wider" / "images" / "0--Parade").glob("*.jpg"))
    if not crowds:
        missing("no pictures of WIDER FACE")
    whole, tiled = detect(*crowds), detect("--tiles", "3x2", *crowds)
    found, kept = {"whole": 0, "tiled": 0}, 0
    for path, *lines in zip(crowds, whole.lines, tiled.lines, strict=True):
        truth = true_faces(shared, "0--Parade", path.stem)
        for name, line in zip(found, lines, strict=True):
            hits, twice = found_of(truth, line["faces"])
            assert twice == 0, (path, name)
            found[name] += hits
        kept += found_of([face["box"] for face in lines[0]["faces"]], lines[1]["faces"])[0]
    print(found)
    # What the whole showed is still there, but for very few.
    assert kept > 0.95 * sum(len(line["faces"]) for line in whole.lines)
    assert found["tiled"] > 1.3 * found["whole"] > 0
    assert detect("--tiles", "3x2", "--jobs", "1", *crowds).stdout == tiled.stdout


def test_a_region_is_looked_at_alone(detect, shared):
    group = shared / "data" / "images" / "identification1.jpg"
    line = detect(group).lines[0]
    everywhere = line["faces"]
    middle = line["width"] / 2
    right = [face for face in everywhere if face["box"][0] > middle]
    assert 0 < len(right) < len(everywhere)
    for tiles in ("1x1", "2x2"):
        faces = detect("--roi", "0.5,0,0.5,1", "--tiles", tiles, group).lines[0]["faces"]
        assert len(faces) >= len(right)
        for face in right:
            assert any(overlap(face["box"], other["box"]) > 0.8 for other in faces)
        assert all(face["box"][0] + face["box"][2] > middle for face in faces)
    for wrong in ("0.5,0,0.6,1", "0,0,0,0", "1,2,3", "0,0,1,1,1", "a,b,c,d", "-1,0,1,1", "nan,0,1,1"):
        done = detect(f"--roi={wrong}", group)
        assert done.returncode == 2 and "--roi" in done.stderr, wrong
    for wrong in ("0x1", "9x9", "3", "x", "3x2x1"):
        done = detect("--tiles", wrong, group)
        assert done.returncode == 2 and "--tiles" in done.stderr, wrong


def test_small_and_doubled_faces_are_left_out(detect, shared):
    group = shared / "data" / "images" / "identification1.jpg"
    faces = detect(group).lines[0]["faces"]
    sizes = sorted(max(face["box"][2:]) for face in faces)
    limit = int(sizes[len(sizes) // 2]) + 1
    for tiles in ("1x1", "2x2"):
        large = detect("--min-face-px", limit, "--tiles", tiles, group).lines[0]["faces"]
        assert large and all(max(face["box"][2:]) >= limit for face in large)
        assert len(large) < len(faces)
    assert len(detect("--nms-iou", "1", group).lines[0]["faces"]) > len(faces)
    assert detect("--nms-iou", "1.1", group).returncode == 2


@contextlib.contextmanager
def on_terminal(*arguments):
    """A command whose standard error is a terminal, and a function that reads what that shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([str(FACEWORKER), "detect", *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=theirs, stdin=subprocess.DEVNULL) as child:
        os.close(theirs)

        def shown():
            text = b""
            with contextlib.suppress(OSError):  # the other end is closed
                while part := os.read(ours, 4096):
                    text += part
            return text.decode()
        try:
            yield child, shown
        finally:
            child.kill()
            os.close(ours)


def slow_inputs(folder, count):
    """So many pictures that a run with the plain kernels takes a while."""
    many = folder.parent / "many"
    many.mkdir()
    for i in range(count):
        (many / f"{i:04}.png").hardlink_to(folder / "z.png")
    return ["--isa", "scalar", "--jobs", "1", many]


def test_progress_and_the_time_that_is_left(folder, models, tmp_path):
    arguments = ["--models-dir", models, "--output", tmp_path / "out.jsonl", *slow_inputs(folder, 25)]
    with on_terminal(*arguments) as (child, shown):
        text = shown()
        assert child.wait(120) == 0
    parts = re.findall(r"\r(\d+) of 25 \((\d+) %\), ([\d.]+) a second, (\d+:\d\d) left", text)
    assert len(parts) >= 2, text
    assert [int(part[0]) for part in parts] == sorted(int(part[0]) for part in parts)
    assert all(float(part[2]) > 0 for part in parts)
    assert re.search(r"25 of 25 in \d+:\d\d, [\d.]+ a second\r?\n$", text), text


def test_an_interrupted_run_leaves_what_it_has_found(folder, models, tmp_path):
    out = tmp_path / "out.jsonl"
    child = subprocess.Popen([str(FACEWORKER), "detect", "--models-dir", str(models), "--output",
                              str(out), *map(str, slow_inputs(folder, 2000))],
                             stderr=subprocess.PIPE, text=True)
    try:
        poll(lambda: out.exists() and out.read_bytes().count(b"\n") >= 3, 60, lambda: "three lines")
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=20 if "san" in BUILD.name else 5)
    finally:
        child.kill()
    lines = out.read_text(encoding="utf-8").splitlines()
    assert child.returncode == 1
    assert re.search(rf"interrupted with {len(lines)} of 2000 inputs done", told), told
    assert 3 <= len(lines) < 2000
    names = [json.loads(line)["image"].rpartition("/")[2] for line in lines]
    assert names == [f"{i:04}.png" for i in range(len(names))]


def test_options_of_the_detector(detect, shared, models, tmp_path):
    picture = shared / "data" / "images" / "astronaut.png"
    scores = [face["score"] for face in detect("--min-score", "0.01", picture).lines[0]["faces"]]
    assert len(scores) > 1 and scores == sorted(scores, reverse=True)
    assert detect("--input-size", "64", picture).lines[0]["width"] == 512
    faces = {(precision, isa): detect("--precision", precision, "--isa", isa,
                                      picture).lines[0]["faces"][0]
             for precision in ("fp32", "int8", "auto") for isa in ("scalar", "auto")}
    assert overlap(faces["fp32", "scalar"]["box"], faces["fp32", "auto"]["box"]) > 0.999
    assert faces["int8", "scalar"] == faces["int8", "auto"] != faces["fp32", "auto"]
    assert faces["auto", "scalar"] == faces["fp32", "scalar"]
    assert faces["auto", "auto"] in (faces["fp32", "auto"], faces["int8", "auto"])
    assert detect("--precision", "int3", picture).returncode == 1
    assert detect("--isa", "z80", picture).returncode == 1
    shutil.copy(models / "yunet_s_640_640.onnx", tmp_path / "mine.onnx")
    own = detect("--model", tmp_path / "mine.onnx", picture)
    assert own.returncode == 0
    assert own.lines == detect("--model", "yunet-s", picture).lines
    missing = detect("--model", tmp_path / "none.onnx", picture)
    assert missing.returncode == 1 and "none.onnx" in missing.stderr
