"""Alerts into streams of a real Redis: none is lost, and those of a camera stay in order."""
import json
import time
import uuid

import pytest
import redis as client
from conftest import CANARY, missing
from harness import poll
from servers import Redis, TlsListener, make_messages

WEIRD_USER = "we:ird@/us%er"
SECRET = f"{CANARY} p@ss:/w#rd%41ü"


@pytest.fixture(scope="module")
def redis(tmp_path_factory, certificates):
    if not Redis.is_installed():
        missing("no Redis; install Debian's redis-server")
    server = Redis(tmp_path_factory.mktemp("redis"), certificates)
    yield server.start()
    server.stop()


@pytest.fixture
def own_redis(tmp_path, certificates, redis):
    """A Redis that the test may stop and start."""
    server = Redis(tmp_path / "redis", certificates)
    yield server.start()
    server.stop()


@pytest.fixture
def name():
    """A stream that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def sink(open_sink, redis, name):
    """sink(**options) is a sink to the server, by default to a stream of its own."""
    def start(server=redis, **options):
        return open_sink(**{"type": "redis", "url": server.url(), "routing_key": name, **options})
    return start


def connect(server, **options):
    return client.Redis(port=server.port, decode_responses=True, protocol=2, **options)


def entries(server, stream, **options):
    with connect(server, **options) as connection:
        return [fields for _, fields in connection.xrange(stream)]


def ids(taken):
    return [fields["id"] for fields in taken]


def assert_order(taken, messages):
    """All MESSAGES are there, those of a camera in their order; repetitions keep their id."""
    assert set(ids(taken)) == {message["id"] for message in messages}
    for camera in {message["camera_id"] for message in messages}:
        sent = [message["id"] for message in messages if message["camera_id"] == camera]
        assert list(dict.fromkeys(one for one in ids(taken) if one in sent)) == sent


def test_entries_are_whole_and_in_order(sink, redis, name):
    messages = make_messages(64, cameras=3)
    messages[0].update(camera_id="gate.1", type="camera.offline")
    messages[1].update(camera_id="", type="worker.started")
    tool = sink(routing_key=f"{name}:{{worker_id}}:{{camera_id}}", worker_id="edge.1")
    answer = tool.deliver(messages)
    assert answer["status"] == "ok" and set(answer["results"]) == {"ok"}
    assert ids(entries(redis, f"{name}:edge.1:gate.1")) == [messages[0]["id"]]
    assert ids(entries(redis, f"{name}:edge.1:_worker")) == [messages[1]["id"]]
    for number in range(3):
        taken = entries(redis, f"{name}:edge.1:camera-{number}")
        assert_order(taken, [m for m in messages if m["camera_id"] == f"camera-{number}"])
        for fields in taken:
            assert list(fields) == ["id", "type", "camera_id", "time", "data"]
            assert fields["type"] == "faceworker.face.appeared"
            assert fields["time"].endswith("Z")
            assert "index" in json.loads(fields["data"])


def test_a_consumer_group_takes_and_acknowledges(sink, redis, name):
    messages = make_messages(5)
    sink().deliver(messages)
    with connect(redis) as connection:
        connection.xgroup_create(name, "backend", id="0")
        ((_, taken),) = connection.xreadgroup("backend", "one", {name: ">"}, count=10)
        assert ids(fields for _, fields in taken) == [message["id"] for message in messages]
        assert connection.xack(name, "backend", *(entry for entry, _ in taken)) == 5
        assert connection.xpending(name, "backend")["pending"] == 0


def test_a_stream_is_kept_at_about_its_length(sink, redis, name):
    tool = sink(max_length=200)
    for _ in range(20):
        assert tool.deliver(make_messages(64))["status"] == "ok"
    with connect(redis) as connection:
        assert 200 <= connection.xlen(name) < 600


def test_the_database_is_that_of_the_url(sink, redis, name):
    messages = make_messages(1)
    assert sink(url=redis.url(path="/3")).deliver(messages)["status"] == "ok"
    assert ids(entries(redis, name, db=3)) == [messages[0]["id"]]
    assert entries(redis, name) == []
    tool = sink(url=redis.url(path="/99"))
    answer = tool.deliver(messages)
    assert answer["status"] == "credentials refused" and "database" in answer["error"]


def test_large_messages_go_apart(sink, redis, name):
    messages = [{**message, "body": "x" * 700000} for message in make_messages(6)]
    assert sink(timeout_ms=10000).deliver(messages)["status"] == "ok"
    taken = entries(redis, name)
    assert_order(taken, messages)
    assert {len(fields["data"]) for fields in taken} == {700002}


def test_many_messages_a_second(sink, redis, name):
    tool = sink()
    tool.idle()
    for cameras in (16, 1):
        messages = make_messages(1280, cameras)
        began = time.monotonic()
        for start in range(0, 1280, 64):
            assert tool.deliver(messages[start:start + 64])["status"] == "ok"
        rate = 1280 / (time.monotonic() - began)
        print(f"{cameras} cameras: {rate:.0f} messages a second, each on the disk")
        assert rate > 500
    assert len(entries(redis, name)) == 2560


def test_refused_credentials_hold_until_they_are_right(sink, redis, name):
    messages = make_messages(3)
    tool = sink(username=WEIRD_USER, password=SECRET)
    for answer in (tool.idle(), tool.deliver(messages)):
        assert answer["status"] == "credentials refused", answer
        assert "check username and password" in answer["error"]
    with connect(redis) as connection:
        connection.acl_setuser(WEIRD_USER, enabled=True, passwords=[f"+{SECRET}"],
                               keys=[name], commands=["+xadd", "+multi", "+exec", "+ping"])
        tool.deliver_all(messages)
        assert ids(entries(redis, name)) == [message["id"] for message in messages]
        connection.acl_deluser(WEIRD_USER)


def test_a_password_without_a_user(sink, redis, name):
    messages = make_messages(2)
    with connect(redis) as connection:
        connection.config_set("requirepass", SECRET)
        try:
            answer = sink().deliver(messages)
            assert answer["status"] == "credentials refused"
            assert "asks for a password" in answer["error"]
            assert sink(password=SECRET).deliver(messages)["status"] == "ok"
        finally:
            connection.config_set("requirepass", "")
    answer = sink(password=SECRET).deliver(messages)
    assert answer["status"] == "credentials refused" and "no password" in answer["error"]


@pytest.mark.parametrize("lacking", ["stream", "xadd", "multi"])
def test_missing_rights_are_told_and_may_come(sink, redis, name, lacking):
    messages = make_messages(4)
    with connect(redis) as connection:
        user = f"u{uuid.uuid4().hex[:8]}"
        commands = [f"+{word}" for word in ("xadd", "multi", "exec", "ping") if word != lacking]
        connection.acl_setuser(user, enabled=True, passwords=["+pw"], commands=commands,
                               keys=["other" if lacking == "stream" else name])
        tool = sink(username=user, password="pw")
        answer = tool.deliver(messages)
        assert answer["status"] == "credentials refused" and "ok" not in answer["results"]
        assert "+multi" in answer["error"]
        connection.execute_command("ACL", "SETUSER", user, f"~{name}", "+xadd", "+multi")
        tool.deliver_all(messages)
        # Nothing of the refused attempt was left behind.
        assert ids(entries(redis, name)) == [message["id"] for message in messages]
        connection.acl_deluser(user)


def test_a_key_that_is_no_stream_is_told(sink, redis, name):
    messages = make_messages(2)
    with connect(redis) as connection:
        connection.set(name, "something")
        tool = sink()
        answer = tool.deliver(messages)
        assert answer["status"] == "credentials refused" and "no stream" in answer["error"]
        connection.delete(name)
        tool.deliver_all(messages)
    assert_order(entries(redis, name), messages)


def test_a_server_that_can_take_nothing_now_is_asked_again(sink, own_redis, name):
    messages = make_messages(8)
    tool = sink(own_redis)
    with connect(own_redis) as connection:
        for trouble, cure, said in (
                (lambda: connection.config_set("maxmemory", "1"),
                 lambda: connection.config_set("maxmemory", "0"), "OOM"),
                (lambda: connection.replicaof("127.0.0.1", "1"),
                 lambda: connection.replicaof("no", "one"), "READONLY")):
            trouble()
            answer = tool.deliver(messages)
            assert answer["status"] != "credentials refused", answer
            assert said in answer["error"] and set(answer["results"]) != {"ok"}
            assert entries(own_redis, name) == []
            cure()
        tool.deliver_all(messages)
    assert_order(entries(own_redis, name), messages)


def test_a_cluster_is_told(sink, tmp_path, certificates, name):
    server = Redis(tmp_path / "cluster", certificates, cluster=True).start()
    try:
        answer = sink(server).deliver(make_messages(1))
        assert "CLUSTERDOWN" in answer["error"]
        answer = sink(server, url=server.url(path="/1")).deliver(make_messages(1))
        assert "single database" in answer["error"]
    finally:
        server.stop()


def test_acknowledged_entries_survive_a_killed_server(sink, own_redis, name):
    messages = make_messages(192)
    tool = sink(own_redis)
    assert tool.deliver(messages[:64])["status"] == "ok"
    own_redis.kill()
    answer = tool.deliver(messages[64:128])
    assert answer["status"] != "ok" and set(answer["results"]) != {"ok"}
    assert "check that it is up" in tool.idle()["error"]
    own_redis.start()
    tool.deliver_all(messages[64:128])
    tool.deliver_all(messages[128:])
    assert_order(entries(own_redis, name), messages)


def test_a_frozen_server_ends_the_wait_and_nothing_is_lost(sink, own_redis, name):
    messages = make_messages(16)
    tool = sink(own_redis, timeout_ms=500)
    assert tool.idle()["status"] == "ok"
    own_redis.process.freeze()
    answer = tool.deliver(messages)
    assert answer["status"] == "timed out" and 400 <= answer["took_ms"] < 1500
    assert "ok" not in answer["results"]
    # A stop needs no time, also while a new connection is not answered.
    tool_with_time = sink(own_redis, timeout_ms=20000)
    answer = tool_with_time.deliver(messages, cancel_after_ms=100)
    assert answer["status"] == "canceled" and answer["took_ms"] < 400
    own_redis.process.thaw()
    tool.deliver_all(messages)
    assert_order(entries(own_redis, name), messages)


def test_tls(sink, redis, certificates, name):
    url = redis.url(tls=True)
    trusted = {"ca_file": certificates.ca}
    good = {"certificate_file": certificates.client, "key_file": certificates.client_key}
    foreign = {"certificate_file": certificates.foreign_client,
               "key_file": certificates.foreign_client_key}
    messages = make_messages(3)
    assert sink(url=url, **trusted).deliver(messages)["status"] == "ok"
    assert sink(url=url, tls_verify=False).deliver(messages)["status"] == "ok"
    for options, said in (({}, "is not trusted"),
                          ({"ca_file": certificates.foreign_ca}, "is not trusted"),
                          ({**trusted, **foreign}, "our certificate"),
                          ({"ca_file": "/nowhere.pem"}, "ca_file '/nowhere.pem'")):
        answer = sink(url=url, **options).deliver(messages)
        assert answer["status"] != "ok" and said in answer["error"], answer
    answer = sink(url=f"rediss://localhost:{redis.port}", timeout_ms=300, **trusted).idle()
    assert answer["status"] != "ok" and "TLS" in answer["error"]
    with connect(redis) as connection:
        connection.config_set("tls-auth-clients", "yes")
        try:
            answer = sink(url=url, **trusted).deliver(messages)
            assert answer["status"] != "ok" and "certificate_file" in answer["error"], answer
            assert sink(url=url, **trusted, **good).deliver(messages)["status"] == "ok"
        finally:
            connection.config_set("tls-auth-clients", "optional")
    assert len(entries(redis, name)) == 9


def test_tls_checks_the_name_and_tells_it(sink, certificates):
    listener = TlsListener(certificates.server, certificates.server_key)
    other = TlsListener(certificates.other, certificates.other_key)
    trusted = {"ca_file": certificates.ca}
    try:
        for host, named in (("localhost", "localhost"), ("127.0.0.1", None)):
            answer = sink(url=f"rediss://{host}:{listener.port}", **trusted).idle()
            # After a handshake that went well.
            assert "trusted" not in answer["error"] and "connection" in answer["status"], answer
            assert listener.names[-1] == named
            answer = sink(url=f"rediss://{host}:{other.port}", **trusted).idle()
            assert "is for another host" in answer["error"], answer
    finally:
        listener.stop()
        other.stop()


def test_the_daemon_loses_nothing_while_its_server_is_away(run_daemon, walker, own_redis, name):
    with connect(own_redis) as connection:
        connection.config_set("requirepass", SECRET)
    own_redis.config.write_text(  # also after a restart
        own_redis.config.read_text(encoding="utf-8") + f'requirepass "{SECRET}"\n',
        encoding="utf-8")
    daemon = run_daemon({
        "cameras": [{"id": "walk", "test_video": str(walker)}],
        "alerts": {"lost_ms": 300, "cooldown_s": 0},
        "mq": {"type": "redis", "url": own_redis.url(), "password": SECRET, "routing_key": name}})

    def made():
        return [event["id"] for event in daemon.events()]

    def arrived():
        return list(dict.fromkeys(ids(entries(own_redis, name, password=SECRET))))
    poll(arrived, 30, lambda: daemon.log()[-2000:])
    own_redis.kill()
    before = len(made())
    poll(lambda: "check that it is up" in daemon.readiness()[1], 20, daemon.readiness)
    poll(lambda: len(made()) > before, 30, "more alerts")
    own_redis.start()
    wanted = made()
    poll(lambda: set(arrived()) >= set(wanted), 20, daemon.readiness)
    assert arrived()[:len(wanted)] == wanted
