"""What the system tests drive: the daemon, MediaMTX, publishers of test streams, and polling."""
import base64
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("FACEWORKER_BUILD", ROOT / "build" / "test")).resolve()
FACEWORKER = BUILD / "src" / "app" / "faceworker"
IS_CI = os.environ.get("CI", "") not in ("", "0", "false")
STOP_LIMIT_S = 2.0


def poll(condition, timeout_s, what, interval_s=0.05):
    """Returns condition()'s first true value; fails with WHAT when none came in time."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what() if callable(what) else what}")
        time.sleep(interval_s)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def free_udp_pair():
    """An even port and the odd one above it, as RTP and RTCP want them."""
    for _ in range(200):
        port = free_port() & ~1
        with contextlib.suppress(OSError):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as even, \
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as odd:
                even.bind(("127.0.0.1", port))
                odd.bind(("127.0.0.1", port + 1))
                return port
    raise AssertionError("no two free UDP ports")


def port_is_open(port):
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def run_faceworker(*arguments, timeout_s=60, env=None, cwd=None):
    """Runs a command of the program to its end."""
    return subprocess.run([str(FACEWORKER), *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout_s, check=False, cwd=cwd,
                          env={**os.environ, **(env or {})})


class Process:
    """A child whose output goes to a file and which is always ended."""

    def __init__(self, command, log, env=None, cwd=None, own_group=False):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen([str(word) for word in command], stdout=out, stderr=out,
                                          stdin=subprocess.DEVNULL, cwd=cwd,
                                          start_new_session=own_group,
                                          env={**os.environ, **(env or {})})

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def is_running(self):
        return self.child.poll() is None

    def freeze(self):
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.child.send_signal(signal.SIGCONT)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.child.kill()
            self.thaw()
        self.child.wait()

    def terminate(self, timeout_s=5):
        if self.is_running():
            self.child.terminate()
            try:
                self.child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.child.returncode


class MediaMtx:
    """A MediaMTX on ports of its own, which keeps them when it is started again."""

    def __init__(self, folder, users=None):
        self.folder = pathlib.Path(folder)
        self.rtsp_port, self.rtmp_port, self.webrtc_port = free_port(), free_port(), free_port()
        self.udp_port = free_udp_pair()
        self.ice_port, self.api_port = free_port(), free_port()
        self.config = self.folder / "mediamtx.yml"
        self.config.write_text(self._yaml(users), encoding="utf-8")
        self.process = None

    def _yaml(self, users):
        lines = ["logLevel: info", f"rtspAddress: 127.0.0.1:{self.rtsp_port}",
                 f"rtpAddress: 127.0.0.1:{self.udp_port}",
                 f"rtcpAddress: 127.0.0.1:{self.udp_port + 1}",
                 "rtspTransports: [tcp, udp]", f"rtmpAddress: 127.0.0.1:{self.rtmp_port}",
                 f"webrtcAddress: 127.0.0.1:{self.webrtc_port}",
                 f"webrtcLocalUDPAddress: 127.0.0.1:{self.ice_port}",
                 "api: yes", f"apiAddress: 127.0.0.1:{self.api_port}",
                 "hls: no", "srt: no", "moq: no"]
        if users:
            lines += ["authInternalUsers:", "  - user: any", "    permissions:",
                      "      - action: api"]
            for name, password in users:
                # As a hash, because MediaMTX takes few special characters in plain passwords.
                digest = base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()
                name = base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
                lines += [f"  - user: sha256:{name}", f"    pass: sha256:{digest}",
                          "    permissions:", "      - action: publish", "      - action: read"]
        return "\n".join([*lines, "paths:", "  all_others:", ""])

    def start(self):
        program = subprocess.run([str(ROOT / "tools" / "get-mediamtx.sh"), "--no-build"],
                                 capture_output=True, text=True, check=False).stdout.strip()
        assert program, "no MediaMTX; run tools/get-mediamtx.sh"
        self.process = Process([program, self.config], self.folder / "mediamtx.log")
        poll(lambda: port_is_open(self.rtsp_port) and port_is_open(self.rtmp_port), 15,
             lambda: f"MediaMTX did not start: {self.process.text()[-2000:]}")
        return self

    def stop(self):
        if self.process:
            self.process.thaw() if self.process.is_running() else None
            self.process.terminate()
            self.process = None

    def path(self, path):
        """What MediaMTX itself says of PATH; {} when it says nothing."""
        url = f"http://127.0.0.1:{self.api_port}/v3/paths/get/{path}"
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(url, timeout=2) as answer:
                return json.load(answer)
        return {}

    def is_ready(self, path):
        """Whether somebody publishes PATH."""
        return self.path(path).get("ready", False)

    def wait_for(self, path, timeout_s=20):
        poll(lambda: self.is_ready(path), timeout_s,
             lambda: f"nobody publishes {path}:\n{self.process.text()[-2000:]}")

    def rtsp(self, path, login=""):
        return f"rtsp://{login}127.0.0.1:{self.rtsp_port}/{path}"

    def rtmp(self, path):
        return f"rtmp://127.0.0.1:{self.rtmp_port}/{path}"


class Publisher:
    """Sends a prepared clip to an RTSP path in a loop, as a camera would, and connects again when its
    server has thrown it out, until it is stopped."""

    def __init__(self, clip, url, folder, name="publisher"):
        self.command = ["ffmpeg", "-v", "warning", "-re", "-stream_loop", "-1", "-i", str(clip),
                        "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", url]
        self.log = pathlib.Path(folder) / f"{name}.log"
        self.child = None
        self.stopping = threading.Event()
        self.thread = None

    def start(self):
        self.stopping.clear()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def _run(self):
        while not self.stopping.is_set():
            with open(self.log, "ab") as out:
                self.child = subprocess.Popen(self.command, stdout=out, stderr=out,
                                              stdin=subprocess.DEVNULL)
                self.child.wait()
            self.stopping.wait(0.2)

    def kill(self):
        self.stopping.set()
        while self.thread and self.thread.is_alive():
            if self.child:
                self.child.kill()
            self.thread.join(0.2)
        self.thread = None


class Backend:
    """An HTTP server that takes alerts. `answers` says what to do with the next requests: a status,
    "hang" (no answer until the server stops) or "hang up"; when it is empty, `standard` is the
    answer. Keeps every request."""

    def __init__(self, answers=(), standard=200, port=0):
        self.answers, self.standard = list(answers), standard
        self.requests = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                backend.take(self, body)

            def log_message(self, format, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, handler, body):
        with self.lock:
            answer = self.answers.pop(0) if self.answers else self.standard
            self.requests.append({"path": handler.path, "headers": dict(handler.headers.items()),
                                  "event": json.loads(body), "answer": answer,
                                  "time": time.monotonic()})
        if answer == "hang":
            self.stopping.wait()
        if not isinstance(answer, int):
            handler.close_connection = True
            return
        with contextlib.suppress(OSError):
            handler.send_response(answer)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def events(self, answer=None):
        """The events that were given ANSWER, all of them by default."""
        with self.lock:
            return [request["event"] for request in self.requests
                    if answer in (None, request["answer"])]

    def stop(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()


class DeadPort:
    """A port that takes connections and never says a word. GARBAGE: sends random bytes instead."""

    def __init__(self, garbage=False):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.garbage = garbage
        self.connections = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                self.connections.append(connection)
                if self.garbage:
                    threading.Thread(target=self._babble, args=(connection,), daemon=True).start()

    def _babble(self, connection):
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(os.urandom(4096))

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for connection in (self.listener, *self.connections):
            connection.close()


class Relay:
    """A port that passes connections on to another, and misbehaves when told to. `mode`:
    "pass"; "refuse" (hangs up on everybody at once); "silent" (takes everything and passes nothing on:
    a half-open connection, packets dropped without a word)."""

    def __init__(self, target_port):
        self.target_port, self.mode = target_port, "pass"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.connections = set()
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client:
            if self.mode == "refuse":
                return
            with socket.create_connection(("127.0.0.1", self.target_port)) as server:
                with self.lock:
                    self.connections |= {client, server}
                back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                self._pump(client, server)
                back.join()
        with self.lock:
            self.connections.discard(client)

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self.mode == "silent":
                    time.sleep(0.02)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """Hangs up on everybody who is connected."""
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self.connections.clear()

    def stop(self):
        self.mode = "refuse"
        self.cut()
        self.listener.close()


class Daemon:
    """`faceworker run` with a configuration of its own."""

    def __init__(self, folder, config, env=None):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        config = {"worker": {}, **config}
        config["worker"] = {"id": "test", "state_dir": str(self.folder / "state"),
                            **config["worker"]}
        config.setdefault("web", {})["listen"] = f"127.0.0.1:{self.port}"
        # Tests count alerts: each track makes its own, and cameras' states only where they are asked for.
        config["alerts"] = {"cooldown_s": 0, "max_per_minute": 0, "worker_max_per_minute": 0,
                            "camera_events": False, **config.get("alerts", {})}
        self.config = self.folder / "faceworker.json"
        self.config.write_text(json.dumps(config, indent=2), encoding="utf-8")
        self.env = env
        self.process = None
        self.was_killed = False

    def start(self, wait=True):
        self.was_killed = False
        self.process = Process([FACEWORKER, "run", "-c", self.config],
                               self.folder / "faceworker.log", env=self.env)
        if wait:
            poll(self.answers, 30, lambda: f"no answer from the daemon:\n{self.log()}")
        return self

    def answers(self):
        assert self.process.is_running(), f"the daemon ended:\n{self.log()}"
        with contextlib.suppress(OSError):
            return self.get("/healthz")[0] == 200
        return False

    def log(self):
        return self.process.text()

    def request(self, path, method="GET", headers=None, timeout_s=5):
        """(status, headers, body) of a request."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method,
                                         headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def get(self, path, headers=None, timeout_s=5):
        """(status, body as text) of a GET."""
        status, _, body = self.request(path, headers=headers, timeout_s=timeout_s)
        return status, body.decode("utf-8", "replace")

    def readiness(self):
        """(whether it is ready, all reasons in one text)"""
        status, body = self.get("/readyz")
        answer = json.loads(body)
        assert status == (200 if answer["ready"] else 503), body
        return answer["ready"], "; ".join(answer["reasons"])

    def cameras(self):
        status, body = self.get("/api/v1/cameras")
        assert status == 200, body
        return {camera["id"]: camera for camera in json.loads(body)["cameras"]}

    def camera(self, name):
        return self.cameras()[name]

    def events(self, limit=500, **filters):
        """All events so far, the oldest first."""
        query = urllib.parse.urlencode({"limit": limit, **filters})
        status, body = self.get(f"/api/v1/events?{query}")
        assert status == 200, body
        return json.loads(body)["events"][::-1]

    def history(self):
        """Every event that was ever committed, in the order of posting."""
        events, before = [], {}
        while True:
            query = urllib.parse.urlencode({"limit": 500, **before})
            status, body = self.get(f"/api/v1/events?{query}")
            assert status == 200, body
            page = json.loads(body)
            events += page["events"]
            if not page["next"]:
                return events[::-1]
            before = {"before": page["next"]}

    def metrics(self):
        """{"name{labels}": value}"""
        status, body = self.get("/metrics")
        assert status == 200, body
        lines = (line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    def wait_for_state(self, name, state, timeout_s=15):
        return poll(lambda: self.camera(name)["state"] == state and self.camera(name), timeout_s,
                    lambda: f"{name} {state}; it is {self.camera(name)}\n{self.log()[-3000:]}")

    def alerts(self):
        """The lines of the JSON-lines sink."""
        file = self.folder / "state" / "alerts.jsonl"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def wait_for_end(self, timeout_s=60):
        """Waits until it ends by itself; returns the exit code."""
        self.process.child.wait(timeout_s)
        return self.process.child.returncode

    def kill(self):
        """kill -9; what it left is looked at by whoever killed it."""
        self.process.kill()
        self.was_killed = True

    def stop(self, expect=0):
        """Stops it by SIGTERM and checks that it takes less than 2 s and ends cleanly."""
        if not self.process or self.was_killed:
            return
        if self.process.is_running():
            began = time.monotonic()
            self.process.child.terminate()
            try:
                self.process.child.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise AssertionError(f"the daemon does not stop:\n{self.log()[-4000:]}") from None
            took = time.monotonic() - began
            limit = STOP_LIMIT_S * (5 if "san" in BUILD.name else 1)
            assert took < limit, f"stopping took {took:.2f} s:\n{self.log()[-4000:]}"
        code = self.process.child.returncode
        assert code == expect, f"exit code {code}, not {expect}:\n{self.log()[-6000:]}"


def fill_outbox(state_dir, events, sink="nobody", batch=0):
    """Writes EVENTS of four cameras into the outbox of a new STATE_DIR, where they wait for the sink
    SINK of a daemon, unless a BATCH says how many are taken from there at once. Returns (events/s
    made durable, events/s taken)."""
    state_dir.mkdir(parents=True)
    done = subprocess.run([str(BUILD / "tests" / "tools" / "outbox_bench"), str(state_dir),
                           str(events), str(batch), sink], check=True, capture_output=True, text=True)
    rate, count, _, taken = done.stdout.split()
    assert int(count) == events
    return float(rate), float(taken)


def probe_frames(url, seconds, *options):
    """Packets of a stream's video as ffprobe sees them over some seconds, and the stream itself."""
    command = ["ffprobe", "-v", "error", *options, "-i", url, "-read_intervals", f"%+{seconds}",
               "-select_streams", "v:0", "-show_entries",
               "stream=codec_name,profile,width,height,has_b_frames,pix_fmt:"
               "packet=pts_time,dts_time,flags:frame=pict_type,key_frame,pts_time",
               "-show_packets", "-show_frames", "-of", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30,
                          check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def grab_picture(url, path, *options, timeout_s=30):
    """Saves one decoded picture of a stream as PNG."""
    command = ["ffmpeg", "-v", "error", "-y", *options, "-i", url, "-frames:v", "1", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr
    return path

