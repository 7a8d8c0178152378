"""Detection holds no more memory after many pictures than after some."""
import subprocess

import pytest
from harness import BUILD

CI_PICTURES, SOAK_PICTURES = 300, 15000


def memory_of(model, precision, pictures):
    """[(resident, allocated)] in KB, after a third of the pictures and at the end."""
    done = subprocess.run([BUILD / "tests" / "tools" / "detect_loop", model, precision,
                           str(pictures)], capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


@pytest.mark.skipif("san" in BUILD.name, reason="sanitizers hold memory back")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("pictures", [
    CI_PICTURES, pytest.param(SOAK_PICTURES, marks=[pytest.mark.soak, pytest.mark.timeout(1600)])])
def test_memory_stays_flat_over_pictures_of_changing_sizes(shared, precision, pictures):
    (resident, heap), (resident_end, heap_end) = memory_of(
        shared / "models" / "yunet_n_640_640.onnx", precision, pictures)
    print(f"{precision}, {pictures} pictures: resident {resident} to {resident_end} KB,"
          f" allocated {heap} to {heap_end} KB")
    assert heap > 1000
    assert heap_end - heap < 512
    assert resident_end - resident < 1024
