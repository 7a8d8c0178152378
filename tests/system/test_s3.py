"""Snapshots in S3: a real server that checks signatures, and one that answers oddly."""
import datetime
import email.utils
import hashlib
import os
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from conftest import CANARY, missing
from harness import poll
from s3_servers import ACCESS_KEY, BUCKET, SECRET_KEY, FakeS3, S3Server, SpoolTool

PICTURE = b"\xff\xd8" + os.urandom(50000) + b"\xff\xd9"
ODD_KEYS = [
    "front-door/2026/01/31/235959.123-t12-appeared-face.jpg",
    "with spaces/a b  c.jpg",
    "plus+and%percent%41/100%.jpg",
    "Tür 1/日本/🙂.jpg",
    "~tilde/-dash/_under/.dot.jpg",
    "all/!$&'()*,;=:@[]{}|^`\"<>#?\\.jpg",
    "e\u0301 and \u00e9.jpg",
]


def need_program():
    if not S3Server.program():
        missing("no S3 server; run tools/get-versitygw.sh")


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """A server for the tests that leave it alone."""
    need_program()
    server = S3Server(tmp_path_factory.mktemp("s3")).start()
    yield server
    server.stop()


@pytest.fixture
def own_s3(tmp_path):
    """A server that is not started yet."""
    need_program()
    server = S3Server(tmp_path / "s3")
    yield server
    server.stop()


@pytest.fixture
def fake():
    server = FakeS3()
    yield server
    server.stop()


@pytest.fixture
def open_spool(tmp_path):
    """open_spool(url, **options) is a SpoolTool, always in the same folder."""
    running = []

    def start(url, **options):
        running.append(SpoolTool(tmp_path / "tool", url, **options))
        return running[-1]
    yield start
    for tool in running:
        tool.end()


