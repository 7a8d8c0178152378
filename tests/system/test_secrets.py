"""Passwords with everything in them that breaks naive code: logging in with them works, and no output
ever holds one, nor a part of one."""
import base64
import contextlib
import hashlib
import json
import pathlib
import re
import socket
import subprocess
import threading
from urllib.parse import quote

import pika
import pytest
from conftest import CANARY, missing
from harness import FACEWORKER, MediaMtx, free_port, poll, run_faceworker
from s3_servers import FakeS3
from servers import Mosquitto, Redis

# As people write them into addresses, without thinking of escapes.
RAW = "Zqxjw%kvbzp@wvqkz:xjqvw/zkqjx"
WRONG = "Hjqzx@gvkwq:pzxvj/dwqkj%41bvzqj"
OTHERS = {name: f"{name[0]}Qzvk@{name}:Jxqw/{name}%20Vqzj" for name in (
    "queue", "broker", "token", "access", "secret", "session", "query", "backend", "filed",
    "stream", "topic", "signing")}
ALL = [CANARY, RAW, WRONG, *OTHERS.values()]


def spellings(secret):
    """A secret in every form that a URL, a header or JSON gives it."""
    logins = [f"{user}:{secret}".encode() for user in ("viewer", "second", "u")]
    encoded = [base64.b64encode(text).decode() for text in (secret.encode(), *logins)]
    return {secret, quote(secret, safe=""), quote(secret), quote(secret, safe="").lower(),
            json.dumps(secret)[1:-1], secret.replace("/", r"\/"), secret.replace("%40", "@"),
            *(text.rstrip("=") for text in encoded)}


def parts(secret):
    """The words of a secret that are long and strange enough to be nothing else."""
    words = {*re.split(r"[^A-Za-z]+", secret), *re.split(r"[@:/?]", secret)}
    return {word for word in words if len(word) >= 4} - {"ecial", *OTHERS}


def assert_clean(text, where):
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    for secret in ALL:
        for form in spellings(secret) | parts(secret):
            at = text.find(form)
            assert at < 0, f"{form!r} in {where}: …{text[max(at - 100, 0):at + 100]}…"


def test_the_check_itself_finds_secrets():
    for secret in ALL:
        for text in (f"log in as {secret} please", quote(secret, safe=""), json.dumps([secret]),
                     base64.b64encode(f"viewer:{secret}".encode()).decode()):
            with pytest.raises(AssertionError):
                assert_clean(text, "the text")
    assert_clean("rtsp://***@127.0.0.1:8554/cam?key=*** access token secret", "this")


class Gate:
    """Stands before a MediaMTX, whose RTSP server takes no colon in passwords: turns right logins
    into a plain one that it takes, and lets everything else through as it is."""

    def __init__(self, port):
        self.inner_port = port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        plain = self.login("inner", "plain")
        self.logins = {self.login(user, password): plain
                       for user, password in (("viewer", CANARY), ("second", RAW))}
        threading.Thread(target=self._run, daemon=True).start()

    @staticmethod
    def login(user, password):
        return b"Basic " + base64.b64encode(f"{user}:{password}".encode()) + b"\r\n"

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.inner_port))
                for ends in ((client, server, self.logins), (server, client, {})):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    @staticmethod
    def _pass_on(source, target, logins):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                for login, plain in logins.items():
                    data = data.replace(login, plain)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def guarded(tmp_path):
    """A MediaMTX that lets only two in, by passwords that have everything in them."""
    server = MediaMtx(tmp_path, users=[("viewer", CANARY), ("inner", "plain")]).start()
    gate = Gate(server.rtsp_port)
    server.rtsp_port = gate.port
    yield server
    gate.listener.close()
    server.stop()


