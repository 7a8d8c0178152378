"""The network's raw outputs on real pictures: fp32 against ONNX Runtime's, int8 on every instruction
set against the plain C. (What int8 costs in average precision is in test_accuracy.py.)"""
import subprocess

import cv2
import numpy as np
import onnxruntime
import pytest
from harness import BUILD

DUMP = BUILD / "tests" / "tools" / "yunet_dump"
PICTURES = ("astronaut.png", "cv_faces.jpg", "detection1.jpg", "identification1.jpg")
SIZES = ((320, 320), (640, 384), (96, 32), (32, 32), (416, 224), (1024, 672))
# Absolute, on probabilities and on offsets in cells alike.
TOLERANCE = 1e-4


def processor_flags():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
        flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.split())


def instruction_sets():
    yield "scalar"
    yield "auto"
    if {"avx2", "fma"} <= processor_flags():
        yield "avx2"


def int8_instruction_sets():
    """Those with kernels of their own besides the plain C."""
    flags = processor_flags()
    yield "auto"
    if {"avx2", "fma"} <= flags:
        yield "avx2"
    if {"avx2", "fma", "avx_vnni"} <= flags:
        yield "avxvnni"
    if {"avx512f", "avx512_vnni"} <= flags:
        yield "avx512"


def with_free_size(onnx):
    """The model with an input of any height and width: the two dimensions of 640 in the input's
    description (protobuf: a field of 3 bytes with the number) become names of the same length."""
    fixed = b"\x0a\x03\x08\x80\x05"
    at = onnx.index(fixed + fixed)
    return onnx[:at] + b"\x0a\x03\x12\x01h" + b"\x0a\x03\x12\x01w" + onnx[at + 10:]


@pytest.fixture(scope="module", params=["n", "s"])
def network(request, shared):
    path = shared / "models" / f"yunet_{request.param}_640_640.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # the outputs' sizes still say 640
    session = onnxruntime.InferenceSession(with_free_size(path.read_bytes()), options,
                                           providers=["CPUExecutionProvider"])
    return path, session


def expected_rows(session, picture):
    """One row of 16 a cell, as yunet_dump writes them."""
    blob = picture.transpose(2, 0, 1)[None].astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {session.get_inputs()[0].name: blob})))
    return np.concatenate([
        np.concatenate([outputs[f"{part}_{stride}"][0] for part in ("cls", "obj", "bbox", "kps")], 1)
        for stride in (8, 16, 32)])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_outputs_are_those_of_onnx_runtime(network, shared, tmp_path, size):
    path, session = network
    for name in PICTURES:
        picture = cv2.resize(cv2.imread(str(shared / "data" / "images" / name)), size,
                             interpolation=cv2.INTER_AREA)
        raw, output = tmp_path / "picture.bgr", tmp_path / "rows"
        picture.tofile(raw)
        expected = expected_rows(session, picture)
        for isa in instruction_sets():
            subprocess.run([DUMP, path, raw, str(size[0]), str(size[1]), output, isa], check=True,
                           timeout=120)
            rows = np.fromfile(output, "<f4").reshape(-1, 16)
            assert rows.shape == expected.shape
            worst = float(np.abs(rows - expected).max())
            assert worst < TOLERANCE, f"{name}, {isa}: {worst}"


def int8_rows(path, raw, size, output, isa):
    subprocess.run([DUMP, path, raw, str(size[0]), str(size[1]), output, isa, "0", "int8"],
                   check=True, timeout=120)
    return output.read_bytes()


@pytest.mark.parametrize("size", [(320, 192), (352, 96), (32, 32), (96, 416)],
                         ids=lambda size: f"{size[0]}x{size[1]}")
def test_int8_is_the_same_on_every_instruction_set(network, shared, tmp_path, size):
    path, session = network
    for name in PICTURES:
        picture = cv2.resize(cv2.imread(str(shared / "data" / "images" / name)), size,
                             interpolation=cv2.INTER_AREA)
        raw, output = tmp_path / "picture.bgr", tmp_path / "rows"
        picture.tofile(raw)
        plain = int8_rows(path, raw, size, output, "scalar")
        for isa in int8_instruction_sets():
            assert int8_rows(path, raw, size, output, isa) == plain, f"{name}, {isa}"
        # Near fp32, too: a part of the network that was quantised wrongly would show.
        rows = np.frombuffer(plain, "<f4").reshape(-1, 16)
        difference = np.abs(rows - expected_rows(session, picture))
        assert difference.mean() < 0.05, name
        assert difference[:, :2].mean() < 0.02, name