def fetch(url):
    """(status, body) of a GET that knows nothing of S3."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.sanitizer
def test_pictures_come_back_byte_for_byte(s3, open_spool):
    spool = open_spool(s3.url)
    pictures = {key: PICTURE + bytes([index]) for index, key in enumerate(ODD_KEYS)}
    pictures |= {"one-byte.jpg": b"x", "large.jpg": os.urandom(5_000_000)}
    for key, data in pictures.items():
        spool.put(key, data)
    spool.drain()
    for key, data in pictures.items():
        assert spool.state(key) == "stored"
        body, answer = s3.object(key)
        assert body == data, key
        assert answer["ContentType"] == "image/jpeg"
        assert answer["Metadata"] == {"sha256": hashlib.sha256(data).hexdigest()}
        assert spool.url(key) == s3.url + "/" + BUCKET + "/" + urllib.parse.quote(key, safe="/~")
    stats = spool.stats()
    assert stats["stored"] == len(pictures) and stats["pending"] == stats["retried"] == 0
    assert stats["bytes"] == sum(map(len, pictures.values()))


def test_presigned_urls_work_and_expire(s3, open_spool):
    spool = open_spool(s3.url, presign_s=2)
    for key in ODD_KEYS:
        spool.put(key, PICTURE + key.encode())
    spool.drain()
    for key in ODD_KEYS:
        assert fetch(spool.url(key)) == (200, PICTURE + key.encode()), key
    url = spool.url(ODD_KEYS[0])
    assert fetch(url.split("?")[0])[0] == 403
    assert fetch(url.replace("X-Amz-Expires=2", "X-Amz-Expires=9"))[0] == 403
    poll(lambda: fetch(url)[0] == 403, 6, "the end of the URL's life")
    assert fetch(spool.url(ODD_KEYS[0]))[0] == 200


def test_the_buckets_name_in_the_hosts(s3, open_spool):
    spool = open_spool(f"http://localhost:{s3.port}", path_style=0, presign_s=60)
    spool.put("cam 1/virtual+host.jpg", PICTURE)
    spool.drain()
    assert s3.object("cam 1/virtual+host.jpg")[0] == PICTURE
    url = spool.url("cam 1/virtual+host.jpg")
    assert url.startswith(f"http://{BUCKET}.localhost:{s3.port}/cam%201/")
    # Not every resolver knows names below localhost, so the host goes into the header.
    request = urllib.request.Request(url.replace(f"{BUCKET}.localhost", "127.0.0.1"),
                                     headers={"Host": f"{BUCKET}.localhost:{s3.port}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.read() == PICTURE


def test_a_wrong_secret_is_refused_then_put_right(own_s3, open_spool):
    own_s3.start(secret_key="another one")
    spool = open_spool(own_s3.url)
    spool.put("a.jpg", PICTURE)
    stats = spool.wait_for_error("correct s3.secret_key")
    assert stats["is_refused"] and stats["pending"] == 1
    assert spool.state("a.jpg") == "pending"
    own_s3.stop()
    own_s3.start()
    spool.drain(20)  # the ladder of refusals begins with 5 s
    assert own_s3.object("a.jpg")[0] == PICTURE
    stats = spool.stats()
    assert not stats["is_refused"] and stats["last_error"] == ""


@pytest.mark.parametrize("options, words", [
    ({"access_key": "nobody"}, "No user exists"),
    ({"region": "eu-west-1"}, "it is in the region 'us-east-1', not in 'eu-west-1'"),
    ({"bucket": "missing"}, "there is no such bucket (NoSuchBucket, HTTP 404); create it"),
    ({"session_token": "bad"}, "s3.session_token"),
])
def test_what_is_wrong_is_named(s3, open_spool, options, words):
    spool = open_spool(s3.url, **options)
    spool.put("a.jpg", PICTURE)
    stats = spool.wait_for_error(words)
    assert stats["is_refused"] and stats["pending"] == 1
    assert words in spool.text()


def test_an_outage_loses_nothing(own_s3, open_spool):
    spool = open_spool(own_s3.url)
    pictures = {f"cam/{index}.jpg": PICTURE + bytes([index]) for index in range(20)}
    for key, data in list(pictures.items())[:10]:
        spool.put(key, data)
    spool.wait_for_error("takes no connection")
    spool.kill()
    spool = open_spool(own_s3.url)
    assert spool.stats()["pending"] == 10
    for key, data in list(pictures.items())[10:]:
        spool.put(key, data)
    own_s3.start()
    spool.drain()
    assert own_s3.keys() == set(pictures)
    assert all(own_s3.object(key)[0] == data for key, data in pictures.items())
    assert "takes pictures again" in spool.text()


def test_kills_of_both_sides_lose_nothing(own_s3, open_spool):
    own_s3.start()
    keys = []
    spool = open_spool(own_s3.url)
    for index in range(40):
        keys.append(f"cam/{index}.jpg")
        spool.put(keys[-1], PICTURE + keys[-1].encode())
        if index % 10 == 4:
            own_s3.stop()
            own_s3.start()
        if index % 10 == 8:
            spool.kill()
            spool = open_spool(own_s3.url)
    spool.drain()
    assert own_s3.keys() == set(keys)
    for key in keys:
        assert own_s3.object(key)[0] == PICTURE + key.encode()
        assert spool.state(key) == "stored"


def test_a_frozen_server_is_given_up_in_time(own_s3, open_spool):
    own_s3.start()
    spool = open_spool(own_s3.url, timeout_ms=1000)
    spool.put("a.jpg", PICTURE)
    spool.drain()
    own_s3.process.freeze()
    spool.put("b.jpg", PICTURE)
    assert not spool.wait_for_error("does not answer in time")["is_refused"]
    began = time.monotonic()
    spool.end()
    assert time.monotonic() - began < 2
    own_s3.process.thaw()
    spool = open_spool(own_s3.url)
    spool.drain()
    assert own_s3.object("b.jpg")[0] == PICTURE


def test_certificates_are_checked(tmp_path, certificates, open_spool):
    need_program()
    server = S3Server(tmp_path / "s3", (certificates.server, certificates.server_key)).start()
    try:
        spool = open_spool(server.url, ca_file=certificates.ca)
        spool.put("a.jpg", PICTURE)
        spool.drain()
        assert server.object("a.jpg", ca=certificates.ca)[0] == PICTURE
        spool.end()
        for ca_file in (None, certificates.foreign_ca):
            spool = open_spool(server.url, ca_file=ca_file)
            spool.put("b.jpg", PICTURE)
            spool.wait_for_error("is not trusted")
            spool.end()
        spool = open_spool(server.url, tls_verify=0)
        spool.drain()
        assert server.object("b.jpg", ca=certificates.ca)[0] == PICTURE
        spool.end()
    finally:
        server.stop()
    other = S3Server(tmp_path / "other", (certificates.other, certificates.other_key)).start()
    try:
        spool = open_spool(other.url, ca_file=certificates.ca)
        spool.put("c.jpg", PICTURE)
        spool.wait_for_error("is not trusted")
    finally:
        other.stop()


# Odd answers

def at(seconds):
    """A Date header SECONDS from now."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return {"Date": email.utils.format_datetime(when, usegmt=True)}