@pytest.fixture
def scene(guarded, make_clip, publish, start_backend, run_daemon, tmp_path, monkeypatch):
    """A daemon with secrets everywhere, its log at its most talkative, and what it watches."""
    encoded = quote(CANARY, safe="")
    clip = make_clip("head-pose-face-detection-female.mp4", "640:360")
    publish(clip, guarded.rtsp("cam", f"viewer:{encoded}@"))
    guarded.wait_for("cam")
    (tmp_path / "password").write_text(CANARY + "\n", encoding="utf-8")
    (tmp_path / "filed").write_text(OTHERS["filed"], encoding="utf-8")
    monkeypatch.setenv("TEST_PASSWORD", CANARY)
    backend = start_backend([500, 401], standard=200)
    url = f"127.0.0.1:{backend.port}/alerts?key={quote(OTHERS['query'], safe='')}"
    watched = guarded.rtsp("cam")
    dead = free_port()
    login = f"viewer:{encoded}@"
    raw_login = f"second:{RAW}@"
    cameras = {
        "encoded": {"rtsp": guarded.rtsp("cam", login)},
        "raw": {"rtsp": guarded.rtsp("cam", raw_login)},
        "keys": {"rtsp": watched, "username": "viewer", "password": CANARY,
                 "save_snapshots": True,
                 "ffmpeg_output": f"{guarded.rtmp('rtmp-out')}?user=viewer&pass={encoded}",
                 "publish": {"outputs": [guarded.rtsp("raw-out", raw_login),
                                         guarded.rtsp("encoded-out", login),
                                         guarded.rtsp("wrong-out", f"viewer:{WRONG}@"),
                                         f"rtmp://{login}127.0.0.1:{dead}/dead"]}},
        "filed": {"rtsp": watched, "username": "viewer",
                  "password_file": str(tmp_path / "password")},
        "environment": {"rtsp": watched, "username": "viewer", "password": "${TEST_PASSWORD}"},
        "replaced": {"rtsp": guarded.rtsp("cam", f"nobody:{WRONG}@"), "username": "viewer",
                     "password": CANARY},
        "wrong-url": {"rtsp": guarded.rtsp("cam", f"viewer:{WRONG}@")},
        "wrong-keys": {"rtsp": watched, "username": "viewer", "password": WRONG},
        "dead": {"rtsp": f"rtsp://{raw_login}127.0.0.1:{dead}/cam"},
        "nowhere": {"rtsp": f"rtsp://{raw_login}no-such-host.invalid/cam"},
        "http": {"rtsp": f"http://{login}127.0.0.1:{dead}/cam?password={encoded}"},
        "absent": {"rtsp": guarded.rtsp("absent", login)},
    }
    daemon = run_daemon({
        "log": {"level": "debug"}, "worker": {"max_connects": 12},
        "cameras": [{"id": name, "analyze_fps": 2, **camera} for name, camera in cameras.items()],
        "alerts": {"delivery": "all"},
        "mq": {"type": "rabbitmq", "username": "u", "password": OTHERS["queue"],
               "url": f"amqp://u:{quote(OTHERS['broker'], safe='')}@127.0.0.1:{dead}/"},
        "backend_alert_url": f"http://u:{quote(OTHERS['backend'], safe='')}@{url}",
        "backend": {"token": OTHERS["token"]},
        "sinks": [{"name": "second", "type": "http", "url": f"http://u:{RAW}@127.0.0.1:{dead}/a",
                   "token_file": str(tmp_path / "filed")}],
        "s3": {"enabled": True, "bucket": "b", "access_key": OTHERS["access"],
               "secret_key": OTHERS["secret"], "session_token": OTHERS["session"]},
        "local_mocks": {"use_mock_s3": True, "use_mock_mq": True}})
    return daemon, guarded, backend


LIVE = ("encoded", "raw", "keys", "filed", "environment", "replaced")
PUBLISHED = ("rtmp-out", "raw-out", "encoded-out")


