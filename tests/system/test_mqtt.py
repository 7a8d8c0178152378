"""Alerts to a real MQTT broker: none is lost, and what the broker keeps is what is the case."""
import json
import re
import time
import uuid

import jinja2
import paho.mqtt.client as mqtt
import pytest
from conftest import CANARY, missing
from harness import poll
from servers import Mosquitto, TlsListener, make_messages

WEIRD_USER = "we@ird/us%er ü"
SECRET = f"{CANARY} p@ss:/w#rd%41ü"
REFUSED = "credentials refused"


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory, certificates):
    if not Mosquitto.program():
        missing("no Mosquitto; install Debian's mosquitto")
    server = Mosquitto(tmp_path_factory.mktemp("mosquitto"), certificates)
    yield server.start()
    server.stop()


@pytest.fixture
def own_mosquitto(tmp_path, certificates, mosquitto):
    """A broker that the test may stop and start."""
    server = Mosquitto(tmp_path / "mosquitto", certificates)
    yield server.start()
    server.stop()


@pytest.fixture
def name():
    """The first word of topics that no other test uses; also the worker's id."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def sink(open_sink, mosquitto, name):
    """sink(**options) is a sink to the broker, by default to topics of its own."""
    def start(server=mosquitto, **options):
        return open_sink(**{"type": "mqtt", "url": f"mqtt://127.0.0.1:{server.port}",
                            "worker_id": name, "routing_key": f"{name}/{{camera_id}}/{{type}}",
                            **options})
    return start


class Listener:
    """Takes everything below the topics, retained messages first; connects anew by itself."""

    def __init__(self, port, *topics):
        self.messages = []
        self.is_listening = 0
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_message = lambda client, data, message: self.messages.append(message)
        self.client.on_connect = lambda client, *rest: client.subscribe([(t, 1) for t in topics])
        self.client.on_subscribe = self._count
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        poll(lambda: self.is_listening, 5, "a subscription")

    def _count(self, *_):
        self.is_listening += 1

    def payloads(self, topic):
        """What was published to TOPIC, oldest first."""
        return [message.payload.decode() for message in list(self.messages)
                if message.topic == topic]

    def latest(self, topic):
        return (self.payloads(topic) or [None])[-1]

    def events(self):
        """(topic, message, body) of every alert."""
        return [(message.topic, message, json.loads(message.payload))
                for message in list(self.messages) if not message.retain and
                re.search(r"/(face|camera|worker)\.\w+$", message.topic)]

    def indices(self):
        return [body["index"] for _, _, body in self.events()]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def listen(mosquitto, name):
    """listen(topics, server) is a Listener, by default to all of the test's topics."""
    running = []

    def start(*topics, server=mosquitto):
        running.append(Listener(server.port, *(topics or (f"{name}/#",))))
        return running[-1]
    yield start
    for listener in running:
        listener.close()


def indices(messages):
    return [message["body"]["index"] for message in messages]


def wait_for(listener, messages, timeout_s=10):
    """Waits until all MESSAGES have come; those of a camera in order, leaving repetitions aside."""
    poll(lambda: set(listener.indices()) >= set(indices(messages)), timeout_s,
         lambda: f"{len(set(listener.indices()))} of {len(messages)} have come")
    for camera in {message["camera_id"] for message in messages}:
        sent = indices(m for m in messages if m["camera_id"] == camera)
        assert list(dict.fromkeys(i for i in listener.indices() if i in sent)) == sent


def event(camera, kind, **body):
    return {"camera_id": camera, "type": kind, "body": {"index": 0, **body}}


