"""Alerts through the whole daemon: none is lost, whatever is killed, away, half open, full or refused.

What was committed is what the history tells; what arrived is what the broker's own client took out of a
durable queue; pictures are read back from the S3 server.
"""
import collections
import hashlib
import json
import random
import time

import jsonschema
import pika
import pytest
from harness import ROOT, Relay, fill_outbox, poll
from s3_servers import ACCESS_KEY, BUCKET, SECRET_KEY


@pytest.fixture
def relay(rabbitmq):
    """The way to the broker, which can be cut."""
    way = Relay(rabbitmq.port)
    yield way
    way.stop()


@pytest.fixture
def schema():
    text = (ROOT / "docs" / "alert.schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


@pytest.fixture
def config(walker, relay, queue, s3):
    """Two busy cameras (faces come and go several times a second), one of them with pictures: more than
    a busy machine keeps up with would be left out by intention. A broker behind the relay, S3."""
    return {
        "cameras": [{"id": f"walk-{index}", "test_video": str(walker), "test_video_realtime": False,
                     "analyze_fps": 0, "save_snapshots": index == 0} for index in range(2)],
        "detector": {"input_size": 320},
        "mq": {"url": f"amqp://guest:guest@127.0.0.1:{relay.port}/", "exchange": queue,
               "queue": queue, "declare": True, "timeout_s": 1},
        "s3": {"enabled": True, "bucket": BUCKET, "endpoint_url": s3.url, "access_key": ACCESS_KEY,
               "secret_key": SECRET_KEY, "timeout_s": 2},
    }


def consumed(rabbitmq, queue):
    """Every message in QUEUE as its consumer gets it, the oldest first."""
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", rabbitmq.port))
    channel = connection.channel()
    events = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if not method:
            connection.close()
            return events
        event = json.loads(body)
        assert properties.message_id == event["id"]
        events.append(event)


def settle(run_daemon, config, empty_scene, name="daemon"):
    """Runs the daemon on a scene without faces until nothing waits any more; returns what was
    committed, in the order of posting."""
    quiet = {**config, "cameras": [{"id": "quiet", "test_video": str(empty_scene)}]}
    daemon = run_daemon(quiet, name=name)

    def is_done():
        metrics = daemon.metrics()
        return metrics["faceworker_outbox_waiting"] == 0 and \
            metrics.get("faceworker_snapshots_pending", 0) == 0
    poll(is_done, 60, lambda: f"that all is delivered: {daemon.readiness()} {daemon.log()[-3000:]}")
    events = daemon.history()
    daemon.stop()
    return events


def without_pictures(event):
    """EVENT without what may differ between two deliveries of it."""
    data = {key: value for key, value in event["data"].items() if key != "snapshot"}
    return {**event, "data": data}


def assert_delivered(sent, taken):
    """Everything of SENT is in TAKEN, in order for each camera; repetitions are the same event."""
    first = {}
    for event in taken:
        known = first.setdefault(event["id"], event)
        assert without_pictures(event) == without_pictures(known)
    missing = {event["id"] for event in sent} - set(first)
    assert not missing, f"{len(missing)} of {len(sent)} events did not arrive"
    assert set(first) == {event["id"] for event in sent}, "what was not committed was sent"
    order = collections.defaultdict(list)
    for event in sent:
        order[event["data"]["camera"]["id"]].append(event["id"])
    arrived = collections.defaultdict(list)
    for event in first.values():
        arrived[event["data"]["camera"]["id"]].append(event["id"])
    assert arrived == order


def assert_pairs(events):
    """Every appearance has one departure that names it."""
    appeared = [event["id"] for event in events if event["type"].endswith("face.appeared")]
    left = [event["data"]["appeared_id"] for event in events if event["type"].endswith("face.left")]
    assert sorted(appeared) == sorted(left)
    position = {}
    for index, event in enumerate(events):
        if event["type"].endswith("face.appeared"):
            position[event["id"]] = index
        else:
            assert position[event["data"]["appeared_id"]] < index


def assert_pictures(events, s3):
    """Every picture that an event names is in the bucket, byte for byte what its sum says."""
    count, client = 0, s3.client()
    for event in events:
        snapshot = event["data"]["snapshot"]
        if event["data"]["camera"]["id"] != "walk-0" or \
                event["data"].get("reason") == "worker_restarted":
            assert snapshot is None  # the end that is told after a crash has no picture of its own
            continue
        assert snapshot["state"] in ("stored", "pending"), event
        for kind in ("full", "full_annotated", "face", "face_annotated"):
            picture = snapshot[kind]
            answer = client.get_object(Bucket=BUCKET, Key=picture["key"])
            body = answer["Body"].read()
            assert answer["ContentType"] == "image/jpeg"
            assert hashlib.sha256(body).hexdigest() == picture["sha256"]
            assert len(body) == picture["bytes"]
            count += 1
    return count


def check_everything(sent, taken, schema, s3):
    assert sent, "nothing happened"
    for event in taken:
        schema.validate(event)
    assert_delivered(sent, taken)
    assert_pairs(sent)
    assert assert_pictures(sent, s3) > 0


def kill_at_random(run_daemon, config, relay, rounds, seed):
    """Starts the daemon ROUNDS times and kills it at random moments while the way to the broker flaps."""
    chance = random.Random(seed)
    for _ in range(rounds):
        daemon = run_daemon(config, wait=False)
        until = time.monotonic() + chance.uniform(0.3, 3.0)
        while time.monotonic() < until:
            relay.mode = chance.choice(["pass", "pass", "pass", "refuse", "silent"])
            if chance.random() < 0.3:
                relay.cut()
            time.sleep(chance.uniform(0.05, 0.4))
        daemon.kill()
    relay.mode = "pass"
    relay.cut()


@pytest.mark.parametrize("rounds", [12, pytest.param(100, marks=pytest.mark.soak)])
def test_kill_9_at_any_moment_loses_nothing(run_daemon, config, relay, rabbitmq, queue, s3,
                                            schema, empty_scene, rounds):
    kill_at_random(run_daemon, config, relay, rounds, seed=rounds)
    sent = settle(run_daemon, config, empty_scene)
    taken = consumed(rabbitmq, queue)
    check_everything(sent, taken, schema, s3)
    reasons = collections.Counter(event["data"].get("reason") for event in sent)
    print(f"\n{rounds} kills: {len(sent)} events, {len(taken) - len(sent)} repeated, "
          f"ends: {dict(reasons)}")
    assert reasons["worker_restarted"] > 0, "no kill met an open track; the test shows less than it says"


def run_for(daemon, events, timeout_s=60):
    """Until the daemon has committed so many events."""
    poll(lambda: daemon.metrics()["faceworker_outbox_committed_total"] >= events, timeout_s,
         lambda: f"{events} events: {daemon.log()[-3000:]}")


@pytest.mark.parametrize("failure", ["refuse", "silent"])
def test_a_broker_that_is_away_all_the_time_gets_everything_later(
        run_daemon, config, relay, rabbitmq, queue, s3, schema, empty_scene, failure):
    relay.mode = failure
    daemon = run_daemon(config)
    run_for(daemon, 20)
    poll(lambda: "sink mq" in daemon.readiness()[1], 10, lambda: f"{daemon.readiness()}")
    assert not daemon.readiness()[0]
    metrics = daemon.metrics()
    assert metrics["faceworker_sink_waiting{sink=\"mq\"}"] >= 20
    daemon.stop()
    relay.mode = "pass"
    relay.cut()
    sent = settle(run_daemon, config, empty_scene)
    check_everything(sent, consumed(rabbitmq, queue), schema, s3)


def test_a_store_that_is_away_holds_no_alert_up_and_gets_every_picture(
        run_daemon, config, rabbitmq, queue, s3, schema, empty_scene):
    way = Relay(s3.port)
    config["s3"]["endpoint_url"] = f"http://127.0.0.1:{way.port}"
    way.mode = "refuse"
    daemon = run_daemon(config)
    run_for(daemon, 12)
    taken = []

    def with_pictures():
        taken.extend(consumed(rabbitmq, queue))
        return [event for event in taken if event["data"]["snapshot"]]
    poll(lambda: len(with_pictures()) >= 4, 30, "alerts while the store is away")
    assert all(event["data"]["snapshot"]["state"] == "pending" for event in with_pictures())
    poll(lambda: "store snapshots" in daemon.readiness()[1], 10, lambda: f"{daemon.readiness()}")
    daemon.stop()
    way.mode = "pass"
    sent = settle(run_daemon, config, empty_scene)
    way.stop()
    check_everything(sent, taken + consumed(rabbitmq, queue), schema, s3)


def test_wrong_credentials_lose_nothing_and_are_told(run_daemon, config, relay, rabbitmq, queue, s3,
                                                     schema, empty_scene):
    right = {"mq": config["mq"]["url"], "s3": config["s3"]["secret_key"]}
    config["mq"]["url"] = right["mq"].replace("guest:guest", "guest:wrong")
    config["s3"]["secret_key"] = "wrong" * 5
    daemon = run_daemon(config)
    run_for(daemon, 10)

    def is_told():
        reasons = daemon.readiness()[1]
        return "sink mq: refused" in reasons and "store snapshots: refused" in reasons
    poll(is_told, 20, lambda: f"that both refusals are told: {daemon.readiness()}")
    daemon.stop()
    config["mq"]["url"], config["s3"]["secret_key"] = right["mq"], right["s3"]
    sent = settle(run_daemon, config, empty_scene)
    check_everything(sent, consumed(rabbitmq, queue), schema, s3)


def test_a_broker_that_returns_messages_gets_them_once_a_queue_is_bound(
        run_daemon, config, rabbitmq, queue, s3, schema, empty_scene):
    config["mq"].update(declare=False)
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", rabbitmq.port))
    channel = connection.channel()
    channel.exchange_declare(queue, exchange_type="topic", durable=True)
    daemon = run_daemon(config)
    run_for(daemon, 10)
    poll(lambda: "sink mq: refused" in daemon.readiness()[1], 20, lambda: f"{daemon.readiness()}")
    daemon.stop()
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, queue, "#")
    connection.close()
    sent = settle(run_daemon, config, empty_scene)
    check_everything(sent, consumed(rabbitmq, queue), schema, s3)


