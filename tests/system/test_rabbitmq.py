"""Alerts to a real RabbitMQ: none is lost, and those of a camera stay in order, whatever it does."""
import json
import signal
import statistics
import time
import uuid

import pika
import pytest
from conftest import CANARY
from harness import poll
from servers import make_messages

WEIRD_USER = "we:ird@/us%er ü"
WEIRD_VHOST = "fa ces/1%2f"


@pytest.fixture
def name():
    """A name for exchanges and queues that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def sink(open_sink, rabbitmq, name):
    """sink(**options) is a sink to the broker, by default to an exchange and a queue of its own."""
    def start(**options):
        return open_sink(**{"type": "rabbitmq", "url": rabbitmq.url(), "exchange": name,
                            "queue": name, "declare": True, **options})
    return start


@pytest.fixture
def channel(rabbitmq):
    """A consumer's channel; connects anew when the broker was restarted."""
    class Consumer:
        connection = None

        def __call__(self):
            if not self.connection:
                self.connection = pika.BlockingConnection(pika.ConnectionParameters(
                    "127.0.0.1", rabbitmq.port, heartbeat=0, blocked_connection_timeout=30))
            return self.connection.channel()

        def close(self):
            if self.connection:
                try:
                    self.connection.close()
                except pika.exceptions.AMQPError:
                    pass
                self.connection = None
    consumer = Consumer()
    yield consumer
    consumer.close()


def take_all(channel, queue):
    """(routing key, properties, body) of every message in QUEUE, oldest first."""
    taken = []
    on = channel()
    while True:
        method, properties, body = on.basic_get(queue, auto_ack=True)
        if not method:
            return taken
        taken.append((method.routing_key, properties, json.loads(body)))


def ids(taken):
    return [properties.message_id for _, properties, _ in taken]


def assert_order(taken, messages):
    """All MESSAGES are there, those of a camera in their order; repetitions keep their id."""
    assert set(ids(taken)) == {message["id"] for message in messages}
    for camera in {message["camera_id"] for message in messages}:
        sent = [message["id"] for message in messages if message["camera_id"] == camera]
        first = list(dict.fromkeys(one for one in ids(taken) if one in sent))
        assert first == sent


@pytest.mark.sanitizer
def test_messages_arrive_whole_and_in_order(sink, channel, name):
    messages = make_messages(64, cameras=3)
    messages[0].update(camera_id="gate.1", type="camera.offline")
    messages[1].update(camera_id="", type="worker.started")
    tool = sink(routing_key="faces.{worker_id}.{camera_id}.{type}", worker_id="edge.1")
    answer = tool.deliver(messages)
    assert answer["status"] == "ok" and set(answer["results"]) == {"ok"}
    taken = take_all(channel, name)
    assert_order(taken, messages)
    keys = {properties.message_id: key for key, properties, _ in taken}
    assert keys[messages[0]["id"]] == "faces.edge_1.gate_1.camera.offline"
    assert keys[messages[1]["id"]] == "faces.edge_1._worker.worker.started"
    assert keys[messages[2]["id"]] == "faces.edge_1.camera-2.face.appeared"
    for _, properties, body in taken:
        assert properties.delivery_mode == 2
        assert properties.content_type.startswith("application/cloudevents+json")
        assert properties.app_id == "faceworker"
        assert properties.type.startswith("faceworker.")
        assert abs(properties.timestamp - time.time()) < 60
        assert body == {"index": body["index"]}
    # Idle calls keep the connection, and the next batch uses it.
    assert tool.idle()["status"] == "ok"
    assert tool.deliver(make_messages(1))["status"] == "ok"


def test_large_messages_go_in_many_frames(sink, channel, name):
    message = {**make_messages(1)[0], "body": "x" * 900000}
    assert sink().deliver([message, *make_messages(3)])["status"] == "ok"
    assert sorted(len(body) for _, _, body in take_all(channel, name))[-1] == 900000


