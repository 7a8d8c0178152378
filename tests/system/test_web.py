"""The HTTP interface of the running daemon: what it answers, and what it refuses."""
import contextlib
import http.client
import json
import re
import socket

import prometheus
import pytest
from harness import FACEWORKER, ROOT, free_port, poll, run_faceworker


@pytest.fixture
def daemon(run_daemon, walker):
    """One camera that lives and one that can't."""
    return run_daemon({
        "cameras": [{"id": "walk", "name": "A \"quoted\" \\ name", "test_video": str(walker),
                     "save_snapshots": True, "ffmpeg_output": "walk.mp4"},
                    {"id": "away", "rtsp": f"rtsp://127.0.0.1:{free_port()}/nothing"}],
        "local_mocks": {"use_mock_s3": True, "use_mock_mq": True}})


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_health_and_readiness(daemon):
    assert daemon.get("/healthz") == (200, "ok\n")
    daemon.wait_for_state("walk", "live")
    daemon.wait_for_state("away", "backoff")
    ready, reasons = daemon.readiness()
    assert not ready and "away" in reasons and "walk" not in reasons
    assert "refuses connections" in reasons, reasons
    tries = daemon.camera("away")["since"]
    poll(lambda: daemon.camera("away")["since"] > tries, 15, "another try")
    away = daemon.camera("away")
    assert away["away_since"] < away["since"] and daemon.camera("walk")["away_since"] is None


def test_ready_when_all_is_well(run_daemon, walker):
    daemon = run_daemon({"cameras": [{"id": "walk", "test_video": str(walker)}]})
    poll(lambda: daemon.readiness() == (True, ""), 15, lambda: f"ready: {daemon.readiness()}")


@pytest.mark.sanitizer
def test_metrics_are_well_formed_and_right(daemon):
    daemon.wait_for_state("walk", "live")
    poll(lambda: len(daemon.alerts()) >= 2, 30, "a face that came and left")
    status, headers, body = daemon.request("/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = prometheus.parse(body.decode())
    assert all(name.startswith("faceworker_") for name in families)
    documented = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for name in families:
        assert re.search(rf"`{name.removeprefix('faceworker_')}[`{{]", documented), name

    def of_camera(name, camera):
        return families[f"faceworker_camera_{name}"]["samples"][(("camera", camera),)]
    assert of_camera("frames_decoded_total", "walk") > 25
    assert of_camera("frames_analysed_total", "walk") > 5
    assert of_camera("frames_encoded_total", "walk") > 25
    assert of_camera("tracks_total", "walk") >= 1
    assert of_camera("frames_decoded_total", "away") == 0
    assert 0 < of_camera("analysis_lag_seconds", "walk") < 1
    states = families["faceworker_camera_state"]["samples"]
    for camera, state in (("walk", "live"), ("away", "backoff")):
        on = [dict(labels)["state"] for labels, value in states.items()
              if value == 1 and dict(labels)["camera"] == camera]
        assert on == [state] or camera == "away" and on == ["connecting"]
    assert families["faceworker_events_total"]["samples"][()] >= 2
    assert families["faceworker_snapshots_stored_total"]["samples"][()] >= 2
    assert families["faceworker_sink_delivered_total"]["samples"][(("sink", "mq"),)] >= 1
    # Counters only rise.
    later = prometheus.parse(daemon.get("/metrics")[1])
    for name, family in families.items():
        if family["type"] == "counter":
            for labels, value in family["samples"].items():
                assert later[name]["samples"][labels] >= value


def test_the_reader_of_metrics_is_strict():
    good = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c\\\"d\"} 1\n"
    assert prometheus.parse(good)["a_total"]["samples"] == {(("b", "c\\\"d"),): 1}
    for bad in (good[:-1], good + "a_total{b=\"c\\\"d\"} 2\n", good.replace(" 1", " -1"),
                good.replace("c\\\"d", "c\"d"), good + "\n", good + "b 1\n", good + good,
                good.replace("counter", "gauge"), good.replace(" 1", " one")):
        with pytest.raises(ValueError):
            prometheus.parse(bad)


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("127.0.0.1:1", 200), ("[::1]:8080", 200), ("LOCALHOST:8080", 200),
    ("evil.example", 403), ("localhost.evil.example", 403), ("192.168.0.1", 403),
    ("127.0.0.1.evil.example:80", 403), ("localhost@evil.example", 403), ("0.0.0.0", 403)])