def test_a_backend_that_answers_badly_in_turn_gets_everything_it_takes(
        run_daemon, config, start_backend, schema, empty_scene):
    # 413 is about one event, so that one is a dead letter; the others are told again.
    backend = start_backend([401, 404, 413, 429, 500, "hang up", 403, 503])
    del config["mq"]
    config["backend_alert_url"] = backend.url
    daemon = run_daemon(config)
    run_for(daemon, 12)
    daemon.stop()
    sent = settle(run_daemon, config, empty_scene)
    dead = {event["id"] for event in backend.events(413)}
    taken = backend.events(200)
    for event in taken:
        schema.validate(event)
    assert len(dead) == 1 and dead <= {event["id"] for event in sent}
    assert_delivered([event for event in sent if event["id"] not in dead], taken)


def drain_beside_a_live_camera(run_daemon, config, relay, walker):
    """Lets the broker back, once a camera is watched 10 times a second; it stays so while what waits
    is delivered."""
    live = {**config, "cameras": [{"id": "live", "test_video": str(walker), "analyze_fps": 10}]}
    daemon = run_daemon(live)
    daemon.wait_for_state("live", "live")
    poll(lambda: daemon.camera("live")["analyses_fps"] > 8, 20, "10 analyses a second")
    relay.mode = "pass"
    seen = []

    def is_drained():
        seen.append(daemon.camera("live")["analyses_fps"])
        return daemon.metrics()["faceworker_outbox_waiting"] == 0
    poll(is_drained, 120, lambda: daemon.log()[-2000:])
    assert min(seen) > 7, seen
    daemon.stop()


