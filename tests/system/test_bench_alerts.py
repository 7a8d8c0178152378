"""How many events a second become durable, and how many a second leave for each kind of sink.

The events are those of four cameras, written into an outbox by tests/tools/outbox_bench.c; a daemon
then has all of them to deliver, and its history says when the sink confirmed each. Brokers and disk are
this machine's; nothing is asserted about time, but that everything arrived.
"""
import datetime
import statistics
import urllib.parse

import pika
import pytest
import redis
from conftest import missing
from harness import Backend, fill_outbox, poll
from servers import Mosquitto, Redis

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

EVENTS, ROUNDS = 10_000, 3
SINK = "bench"


def show(what, rates):
    print(f"  {what:58} {statistics.median(rates):7.0f} events/s"
          f"  ({min(rates):.0f} to {max(rates):.0f}, {len(rates)} rounds)", flush=True)


def test_the_outbox(tmp_path):
    rates = [fill_outbox(tmp_path / str(index), 20_000, batch=64) for index in range(5)]
    print("\nThe outbox (SQLite, synchronous=FULL)")
    show("posted -> committed", [rate for rate, _ in rates])
    show("read, given to a sink that only counts, marks committed", [rate for _, rate in rates])


class ToRabbitMq:
    def __init__(self, rabbitmq, name):
        self.name, self.port = name, rabbitmq.port
        self.options = {"type": "rabbitmq", "url": rabbitmq.url(), "exchange": name, "queue": name,
                        "declare": True}

    def count(self):
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port))
        count = connection.channel().queue_declare(self.name, passive=True).method.message_count
        connection.close()
        return count


class ToRedis:
    def __init__(self, server, name):
        self.name, self.port = name, server.port
        self.options = {"type": "redis", "url": server.url(), "routing_key": name}

    def count(self):
        with redis.Redis(port=self.port) as client:
            return client.xlen(self.name)


class ToMqtt:
    """The broker confirms what it took, whether anybody listens or not; its log counts."""

    def __init__(self, server):
        self.server = server
        self.options = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{server.port}",
                        "retain_state": False}

    def count(self):
        return self.server.process.text().count("Sending PUBACK")


class ToHttp:
    def __init__(self, backend):
        self.backend = backend
        self.options = {"type": "http", "url": backend.url}

    def count(self):
        return len(self.backend.requests)


@pytest.fixture(params=["rabbitmq", "redis", "mqtt", "http"])
def target(request, tmp_path, certificates, queue):
    kind = request.param
    if kind == "rabbitmq":
        yield ToRabbitMq(request.getfixturevalue("rabbitmq"), queue)
        return
    if kind == "redis" and not Redis.is_installed():
        missing("no Redis; install Debian's redis-server")
    if kind == "mqtt" and not Mosquitto.program():
        missing("no Mosquitto; install Debian's mosquitto")
    server = {"redis": lambda: Redis(tmp_path / "redis", certificates).start(),
              "mqtt": lambda: Mosquitto(tmp_path / "mosquitto", certificates).start(),
              "http": Backend}[kind]()
    yield {"redis": lambda: ToRedis(server, queue), "mqtt": lambda: ToMqtt(server),
           "http": lambda: ToHttp(server)}[kind]()
    server.stop()


def confirmed_rate(daemon):
    """Of all but the first batch, which has waited for the connection."""
    times = sorted(datetime.datetime.fromisoformat(event["delivery"]["records"][0]["at"]).timestamp()
                   for event in daemon.history() if event["type"].startswith("faceworker.face."))
    assert len(times) == EVENTS
    return sum(at > times[0] for at in times) / (times[-1] - times[0])


def test_a_sink(target, run_daemon, empty_scene, tmp_path):
    rates = []
    for index in range(ROUNDS):
        name = f"daemon{index}"
        fill_outbox(tmp_path / name / "state", EVENTS, SINK)
        daemon = run_daemon({"cameras": [{"id": "quiet", "test_video": str(empty_scene)}],
                             "sinks": [{"name": SINK, **target.options}]}, name=name)
        query = urllib.parse.urlencode({"state": "waiting", "limit": 1})
        poll(lambda query=query: "faceworker.face." not in daemon.get(f"/api/v1/events?{query}")[1],  # noqa: B023
             300, lambda: f"{daemon.readiness()} {daemon.log()[-2000:]}", 0.5)  # noqa: B023
        poll(lambda total=EVENTS * (index + 1): target.count() >= total, 10, "the last messages")
        rates.append(confirmed_rate(daemon))
        daemon.stop()
    print("\nFrom the outbox, by the daemon, with the peer's confirmation of each")
    show(target.options["type"], rates)
