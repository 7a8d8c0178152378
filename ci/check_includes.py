#!/usr/bin/env python3
"""Checks that a room includes only the rooms that it may (docs/architecture.md), and that FFmpeg's
headers stay where they belong. Prints each breach as file:line and exits 1 if there is any."""
import pathlib
import re
import sys

MAY_INCLUDE = {
    "util": set(),
    "media": {"util"},
    "nn": {"util"},
    "detect": {"nn", "media", "util"},
    "track": {"util"},
    "camera": {"media", "detect", "track", "util"},
    "alert": {"util"},
    "storage": {"util"},
    "web": {"util"},
    "app": {"util", "media", "nn", "detect", "track", "camera", "alert", "storage", "web"},
}
# Of the detection room, cameras know the contract and the pool, never a backend.
CAMERA_MAY_INCLUDE_OF_DETECT = {"detect/detector.h", "detect/pool.h", "detect/model_store.h"}
FFMPEG = re.compile(r"lib(av\w+|sw\w+)/")
FFMPEG_FILES = {
    "media/frame_av.c",
    "media/image_file.c",
    "app/command_version.c",
}
OPENCV_FILES = {"detect/opencv_backends.cpp"}
INCLUDE = re.compile(r'\s*#\s*include\s+[<"]([^>"]+)[>"]')


def breaches_of_line(path, room, included):
    top = included.split("/")[0]
    if FFMPEG.match(included) and room != "camera" and path not in FFMPEG_FILES:
        yield f"includes FFmpeg's {included}"
    if included.startswith("opencv2/") and path not in OPENCV_FILES:
        yield f"includes OpenCV's {included}"
    if top not in MAY_INCLUDE or top == room or "/" not in included:
        return
    if top not in MAY_INCLUDE[room]:
        yield f"room {room} must not include {included}"
    elif room == "camera" and top == "detect" and included not in CAMERA_MAY_INCLUDE_OF_DETECT:
        yield f"room camera must not include {included}"


def main():
    source = pathlib.Path(__file__).resolve().parent.parent / "src"
    files = sorted(p for p in source.rglob("*") if p.suffix in {".c", ".h", ".cpp"})
    found = 0
    for file in files:
        path = file.relative_to(source).as_posix()
        room = path.split("/")[0]
        if room not in MAY_INCLUDE:
            print(f"{path}: {room} is no room; add it to ci/check_includes.py")
            found += 1
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            for breach in breaches_of_line(path, room, match[1]) if match else ():
                print(f"src/{path}:{number}: {breach}")
                found += 1
    print(f"includes: {len(files)} files checked, {found} breaches")
    sys.exit(1 if found or not files else 0)


if __name__ == "__main__":
    main()