def test_a_backlog_drains_in_order_and_slows_nothing(run_daemon, config, relay, rabbitmq, queue, walker,
                                                     empty_scene):
    """Two cameras that give alerts all the time while the broker is away, then a live one beside them."""
    relay.mode = "refuse"
    del config["s3"]
    for camera in config["cameras"]:
        camera["save_snapshots"] = False
    daemon = run_daemon(config)
    run_for(daemon, 150, timeout_s=120)
    daemon.stop()
    drain_beside_a_live_camera(run_daemon, config, relay, walker)
    assert_delivered(settle(run_daemon, config, empty_scene), consumed(rabbitmq, queue))


@pytest.mark.soak
def test_a_backlog_of_hours_drains_in_order_and_slows_nothing(run_daemon, config, relay, rabbitmq, queue,
                                                              walker, empty_scene, tmp_path):
    relay.mode = "refuse"
    del config["s3"]
    fill_outbox(tmp_path / "daemon" / "state", 10_000, sink="mq")
    began = time.monotonic()
    drain_beside_a_live_camera(run_daemon, config, relay, walker)
    print(f"\n10,000 events drained within {time.monotonic() - began:.0f} s")
    sent = settle(run_daemon, config, empty_scene)
    assert len(sent) > 10_000
    assert_delivered(sent, consumed(rabbitmq, queue))
