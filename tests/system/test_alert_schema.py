"""Every shape of alert follows docs/alert.schema.json, and the schema lets nothing else through."""
import copy
import json
import subprocess

import jsonschema
import pytest
from harness import BUILD, ROOT

SCHEMA = json.loads((ROOT / "docs" / "alert.schema.json").read_text())


@pytest.fixture(scope="module")
def events():
    tool = BUILD / "tests" / "tools" / "event_examples"
    output = subprocess.run([tool], check=True, capture_output=True, timeout=30).stdout
    return [json.loads(line) for line in output.decode("utf-8").splitlines()]


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(
        SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def test_every_shape_is_valid(events, validator):
    assert len(events) == 6
    for event in events:
        validator.validate(event)
    assert len({event["id"] for event in events}) == len(events)


def test_the_example_in_the_documentation_is_valid(validator):
    text = (ROOT / "docs" / "alerts.md").read_text()
    validator.validate(json.loads(text.split("```json\n", 1)[1].split("```", 1)[0]))


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
    ("time", "yesterday"), ("extra", 1), ("data.extra", 1), ("data.camera.extra", 1),
    ("data.camera", None), ("data.track", 0), ("data.track", "7"), ("data.frame.width", 0),
    ("data.faces", []), ("data.faces.0.box", [1, 2, 3]), ("data.faces.0.score", 1.5),
    ("data.faces.0.landmarks", [[1, 2]]), ("data.faces.0.extra", 1), ("data.snapshot", None),
    ("data.snapshot.state", "lost"), ("data.snapshot.full.sha256", "abc"),
    ("data.snapshot.full.url", None), ("data.snapshot.face_annotated.url", "http://both"),
    ("data.snapshot.extra", 1), ("data.reason", "lost"), ("data.duration_s", -1),
])
def test_the_schema_refuses_what_is_wrong(events, validator, path, value):
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(change(events[0], path, value))


def test_a_departure_needs_its_reason(events, validator):
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(change(events[3], "data.reason", None))