def test_messages_are_whole_and_in_order(sink, listen, name):
    listener = listen()
    messages = make_messages(64, cameras=3)
    messages[0].update(camera_id="gate.1", type="camera.offline")
    messages[1].update(camera_id="", type="worker.started")
    answer = sink(routing_key=f"{name}/{{worker_id}}/{{camera_id}}/{{type}}").deliver(messages)
    assert answer["status"] == "ok" and set(answer["results"]) == {"ok"}
    wait_for(listener, messages)
    topics = {body["index"]: topic for topic, _, body in listener.events()}
    assert topics[0] == f"{name}/{name}/gate.1/camera.offline"
    assert topics[1] == f"{name}/{name}/_worker/worker.started"
    assert topics[2] == f"{name}/{name}/camera-2/face.appeared"
    for _, message, _ in listener.events():
        assert message.qos == 1 and not message.retain
        assert message.properties.ContentType.startswith("application/cloudevents+json")
    # Nothing but alerts when nothing else was asked for.
    assert len(listener.messages) == 64


def test_many_messages_a_second(sink, listen):
    listener = listen()
    tool = sink()
    tool.idle()
    for cameras in (16, 1):
        messages = make_messages(640, cameras, start=1000 * cameras)
        began = time.monotonic()
        for start in range(0, 640, 64):
            assert tool.deliver(messages[start:start + 64])["status"] == "ok"
        rate = 640 / (time.monotonic() - began)
        print(f"{cameras} cameras: {rate:.0f} acknowledged messages a second")
        assert rate > 300
        wait_for(listener, messages)


def test_refused_users_hold_until_they_are_right(sink, mosquitto, listen, name):
    listener = listen()
    messages = make_messages(3)
    mosquitto.set_users({WEIRD_USER: "wrong"}, f"user {WEIRD_USER}\ntopic readwrite {name}/#\n")
    tool = sink(url=f"mqtt://127.0.0.1:{mosquitto.user_port}", username=WEIRD_USER,
                password=SECRET)
    for answer in (tool.idle(), tool.deliver(messages)):
        assert answer["status"] == REFUSED and "username" in answer["error"], answer
    mosquitto.set_users({WEIRD_USER: SECRET}, f"user {WEIRD_USER}\ntopic readwrite {name}/#\n")
    tool.deliver_all(messages)
    wait_for(listener, messages)


def test_topics_that_are_not_allowed_are_told(sink, mosquitto, listen, name):
    """The broker acknowledges what it throws away; in MQTT 5 it says so."""
    listener = listen()
    messages = make_messages(4)
    mosquitto.set_users({"edge": "pw"}, "user edge\ntopic readwrite elsewhere/#\n")
    tool = sink(url=f"mqtt://edge:pw@127.0.0.1:{mosquitto.user_port}")
    assert tool.idle()["status"] == "ok"
    answer = tool.deliver(messages)
    assert answer["status"] == REFUSED and "rights" in answer["error"], answer
    assert "ok" not in answer["results"]
    mosquitto.set_users({"edge": "pw"}, f"user edge\ntopic readwrite {name}/#\n")
    tool.deliver_all(messages)
    wait_for(listener, messages)
    # The states' topics are part of it.
    kept = sink(url=f"mqtt://edge:pw@127.0.0.1:{mosquitto.user_port}", home_assistant=True)
    answer = kept.deliver([event("gate", "camera.online")])
    assert answer["status"] == REFUSED and "rights" in answer["error"], answer


def test_what_is_too_large_is_rejected_and_holds_up_nothing(sink, tmp_path, certificates, listen,
                                                            mosquitto):
    for setting in ("max_packet_size 20000", "message_size_limit 20000"):
        server = Mosquitto(tmp_path / setting.split()[0], certificates, [setting]).start()
        try:
            listener = listen(server=server)
            messages = make_messages(6, cameras=3)
            messages[1]["body"]["large"] = "x" * 30000
            answer = sink(server).deliver(messages)
            assert answer["status"] == "ok", answer
            assert answer["results"] == ["ok", "rejected", "ok", "ok", "ok", "ok"]
            assert "larger" in answer["error"]
            wait_for(listener, messages[:1] + messages[2:])
        finally:
            server.stop()