@pytest.mark.sanitizer
def test_logging_in_works_and_nothing_is_told(scene, tmp_path):
    daemon, guarded, backend = scene
    for name in LIVE:
        daemon.wait_for_state(name, "live", 30)
    for path in PUBLISHED:
        guarded.wait_for(path)
    poll(lambda: backend.events(200), 40, lambda: f"an alert: {backend.requests}")
    header = backend.requests[0]["headers"]["Authorization"]
    assert header == f"Bearer {OTHERS['token']}"

    for name in ("wrong-url", "wrong-keys"):
        camera = daemon.wait_for_state(name, "backoff", 30)
        assert "401" in camera["reason"], camera
    for name in ("dead", "nowhere", "http", "absent"):
        poll(lambda name=name: daemon.camera(name)["reason"], 30, f"a reason of {name}")
    outputs = {output["url"]: output for output in daemon.camera("keys")["outputs"]}
    assert sum(output["open"] for output in outputs.values()) == len(PUBLISHED), outputs
    assert all(output["open"] or output["reason"] for output in outputs.values())

    answers = {path: daemon.get(path) for path in
               ("/", "/app.js", "/metrics", "/readyz", "/healthz", "/api/v1/cameras",
                "/api/v1/events?limit=500", "/snapshots/" + quote(CANARY), "/" + quote(RAW))}
    assert "wrong-url" in answers["/readyz"][1] and len(answers["/api/v1/cameras"][1]) > 2000
    for path, (_, body) in answers.items():
        assert_clean(body, path)
    pid = daemon.process.child.pid
    assert_clean(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes(), "the command line")
    for name in pathlib.Path(f"/proc/{pid}/task").iterdir():
        assert_clean((name / "comm").read_bytes(), "a thread's name")

    daemon.stop()
    assert_clean(daemon.log(), "the log")
    assert "libav" in daemon.log(), "the log is not at its most talkative"
    files = [path for path in (daemon.folder / "state").rglob("*") if path.is_file()]
    assert any(path.name == "alerts.jsonl" for path in files)
    assert any(path.suffix == ".jpg" for path in files)
    for path in files:
        assert_clean(str(path), "a file's name")
        assert_clean(path.read_bytes(), path)
    for request in backend.requests:
        assert_clean(json.dumps(request["event"]), "an alert")

    done = run_faceworker("check", "-c", daemon.config)
    assert done.returncode == 0, done.stderr
    assert "wrong-url" in done.stdout
    assert_clean(done.stdout + done.stderr, "what check says")


def test_the_page_shows_no_secret(scene):
    from playwright import sync_api
    daemon, _, _ = scene
    daemon.wait_for_state("keys", "live", 30)
    daemon.wait_for_state("wrong-keys", "backoff", 30)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{daemon.port}/")
        page.wait_for_selector("text=check username and password")
        assert_clean(page.content(), "the page")
        browser.close()


@pytest.fixture
def brokers(tmp_path, certificates):
    """A Redis and a Mosquitto that ask for passwords with everything in them."""
    if not Redis.is_installed() or not Mosquitto.program():
        missing("no Redis or Mosquitto; install Debian's redis-server and mosquitto")
    digest = hashlib.sha256(OTHERS["stream"].encode()).hexdigest()
    redis = Redis(tmp_path / "redis", certificates, users=[f'user u on "#{digest}" ~* +@all'])
    mosquitto = Mosquitto(tmp_path / "mosquitto", certificates)
    mosquitto.set_users({"u": OTHERS["topic"]}, "user u\ntopic readwrite #\n")
    yield redis.start(), mosquitto.start()
    redis.stop()
    mosquitto.stop()


