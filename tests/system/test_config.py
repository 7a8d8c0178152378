"""`faceworker check` and the command line around it, as a user meets them."""
import json
import os
import pathlib
import re

import jsonschema
import pytest
from conftest import CANARY
from harness import ROOT, run_faceworker

COMMANDS = ["run", "check", "detect", "probe", "bench", "outbox", "models", "version"]
CAMERA = {"id": "door", "rtsp": "rtsp://127.0.0.1:1/door"}
OLDER = {
    "cameras": [{"id": "cam-1", "rtsp": "rtsp://10.0.0.5/1", "ffmpeg_output": "rtmp://localhost/cam-1",
                 "save_snapshots": True, "test_video": None, "max_frames": None}],
    "backend_alert_url": "http://localhost:9000/alerts",
    "s3": {"enabled": True, "bucket": "b", "aws_access_key_id": CANARY, "aws_secret_access_key": CANARY,
           "public_base_url": "http://localhost:9001/b"},
    "models": {"base_url": "http://localhost:9002/", "prototxt": "deploy.prototxt",
               "caffemodel": "res10_300x300_ssd_iter_140000.caffemodel",
               "prototxt_sha256": None, "caffemodel_sha256": None},
    "mq": {"type": "rabbitmq", "url": "amqp://guest:guest@localhost:5672/", "exchange": "alerts",
           "routing_key": "faces"},
    "local_mocks": {"use_mock_s3": True, "use_mock_mq": True},
}


@pytest.fixture
def check(tmp_path):
    """check(config) writes a configuration (an object or a text) and has it checked."""
    def run(config, env=None, arguments=()):
        file = tmp_path / "f.json"
        file.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
        done = run_faceworker("check", "-c", file, *arguments, env=env)
        done.all = done.stdout + done.stderr
        assert CANARY not in done.all
        return done
    return run


def schema():
    return json.loads((ROOT / "docs" / "config.schema.json").read_text(encoding="utf-8"))


def is_valid(config):
    return jsonschema.Draft202012Validator(schema()).is_valid(config)


def test_the_sample_can_be_used_and_has_what_it_is_to_show():
    sample = json.loads((ROOT / "config.sample.json").read_text(encoding="utf-8"))
    assert len(sample["cameras"]) == 2
    assert sample["s3"]["enabled"] and sample["mq"]["url"]
    assert sample["local_mocks"] == {"use_mock_s3": True, "use_mock_mq": True}
    assert is_valid(sample)
    done = run_faceworker("check", "-c", ROOT / "config.sample.json")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("front-door", "rtmp://localhost/front-door", "lobby", "alerts.jsonl"):
        assert word in done.stdout


def test_the_older_workers_file_can_be_used(check):
    done = check(OLDER)
    assert (done.returncode, done.stderr) == (0, "")
    assert "res10" in done.stdout and "http://localhost:9000/alerts" in done.stdout
    assert is_valid(OLDER)


