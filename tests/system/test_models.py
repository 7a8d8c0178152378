"""`faceworker models` against servers that behave well, badly and not at all."""
import base64
import contextlib
import hashlib
import http.server
import json
import ssl
import subprocess
import threading

import pytest
from conftest import CANARY
from harness import FACEWORKER, poll, run_faceworker

CONTENT = bytes(range(256)) * 2000
SUM = hashlib.sha256(CONTENT).hexdigest()
OTHER_SUM = hashlib.sha256(b"other").hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Asks the server's `answer(handler)` what to do; keeps the requests."""

    def do_GET(self):
        with self.server.lock:
            self.server.requests.append((self.path, self.headers.get("Range")))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.server.answer(self)

    def send(self, body, status=200, promised=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_from_range(self, content=CONTENT):
        """Like a server that knows ranges."""
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(content):
            self.send(b"", 416)
        elif start:
            self.send(content[start:], 206,
                      Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send(content)

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def serve():
    """serve(answer) starts a server on a port of its own."""
    servers = []

    def start(answer, tls=None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.answer, server.requests, server.lock = answer, [], threading.Lock()
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return server
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def fetch(tmp_path):
    """fetch(base_url) gets the model `my.onnx`; fetch.folder is where it goes."""
    folder = tmp_path / "models"

    def arguments(base_url, **models):
        config = tmp_path / "faceworker.json"
        config.write_text(json.dumps({
            "models": {"dir": str(folder), "base_url": base_url, "onnx": "my.onnx",
                       "onnx_sha256": SUM, **models},
            "cameras": [{"id": "door", "rtsp": "rtsp://127.0.0.1:1/door"}]}), encoding="utf-8")
        return ["models", "fetch", "yunet", "-c", str(config)]

    def run(base_url, **models):
        result = run_faceworker(*arguments(base_url, **models))
        result.all = result.stdout + result.stderr
        return result
    run.folder, run.arguments = folder, arguments
    return run


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_fetched(fetch, result):
    assert result.returncode == 0, result.all
    assert files(fetch.folder) == ["my.onnx"]
    assert (fetch.folder / "my.onnx").read_bytes() == CONTENT


def test_fetches_and_then_needs_no_network(serve, fetch):
    server = serve(lambda handler: handler.send(CONTENT))
    result = fetch(f"{server.url}/faces/")
    assert_fetched(fetch, result)
    assert server.requests == [("/faces/my.onnx", None)]
    assert "http://" in result.all and "https://" in result.all, "a warning for plain HTTP"
    assert_fetched(fetch, fetch("https://127.0.0.1:1/"))
    assert len(server.requests) == 1


def test_wrong_sum_names_both_sums_and_the_address(serve, fetch):
    server = serve(lambda handler: handler.send(b"other"))
    result = fetch(server.url)
    assert result.returncode == 1
    for text in (SUM, OTHER_SUM, f"{server.url}/my.onnx"):
        assert text in result.all
    assert files(fetch.folder) == []


def test_a_damaged_file_is_not_used(serve, fetch):
    server = serve(lambda handler: handler.send(CONTENT))
    assert_fetched(fetch, fetch(server.url))
    (fetch.folder / "my.onnx").write_bytes(b"other")
    result = fetch(server.url)
    assert result.returncode == 1
    assert SUM in result.all and OTHER_SUM in result.all


def test_a_cut_transfer_goes_on_where_it_ended(serve, fetch):
    def answer(handler):
        if handler.headers.get("Range"):
            handler.send_from_range()
        else:
            handler.send(CONTENT[:100000], promised=len(CONTENT))
            handler.close_connection = True
    server = serve(answer)
    assert_fetched(fetch, fetch(server.url))
    assert server.requests == [("/my.onnx", None), ("/my.onnx", "bytes=100000-")]


def test_what_an_ended_process_left_is_continued(serve, fetch):
    server = serve(Handler.send_from_range)
    fetch.folder.mkdir()
    (fetch.folder / ".my.onnx.part").write_bytes(CONTENT[:5000])
    assert_fetched(fetch, fetch(server.url))
    assert server.requests == [("/my.onnx", "bytes=5000-")]


@pytest.mark.parametrize("answer", [Handler.send_from_range, lambda handler: handler.send(CONTENT)],
                         ids=["ranges", "no ranges"])
@pytest.mark.parametrize("left", [b"rubbish" * 100, CONTENT + b"more"], ids=["wrong", "too long"])
def test_rubbish_left_behind_does_no_harm(serve, fetch, answer, left):
    server = serve(answer)
    fetch.folder.mkdir()
    (fetch.folder / ".my.onnx.part").write_bytes(left)
    assert_fetched(fetch, fetch(server.url))


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_called_so(serve, fetch, kind):
    page = b"<!doctype html><html><body>Please log in</body></html>"
    server = serve(lambda handler: handler.send(page, Content_Type=kind))
    result = fetch(server.url)
    assert result.returncode == 1
    assert "web page" in result.all
    assert files(fetch.folder) == []


def test_redirects(serve, fetch):
    target = serve(lambda handler: handler.send(CONTENT))
    server = serve(lambda handler: handler.send(b"", 302, Location=f"{target.url}/x"))
    assert_fetched(fetch, fetch(server.url))


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/my.onnx", "/again"])
def test_redirects_that_lead_nowhere(serve, fetch, location):
    server = serve(lambda handler: handler.send(b"", 302, Location=location))
    result = fetch(server.url)
    assert result.returncode == 1
    assert files(fetch.folder) == []
    assert len(server.requests) <= 6


def test_other_schemes_are_refused(fetch):
    result = fetch("ftp://127.0.0.1:1/")
    assert result.returncode == 1
    assert "https://" in result.all


def test_a_certificate_that_nobody_vouches_for(serve, fetch, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = serve(lambda handler: handler.send(CONTENT), tls=context)
    result = fetch(server.url)
    assert result.returncode == 1
    assert "certificate" in result.all
    assert server.requests == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_http_errors(serve, fetch, status):
    server = serve(lambda handler: handler.send(b"no", status))
    result = fetch(server.url)
    assert result.returncode == 1
    assert str(status) in result.all
    assert len(server.requests) == (3 if status == 500 else 1)
    assert files(fetch.folder) == []


def test_a_server_that_recovers(serve, fetch):
    def answer(handler):
        if len(handler.server.requests) < 3:
            handler.send(b"later", 503)
        else:
            handler.send(CONTENT)
    assert_fetched(fetch, fetch(serve(answer).url))


def test_too_large(serve, fetch):
    server = serve(lambda handler: handler.send(b"\0" * 1000000))
    # The known model's size bounds the download, announced or not.
    result = fetch(None, onnx=f"{server.url}/yunet_n_640_640.onnx")
    assert result.returncode == 1
    assert "larger" in result.all
    assert files(fetch.folder) == []


def test_no_sum_no_download(serve, fetch):
    server = serve(lambda handler: handler.send(CONTENT))
    result = fetch(server.url, onnx_sha256=None)
    assert result.returncode == 1
    assert "models.onnx_sha256" in result.all
    assert server.requests == []


def test_two_processes_at_once(serve, fetch):
    arrived = threading.Event()
    go_on = threading.Event()

    def answer(handler):
        arrived.set()
        go_on.wait(20)
        handler.send(CONTENT)
    server = serve(answer)
    command = [str(FACEWORKER), *fetch.arguments(server.url)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                for _ in range(3)]
    try:
        assert arrived.wait(20)
        with pytest.raises(AssertionError):
            poll(lambda: len(server.requests) > 1, 1, "the others wait")
        go_on.set()
        for child in children:
            output, _ = child.communicate(timeout=30)
            assert child.returncode == 0, output
    finally:
        for child in children:
            child.kill()
    assert files(fetch.folder) == ["my.onnx"]
    assert len(server.requests) == 1


def test_credentials_are_used_and_never_shown(serve, fetch):
    expected = "Basic " + base64.b64encode(b"someone:hunter2secret").decode()

    def answer(handler):
        if handler.headers.get("Authorization") == expected:
            handler.send(b"other")
        else:
            handler.send(b"", 401)
    server = serve(answer)
    result = fetch(server.url.replace("//", "//someone:hunter2secret@"))
    assert OTHER_SUM in result.all
    assert "hunter2secret" not in result.all
    result = fetch(server.url.replace("//", f"//someone:{CANARY[2:6]}wrong@"))
    assert result.returncode == 1
    assert "401" in result.all
    assert "wrong@" not in result.all


def test_it_can_be_stopped(serve, fetch):
    release = threading.Event()
    server = serve(lambda handler: release.wait(30))
    child = subprocess.Popen([str(FACEWORKER), *fetch.arguments(server.url)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        poll(lambda: server.requests, 20, "the request")
        child.terminate()
        assert child.wait(2) != 0
    finally:
        child.kill()
        release.set()
