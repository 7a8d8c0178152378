"""`faceworker bench detect`: what it measures, not how fast that is."""
import json
import platform
import signal
import subprocess

import pytest
from harness import FACEWORKER, run_faceworker

QUICK = ("--rounds", "3", "--seconds", "0.005", "--input-size", "64,96", "--isa", "scalar")


@pytest.fixture
def bench(models):
    def run(*arguments):
        return run_faceworker("bench", "detect", "--models-dir", models, *arguments)
    return run


@pytest.mark.sanitizer
def test_every_combination_is_measured_in_every_round(bench):
    done = bench(*QUICK, "--threads", "1,2", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    report = json.loads(done.stdout)
    assert (report["model"], report["rounds"], report["cores"] >= 1) == ("yunet", 3, True)
    rows = report["results"]
    precisions = sorted({row["precision"] for row in rows})
    assert "fp32" in precisions
    assert [(row["input_size"], row["precision"], row["isa"], row["threads"]) for row in rows] == [
        (size, precision, "scalar", threads) for size in (64, 96) for precision in precisions
        for threads in (1, 2)]
    for row in rows:
        for name in ("pictures_per_s", "ms", "speed_up"):
            values = row[name]
            assert len(values["rounds"]) == 3
            assert 0 < values["min"] <= values["median"] <= values["max"]
            assert values["median"] == sorted(values["rounds"])[1]
        if row["threads"] == 1:
            assert row["speed_up"]["median"] == 1
            for rate, ms in zip(row["pictures_per_s"]["rounds"], row["ms"]["rounds"], strict=True):
                assert rate * ms / 1000 == pytest.approx(1, rel=0.001)


def test_a_larger_picture_takes_longer_and_the_table_says_so(bench):
    done = bench("--rounds", "3", "--seconds", "0.02", "--input-size", "64,640", "--threads", "1",
                 "--precision", "fp32", "--isa", "auto")
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.split("\n\n", 1)[1].splitlines()
    assert head.split()[:4] == ["input", "precision", "isa", "threads"]
    small, large = (row.split() for row in rows)
    assert small[:4] == ["64", "fp32", "auto", "1"] and large[:4] == ["640", "fp32", "auto", "1"]
    assert float(small[4]) > 5 * float(large[4])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_layers(bench, precision):
    """The parts add up to what a picture takes, and the network is most of it."""
    arguments = ("--precision", precision, "--isa", "auto", "--threads", "1", "--rounds", "3",
                 "--seconds", "0.05", "--input-size", "160,320", "--layers")
    done = bench(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [layers["input_size"] for layers in report["layers"]] == [160, 320]
    for row, layers in zip(report["results"], report["layers"], strict=True):
        parts = {part["name"]: part for part in layers["parts"]}
        assert len(parts) == len(layers["parts"]) > 20
        assert sum(part["share"] for part in parts.values()) == pytest.approx(1, abs=0.001)
        assert all(part["us"] > 0 for part in parts.values())
        total_ms = sum(part["us"] for part in parts.values()) / 1000
        assert 0.3 * row["ms"]["min"] < total_ms < 4 * row["ms"]["max"]
        units = [part["share"] for name, part in parts.items() if name.startswith("unit")]
        assert sum(units) > 0.5
    assert "choosing the faces" in bench(*arguments).stdout
    other = bench("--layers", "--model", "haar", "--rounds", "1", "--seconds", "0.001")
    assert other.returncode == 1


def test_a_picture_of_the_users_own(bench, shared, tmp_path):
    picture = shared / "data" / "images" / "grace_hopper.jpg"
    done = bench(*QUICK, "--threads", "1", "--image", picture, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["picture"] == f"512x600 px, {picture}"
    none = bench(*QUICK, "--image", tmp_path / "none.jpg")
    assert none.returncode == 1 and "none.jpg" in none.stderr


@pytest.mark.parametrize("arguments, word", [
    (("--input-size", "320,x"), "--input-size"), (("--threads", "0"), "--threads"),
    (("--isa", "z80"), "z80"), (("--precision", "fp16"), "fp16"), (("--precision", ""), "--precision"),
    (("--rounds", "0"), "--rounds"), (("--input-size", ",".join(["320"] * 17)), "--input-size"),
])
def test_wrong_usage(bench, arguments, word):
    done = bench(*arguments)
    assert done.returncode == 2 and word in done.stderr, done


def test_the_example_of_the_help_is_right(bench):
    example = bench("--help").stdout.rpartition("faceworker bench detect ")[2].split()
    assert example and bench(*QUICK, *example).returncode == 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names another processor's")
def test_an_instruction_set_that_was_asked_for_is_not_left_out(bench):
    done = bench(*QUICK, "--isa", "scalar,neon")
    assert done.returncode == 1 and "neon" in done.stderr, done


def test_the_speed_up_in_any_order(bench):
    done = bench(*QUICK, "--isa", "scalar", "--precision", "fp32", "--threads", "2,1", "--json")
    assert all("speed_up" in row for row in json.loads(done.stdout)["results"]), done


def test_what_to_measure_must_be_said():
    for arguments in ((), ("decode",), ("detect", "detect")):
        done = run_faceworker("bench", *arguments)
        assert done.returncode == 2 and "detect" in done.stderr, done


def test_it_stops_when_told_to(models):
    with subprocess.Popen([str(FACEWORKER), "bench", "detect", "--models-dir", str(models),
                           "--seconds", "600"], stderr=subprocess.PIPE, text=True) as child:
        try:
            child.wait(1)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=20)
    assert child.returncode == 1 and "interrupted" in told, told