def broker_sinks(rabbitmq, redis, mosquitto, backend):
    """Sinks of every kind: with the right password, a wrong one, nobody there, and no TLS there."""
    dead = free_port()
    kinds = {"rabbitmq": ("amqp", rabbitmq.port, "we:ird@/us%er ü", CANARY),
             "redis": ("redis", redis.port, "u", OTHERS["stream"]),
             "mqtt": ("mqtt", mosquitto.user_port, "u", OTHERS["topic"])}
    for kind, (scheme, port, user, password) in kinds.items():
        right = f"{quote(user, safe='')}:{quote(password, safe='')}@"
        urls = {"right": f"{scheme}://{right}127.0.0.1:{port}",
                "wrong": f"{scheme}://u:{WRONG}@127.0.0.1:{port}",
                "dead": f"{scheme}://{right}127.0.0.1:{dead}",
                "tls": f"{scheme}s://{right}127.0.0.1:{port}"}
        for name, url in urls.items():
            yield {"name": f"{kind}-{name}", "type": kind, "url": url,
                   "routing_key": f"canary/{kind}", "retain_state": kind == "mqtt",
                   "exchange": "canary" if kind == "rabbitmq" else None,
                   "queue": "canary" if kind == "rabbitmq" else None,
                   "declare": kind == "rabbitmq"}
    yield {"name": "posted", "type": "http", "url": backend.url, "token": OTHERS["token"],
           "hmac_secret": OTHERS["signing"]}


def store_answer(fake, answer):
    """What the S3 server says: one that "echoes" tells everybody our keys."""
    if answer == "echoes":
        told = " ".join(OTHERS[name] for name in ("access", "secret", "session"))
        fake.standard = FakeS3.error(403, "SignatureDoesNotMatch", told.replace("%", "&#37;"))


def consume(rabbitmq):
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", rabbitmq.port)) as connection:
        channel = connection.channel()
        taken = iter(lambda: channel.basic_get("canary", auto_ack=True)[2], None)
        events = [json.loads(body) for body in taken]
        channel.queue_delete("canary")
        channel.exchange_delete("canary")
    return events


@pytest.fixture
def store():
    server = FakeS3()
    yield server
    server.stop()


@pytest.mark.parametrize("answer", ["takes", "echoes"])
def test_brokers_and_the_store_are_told_secrets_and_nobody_else(
        rabbitmq, brokers, start_backend, run_daemon, walker, store, answer):
    store_answer(store, answer)
    backend = start_backend()
    sinks = list(broker_sinks(rabbitmq, *brokers, backend))
    daemon = run_daemon({
        "log": {"level": "debug"}, "worker": {"heartbeat_s": 1}, "sinks": sinks,
        "cameras": [{"id": "walk", "test_video": str(walker), "save_snapshots": True}],
        "alerts": {"delivery": "all", "camera_events": True, "camera_debounce_s": 0},
        "s3": {"enabled": True, "bucket": "b", "endpoint_url": store.url, "presign_s": 600,
               "access_key": OTHERS["access"], "secret_key": OTHERS["secret"],
               "session_token": OTHERS["session"]}})
    right = [sink["name"] for sink in sinks if sink["name"].endswith(("right", "posted"))]
    others = [sink["name"] for sink in sinks if sink["name"] not in right]

    def delivered(name):
        return daemon.metrics()[f'faceworker_sink_delivered_total{{sink="{name}"}}']
    poll(lambda: any(event["type"].endswith("left") for event in backend.events()), 40,
         lambda: f"a departure: {daemon.readiness()}")
    for name in right:
        poll(lambda name=name: delivered(name) > 2, 15, lambda: f"deliveries: {daemon.readiness()}")
    poll(lambda: all(f"sink {name}: " in daemon.readiness()[1] for name in others), 20,
         lambda: f"what is wrong with the others: {daemon.readiness()}")
    assert all(f"sink {name}: " not in daemon.readiness()[1] for name in right)
    assert ("store snapshots: refused" in daemon.readiness()[1]) == (answer == "echoes")
    assert store.requests and "X-Faceworker-Signature" in backend.requests[0]["headers"]

    for path in ("/", "/metrics", "/readyz", "/api/v1/cameras", "/api/v1/events?limit=500"):
        assert_clean(daemon.get(path)[1], path)
    shown = daemon.events(type="face.left")[0]["id"]
    for command in (["list"], ["show", shown], ["export"]):
        done = run_faceworker("outbox", *command, "-c", daemon.config)
        assert done.returncode == 0 and done.stdout, done
        assert_clean(done.stdout + done.stderr, f"what outbox {command[0]} says")
    daemon.stop()
    assert_clean(daemon.log(), "the log")
    files = [path for path in (daemon.folder / "state").rglob("*") if path.is_file()]
    assert {"outbox.db"} < {path.name for path in files}
    for path in files:
        assert_clean(path.read_bytes(), path)
        # Signed addresses let everybody in: they are made for each message, and kept nowhere.
        assert b"X-Amz-" not in path.read_bytes()
    done = run_faceworker("check", "-c", daemon.config)
    assert done.returncode == 0 and "rabbitmq-right" in done.stdout, done
    assert_clean(done.stdout + done.stderr, "what check says")

    taken = consume(rabbitmq)
    pictures = [event["data"]["snapshot"]["full"] for event in taken if event["data"].get("snapshot")]
    assert pictures and all("X-Amz-Signature=" in picture["url"] for picture in pictures)
    for picture in pictures:
        picture["url"] = picture["url"].split("?")[0]  # names access key and session token
        assert quote(OTHERS["secret"], safe="") not in picture["url"]
    for event in taken:
        if event["data"].get("snapshot") is None:
            assert_clean(json.dumps(event), "an alert")


