"""A camera whose pictures say when they were taken, to measure how old an alert is that they cause.

    python3 stamped_camera.py URL --face PICTURE [--size WxH] [--seed N] [--appearances N] [--wait-for FILE]

sends H.264 by RTSP in real time: a scene without anybody, in which a face is seen for about two
seconds, every four seconds or so. Blocks at the top of each picture tell, in milliseconds of the wall
clock, when it was taken and when the first picture with this face was, and which appearance it is.
"""
import argparse
import dataclasses
import pathlib
import random
import subprocess
import time
import zlib

import cv2
import numpy

FPS = 25
BLOCK_PX = 16  # a macroblock: an encoder's losses leave its mean alone
COLUMNS, ROWS = 40, 3
FACE_S, ROUND_S = 2.0, 4.0


@dataclasses.dataclass(frozen=True)
class Stamp:
    taken_ms: int
    first_ms: int  # 0: nobody is seen

    def bits(self):
        words = self.taken_ms.to_bytes(6, "big") + self.first_ms.to_bytes(6, "big")
        words += (zlib.crc32(words) & 0xffffff).to_bytes(3, "big")
        return numpy.unpackbits(numpy.frombuffer(words, numpy.uint8)).reshape(ROWS, COLUMNS)


def draw(luma, stamp):
    blocks = numpy.kron(stamp.bits(), numpy.ones((BLOCK_PX, BLOCK_PX), numpy.uint8))
    luma[:blocks.shape[0], :blocks.shape[1]] = 30 + 190 * blocks


def read(jpeg):
    """The stamp in a picture; None when it has none that can be read."""
    picture = cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_GRAYSCALE)
    area = picture[:ROWS * BLOCK_PX, :COLUMNS * BLOCK_PX].astype(float)
    means = area.reshape(ROWS, BLOCK_PX, COLUMNS, BLOCK_PX).mean(axis=(1, 3))
    words = numpy.packbits(means > 125).tobytes()
    stamp = Stamp(int.from_bytes(words[:6], "big"), int.from_bytes(words[6:12], "big"))
    return stamp if numpy.array_equal(stamp.bits(), means > 125) else None


class Scene:
    """Grey walls, and the face of PICTURE while somebody is there. Pictures are I420."""

    def __init__(self, picture, width, height, chance):
        self.width, self.height, self.chance = width, height, chance
        head = cv2.imread(str(picture))[0:260, 110:350]
        side = height * 2 // 5 // 2 * 2
        head = cv2.cvtColor(cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA),
                            cv2.COLOR_BGR2YUV_I420)
        self.side, self.face = side, self.planes(head, side, side)
        self.frame = numpy.full(width * height * 3 // 2, 128, numpy.uint8)
        self.place = None

    @staticmethod
    def planes(frame, width, height):
        flat, pixels = frame.reshape(-1), width * height
        return (flat[:pixels].reshape(height, width),
                flat[pixels:pixels * 5 // 4].reshape(height // 2, width // 2),
                flat[pixels * 5 // 4:].reshape(height // 2, width // 2))

    def enter(self):
        self.place = [self.chance.randrange(0, self.width - 2 * self.side, 2),
                      self.chance.randrange(ROWS * BLOCK_PX, self.height - self.side, 2)]

    def leave(self):
        self.place = None

    def take(self, stamp):
        luma, *_ = planes = self.planes(self.frame, self.width, self.height)
        for plane, value in zip(planes, (90, 128, 128), strict=True):
            plane[:] = value
        if self.place:
            x, y = self.place
            for plane, part, scale in zip(planes, self.face, (1, 2, 2), strict=True):
                plane[y // scale:y // scale + part.shape[0],
                      x // scale:x // scale + part.shape[1]] = part
            self.place[0] = min(x + 2, self.width - self.side)  # slow steps to the right
        draw(luma, stamp)
        return self.frame


def encoder(url, width, height):
    """As cameras are set up where alerts must be quick: no B-frames, no look-ahead."""
    return subprocess.Popen(
        ["ffmpeg", "-v", "warning", "-fflags", "nobuffer", "-probesize", "32",
         "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", str(FPS),
         "-i", "pipe:0", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
         "-threads", "1", "-crf", "23", "-bf", "0", "-g", str(FPS), "-flush_packets", "1",
         "-f", "rtsp", "-rtsp_transport", "tcp", url], stdin=subprocess.PIPE)


def now_ms():
    return time.time_ns() // 1_000_000


def run(scene, out, chance, arguments):
    """Shows the face so many times as is wanted, then an empty scene until it is ended."""
    start = time.monotonic()
    enters = leaves = None
    first_ms = count = frame = 0
    while True:
        elapsed = time.monotonic() - start
        if elapsed < frame / FPS:
            time.sleep(frame / FPS - elapsed)
        taken_ms, at = now_ms(), frame / FPS
        if enters is None and (not arguments.wait_for or arguments.wait_for.exists()):
            enters = at + chance.uniform(0, ROUND_S)
            leaves = enters + FACE_S
        if not first_ms and count < arguments.appearances and enters is not None and at >= enters:
            scene.enter()
            count, first_ms = count + 1, taken_ms
            print(first_ms, flush=True)
        elif first_ms and at >= leaves:
            scene.leave()
            first_ms = 0
            enters = leaves + ROUND_S - FACE_S + chance.uniform(-0.5, 0.5)
            leaves = enters + FACE_S
        out.write(scene.take(Stamp(taken_ms, first_ms)).data)
        frame += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--face", type=pathlib.Path, required=True)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wait-for", type=pathlib.Path, help="nobody comes before it exists")
    parser.add_argument("--appearances", type=int, default=1 << 23)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    chance = random.Random(arguments.seed)
    child = encoder(arguments.url, width, height)
    try:
        run(Scene(arguments.face, width, height, chance), child.stdin, chance, arguments)
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    finally:
        child.kill()
        child.wait()


if __name__ == "__main__":
    main()
