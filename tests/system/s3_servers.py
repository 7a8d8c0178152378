"""An S3 server that checks signatures, one that answers as it is told, and a spool to drive."""
import contextlib
import http.server
import json
import pathlib
import re
import subprocess
import threading
import time

import boto3
import botocore.config
from harness import BUILD, ROOT, Process, free_port, poll, port_is_open

ACCESS_KEY = "TEST-access.key"
SECRET_KEY = "Secret/With+Odd=Characters&%41 é"
BUCKET = "faces"


class S3Server:
    """A Versity S3 Gateway on a folder. Keeps port and objects when it is started again."""

    def __init__(self, folder, certificate=None, region="us-east-1"):
        """CERTIFICATE: (file, key file), then it speaks TLS."""
        self.folder = pathlib.Path(folder)
        self.root, self.sidecar = self.folder / "root", self.folder / "sidecar"
        for path in (self.root / BUCKET, self.sidecar):
            path.mkdir(parents=True)
        self.port = free_port()
        self.certificate, self.region = certificate, region
        self.process = None

    @staticmethod
    def program():
        """None where there is none."""
        return subprocess.run([str(ROOT / "tools" / "get-versitygw.sh"), "--no-build"],
                              capture_output=True, text=True, check=False).stdout.strip() or None

    def start(self, secret_key=SECRET_KEY):
        command = [self.program(), "--port", f"127.0.0.1:{self.port}", "--access", ACCESS_KEY,
                   "--secret", secret_key, "--region", self.region, "--keep-alive",
                   "--virtual-domain", "localhost"]
        if self.certificate:
            command += ["--cert", self.certificate[0], "--key", self.certificate[1]]
        self.process = Process([*command, "posix", "--sidecar", self.sidecar, self.root],
                               self.folder / "s3.log")
        poll(lambda: port_is_open(self.port), 15,
             lambda: f"the S3 server did not start: {self.process.text()[-2000:]}")
        return self

    def stop(self):
        if self.process:
            self.process.kill()
            self.process = None

    @property
    def url(self):
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def client(self, ca=None):
        return boto3.client(
            "s3", endpoint_url=self.url, region_name=self.region, aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY, verify=ca,
            config=botocore.config.Config(s3={"addressing_style": "path"},
                                          retries={"max_attempts": 1}))

    def object(self, key, ca=None):
        """(bytes, headers) of an object, as boto3 reads it."""
        answer = self.client(ca).get_object(Bucket=BUCKET, Key=key)
        return answer["Body"].read(), answer

    def keys(self):
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {entry["Key"] for page in pages for entry in page.get("Contents", [])}


class FakeS3:
    """Answers each PUT with the next of `answers`, then with `standard`: (status, headers, body),
    "hang", "hang up", or "early" (413 before the body was read). Keeps every request."""

    OK = (200, {"ETag": '"1"'}, b"")

    def __init__(self):
        self.answers, self.standard = [], self.OK
        self.requests = []
        self.under_way = self.most_under_way = 0
        self.delay_s = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self):
                fake.take(self)

            def log_message(self, format, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, handler):
        with self.lock:
            answer = self.answers.pop(0) if self.answers else self.standard
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        body = b""
        if answer != "early":
            body = handler.rfile.read(int(handler.headers["Content-Length"]))
        time.sleep(self.delay_s)
        with self.lock:
            self.under_way -= 1
            self.requests.append({"path": handler.path, "headers": dict(handler.headers.items()),
                                  "body": body, "peer": handler.client_address[1]})
        if answer == "hang":
            self.stopping.wait()
        if answer == "early":
            answer = (413, {"Connection": "close"}, b"")
        if not isinstance(answer, tuple):
            handler.close_connection = True
            return
        self.answer(handler, *answer)

    @staticmethod
    def answer(handler, status, headers, body):
        with contextlib.suppress(OSError):
            handler.send_response_only(status)  # send_response() would add a date of now
            headers = {"Date": handler.date_time_string(), "Content-Length": len(body), **headers}
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)

    @staticmethod
    def error(status, code, message="", headers=None, extra=""):
        body = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
                f"<Message>{message}</Message>{extra}<RequestId>1</RequestId></Error>")
        return status, headers or {}, body.encode()

    def stop(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()


class SpoolTool:
    """A spool, driven through tests/tools/spool_put.c. Options are those of the tool."""

    def __init__(self, folder, url, **options):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {"dir": self.folder / "spool", "endpoint_url": url, "bucket": BUCKET,
                   "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, **options}
        self.secrets = [options["access_key"], options["secret_key"]]
        self.log = self.folder / "spool.log"
        self.output = ""
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                [str(BUILD / "tests" / "tools" / "spool_put"),
                 *(f"{name}={value}" for name, value in options.items() if value is not None)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def call(self, *words):
        assert not any(re.search("[\t\n]", str(word)) for word in words)
        self.child.stdin.write("\t".join(map(str, words)) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        assert line, f"the tool ended with {self.child.wait()}: {self.text()[-2000:]}"
        if words[0] != "url":  # a presigned one names the access key
            self.output += line
        return json.loads(line)

    def put(self, key, data):
        file = self.folder / "picture"
        file.write_bytes(data)
        answer = self.call("put", key, file)
        assert answer["status"] == 0, answer

    def state(self, key):
        return self.call("state", key)["value"]

    def url(self, key):
        return self.call("url", key)["value"]

    def stats(self):
        return self.call("stats")

    def drain(self, timeout_s=15):
        assert self.call("drain", int(timeout_s * 1000))["value"], \
            f"not uploaded within {timeout_s} s: {self.stats()}"

    def wait_for_error(self, words, timeout_s=10):
        """The stats once the latest error has WORDS."""
        return poll(lambda: words in (stats := self.stats())["last_error"] and stats, timeout_s,
                    lambda: f"'{words}' in {self.stats()}")

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def end(self, expect=0):
        """Closes it, which must be quick; no key may be in anything that it wrote."""
        if self.child.poll() is None:
            self.child.stdin.close()
            code = self.child.wait(10)
            assert code == expect, f"exit code {code}: {self.text()[-2000:]}"
        self.child.stdout.close()
        for secret in self.secrets:
            assert secret not in self.text() + self.output, "a key is in the log"