def test_what_would_run_is_told(check):
    broker = {"username": "edge", "password": CANARY}
    corners = [[0, 0], [1, 0], [1, 1]]
    done = check({
        "worker": {"id": "gate", "heartbeat_s": 60},
        "cameras": [{**CAMERA, "save_snapshots": True, "zones": [
            {"name": "porch", "points": corners},
            {"name": "street", "type": "exclude", "points": corners}]}],
        "alerts": {"delivery": "all", "schedule": ["mon-fri,sun 18:00-08:00"], "cooldown_s": 7,
                   "time_zone": "Europe/Berlin"},
        "mq": {"url": "amqps://broker.example/", "exchange": "events", "queue": "inbox",
               "declare": True, **broker},
        "backend_alert_url": "https://backend.example/alerts",
        "backend": {"token": CANARY, "hmac_secret": CANARY, "embed_snapshot": True},
        "sinks": [
            {"name": "stream", "type": "redis", "url": "redis://redis.example", "routing_key": "faces",
             "tls_verify": False, **broker},
            {"name": "home", "type": "mqtt", "url": "mqtt://mqtt.example", "home_assistant": True,
             "routing_key": "faces/{type}", **broker},
            {"name": "direct", "type": "rabbitmq", "url": "amqp://other.example",
             "routing_key": "faces"},
            {"name": "archive", "type": "file", "path": "/tmp/alerts.jsonl"}],
        "s3": {"enabled": True, "bucket": "pictures", "prefix": "gate/", "presign_s": 3600,
               "endpoint_url": "https://s3.example", "access_key": CANARY, "secret_key": CANARY},
    })
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
            "every 60 s", "zones: porch, street (ignored)",
            "mon-fri,sun 18:00-08:00, Europe/Berlin time, at most one in 7 s", "to all of these",
            "mq: to RabbitMQ at amqps://broker.example/ as edge, exchange events, routing key "
            "faces.{camera_id}; makes the exchange and the queue inbox\n",
            "by POST to https://backend.example/alerts, with a token, signed, with the pictures\n",
            "to Redis at redis://redis.example as edge, whatever certificate it shows, stream faces,"
            " which keeps about 100000 entries\n",
            "to MQTT at mqtt://mqtt.example as edge, topic faces/{type}, states are kept, for Home "
            "Assistant under homeassistant\n",
            "to RabbitMQ at amqp://other.example, queue faces\n",
            "archive: to the file /tmp/alerts.jsonl\n",
            "in S3, bucket pictures at https://s3.example, region us-east-1, keys begin with gate/; "
            "addresses are signed for 3600 s\n"):
        assert words in done.stdout, (words, done.stdout)


@pytest.mark.parametrize("change, at, words", [
    ({"mq": {"url": "mqtt://h", "routing_key": "a/#"}}, "mq", "'a/#' is no MQTT topic"),
    ({"mq": {"url": "amqp://h", "routing_key": "{camera}"}}, "mq", "use {camera_id}"),
    ({"mq": {"url": "redis://h/abc"}}, "mq", "names no database"),
    ({"mq": {"url": "mqtt://h", "password": CANARY}}, "mq", "no user name"),
    ({"sinks": [{"name": "a", "type": "redis", "url": "redis://h", "routing_key": ""}]}, "sinks[0]",
     "routing_key is empty"),
    ({"alerts": {"time_zone": "Europe/Berln"}}, "alerts.time_zone", "there is no time zone"),
    ({"cameras": [{**CAMERA, "alerts": {"time_zone": "Mars"}}]}, "cameras[0].alerts.time_zone",
     "there is no time zone"),
    ({"alerts": {"schedule": ["mon 8-17"]}}, "alerts.schedule[0]", "no times from 00:00"),
])
def test_what_the_start_would_refuse_is_found(check, change, at, words):
    done = check({"cameras": [CAMERA, {**CAMERA, "id": "second"}], **change})
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.match(rf".*:1:\d+: {re.escape(at)} ", done.stderr) and words in done.stderr


@pytest.mark.parametrize("change, words", [
    ({"mq": {"url": "amqps://h", "ca_file": "/nonexistent"}}, "mq.ca_file can't be read: No such"),
    ({"backend": {"ca_file": "/nonexistent"}}, "backend.ca_file can't be read"),
    ({"s3": {"enabled": True, "bucket": "b", "access_key": CANARY, "secret_key": CANARY,
             "ca_file": "/nonexistent"}}, "s3.ca_file can't be read"),
    ({"mq": {"url": "amqp://h", "queue": "inbox"}}, 'only with "declare"'),
])
def test_what_will_not_do_as_meant_is_warned_of(check, change, words):
    done = check({"cameras": [CAMERA], **change})
    assert done.returncode == 0 and words in done.stderr, done.stderr


def test_keys_that_cannot_be_had_are_told_once(check):
    s3 = {"enabled": True, "bucket": "b", "access_key_id": "${FW_NO_SUCH}",
          "secret_access_key_file": "/nonexistent"}
    done = check({"cameras": [CAMERA], "s3": s3})
    assert "FW_NO_SUCH" in done.stderr and "secret_access_key_file" in done.stderr
    assert "has no keys" not in done.stderr
    assert "has no keys" in check({"cameras": [CAMERA], "s3": {**s3, "access_key_id": None}}).stderr


