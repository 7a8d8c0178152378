"""The older worker's network, with weights that detect nothing but have the right shape."""
import hashlib
import json
import shutil
import subprocess
import sys

import pytest
from harness import run_faceworker


@pytest.fixture(scope="session")
def caffe(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("caffe")
    shutil.copy(shared / "models" / "deploy.prototxt", folder)
    subprocess.run([sys.executable, shared / "tools" / "make_res10_weights.py",
                    folder / "deploy.prototxt", folder / "random.caffemodel"], check=True)
    return folder


def detect(model, picture, *arguments):
    return run_faceworker("detect", picture, "--model", model, "--min-score", "0.1", *arguments)


def test_random_weights_load_and_run(shared, caffe):
    result = detect(caffe / "random.caffemodel", shared / "data" / "images" / "astronaut.png")
    assert result.returncode == 0, result.stderr
    sight = json.loads(result.stdout)
    assert (sight["width"], sight["height"]) == (512, 512)
    for face in sight["faces"]:
        x, y, w, h = face["box"]
        assert -1 <= x and -1 <= y and x + w <= 513 and y + h <= 513
    # Nobody vouches for these weights, and that is said with the sum to write down.
    assert hashlib.sha256((caffe / "random.caffemodel").read_bytes()).hexdigest() in result.stderr


@pytest.mark.parametrize("length", [0, 100, 100000])
def test_cut_weights_are_refused(shared, caffe, tmp_path, length):
    shutil.copy(caffe / "deploy.prototxt", tmp_path)
    cut = tmp_path / "cut.caffemodel"
    cut.write_bytes((caffe / "random.caffemodel").read_bytes()[:length])
    result = detect(cut, shared / "data" / "images" / "astronaut.png")
    assert result.returncode == 1
    assert "res10" in result.stderr


def test_the_older_workers_keys(shared, caffe, tmp_path):
    sums = {key: hashlib.sha256((caffe / name).read_bytes()).hexdigest() for key, name in
            (("prototxt", "deploy.prototxt"), ("caffemodel", "random.caffemodel"))}
    config = tmp_path / "faceworker.json"
    config.write_text(json.dumps({
        "models": {"dir": str(tmp_path / "models"), "base_url": caffe.as_uri(),
                   "prototxt": "deploy.prototxt", "caffemodel": "random.caffemodel",
                   "prototxt_sha256": sums["prototxt"], "caffemodel_sha256": sums["caffemodel"]},
        "cameras": [{"id": "door", "rtsp": "rtsp://127.0.0.1:1/door"}]}), encoding="utf-8")
    result = run_faceworker("models", "fetch", "res10", "-c", config)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        "deploy.prototxt", "random.caffemodel"]