def test_states_are_kept_for_those_who_come_later(sink, listen, name):
    tool = sink(retain_state=True)
    tool.deliver([event("gate", "camera.online"), event("hall", "camera.stalled"),
                  event("gate", "face.appeared"), event("gate", "camera.offline"),
                  event("hall", "camera.tampered")])
    late = listen()
    poll(lambda: late.latest(f"{name}/cameras/hall/state"), 5, "the states")
    assert late.latest(f"{name}/cameras/gate/state") == "offline"
    assert late.latest(f"{name}/cameras/hall/state") == "stalled"
    assert late.latest(f"{name}/worker/{name}/availability") == "online"
    assert all(message.retain for message in late.messages)
    assert len(late.messages) == 3  # nothing for Home Assistant


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_worker_that_ends_is_offline(open_sink, sink, listen, name, is_killed):
    topic = f"{name}/worker/{name}/availability"
    listener = listen()
    tool = sink(retain_state=True, expect_code=0)
    tool.idle()
    poll(lambda: listener.latest(topic) == "online", 5, "online")
    if is_killed:
        tool.child.kill()
        tool.expect_code = -9
    else:
        tool.child.stdin.close()
    poll(lambda: listener.latest(topic) == "offline", 5, "offline")
    if is_killed:  # The next one makes it right, whenever the broker notices.
        assert sink(retain_state=True).idle()["status"] == "ok"
        poll(lambda: listener.latest(topic) == "online", 5, "online again")


def test_a_broker_that_forgot_is_told_again(sink, own_mosquitto, listen, name):
    tool = sink(own_mosquitto, home_assistant=True)
    tool.deliver([event("gate", "camera.online"), event("gate", "face.appeared")])
    messages = make_messages(12)
    own_mosquitto.kill()
    answer = tool.deliver(messages)
    assert answer["status"] != "ok" and "ok" not in answer["results"]
    own_mosquitto.start()
    listener = listen(f"{name}/#", "homeassistant/#", server=own_mosquitto)
    tool.deliver_all(messages)
    wait_for(listener, messages)
    assert listener.payloads(f"{name}/worker/{name}/availability") == ["online"]
    assert listener.payloads(f"{name}/cameras/gate/state") == ["online"]
    assert json.loads(listener.latest(f"{name}/cameras/gate/face"))["present"] == "ON"
    configs = [m.topic for m in listener.messages if m.topic.startswith("homeassistant/")]
    assert len(configs) == len(set(configs)) == 3 * (1 + 4)


def render(config, payload):
    """What Home Assistant makes of PAYLOAD."""
    values = {"value": payload}
    try:
        values["value_json"] = json.loads(payload)
    except json.JSONDecodeError:
        pass
    return jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(
        config["value_template"]).render(values)


# The keys that we use, as Home Assistant's documents list them for each component.
COMMON = {"name", "unique_id", "device_class", "state_topic", "value_template",
          "availability_topic", "qos", "device", "origin", "entity_category"}
DEVICE = {"identifiers", "name", "manufacturer", "model", "sw_version"}