def test_what_is_above_the_brokers_limit_is_rejected_and_holds_up_nothing(sink, channel, name):
    messages = make_messages(12, cameras=4)
    messages[4]["body"] = "x" * 1200000
    tool = sink()
    answer = tool.deliver(messages)
    assert answer["results"][4] == "rejected", answer
    assert "max_message_size" in answer["error"]
    left = [message for message, result in zip(messages, answer["results"])
            if result not in ("ok", "rejected")]
    tool.deliver_all(left)
    assert_order(take_all(channel, name), messages[:4] + messages[5:])


def test_many_messages_a_second(sink, channel, name):
    tool = sink()
    tool.idle()
    for cameras in (16, 1):
        messages = make_messages(640, cameras)
        rates = []
        for start in range(0, 640, 64):
            began = time.monotonic()
            assert tool.deliver(messages[start:start + 64])["status"] == "ok"
            rates.append(64 / (time.monotonic() - began))
        print(f"{cameras} cameras: {statistics.median(rates):.0f} confirmed messages a second")
        # The quickest batch, because other tests may run beside this one.
        assert cameras == 1 or max(rates) > 500
        assert_order(take_all(channel, name), messages)


def test_confirmed_messages_survive_a_killed_broker(sink, channel, rabbitmq, name):
    messages = make_messages(128)
    tool = sink()
    assert tool.deliver(messages[:64])["status"] == "ok"
    channel.close()
    rabbitmq.kill()
    answer = tool.deliver(messages[64:])
    assert answer["status"] == "connection failed" and "ok" not in answer["results"]
    answer = tool.idle()
    assert answer["status"] == "connection failed" and "check that it is up" in answer["error"]
    rabbitmq.start()
    tool.deliver_all(messages[64:])
    assert_order(take_all(channel, name), messages)


def test_a_wrong_password_holds_the_sink_until_it_is_put_right(sink, channel, rabbitmq, name):
    url = rabbitmq.url(login="late:Ca%2540na%40ry%3Aw%2Fith%3Fsp%23ecial@")
    messages = make_messages(3)
    tool = sink(url=url)
    answer = tool.deliver(messages)
    assert answer["status"] == "credentials refused"
    assert set(answer["results"]) == {"credentials refused"}
    assert "check user name and password" in answer["error"] and CANARY not in answer["error"]
    rabbitmq.ctl("change_password", "late", CANARY)
    assert tool.deliver(messages)["status"] == "ok"
    assert_order(take_all(channel, name), messages)


def test_special_characters_in_names_and_passwords(open_sink, rabbitmq):
    connection = pika.BlockingConnection(pika.ConnectionParameters(
        "127.0.0.1", rabbitmq.port, WEIRD_VHOST,
        pika.PlainCredentials(WEIRD_USER, CANARY)))
    connection.channel().queue_declare("plain")
    messages = make_messages(2)
    by_url = rabbitmq.url(login="we%3Aird%40%2Fus%25er%20%C3%BC:"
                                "Ca%2540na%40ry%3Aw%2Fith%3Fsp%23ecial@",
                          vhost="/fa%20ces%2f1%252f")
    by_keys = {"url": rabbitmq.url(login="", vhost="/fa%20ces%2F1%252f"), "username": WEIRD_USER,
               "password": CANARY}
    for options, message in zip(({"url": by_url}, by_keys), messages):
        tool = open_sink(type="rabbitmq", routing_key="plain", **options)
        assert tool.deliver([message])["status"] == "ok"
    assert connection.channel().basic_get("plain")[1].message_id == messages[0]["id"]
    connection.close()


def test_a_missing_exchange_holds_the_sink_until_it_is_made(sink, channel, name):
    messages = make_messages(5, cameras=1)
    tool = sink(declare=False, queue=None)
    answer = tool.deliver(messages)
    assert answer["status"] == "credentials refused" and "ok" not in answer["results"]
    assert f"no exchange '{name}'" in answer["error"] and "make the exchange" in answer["error"]
    channel().exchange_declare(name, "fanout")
    channel().queue_declare(name)
    channel().queue_bind(name, name)
    assert tool.deliver(messages)["status"] == "ok"
    assert_order(take_all(channel, name), messages)


