"""Alerts by POST: what they look like, and that none is lost while the backend misbehaves."""
import collections
import json
import re
import time

import jsonschema
import pytest
from harness import ROOT, free_port, poll

TOKEN = "kzwqx-token-vjqzz"
SCHEMA = json.loads((ROOT / "docs" / "alert.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def watch(run_daemon, walker):
    """watch(backend_url) starts a daemon that sees one face come and go every few seconds."""
    def start(url, alerts=None, backend=None, mocks=None, **config):
        return run_daemon({
            "cameras": [{"id": "walk", "name": "Walk", "location": "Lab", "test_video": str(walker),
                         "save_snapshots": True}],
            "alerts": {"lost_ms": 500, **(alerts or {})},
            "backend_alert_url": url, "backend": {"token": TOKEN, "timeout_s": 2, **(backend or {})},
            "local_mocks": {"use_mock_s3": True, **(mocks or {})}, **config})
    return start


def sink_metric(daemon, name, sink="backend"):
    return daemon.metrics()[f'faceworker_sink_{name}{{sink="{sink}"}}']


def wait_for_events(backend, count, answer=200, timeout_s=40):
    return poll(lambda: len(backend.events(answer)) >= count and backend.events(answer), timeout_s,
                lambda: f"{count} events answered with {answer}: "
                        f"{[request['answer'] for request in backend.requests]}")


def assert_nothing_missing(daemon, taken):
    """Every alert that the daemon made up to the last one taken has been taken, once, in order."""
    made = [event["id"] for event in daemon.events()]
    got = [event["id"] for event in taken]
    assert got == made[:len(got)], (got, made)
    assert len(set(got)) == len(got)


def assert_pairs(events):
    """Each face that appeared has left, once, and nothing else is told of a track."""
    kinds = collections.defaultdict(list)
    for event in events:
        key = (event["data"]["camera"]["id"], event["data"]["track"])
        kinds[key].append(event["type"].removeprefix("faceworker.face."))
    assert set(map(tuple, kinds.values())) == {("appeared", "left")}, dict(kinds)


@pytest.mark.sanitizer
def test_events_are_posted_and_follow_the_schema(watch, start_backend):
    backend = start_backend()
    daemon = watch(backend.url)
    wait_for_events(backend, 3)
    # The third is an appearance: its face is still there, and leaves because the camera stops.
    daemon.stop()
    events = backend.events(200)
    for event in events:
        jsonschema.validate(event, SCHEMA)
        assert event["data"]["snapshot"]["state"] == "stored"
    assert_pairs(events)
    assert events[-1]["data"]["reason"] == "camera_stopped"
    assert {event["data"]["reason"] for event in events[1:-1:2]} == {"lost"}
    assert len({event["id"] for event in events}) == len(events)
    for request in backend.requests:
        assert request["path"] == "/alerts"
        assert request["headers"]["Authorization"] == f"Bearer {TOKEN}"
        assert request["headers"]["Content-Type"].startswith("application/cloudevents+json")
    assert TOKEN not in daemon.log()


@pytest.mark.parametrize("failure", [500, 503, 429, "hang", "hang up"])
def test_a_failing_backend_is_tried_again(watch, start_backend, failure):
    backend = start_backend([failure, failure])
    daemon = watch(backend.url)
    poll(lambda: backend.requests, 20, "the first attempt")
    poll(lambda: "sink backend: retrying" in daemon.readiness()[1], 10,
         lambda: f"that /readyz says it: {daemon.readiness()}")
    taken = wait_for_events(backend, 2)
    assert [request["event"]["id"] for request in backend.requests[:3]] == [taken[0]["id"]] * 3
    assert_nothing_missing(daemon, taken)
    poll(lambda: daemon.readiness()[0], 10, lambda: f"readiness: {daemon.readiness()}")
    assert sink_metric(daemon, "dropped_total") == 0


def test_a_backend_that_is_away_at_first_gets_everything(watch, start_backend, walker):
    port = free_port()
    daemon = watch(f"http://127.0.0.1:{port}/alerts")
    poll(lambda: len(daemon.events()) >= 2, 30, "two alerts")
    assert "takes no connection" in daemon.readiness()[1]
    assert sink_metric(daemon, "ok") == 0
    backend = start_backend(port=port)
    taken = wait_for_events(backend, 2)
    assert_nothing_missing(daemon, taken)


@pytest.mark.parametrize("status", [401, 403, 405])
def test_a_refusal_of_us_holds_the_sink_and_loses_nothing(watch, start_backend, status):
    backend = start_backend(standard=status)
    daemon = watch(backend.url)
    poll(lambda: len(daemon.events()) >= 2, 30, "two alerts")
    began = time.monotonic()
    ready, reasons = poll(lambda: "refused" in daemon.readiness()[1] and daemon.readiness(), 10,
                          lambda: f"readiness: {daemon.readiness()}")
    assert not ready and f"status {status}" in reasons
    assert sink_metric(daemon, "waiting") >= 2
    # The wait before the next try is up to 5 s, then 10 s, and so on: no hammering.
    rate = len(backend.requests) / (time.monotonic() - began + 5)
    assert rate < 2, backend.requests
    assert len({event["id"] for event in backend.events()}) == 1, "only the first is tried"
    backend.standard = 200
    taken = wait_for_events(backend, 2, timeout_s=60)
    assert_nothing_missing(daemon, taken)
    assert sink_metric(daemon, "dropped_total") == 0
    poll(lambda: daemon.readiness()[0], 10, lambda: f"readiness: {daemon.readiness()}")


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_rejected_event_is_given_up_and_the_next_one_goes(watch, start_backend, status):
    backend = start_backend([status])
    daemon = watch(backend.url)
    taken = wait_for_events(backend, 1)
    rejected = backend.events(status)
    assert len(rejected) == 1 and rejected[0]["id"] != taken[0]["id"]
    assert sink_metric(daemon, "dead_total") == 1
    assert daemon.readiness()[0]
    assert f"status {status}" in daemon.log() and rejected[0]["id"] in daemon.log()


def test_fallback_sends_nothing_to_the_backend_while_the_queue_takes_it(watch, start_backend):
    backend = start_backend()
    daemon = watch(backend.url, mocks={"use_mock_mq": True}, alerts={"fallback_after_ms": 300})
    # An alert that the backend was to get would be there long before the next one comes.
    poll(lambda: len(daemon.alerts()) >= 3, 40, "three alerts in the file")
    assert not backend.requests
    assert sink_metric(daemon, "delivered_total", "mq") >= 3


def test_fallback_goes_to_the_backend_while_the_queue_fails(watch, start_backend):
    backend = start_backend()
    daemon = watch(backend.url, mocks={"use_mock_mq": True}, alerts={"fallback_after_ms": 300})
    poll(daemon.alerts, 30, "an alert in the file")
    file = daemon.folder / "state" / "alerts.jsonl"
    kept = [json.loads(line)["id"] for line in file.read_text(encoding="utf-8").splitlines()]
    file.unlink()
    file.mkdir()
    taken = wait_for_events(backend, 1)
    poll(lambda: "sink mq: retrying" in daemon.readiness()[1], 10, "that /readyz says it")
    file.rmdir()
    poll(daemon.alerts, 40, "that the file takes alerts again")
    everything = kept + [event["id"] for event in taken + daemon.alerts()]
    assert len(set(everything)) == len(everything), "one alert went to both"


def test_all_sends_every_alert_to_every_sink(watch, start_backend, tmp_path):
    backends = [start_backend(), start_backend([500, 500, 500])]
    daemon = watch(backends[0].url, mocks={"use_mock_mq": True}, alerts={"delivery": "all"},
                   sinks=[{"name": "second", "type": "http", "url": backends[1].url},
                          {"name": "copy", "type": "file", "path": str(tmp_path / "copy.jsonl")}])
    for backend in backends:
        wait_for_events(backend, 2)
    daemon.stop()
    told = [event["id"] for event in daemon.alerts()]
    copied = (tmp_path / "copy.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in copied] == told
    for backend in backends:
        assert [event["id"] for event in backend.events(200)] == told
    assert_pairs(daemon.alerts())


def test_a_stop_while_the_backend_hangs_is_quick_and_loses_nothing(watch, start_backend):
    backend = start_backend(standard="hang")
    daemon = watch(backend.url, backend={"timeout_s": 60})
    poll(lambda: backend.requests, 20, "the first attempt")
    made = [event["id"] for event in daemon.events()]
    daemon.stop()
    assert re.search(r"[1-9]\d* alerts wait on the disk", daemon.log()), daemon.log()
    backend.standard = 200
    daemon.start()
    poll(lambda: set(made) <= {event["id"] for event in backend.events(200)}, 20,
         "the alerts of before the stop")


def test_the_end_of_the_camera_waits_for_the_backend(run_daemon, walker, start_backend):
    backend = start_backend([503, 503])
    daemon = run_daemon({
        "cameras": [{"id": "walk", "test_video": str(walker), "test_video_realtime": False,
                     "max_frames": 150, "analyze_fps": 0}],
        "backend_alert_url": backend.url}, wait=False)
    assert daemon.wait_for_end(90) == 0, daemon.log()
    assert [event["type"] for event in backend.events(200)] == \
        ["faceworker.face.appeared", "faceworker.face.left"]