def test_only_loopback_names_are_served(daemon, host, status):
    for path in ("/", "/healthz", "/metrics", "/api/v1/cameras", "/api/v1/cameras/walk/snapshot.jpg"):
        got, _, body = daemon.request(path, headers={"Host": host})
        if status == 403:
            assert got == 403 and b"walk" not in body
        elif path != "/api/v1/cameras/walk/snapshot.jpg":
            assert got == 200


def test_foreign_sites_get_nothing(daemon):
    for path in ("/api/v1/cameras", "/metrics", "/api/v1/events"):
        status, headers, _ = daemon.request(path, headers={"Sec-Fetch-Site": "cross-site"})
        assert status == 403
        assert headers["Access-Control-Allow-Origin"] is None


def test_head_methods_and_unknown_addresses(daemon):
    daemon.wait_for_state("walk", "live")
    for path in ("/", "/app.js", "/healthz", "/metrics", "/api/v1/cameras", "/api/v1/events"):
        status, headers, body = daemon.request(path, "HEAD")
        assert (status, body) == (200, b""), path
        assert headers["Content-Type"] == daemon.request(path)[1]["Content-Type"]
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        status, headers, _ = daemon.request("/api/v1/cameras", method)
        assert status == 405 and headers["Allow"] == "GET, HEAD"
    for path in ("/nothing", "/api/v1/cameras/nobody/live", "/api/v1/cameras/nobody/snapshot.jpg",
                 "/api/v1/nothing", "/snapshots/none.jpg", "/snapshots/../faceworker.json",
                 "/snapshots/%2e%2e/alerts.jsonl", "/..%2f..%2fetc/passwd", "//etc/passwd"):
        status, _, body = daemon.request(path)
        assert status == 404, path
        assert json.loads(body)["error"]
    assert daemon.get("/api/v1/events?limit=0")[0] == 400
    assert daemon.get("/api/v1/events?limit=501")[0] == 400


def test_security_headers(daemon):
    for path in ("/", "/metrics", "/nothing", "/api/v1/cameras"):
        headers = daemon.request(path)[1]
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_pictures(daemon):
    daemon.wait_for_state("walk", "live")
    status, headers, body = daemon.request("/api/v1/cameras/walk/snapshot.jpg")
    assert status == 200 and headers["Content-Type"] == "image/jpeg"
    assert body.startswith(b"\xff\xd8") and body.endswith(b"\xff\xd9")
    event = poll(daemon.events, 30, "an alert")[0]
    for kind in ("full", "full_annotated", "face", "face_annotated"):
        picture = event["data"]["snapshot"][kind]
        status, headers, body = daemon.request(f"/snapshots/{picture['key']}")
        assert status == 200 and len(body) == picture["bytes"]
        assert headers["Content-Type"] == "image/jpeg"


def test_live_stream_is_multipart_and_ends_with_the_daemon(daemon):
    daemon.wait_for_state("walk", "live")
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
    connection.request("GET", "/api/v1/cameras/walk/live")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace; boundary=")
    for _ in range(5):
        assert answer.readline() == b"--faceworker\r\n"
        headers = dict(iter(lambda: answer.readline().decode().strip().partition(": ")[::2],
                            ("", "")))
        assert headers["Content-Type"] == "image/jpeg"
        picture = answer.read(int(headers["Content-Length"]))
        assert picture.startswith(b"\xff\xd8") and picture.endswith(b"\xff\xd9")
        assert answer.readline() == b"\r\n"
    daemon.stop()
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        answer.read()
    connection.close()


def test_nonsense_on_the_port_does_no_harm(daemon):
    for text in (b"\0" * 1000, b"GET / HTTP/1.1\r\n\r\n", b"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
                 b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=5) as client:
            with contextlib.suppress(ConnectionError, BrokenPipeError):
                client.sendall(text)
                client.shutdown(socket.SHUT_WR)
                first = client.recv(4096).split(b"\r\n")[0]
                assert not first or first.split()[1] in (b"400", b"404", b"414", b"431"), first
    assert daemon.get("/healthz")[0] == 200


def test_a_taken_port_is_a_clear_error(daemon, tmp_path, models):
    folder = tmp_path / "second"
    folder.mkdir()
    config = json.loads(daemon.config.read_text(encoding="utf-8"))
    config["web"]["listen"] = f"127.0.0.1:{daemon.port}"
    config["worker"]["state_dir"] = str(folder)
    (folder / "faceworker.json").write_text(json.dumps(config), encoding="utf-8")
    done = run_faceworker("run", "-c", folder / "faceworker.json")
    assert done.returncode == 1, done.stderr
    assert f"127.0.0.1:{daemon.port}" in done.stderr
    assert FACEWORKER.exists() and daemon.get("/healthz")[0] == 200