@pytest.mark.sanitizer
@pytest.mark.parametrize("answer, words", [
    # Made when the test runs: the clock goes on from the collection of the tests to then.
    (lambda: FakeS3.error(403, "RequestTimeTooSkewed", headers=at(3 * 3600 + 330)),
     "the clock here is 3 h 5 min behind the server's"),
    (lambda: FakeS3.error(403, "RequestTimeTooSkewed", headers=at(-1230)), "20 min ahead"),
    (FakeS3.error(403, "AccessDenied", "User: arn:x may not"), "User: arn:x may not); give the"),
    (FakeS3.error(403, "AccessDenied", f"Key {ACCESS_KEY} {SECRET_KEY}"), "HTTP 403); give the"),
    (FakeS3.error(400, "ExpiredToken"), "the session token has expired"),
    (FakeS3.error(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-3"}),
     "it is in the region 'eu-west-3', not in 'us-east-1'"),
    ((307, {"Location": "http://127.0.0.1:1/"}, b""), "not to be reached there"),
    ((200, {}, b"<html>Log in</html>"), "answers as no S3 server does"),
    ((404, {}, b"<html>nginx</html>"), "check s3.endpoint_url"),
    ((403, {}, b"x" * 3_000_000), "HTTP 403"),
])
def test_refusals_are_told(fake, open_spool, answer, words):
    fake.standard = answer() if callable(answer) else answer
    spool = open_spool(fake.url)
    spool.put("a.jpg", PICTURE)
    stats = spool.wait_for_error(words)
    assert stats["is_refused"] and stats["pending"] == 1 and stats["failed"] == 0


@pytest.mark.sanitizer
@pytest.mark.parametrize("answer, words", [
    (FakeS3.error(503, "SlowDown"), "too many requests"),
    (FakeS3.error(500, "InternalError"), "asked again later"),
    ((502, {}, b"<html>Bad gateway</html>"), "HTTP 502"),
    (FakeS3.error(400, "RequestTimeout"), "too slowly"),
    ("hang up", "hung up without an answer"),
    ("hang", "does not answer in time"),
])
def test_what_passes_is_tried_again(fake, open_spool, answer, words):
    fake.standard = answer
    spool = open_spool(fake.url, timeout_ms=700)
    spool.put("a.jpg", PICTURE)
    stats = spool.wait_for_error(words)
    assert not stats["is_refused"]
    fake.standard = FakeS3.OK
    spool.drain()
    assert fake.requests[-1]["body"] == PICTURE
    stats = spool.stats()
    assert stats["last_error"] == "" and stats["retried"] >= 1 and stats["stored"] == 1


@pytest.mark.parametrize("answer", [FakeS3.error(400, "EntityTooLarge"), "early",
                                    FakeS3.error(400, "KeyTooLongError")])
def test_one_rejected_picture_holds_up_no_other(fake, open_spool, answer):
    fake.answers = [answer]
    spool = open_spool(fake.url, upload_threads=1)
    spool.put("bad.jpg", os.urandom(4_000_000))
    spool.put("good.jpg", PICTURE)
    spool.drain()
    assert spool.state("bad.jpg") == "failed" and spool.state("good.jpg") == "stored"
    assert "bad.jpg" in spool.text()
    spool.kill()
    spool = open_spool(fake.url)
    assert spool.state("bad.jpg") == "failed" and spool.stats()["pending"] == 0


@pytest.mark.sanitizer
def test_connections_are_kept_and_answers_kept_apart(fake, open_spool):
    spool = open_spool(fake.url, upload_threads=1)
    for index in range(5):
        spool.put(f"{index}.jpg", PICTURE)
        spool.drain()
    assert len({request["peer"] for request in fake.requests}) == 1
    fake.standard = (200, {}, b"")  # the headers of the answers before must not count
    spool.put("no.jpg", PICTURE)
    spool.wait_for_error("answers as no S3 server does")
    assert spool.state("no.jpg") == "pending"


def test_uploads_run_side_by_side(fake, open_spool):
    fake.delay_s = 0.5
    spool = open_spool(fake.url, upload_threads=3)
    for index in range(6):
        spool.put(f"{index}.jpg", PICTURE)
    spool.drain()
    assert fake.most_under_way == 3


def test_requests_are_signed_in_full(fake, open_spool):
    spool = open_spool(fake.url, session_token="to/ken+==", presign_s=60)
    spool.put("a b.png", PICTURE)
    spool.drain()
    request = fake.requests[0]
    headers = {name.lower(): value for name, value in request["headers"].items()}
    assert request["path"] == f"/{BUCKET}/a%20b.png"
    assert headers["x-amz-security-token"] == "to/ken+=="
    assert headers["x-amz-content-sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert headers["content-type"] == "image/png"
    assert "expect" not in headers
    for name in ("content-md5", "content-type", "host", "x-amz-content-sha256", "x-amz-date",
                 "x-amz-meta-sha256", "x-amz-security-token"):
        assert name in headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert "X-Amz-Security-Token=to%2Fken%2B%3D%3D&" in spool.url("a b.png")


# The daemon

@pytest.mark.sanitizer
def test_alerts_bring_urls_of_stored_pictures(own_s3, run_daemon, walker, start_backend):
    own_s3.start(secret_key=CANARY)
    backend = start_backend()
    daemon = run_daemon({
        "backend_alert_url": backend.url,
        "cameras": [{"id": "door", "test_video": str(walker), "save_snapshots": True}],
        "alerts": {"snapshot_wait_s": 10},
        "s3": {"enabled": True, "bucket": BUCKET, "prefix": "gate 1/", "endpoint_url": own_s3.url,
               "access_key": ACCESS_KEY, "secret_key": CANARY, "presign_s": 600}})
    poll(lambda: len(backend.events()) >= 2, 60, lambda: daemon.log()[-3000:])
    keys = set()
    for event in backend.events():
        snapshot = event["data"]["snapshot"]
        assert snapshot["state"] == "stored"
        for name in ("full", "full_annotated", "face", "face_annotated"):
            picture = snapshot[name]
            status, body = fetch(picture["url"])
            assert status == 200
            assert hashlib.sha256(body).hexdigest() == picture["sha256"]
            assert picture["key"].startswith("gate 1/door/20")
            keys.add(picture["key"])
    assert len(keys) == 4 * len(backend.events())
    assert daemon.metrics()["faceworker_snapshots_stored_total"] >= len(keys)
    assert daemon.readiness()[0]