def test_home_assistant_finds_the_cameras(sink, listen, name):
    discovery, listener = listen(f"ha-{name}/#"), listen()
    tool = sink(home_assistant=True, discovery_prefix=f"ha-{name}")
    camera = {"data": {"camera": {"name": "Front door"}}}
    tool.deliver([event("front.door_1", "camera.online", **camera)])
    poll(lambda: len(discovery.messages) == 3, 5, "the announcements")
    entities = {}
    for message in discovery.messages:
        path = re.fullmatch(  # as Home Assistant's own pattern has it
            rf"ha-{name}/(?P<component>\w+)/(?P<node>[a-zA-Z0-9_-]+)/(?P<object>[a-zA-Z0-9_-]+)"
            r"/config", message.topic)
        config = json.loads(message.payload)
        entities[path["object"]] = (path["component"], config)
        assert message.qos == 1 and set(config) <= COMMON
        assert set(config["device"]) <= DEVICE and config["device"]["name"] == "Front door"
        assert config["origin"]["name"] == "faceworker"
        assert config["availability_topic"] == f"{name}/worker/{name}/availability"
    assert len({config["unique_id"] for _, config in entities.values()}) == 3
    assert len({str(config["device"]["identifiers"]) for _, config in entities.values()}) == 1
    assert {o: (c, config["device_class"]) for o, (c, config) in entities.items()} == {
        "connectivity": ("binary_sensor", "connectivity"),
        "face": ("binary_sensor", "occupancy"), "last_face": ("sensor", "timestamp")}

    def shown(entity):
        config = entities[entity][1]
        poll(lambda: listener.latest(config["state_topic"]), 5, f"a state of {entity}")
        return render(config, listener.latest(config["state_topic"]))
    steps = [("face.appeared", "ON", "ON"), ("face.appeared", "ON", "ON"),
             ("face.left", "ON", "ON"), ("face.left", "ON", "OFF"), ("face.appeared", "ON", "ON"),
             ("camera.stalled", "OFF", "OFF"), ("camera.online", "ON", "OFF")]
    for kind, connectivity, face in steps:
        assert tool.deliver([event("front.door_1", kind)])["status"] == "ok"
        poll(lambda: (shown("connectivity"), shown("face")) == (connectivity, face), 5,
             lambda: f"{kind}: {shown('connectivity')}, {shown('face')}")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+Z", shown("last_face"))
    assert len(discovery.messages) == 3  # once a camera and connection


def test_acknowledged_messages_reach_a_listener_across_restarts(sink, own_mosquitto, listen):
    listener = listen(server=own_mosquitto)
    messages = make_messages(96)
    tool = sink(own_mosquitto)
    tool.deliver_all(messages[:32])
    wait_for(listener, messages[:32])
    own_mosquitto.kill()
    assert "check that it is up" in [tool.deliver(messages[32:64]) for _ in range(2)][1]["error"]
    own_mosquitto.start()
    poll(lambda: listener.is_listening == 2, 10, "the listener")
    tool.deliver_all(messages[32:64])
    tool.deliver_all(messages[64:])
    wait_for(listener, messages)


def test_a_frozen_broker_ends_the_wait_and_nothing_is_lost(sink, own_mosquitto, listen):
    listener = listen(server=own_mosquitto)
    messages = make_messages(16)
    tool = sink(own_mosquitto, timeout_ms=500)
    assert tool.idle()["status"] == "ok"
    own_mosquitto.process.freeze()
    answer = tool.deliver(messages)
    assert answer["status"] == "timed out" and 400 <= answer["took_ms"] < 1500
    assert "ok" not in answer["results"]
    # A stop needs no time, also while a new connection is not answered.
    tool_with_time = sink(own_mosquitto, timeout_ms=20000)
    answer = tool_with_time.deliver(messages, cancel_after_ms=100)
    assert answer["status"] == "canceled" and answer["took_ms"] < 400
    own_mosquitto.process.thaw()
    tool.deliver_all(messages)
    wait_for(listener, messages)


def test_tls(sink, mosquitto, certificates, listen):
    listener = listen()
    url, client_url = (f"mqtts://localhost:{port}"
                       for port in (mosquitto.tls_port, mosquitto.client_port))
    trusted = {"ca_file": certificates.ca}
    good = {"certificate_file": certificates.client, "key_file": certificates.client_key}
    foreign = {"certificate_file": certificates.foreign_client,
               "key_file": certificates.foreign_client_key}
    messages = make_messages(4)
    for message, options in zip(messages, (
            {"url": url, **trusted}, {"url": url, "tls_verify": False},
            {"url": client_url, **trusted, **good},
            {"url": f"mqtts://127.0.0.1:{mosquitto.tls_port}", **trusted})):
        answer = sink(**options).deliver([message])
        assert answer["status"] == "ok", answer
    wait_for(listener, messages)
    for options, said in (({"url": url}, "is not trusted"),
                          ({"url": url, "ca_file": certificates.foreign_ca}, "is not trusted"),
                          ({"url": client_url, **trusted}, "certificate_file"),
                          ({"url": client_url, **trusted, **foreign}, "certificate_file"),
                          ({"url": url, "ca_file": "/nowhere.pem"}, "ca_file '/nowhere.pem'"),
                          ({"url": f"mqtts://localhost:{mosquitto.port}", **trusted}, "localhost")):
        answer = sink(timeout_ms=2000, **options).deliver(messages)
        assert answer["status"] != "ok" and said in answer["error"], answer