def probe(url, *options, password=None):
    return subprocess.run([str(FACEWORKER), "probe", "--seconds", "1", *options, url],
                          input=password, capture_output=True, text=True, timeout=60, check=False)


def test_probe_logs_in_and_tells_no_secret(guarded, make_clip, publish):
    encoded = quote(CANARY, safe="")
    publish(make_clip("head-pose-face-detection-female.mp4", "640:360"),
            guarded.rtsp("cam", f"viewer:{encoded}@"))
    guarded.wait_for("cam")
    for login in (f"viewer:{encoded}@", f"second:{RAW}@"):
        done = probe(guarded.rtsp("cam", login))
        assert done.returncode == 0 and "640" in done.stdout, done
        assert_clean(done.stdout + done.stderr, "what probe says")
    done = probe(guarded.rtsp("cam"), "--username", "viewer", "--password-file", "-",
                 password=CANARY + "\n")
    assert done.returncode == 0 and "640" in done.stdout, done
    assert_clean(done.stdout + done.stderr, "what probe says")

    for done in (probe(guarded.rtsp("cam", f"viewer:{WRONG}@")),
                 probe(guarded.rtsp("cam"), "--username", "viewer", "--password-file", "-",
                       password=WRONG)):
        assert done.returncode == 1, done
        assert "401" in done.stdout + done.stderr
        assert_clean(done.stdout + done.stderr, "what probe says")
    for url in (f"rtsp://viewer:{RAW}@127.0.0.1:{free_port()}/cam",
                f"rtsp://viewer:{RAW}@no-such-host.invalid/cam",
                f"gopher://viewer:{encoded}@127.0.0.1/cam", f"rtsp://viewer:{encoded}@127.0.0.1:x/",
                f"rtsp://viewer:{encoded}@/cam", f"rtsp://viewer:{CANARY}@127.0.0.1:1/cam"):
        done = probe(url)
        assert done.returncode in (1, 2), done
        assert_clean(done.stdout + done.stderr, f"what probe says of {url}")


