"""The programs of docs/alerts.md that read alerts: each is run as it is printed, but for the ports."""
import json
import re
import subprocess
import sys

import pika
import pytest
from conftest import missing
from harness import BUILD, ROOT, Process, free_port, poll, port_is_open
from servers import Mosquitto, Redis

KINDS = {"http": "http.server", "rabbitmq": "pika", "redis": "redis", "mqtt": "paho"}


def example(kind):
    text = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    return next(block for block in blocks if KINDS[kind] in block)


@pytest.fixture(scope="module")
def messages():
    """Alerts of every type, with an id each, as sinks get them."""
    output = subprocess.run([BUILD / "tests" / "tools" / "event_examples"], check=True,
                            capture_output=True, timeout=30).stdout
    events = {event["id"]: event for event in map(json.loads, output.splitlines())
              if event["data"].get("camera", {}).get("id", "").isascii()}  # as configurations have it
    assert len({event["type"] for event in events.values()}) >= 8
    return [{"id": event["id"], "camera_id": event["data"].get("camera", {}).get("id", ""),
             "type": event["type"].removeprefix("faceworker."), "body": event} for event in events.values()]


@pytest.fixture
def read(tmp_path):
    """read(code, was, now) runs CODE with what stands in WAS replaced by NOW."""
    running = []

    def start(code, was, now):
        assert code.count(was) == 1, was
        running.append(Process([sys.executable, "-u", "-c", code.replace(was, now)],
                               tmp_path / "reader.log"))
        return running[-1]
    yield start
    for reader in running:
        reader.kill()


def check(reader, sink, messages):
    """Every alert is told once, though each is delivered twice."""
    for message in (*messages, *messages):
        sink.deliver_all([message])

    def told():
        assert reader.is_running(), reader.text()
        return [line for line in reader.text().splitlines() if "faceworker." in line]
    poll(lambda: len(told()) >= len(messages), 15, reader.text)
    sink.deliver_all([{**messages[0], "id": "the-last", "body": {**messages[0]["body"], "id": "the-last"}}])
    poll(lambda: len(told()) > len(messages), 15, reader.text)
    types = [re.search(r"faceworker\.[a-z.]+", line)[0] for line in told()]
    assert sorted(types[:-1]) == sorted(message["body"]["type"] for message in messages), reader.text()
    assert "Traceback" not in reader.text()


def test_http(read, open_sink, messages):
    port = free_port()
    reader = read(example("http"), "9000", str(port))
    poll(lambda: port_is_open(port), 10, reader.text)
    check(reader, open_sink(type="http", url=f"http://127.0.0.1:{port}/alerts"), messages)


def test_rabbitmq(read, open_sink, rabbitmq, messages):
    reader = read(example("rabbitmq"), "@localhost/", f"@127.0.0.1:{rabbitmq.port}/")
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", rabbitmq.port)) as connection:
        def is_bound():
            assert reader.is_running(), reader.text()
            return "faces.*" in rabbitmq.ctl("list_bindings", "routing_key")
        poll(is_bound, 15, reader.text, 0.5)
        check(reader, open_sink(type="rabbitmq", url=rabbitmq.url(), exchange="alerts",
                                routing_key="faces.{camera_id}"), messages)
        reader.kill()
        connection.channel().queue_delete("inbox")
        connection.channel().exchange_delete("alerts")


def test_redis(read, open_sink, tmp_path, certificates, messages):
    if not Redis.is_installed():
        missing("no Redis; install Debian's redis-server")
    server = Redis(tmp_path / "redis", certificates).start()
    try:
        reader = read(example("redis"), "redis.Redis(", f"redis.Redis(port={server.port}, ")
        check(reader, open_sink(type="redis", url=server.url(), routing_key="faces"), messages)
    finally:
        server.stop()


def test_mqtt(read, open_sink, tmp_path, certificates, messages):
    if not Mosquitto.program():
        missing("no Mosquitto; install Debian's mosquitto")
    server = Mosquitto(tmp_path / "mosquitto", certificates).start()
    try:
        reader = read(example("mqtt"), 'connect("localhost")', f'connect("localhost", {server.port})')
        poll(lambda: "faces/+/+ (QoS 1)" in server.process.text(), 10, server.process.text)
        check(reader, open_sink(type="mqtt", url=f"mqtt://127.0.0.1:{server.port}",
                                routing_key="faces/{camera_id}/{type}"), messages)
    finally:
        server.stop()
