"""ONNX Runtime as it runs on a processor without AVX-512.

It has no switch for that: it asks the processor, and (as it must) the operating system, whether
that saves the wide registers across context switches: bits 5 to 7 of what the instruction `xgetbv`
puts into eax. In a copy of the package every `xgetbv` becomes an instruction of the same length that
answers "only those of SSE and AVX" (mov $7, %al), and so all of its own code picks what it has for
AVX2. Nothing else is changed. `perf annotate` shows the difference: ymm instead of zmm registers.

    onnxruntime_avx2.py COPY MODEL INPUT RUNS

runs MODEL on INPUT, a float32 array that numpy saved, with one thread and with the package that lies
in the folder COPY (from make_copy()), and prints the time of each run in seconds, and at last the
highest class probability.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import time

XGETBV, ONLY_AVX = b"\x0f\x01\xd0", b"\xb0\x07\x90"  # ..., mov $7, %al; nop


def output_of(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True,
                          text=True).stdout


def patch(library):
    """Disassembles, since the three bytes may also stand inside of other instructions."""
    listing = output_of("objdump", "-d", "--no-show-raw-insn", library)
    addresses = [int(text, 16) for text in re.findall(r"^ *([0-9a-f]+):\s+xgetbv", listing, re.M)]
    segments = [[int(text, 16) for text in found] for found in re.findall(
        r"LOAD +(0x\w+) (0x\w+) 0x\w+ (0x\w+)", output_of("readelf", "-lW", library))]
    assert addresses and segments, library
    code = bytearray(library.read_bytes())
    for address in addresses:
        offset, start = next((offset, start) for offset, start, size in segments
                             if start <= address < start + size)
        at = address - start + offset
        assert code[at:at + 3] == XGETBV
        code[at:at + 3] = ONLY_AVX
    library.write_bytes(code)


def make_copy(package, folder):
    """FOLDER gets PACKAGE (the folder of the installed module), patched."""
    shutil.copytree(package, folder / "onnxruntime")
    [library] = (folder / "onnxruntime" / "capi").glob("onnxruntime_pybind11_state*.so")
    patch(library)


def main():
    copy, model, blob, runs = sys.argv[1:]
    sys.path.insert(0, copy)
    import numpy
    import onnxruntime
    assert pathlib.Path(onnxruntime.__file__).is_relative_to(copy)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feed = {session.get_inputs()[0].name: numpy.load(blob)}
    outputs = session.run(names, feed)
    for _ in range(int(runs)):
        began = time.perf_counter()
        session.run(None, feed)
        print(time.perf_counter() - began)
    print(max(output.max() for name, output in zip(names, outputs, strict=True)
              if name.startswith("cls")))


if __name__ == "__main__":
    main()
