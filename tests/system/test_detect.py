"""`faceworker detect` on pictures, folders and videos."""
import json
import shutil

import cv2
import numpy
import pytest
from harness import run_faceworker


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
    for jobs in ("2", "0"):
        assert detect("--jobs", jobs, folder).stdout == done.stdout


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


def test_options_of_the_detector(detect, shared, models, tmp_path):
    picture = shared / "data" / "images" / "astronaut.png"
    scores = [face["score"] for face in detect("--min-score", "0.01", picture).lines[0]["faces"]]
    assert len(scores) > 1 and scores == sorted(scores, reverse=True)
    assert detect("--input-size", "64", picture).lines[0]["width"] == 512
    scalar = detect("--isa", "scalar", picture).lines[0]["faces"][0]
    best = detect("--isa", "auto", picture).lines[0]["faces"][0]
    assert overlap(scalar["box"], best["box"]) > 0.999
    assert detect("--isa", "z80", picture).returncode == 1
    shutil.copy(models / "yunet_s_640_640.onnx", tmp_path / "mine.onnx")
    own = detect("--model", tmp_path / "mine.onnx", picture)
    assert own.returncode == 0
    assert own.lines == detect("--model", "yunet-s", picture).lines
    missing = detect("--model", tmp_path / "none.onnx", picture)
    assert missing.returncode == 1 and "none.onnx" in missing.stderr