CAMERA = '"id": "cam", "rtsp": "rtsp://127.0.0.1/cam"'
PASSWORD = json.dumps(CANARY)
# What people write when they get it wrong, with a secret near: %s is CANARY as JSON, %r its text
# within a string.
BROKEN = {
    "no comma": '{"cameras": [{' + CAMERA + ', "password": %s "username": "u"}]}',
    "comma missing before": '{"cameras": [{' + CAMERA + ' "password" %s}]}',
    "string without end": '{"cameras": [{' + CAMERA + ', "password": "%r\n}]}',
    "string without quotes": '{"cameras": [{' + CAMERA + ', "password": %r}]}',
    "bad escape": '{"cameras": [{' + CAMERA + r', "password": "%r\q"}]}',
    "cut off": '{"cameras": [{' + CAMERA + ', "password": "%r',
    "single quotes": '{"cameras": [{' + CAMERA + ", \"password\": '%r'}]}",
    "a key twice": '{"cameras": [{' + CAMERA + ', "password": %s, "password": %s}]}',
    "after the end": '{"cameras": [{' + CAMERA + '}]} %s',
    "misspelt": '{"cameras": [{' + CAMERA + ', "pasword": %s}]}',
    "a list": '{"cameras": [{' + CAMERA + ', "password": [%s]}]}',
    "an object": '{"cameras": [{' + CAMERA + ', "password": {"value": %s}}]}',
    "twice": '{"cameras": [{' + CAMERA + ', "password": %s, "password_file": "/nowhere"}]}',
    "as a file": '{"cameras": [{' + CAMERA + ', "password_file": %s}]}',
    "not for a file": '{"cameras": [{"id": "cam", "test_video": "a.mp4", "password": %s, "x": 1,'
                      '"transport": "smoke"}]}',
    "bad port": '{"cameras": [{"id": "cam", "rtsp": "rtsp://u:%r@127.0.0.1:99999/x"}]}',
    "no host": '{"cameras": [{"id": "cam", "rtsp": "rtsp://u:%r@"}]}',
    "no slashes": '{"cameras": [{"id": "cam", "rtsp": "rtsp:u:%r@127.0.0.1/x"}]}',
    "bad scheme": '{"cameras": [{"id": "cam", "rtsp": "rtps://u:%r@127.0.0.1/x"}]}',
    "spaces": '{"cameras": [{"id": "cam", "rtsp": "rtsp://u:%r @127.0.0.1 /x"}]}',
    "bad output": '{"cameras": [{' + CAMERA + ', "ffmpeg_output": "srt://u:%r@127.0.0.1:1/x"}]}',
    "outputs no list": '{"cameras": [{' + CAMERA + ', "publish": {"outputs": "rtmp://u:%r@h/x"}}]}',
    "output twice": '{"cameras": [{' + CAMERA + ', "ffmpeg_output": "rtmp://u:%r@h/x",'
                    '"publish": {"outputs": ["rtmp://u:%r@h/x"]}}]}',
    "bad backend": '{"cameras": [{' + CAMERA + '}], "backend_alert_url": "ftp://u:%r@h/x?k=%r"}',
    "backend a number": '{"cameras": [{' + CAMERA + '}], "backend": {"token": 5, "tokn": %s}}',
    "bad broker": '{"cameras": [{' + CAMERA + '}], "mq": {"type": "rabbit", "url": "amqp:/%r@"}}',
    "bad sink": '{"cameras": [{' + CAMERA + '}], "sinks": [{"name": "a", "type": "http",'
                '"url": "htp://u:%r@h", "token": [%s]}]}',
    "bad keys": '{"cameras": [{' + CAMERA + '}], "s3": {"secret_key": [%s], "secret_kee": %s}}',
    "two spellings": '{"cameras": [{' + CAMERA + '}], "s3": {"secret_key": %s,'
                     '"secret_access_key": %s}}',
    "in the environment": '{"cameras": [{' + CAMERA + ', "password": "${NO_SUCH_VARIABLE}%r"}]}',
    "an endless reference": '{"cameras": [{' + CAMERA + ', "password": "${%r"}]}',
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("secret", [CANARY, RAW], ids=["canary", "raw"])
def test_messages_about_broken_configurations_tell_no_secret(name, secret, tmp_path):
    text = BROKEN[name].replace("%s", json.dumps(secret)).replace("%r", secret)
    file = tmp_path / "faceworker.json"
    file.write_text(text, encoding="utf-8")
    done = run_faceworker("check", "-c", file)
    assert_clean(done.stdout + done.stderr, "what check says")
    if done.returncode == 0:
        return
    assert done.returncode == 78
    assert re.search(rf"^{re.escape(str(file))}:\d+:\d+: ", done.stderr, re.M), done.stderr
    assert run_faceworker("run", "-c", file).stderr == done.stderr