def test_unrouted_messages_wait_until_a_queue_is_bound(sink, channel, name):
    channel().exchange_declare(name, "topic")
    channel().queue_declare(name)
    channel().queue_bind(name, name, "faces.camera-1")
    messages = make_messages(8, cameras=2)
    tool = sink(declare=False, queue=None)
    for _ in range(2):
        answer = tool.deliver([m for m in messages if m["camera_id"] == "camera-0"] +
                              [m for m in messages if m["camera_id"] == "camera-1"])
        # The other camera's go all the same; of this one's only the first was tried.
        assert answer["status"] == "credentials refused"
        assert answer["results"] == [
            "credentials refused", *["not now, try again"] * 3, *["ok"] * 4]
        assert "no queue is bound" in answer["error"] and "faces.camera-0" in answer["error"]
    channel().queue_bind(name, name, "faces.*")
    tool.deliver_all([m for m in messages if m["camera_id"] == "camera-0"])
    assert_order(take_all(channel, name), messages)


def test_without_an_exchange_the_routing_key_is_a_queue(sink, channel, name):
    tool = sink(exchange="", queue=None, declare=False, routing_key=name)
    message = make_messages(1)
    answer = tool.deliver(message)
    assert answer["status"] == "credentials refused" and "there is no queue" in answer["error"]
    channel().queue_declare(name, durable=True)
    assert tool.deliver(message)["status"] == "ok"
    # `declare` makes that queue, when it is named.
    other = f"{name}-2"
    assert sink(exchange="", queue=other, routing_key=other).deliver(message)["status"] == "ok"
    assert ids(take_all(channel, name)) == ids(take_all(channel, other)) == [message[0]["id"]]


def test_a_full_queue_is_tried_again_in_order(sink, channel, name):
    """The broker says basic.nack."""
    channel().exchange_declare(name, "topic", durable=True)
    channel().queue_declare(name, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel().queue_bind(name, name, "#")
    messages = make_messages(3, cameras=1)
    tool = sink(queue=None)
    taken = []
    for _ in range(3):
        answer = tool.deliver(messages[len(taken):])
        assert answer["results"][0] == "ok"
        assert len(taken) == 2 or (answer["status"] == "input or output failed" and
                                   "nack" in answer["error"])
        taken += take_all(channel, name)
    assert ids(taken) == [message["id"] for message in messages]


def test_refusals_of_other_kinds(sink, open_sink, channel, rabbitmq, name):
    answer = sink(url=rabbitmq.url(vhost="/nowhere")).idle()
    assert answer["status"] == "credentials refused" and "virtual host" in answer["error"]
    channel().exchange_declare(name, "direct")
    answer = sink().idle()
    assert answer["status"] == "credentials refused" and "without declare" in answer["error"]
    reader = sink(url=rabbitmq.url(login="reader:reader@"), declare=False, queue=None)
    answer = reader.deliver(make_messages(1))
    assert answer["status"] == "credentials refused" and "right to write" in answer["error"]
    answer = open_sink(type="rabbitmq", url="amqp://no-such-host.invalid/").idle()
    assert answer["status"] not in ("ok", "credentials refused")
    answer = open_sink(type="rabbitmq", url=rabbitmq.url(), declare=True, queue="other",
                       expect_code=1).answer
    assert "name an exchange" in answer["error"]


def test_a_blocked_broker_is_waited_for_and_nothing_is_sent_twice(sink, channel, rabbitmq, name):
    messages = make_messages(64, cameras=8)
    tool = sink(timeout_ms=1000)
    tool.idle()
    channel()
    rabbitmq.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        answer = tool.deliver(messages)
        assert answer["status"] != "ok", "it is not blocked"
        # Longer than the time for a confirm: the connection stays all the same.
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            answer = tool.deliver(messages)
            assert "blocked by the broker" in answer["error"] and "memory" in answer["error"]
            assert "blocked by the broker" in tool.idle()["error"]
            assert answer["took_ms"] < 500
            time.sleep(0.2)
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "0.6")
    tool.deliver_all(messages)
    taken = take_all(channel, name)
    assert_order(taken, messages)
    assert len(taken) == len(messages), "some came twice"


