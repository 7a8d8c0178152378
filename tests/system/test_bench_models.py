"""Every detector side by side: what it finds, and how long it takes. The table of docs/detection.md.

Accuracy is WIDER FACE's average precision on the pictures of the test data. Times are one thread's,
of the whole detector on a picture of 640x640, taken in turn in one run; only their ratios carry.
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

import cv2
import pytest
from conftest import missing
from harness import run_faceworker
from test_accuracy import average_precision

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3000)]

SIZES = {"own": 0, "640": 640, "320": 320}
ROUNDS, SECONDS = 5, 0.5
# (name in the table, model, options of detect and bench, further options of detect, times too)
DETECTORS = [
    ("yunet", "yunet", ("--precision", "fp32"), (), True),
    ("yunet, int8", "yunet", ("--precision", "int8"), (), True),
    ("yunet, 3x2 tiles", "yunet", ("--precision", "fp32"), ("--tiles", "3x2"), False),
    ("yunet-s", "yunet-s", ("--precision", "fp32"), (), True),
    ("yunet-s, int8", "yunet-s", ("--precision", "int8"), (), True),
    ("accurate", "accurate", (), (), True),
    ("haar", "haar", (), (), True),
]


@pytest.fixture(scope="module")
def all_models(shared, tmp_path_factory):
    """A models folder with every file that can be had, and random weights in res10's place."""
    folder = tmp_path_factory.mktemp("all-models")
    cascade = "haarcascade_frontalface_default.xml"
    centerface = pathlib.Path(os.environ.get("FACEWORKER_CENTERFACE", ""))
    if not centerface.is_file():
        missing("no CenterFace; FACEWORKER_CENTERFACE names its file")
    shutil.copy(centerface, folder / "centerface.onnx")
    shutil.copy(pathlib.Path(cv2.data.haarcascades) / cascade, folder)
    for name in ("yunet_n_640_640.onnx", "yunet_s_640_640.onnx", "deploy.prototxt"):
        shutil.copy(shared / "models" / name, folder)
    subprocess.run([sys.executable, shared / "tools" / "make_res10_weights.py",
                    folder / "deploy.prototxt", folder / "random.caffemodel"], check=True)
    return folder


def run(*arguments):
    done = run_faceworker(*arguments, timeout_s=1500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def accuracy(shared, models, out, model, size, options):
    """"easy / medium / hard" """
    run("detect", "--models-dir", models, "--model", model, "--input-size", size, "--min-score",
        "0.02", "--output", out, *options, shared / "data" / "wider" / "images")
    return " / ".join(f"{figure:.3f}" for figure in average_precision(shared, out))


def milliseconds(models, model, options):
    """{input size: ms a picture}"""
    report = json.loads(run("bench", "detect", "--json", "--models-dir", models, "--model", model,
                            "--threads", "1", "--isa", "auto", "--input-size", "320,640",
                            "--rounds", "1", "--seconds", SECONDS, *(options or ("--precision", "auto"))))
    return {row["input_size"]: row["ms"]["median"] for row in report["results"]}


def test_models_side_by_side(shared, all_models, tmp_path):
    times = {name: (model, options) for name, model, options, _, timed in DETECTORS if timed}
    times["res10 (random weights)"] = (all_models / "random.caffemodel", ())
    rounds = {name: [] for name in times}
    for _ in range(ROUNDS):
        for name, (model, options) in times.items():
            rounds[name].append(milliseconds(all_models, model, options))
    found = {name: [accuracy(shared, all_models, tmp_path / "found.jsonl", model, size,
                             (*options, *more)) for size in SIZES.values()]
             for name, model, options, more, _ in DETECTORS}

    def ratio(name, size):
        return statistics.median(ours[size] / base[320]
                                 for ours, base in zip(rounds[name], rounds["yunet"], strict=True))
    base = statistics.median(ours[320] for ours in rounds["yunet"])
    print(f"\nTime: 1 is yunet at 320, here {base:.2f} ms\n\n| model | "
          + " | ".join(f"AP at {name}" for name in SIZES) + " | time at 640 | at 320 |\n"
          "| --- | --- | --- | --- | --- | --- |")
    for name in dict.fromkeys([*found, *times]):
        cells = found.get(name, ["-"] * len(SIZES))
        cells += [f"{ratio(name, size):.2g}" if name in times else "-" for size in (640, 320)]
        print(f"| {name} | " + " | ".join(cells) + " |")
    assert set(rounds["haar"][0]) == {320, 640}