def test_the_printed_defaults_can_be_used(check):
    printed = run_faceworker("check", "--print-defaults")
    assert printed.returncode == 0
    assert is_valid(json.loads(printed.stdout))
    done = check(printed.stdout)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_generated_documents_are_as_committed():
    for option, name in (("--print-docs", "config.md"), ("--print-schema", "config.schema.json")):
        made = run_faceworker("check", option)
        assert made.stdout == (ROOT / "docs" / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("change", [
    {"cameras": []},
    {"cameras": [{"rtsp": "x"}]},
    {"cameras": [{"id": "a"}]},
    {"cameras": [{"id": "a/b", "rtsp": "x"}]},
    {"cameras": [{**CAMERA, "transport": "sctp"}]},
    {"cameras": [{**CAMERA, "analyze_fps": -1}]},
    {"cameras": [{**CAMERA, "publish": {"video": "copy"}}]},
    {"cameras": [{**CAMERA, "detector": {"input_size": "big"}}]},
    {"cameras": [{**CAMERA, "zones": [{}]}]},
    {"cameras": [CAMERA], "worker": []},
    {"cameras": [CAMERA], "alerts": {"confirm": 2}},
    {"cameras": [CAMERA], "models": {"onnx_sha256": "12"}},
])
def test_schema_and_check_refuse_the_same(check, change):
    assert not is_valid(change)
    assert check(change).returncode == 78


def test_errors_say_where_and_what_to_do(check):
    done = check('{\n  "cameras": [\n    {"id": "a", "rstp": "rtsp://h/1"},\n'
                 '    {"id": "b", "rtsp": "x", "frame_skip": "2"}\n  ]\n}\n')
    assert done.returncode == 78
    assert done.stdout == ""
    lines = [line.rpartition("f.json:")[2] for line in done.stderr.splitlines()]
    assert lines == [
        '3:5: cameras[0] has neither "rtsp" nor "test_video"; give it one of the two',
        '3:17: cameras[0].rstp is no known key; did you mean "rtsp"?',
        "4:44: cameras[1].frame_skip is a string; write a whole number from 0 to 10000, for example 1",
    ]


def test_warnings_do_not_fail(check):
    done = check({"cameras": [CAMERA], "site": "north"})
    assert done.returncode == 0
    assert "warning: site is no known key and ignored" in done.stderr


def test_no_file_and_no_such_file(tmp_path):
    done = run_faceworker("check", cwd=tmp_path, env={"WORKER_CONFIG": ""})
    if not pathlib.Path("/etc/faceworker/faceworker.json").exists():
        assert done.returncode == 78
        assert "WORKER_CONFIG" in done.stderr
    for command in ("check", "run"):
        done = run_faceworker(command, "-c", tmp_path / "none.json")
        assert done.returncode == 78
        assert "none.json" in done.stderr


def test_the_configuration_is_found(tmp_path):
    def write(name, worker):
        path = tmp_path / name
        path.write_text(json.dumps({"cameras": [CAMERA], "worker": {"id": worker}}), encoding="utf-8")
        return path

    def worker(*arguments, **env):
        done = run_faceworker("check", *arguments, cwd=tmp_path, env={"WORKER_CONFIG": "", **env})
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("Worker ")[2].partition(":")[0]

    write("faceworker.json", "here")
    named, given = write("named.json", "named"), write("given.json", "given")
    assert worker() == "here"
    assert worker(WORKER_CONFIG=str(named)) == "named"
    assert worker("-c", str(given), WORKER_CONFIG=str(named)) == "given"
    assert worker(f"--config={given}") == "given"


def test_secrets_come_from_environment_and_files_and_are_not_told(check, tmp_path):
    secret = tmp_path / "password"
    secret.write_text(CANARY + "\n", encoding="utf-8")
    done = check({"cameras": [{**CAMERA, "username": "u", "password_file": str(secret)},
                              {"id": "b", "rtsp": "rtsp://u:${FW_TEST_PASSWORD}@127.0.0.1/b",
                               "ffmpeg_output": f"rtmp://u:{CANARY}@127.0.0.1/b"}],
                  "backend_alert_url": f"https://u:{CANARY}@127.0.0.1/a",
                  "backend": {"token": CANARY}}, env={"FW_TEST_PASSWORD": CANARY})
    assert done.returncode == 0, done.stderr
    assert "rtsp://127.0.0.1/b" in done.stdout
    assert "with a token" in done.stdout


@pytest.mark.parametrize("config", [
    {"cameras": [{"id": "a", "rtsp": f"rtsp://u:{CANARY}@h:999999/"}]},
    {"cameras": [{**CAMERA, "password": [CANARY]}]},
    {"cameras": [{**CAMERA, "pasword": CANARY}]},
    {"cameras": [{**CAMERA, "transport": "${FW_TEST_PASSWORD}"}]},
    {"cameras": [CAMERA], "mq": {"url": f"http://u:{CANARY}@h/"}},
    {"cameras": [CAMERA], "s3": {"secret_kye": CANARY}},
    {"cameras": [CAMERA], "backend_alert_url": f"ftp://u:{CANARY}@h/"},
    '{"cameras": [{"id": "a", "password": ' + CANARY + "}]}",
])
def test_no_error_tells_a_secret(check, config):
    done = check(config, env={"FW_TEST_PASSWORD": CANARY})  # `check` looks for it
    assert done.returncode == 78
    assert done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    asked = run_faceworker(command, "--help")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith(f"Usage: faceworker {command}")
    assert re.search(rf"^Examples?:\n  faceworker {command}", asked.stdout, re.M)
    assert run_faceworker("help", command).stdout == asked.stdout
    assert command in run_faceworker("help").stdout
    wrong = run_faceworker(command, "--no-such-option")
    assert wrong.returncode == 2
    assert f"faceworker {command}: unrecognized option '--no-such-option'" in wrong.stderr


def test_wrong_usage():
    assert run_faceworker().returncode == 2
    for arguments in (["no-such-command"], ["check", "a.json"], ["detect"], ["probe"], ["probe", "a", "b"],
                      ["probe", "--seconds", "x", "a"], ["probe", "--transport", "sctp", "a"], ["models"],
                      ["models", "steal"], ["detect", "--min-score", "2", "a"], ["version", "a"]):
        done = run_faceworker(*arguments)
        assert done.returncode == 2, arguments
        assert done.stderr and not done.stdout, arguments


def test_version_names_libraries_and_kernels():
    done = run_faceworker("version")
    assert done.returncode == 0
    for word in ("faceworker ", "libavformat", "libcurl", "yunet", "scalar"):
        assert word in done.stdout
    assert run_faceworker("--version").stdout == done.stdout


def test_the_man_page_names_every_command_and_every_option():
    page = (ROOT / "docs" / "faceworker.1").read_text(encoding="utf-8").replace("\\-", "-")
    for command in COMMANDS:
        assert f".SS {command}" in page
        for word in run_faceworker(command, "--help").stdout.split():
            if word.startswith("--") and word.strip("-,:;.()"):
                assert word.strip(",:;.()").split("=")[0] in page, (command, word)


def test_root_is_not_needed_for_the_default_folders(check, tmp_path):
    done = check({"cameras": [CAMERA]}, env={"XDG_STATE_HOME": str(tmp_path / "state"),
                                             "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert f"state in {tmp_path}/state/faceworker, models in {tmp_path}/cache/faceworker/models" in done.stdout
    if os.geteuid() == 0:
        done = check({"cameras": [CAMERA]}, env={"XDG_STATE_HOME": "", "XDG_CACHE_HOME": ""})
        assert "state in /var/lib/faceworker" in done.stdout