@pytest.mark.sanitizer
def test_a_frozen_broker_is_left_after_the_timeout(sink, channel, rabbitmq, name):
    messages = make_messages(64, cameras=8)
    tool = sink(timeout_ms=1000)
    tool.idle()
    rabbitmq.signal(signal.SIGSTOP)
    try:
        answer = tool.deliver(messages, cancel_after_ms=100)
        assert answer["status"] == "canceled" and 100 <= answer["took_ms"] < 300
        answer = tool.deliver(messages)
        assert answer["status"] == "timed out" and answer["took_ms"] < 1500
        assert "did not confirm within 1000 ms" in answer["error"]
        # Connecting works, the kernel does it; but nobody answers.
        answer = tool.deliver(messages)
        assert answer["status"] == "timed out" and 900 <= answer["took_ms"] < 1500
        answer = tool.deliver(messages, cancel_after_ms=100)
        assert answer["status"] == "canceled" and answer["took_ms"] < 300
    finally:
        rabbitmq.signal(signal.SIGCONT)
    tool.deliver_all(messages)
    assert_order(take_all(channel, name), messages)


def test_a_lost_connection_is_noticed_while_idle(sink, channel, rabbitmq, name):
    tool = sink()
    assert tool.idle()["status"] == "ok"
    rabbitmq.ctl("close_all_connections", "maintenance")
    answer = poll(lambda: (told := tool.idle())["status"] != "ok" and told, 5,
                  "that the loss is noticed")
    assert answer["status"] == "connection failed" and "maintenance" in answer["error"]
    channel().queue_delete(name)
    # Connecting anew makes the queue anew.
    assert tool.deliver(make_messages(1))["status"] == "ok"
    # A delivery does so by itself.
    rabbitmq.ctl("close_all_connections", "maintenance")
    channel.close()
    poll(lambda: "running" not in rabbitmq.ctl("list_connections", "state"), 5, "the end of all")
    assert tool.deliver(make_messages(1))["status"] == "ok"
    assert len(take_all(channel, name)) == 2


@pytest.mark.sanitizer
def test_tls(sink, channel, rabbitmq, certificates, name):
    url, login = rabbitmq.url(tls=True), rabbitmq.url(login="", tls=True)
    trusted = {"ca_file": certificates.ca}
    client = {"certificate_file": certificates.client, "key_file": certificates.client_key}
    foreign = {"certificate_file": certificates.foreign_client,
               "key_file": certificates.foreign_client_key}
    messages = make_messages(64)

    assert sink(url=url, **trusted).deliver(messages)["status"] == "ok"
    assert_order(take_all(channel, name), messages)
    assert sink(url=url.replace("localhost", "127.0.0.1"), **trusted).idle()["status"] == "ok"
    assert sink(url=url, tls_verify=False).idle()["status"] == "ok"
    # The certificate's name is our login; its absence is none.
    assert sink(url=login, **trusted, **client).deliver(messages)["status"] == "ok"
    answer = sink(url=login, **trusted).idle()
    assert answer["status"] == "ok", "guest, from this machine"

    for options, expected, status in [
            ({}, "is not trusted", "connection failed"),
            ({"ca_file": certificates.foreign_ca}, "is not trusted", "connection failed"),
            ({"ca_file": "/no/such/file"}, "/no/such/file", "input or output failed"),
            ({"url": url.replace("localhost", "127.1"), **trusted}, "another host",
             "connection failed"),
            ({"url": login, **trusted, **foreign}, "refused our certificate",
             "credentials refused"),
            ({"url": rabbitmq.url().replace("amqp:", "amqps:"), **trusted}, "TLS",
             "connection failed")]:
        answer = sink(**{"url": url, **options}).idle()
        assert answer["status"] == status and expected in answer["error"], (options, answer)