def test_tls_checks_the_name_and_tells_it(sink, certificates):
    listener = TlsListener(certificates.server, certificates.server_key)
    other = TlsListener(certificates.other, certificates.other_key)
    trusted = {"ca_file": certificates.ca}
    try:
        for host, named in (("localhost", "localhost"), ("127.0.0.1", None)):
            answer = sink(url=f"mqtts://{host}:{listener.port}", **trusted).idle()
            # After a handshake that went well.
            assert "trusted" not in answer["error"] and "connection" in answer["status"], answer
            assert set(listener.names) == {named}
            listener.names.clear()
            answer = sink(url=f"mqtts://{host}:{other.port}", **trusted).idle()
            assert "is for another host" in answer["error"], answer
    finally:
        listener.stop()
        other.stop()


def test_large_messages_over_tls(sink, mosquitto, certificates, listen):
    listener = listen()
    messages = make_messages(6)
    for message in messages:
        message["body"]["large"] = "x" * 500000
    tool = sink(url=f"mqtts://localhost:{mosquitto.tls_port}", ca_file=certificates.ca)
    assert tool.deliver(messages)["status"] == "ok"
    wait_for(listener, messages)


def test_the_daemon_tells_home_assistant_until_it_dies(run_daemon, walker, mosquitto, listen, name):
    mosquitto.set_users({WEIRD_USER: SECRET},
                        f"user {WEIRD_USER}\ntopic readwrite {name}/#\n"
                        f"topic readwrite ha-{name}/#\n")
    listener = listen(f"{name}/#", f"ha-{name}/#")
    daemon = run_daemon({
        "worker": {"id": name},
        "alerts": {"lost_ms": 300, "cooldown_s": 0, "camera_events": True},
        "cameras": [{"id": "walk", "name": "Walk", "test_video": str(walker)}],
        "mq": {"type": "mqtt", "url": f"mqtt://127.0.0.1:{mosquitto.user_port}",
               "username": WEIRD_USER, "password": SECRET, "home_assistant": True,
               "discovery_prefix": f"ha-{name}", "routing_key": f"{name}/{{camera_id}}/{{type}}"}})
    states = [f"{name}/worker/{name}/availability", f"{name}/cameras/walk/state"]
    poll(lambda: [listener.latest(topic) for topic in states] == ["online", "online"], 30,
         lambda: f"{sorted({m.topic for m in listener.messages})}\n{daemon.readiness()}")
    for present in ("ON", "OFF"):
        poll(lambda: f'"present":"{present}"' in str(listener.payloads(f"{name}/cameras/walk/face")),
             30, f"a face that is {present}")
    configs = [json.loads(message.payload) for message in listener.messages
               if message.topic.startswith(f"ha-{name}/")]
    assert {config["device"]["name"] for config in configs} == {"Walk"}
    made = [event["id"] for event in daemon.events()]
    poll(lambda: {body["id"] for _, _, body in listener.events()} >= set(made), 10, "all alerts")
    daemon.process.kill()
    poll(lambda: listener.latest(states[0]) == "offline", 10, "the last will")
    daemon.start()
    poll(lambda: listener.latest(states[0]) == "online", 10, "the next start")
