"""Average precision on WIDER FACE pictures, and silence where there are no faces."""
import json
import os
import re
import subprocess
import sys

import pytest
from conftest import missing
from harness import BUILD, run_faceworker

# A build with sanitizers takes minutes for what is measured here once.
pytestmark = pytest.mark.skipif("san" in BUILD.name, reason="accuracy is measured on plain builds")

NAMES = {0: "own", 640: "640", 320: "320"}
# How far each figure may be from the reference, downwards and upwards. The reference's pictures are
# scaled by OpenCV; at their own size there is nothing that could differ but the network.
LOWER = {0: 0.003, 640: 0.005, 320: 0.005}
UPPER = {0: 0.003, 640: 1, 320: 1}


def detect(paths, folder, model, input_size, min_score, precision):
    output = folder / "detections.jsonl"
    done = run_faceworker("detect", "--model", model, "--input-size", input_size, "--min-score",
                          min_score, "--precision", precision, "--output", output, *paths,
                          timeout_s=600)
    assert done.returncode == 0, done.stderr
    return output


def reference(shared, network, input_size):
    """(easy, medium, hard) of the 202 pictures, from the table."""
    text = (shared / "data" / "reference_ap.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {network} \| {NAMES[input_size]} \| ([\d./ ]+) \|", text, re.MULTILINE)
    assert row, f"no reference for {network} at {NAMES[input_size]}"
    return [float(figure) for figure in row[1].split("/")]


def average_precision(shared, detections):
    done = subprocess.run([sys.executable, shared / "tools" / "wider_ap.py",
                           shared / "data" / "wider" / "ground_truth", detections],
                          capture_output=True, text=True, check=True, timeout=300)
    print(done.stdout, end="")
    found = re.fullmatch(r"images (\d+)  easy ([\d.]+)  medium ([\d.]+)  hard ([\d.]+)\n",
                         done.stdout)
    assert found, done.stdout
    assert int(found[1]) == 202
    return [float(figure) for figure in found.groups()[1:]]


@pytest.fixture(scope="module")
def measure(shared, tmp_path_factory):
    """A function that gives (easy, medium, hard) on the 202 pictures; each is measured once."""
    images = shared / "data" / "wider" / "images"
    if not images.is_dir():
        missing(f"no pictures in {images}")
    known = {}

    def measured(network, input_size, precision):
        key = network, input_size, precision
        if key not in known:
            folder = tmp_path_factory.mktemp("detections")
            model = shared / "models" / f"{network}_640_640.onnx"
            known[key] = average_precision(
                shared, detect([images], folder, model, input_size, 0.02, precision))
        return known[key]
    return measured


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("network", "input_size"),
                         [("yunet_n", 0), ("yunet_n", 640), ("yunet_n", 320), ("yunet_s", 0)])
def test_average_precision(shared, measure, network, input_size):
    for level, ours, theirs in zip(("easy", "medium", "hard"),
                                   measure(network, input_size, "fp32"),
                                   reference(shared, network, input_size)):
        assert theirs - LOWER[input_size] <= ours <= theirs + UPPER[input_size], \
            f"{level}: {ours}, reference {theirs}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("input_size", [0, 640, 320])
@pytest.mark.parametrize("network", ["yunet_n", "yunet_s"])
def test_int8_loses_nearly_nothing(measure, network, input_size):
    for level, fp32, int8 in zip(("easy", "medium", "hard"), measure(network, input_size, "fp32"),
                                 measure(network, input_size, "int8")):
        print(f"{network} {NAMES[input_size]} {level}: {fp32:.4f} {int8:.4f} {int8 - fp32:+.4f}")
        assert int8 >= fp32 - 0.005, f"{level}: {int8}, fp32 {fp32}"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("input_size", [640, 320])
def test_no_face_where_there_is_none(shared, tmp_path, input_size, precision):
    """At the default threshold. The highest scores are printed, to see how close it is."""
    negatives = shared / "data" / "negatives"
    model = shared / "models" / "yunet_n_640_640.onnx"
    lines = detect([negatives], tmp_path, model, input_size, 0.3, precision).read_text().splitlines()
    best = {}
    for row in map(json.loads, lines):
        best[os.path.basename(row["image"])] = max((face["score"] for face in row["faces"]), default=0)
    assert len(best) == 12
    print(sorted(best.items(), key=lambda item: -item[1])[:3])
    assert max(best.values()) < 0.7
