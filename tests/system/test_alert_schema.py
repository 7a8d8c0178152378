"""Every shape of event follows docs/alert.schema.json, messages in the plain format follow
docs/plain.schema.json, and the schemas let nothing else through."""
import copy
import json
import subprocess

import jsonschema
import pytest
from harness import BUILD, ROOT

FACES = ("faceworker.face.appeared", "faceworker.face.left")
CAMERAS = ("faceworker.camera.online", "faceworker.camera.offline", "faceworker.camera.stalled",
           "faceworker.camera.tampered")
WORKER = ("faceworker.worker.started", "faceworker.worker.heartbeat")


def examples(*arguments):
    tool = BUILD / "tests" / "tools" / "event_examples"
    output = subprocess.run([tool, *arguments], check=True, capture_output=True, timeout=30).stdout
    return [json.loads(line) for line in output.decode("utf-8").splitlines()]


def validator_of(name):
    schema = json.loads((ROOT / "docs" / name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


@pytest.fixture(scope="module")
def events():
    return examples()


@pytest.fixture(scope="module")
def plain():
    return examples("plain")


@pytest.fixture(scope="module")
def validator():
    return validator_of("alert.schema.json")


def first(events, kind):
    return next(event for event in events if event["type"] == kind)


def test_every_shape_is_valid(events, validator):
    for event in events:
        validator.validate(event)
    assert {event["type"] for event in events} == {*FACES, *CAMERAS, *WORKER}
    reasons = {event["data"]["reason"] for event in events if event["type"] == FACES[1]}
    assert reasons == {"lost", "camera_stopped", "worker_restarted"}
    states = {(event["data"]["snapshot"] or {}).get("state") for event in events if event["type"] in FACES}
    assert states == {None, "stored", "pending", "failed"}


def test_departures_name_their_appearance(events):
    appeared = {event["id"] for event in events if event["type"] == FACES[0]}
    for event in events:
        if event["type"] == FACES[0]:
            assert event["data"]["appeared_id"] == event["id"]
        elif event["type"] == FACES[1]:
            assert event["data"]["appeared_id"] in appeared


def test_plain_messages_are_valid(plain):
    validator = validator_of("plain.schema.json")
    assert len(plain) == 4
    for message in plain:
        validator.validate(message)
    for path, value in [("camera_id", None), ("faces", []), ("faces.0.box", [1, 2, 3]), ("faces.0.track", 7),
                        ("timestamp", 1767225599.1), ("snapshot", "both"), ("snapshot_url", None), ("id", "x")]:
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(change(plain[0], path, value))


def test_the_examples_in_the_documentation_are_valid(validator):
    text = (ROOT / "docs" / "alerts.md").read_text()
    found = [json.loads(part.split("```", 1)[0]) for part in text.split("```json\n")[1:]]
    plain = [example for example in found if "specversion" not in example]
    events = [example for example in found if "specversion" in example]
    assert len(plain) == 1
    validator_of("plain.schema.json").validate(plain[0])
    for event in events:
        validator.validate(event)
    assert {event["type"].split(".")[1] for event in events} == {"face", "camera", "worker"}


def change(event, path, value):
    changed = copy.deepcopy(event)
    *parents, last = path.split(".")
    inner = changed
    for part in parents:
        inner = inner[int(part) if part.isdigit() else part]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return changed


@pytest.mark.parametrize("path, value", [
    ("id", None), ("id", "1"), ("specversion", "0.3"), ("type", "faceworker.face.smiled"),
    ("type", "faceworker.camera.online"), ("type", "faceworker.worker.started"),
    ("time", "yesterday"), ("extra", 1), ("subject", None), ("subject", "cameras/front-door"),
    ("source", "/workers/edge-1"), ("data.extra", 1), ("data.camera.extra", 1),
    ("data.camera", None), ("data.track", 0), ("data.track", "7"), ("data.frame.width", 0),
    ("data.appeared_id", None), ("data.appeared_id", ""), ("data.zone", None), ("data.zone", 1),
    ("data.faces", []), ("data.faces.0.box", [1, 2, 3]), ("data.faces.0.score", 1.5),
    ("data.faces.0.landmarks", [[1, 2]]), ("data.faces.0.extra", 1), ("data.snapshot", None),
    ("data.snapshot.state", "lost"), ("data.snapshot.full.sha256", "abc"),
    ("data.snapshot.full.url", None), ("data.snapshot.face_annotated.base64", "both"),
    ("data.snapshot.extra", 1), ("data.reason", "lost"), ("data.duration_s", -1),
])
def test_the_schema_refuses_wrong_faces(events, validator, path, value):
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(change(events[0], path, value))


@pytest.mark.parametrize("kind, path, value", [
    (FACES[1], "data.reason", None), (FACES[1], "data.reason", "bored"),
    (CAMERAS[1], "data.state", "online"), (CAMERAS[1], "data.previous", "asleep"),
    (CAMERAS[1], "data.previous", None), (CAMERAS[1], "data.reason", None),
    (CAMERAS[1], "data.track", 1), (CAMERAS[1], "subject", "cameras/front-door/tracks/1"),
    (CAMERAS[1], "subject", None), (CAMERAS[1], "type", "faceworker.camera.stalled"),
    (WORKER[0], "subject", "cameras/front-door"), (WORKER[0], "source", "/workers/a/cameras/b"),
    (WORKER[0], "data.uptime_s", -1), (WORKER[0], "data.worker.version", None),
    (WORKER[0], "data.cameras", 1.5), (WORKER[0], "data.extra", 1), (WORKER[0], "type", FACES[0]),
])
def test_the_schema_refuses_other_wrong_events(events, validator, kind, path, value):
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(change(first(events, kind), path, value))
