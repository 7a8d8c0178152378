"""Tiles and a region of interest of a running camera."""
import json

import cv2
from harness import poll


def camera(name, picture, **detector):
    return {"id": name, "test_video": str(picture), "analyze_fps": 5,
            "detector": {"input_size": 320, **detector}}


def test_each_camera_has_its_own_tiles_and_region(run_daemon, shared, tmp_path):
    """A group of people, far away: too small for the network unless it looks in tiles."""
    group = cv2.imread(str(shared / "data" / "images" / "identification1.jpg"))
    height, width = group.shape[:2]
    far = cv2.resize(group, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    scene = cv2.copyMakeBorder(far, 200, 1080 - 200 - far.shape[0], 1200, 1920 - 1200 - far.shape[1],
                               cv2.BORDER_CONSTANT, value=(90, 80, 70))
    picture = tmp_path / "scene.png"
    assert cv2.imwrite(str(picture), scene)
    left_half = [0, 0, 0.5, 1]
    daemon = run_daemon({"cameras": [
        camera("whole", picture), camera("tiled", picture, tiles="4x3"),
        camera("elsewhere", picture, tiles="4x3", roi=left_half),
        camera("near", picture, roi=[0.6, 0.15, 0.25, 0.4])]})

    def faces(name):
        return daemon.camera(name)["faces"]
    found = poll(lambda: faces("tiled") if faces("tiled") >= 3 else 0, 30,
                 lambda: json.dumps([daemon.camera("tiled"), daemon.camera("whole")]))
    poll(lambda: faces("near") >= found - 1, 30, lambda: f"{faces('near')} of {found}")
    poll(lambda: all(daemon.camera(name)["frames"]["analysed"] > 10 for name in ("whole", "elsewhere")),
         30, "analyses")
    assert faces("whole") < found
    assert faces("elsewhere") == 0
