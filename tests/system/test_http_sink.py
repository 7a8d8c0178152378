"""POSTs over TLS, and signatures as docs/alerts.md checks them."""
import http.server
import json
import re
import ssl
import threading

import pytest
from harness import ROOT
from servers import make_messages

SECRET = "sh4red/s3cret"


class TlsBackend:
    """An HTTPS server that keeps requests; with CLIENT_CA it takes only clients that this authority
    vouches for."""

    def __init__(self, certificate, key, client_ca=None):
        self.requests = requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                requests.append((dict(self.headers.items()), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # a client that does not trust us

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.server.server_address[1]}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def tls_backend(certificates):
    running = []

    def start(certificate=certificates.server, key=certificates.server_key, **options):
        running.append(TlsBackend(certificate, key, **options))
        return running[-1]
    yield start
    for backend in running:
        backend.stop()


def test_requests_are_signed_as_documented(open_sink, tls_backend, certificates):
    backend = tls_backend()
    message = make_messages(1)[0]
    tool = open_sink(type="http", url=backend.url, ca_file=certificates.ca, hmac_secret=SECRET)
    assert tool.deliver([message])["status"] == "ok"
    headers, body = backend.requests[0]
    assert headers["X-Faceworker-Event-Id"] == headers["Idempotency-Key"] == message["id"]
    assert json.loads(body) == message["body"]

    documented = re.findall(r"```python\n(.*?)```",
                            (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8"), re.DOTALL)
    check = {}
    exec(next(code for code in documented if "def is_from_faceworker" in code), check)
    is_ours = check["is_from_faceworker"]
    header = headers["X-Faceworker-Signature"]
    assert is_ours(SECRET.encode(), header, body)
    assert not is_ours(SECRET.encode(), header, body + b" ")
    assert not is_ours(b"another", header, body)
    assert not is_ours(SECRET.encode(), header, body, tolerance_s=-1)
    assert SECRET not in tool.output


def test_certificates_are_checked_on_both_sides(open_sink, tls_backend, certificates):
    trusted = {"ca_file": certificates.ca}
    client = {"certificate_file": certificates.client, "key_file": certificates.client_key}
    foreign = {"certificate_file": certificates.foreign_client,
               "key_file": certificates.foreign_client_key}
    backend = tls_backend()
    strict = tls_backend(client_ca=certificates.ca)
    other = tls_backend(certificates.other, certificates.other_key)

    for server, options, status in [
            (backend, trusted, "ok"), (backend, {"tls_verify": False}, "ok"),
            (backend, {}, "connection failed"), (other, trusted, "connection failed"),
            (other, {"tls_verify": False}, "ok"),
            (backend, {"ca_file": "/no/such/file"}, "connection failed"),
            (strict, {**trusted, **client}, "ok"), (strict, trusted, "connection failed"),
            (strict, {**trusted, **foreign}, "connection failed"),
            (strict, {**trusted, **client, "key_file": "/no/such/key"}, "input or output failed")]:
        tool = open_sink(type="http", url=server.url, **options)
        answer = tool.deliver(make_messages(1))
        assert answer["status"] == status, (options, answer)
        assert (status == "ok") == (answer["error"] == ""), answer
