"""Brokers that the system tests start: each on free ports, in a folder of its own, never the system's
services; and the certificates that they show."""
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import uuid

from harness import BUILD, Process, free_port, poll, port_is_open


class Certificates:
    """An authority for tests, a server's certificate for localhost and 127.0.0.1, a client's, and one
    of another authority that nobody trusts. PEM files."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = self._authority("ca")
        self.server, self.server_key = self._signed(
            "ca", "server", "localhost", "DNS:localhost,IP:127.0.0.1")
        # For another host, by the same authority.
        self.other, self.other_key = self._signed(
            "ca", "other", "other.example", "DNS:other.example")
        self.client, self.client_key = self._signed("ca", "client", "edge-1", "DNS:edge-1")
        self.foreign_ca = self._authority("foreign")
        self.foreign_client, self.foreign_client_key = self._signed(
            "foreign", "foreign-client", "edge-1", "DNS:edge-1")

    def _run(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], cwd=self.folder, check=True,
                       capture_output=True)

    def _authority(self, name):
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "30",
                  "-subj", f"/CN=test {name}")
        return str(self.folder / f"{name}.pem")

    def _signed(self, authority, name, common_name, names):
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n", encoding="ascii")
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={common_name}")
        self._run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
                  f"{authority}.key", "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext",
                  "-out", f"{name}.pem")
        key = self.folder / f"{name}.key"
        key.chmod(0o644)  # servers may run as another user
        return str(self.folder / f"{name}.pem"), str(key)


class RabbitMq:
    """A RabbitMQ from Debian's package, run by ourselves: Debian's wrapper would run it as the system
    user on the system's data. Its epmd is its own, too. Keeps its ports and its data when it is
    started again."""

    BIN = pathlib.Path("/usr/lib/rabbitmq/bin")

    def __init__(self, folder, certificates, users=(), vhosts=("/",)):
        """USERS are (name, password) pairs with all rights everywhere, besides guest/guest and
        edge-1, the client of the certificates. reader/reader may only read."""
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port = free_port(), free_port()
        self.epmd_port, self.dist_port = free_port(), free_port()
        self.certificates = certificates
        self.process = self.epmd = None
        self._write_definitions([("guest", "guest"), *users], vhosts)
        self._write_config()
        (self.folder / "plugins").write_text("[rabbitmq_auth_mechanism_ssl].\n", encoding="ascii")
        self.env = {
            "HOME": str(self.folder), "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_NODENAME": f"fw{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder), "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            # One scheduler, no busy waiting: the tests share few cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none",
            "LC_ALL": "C.UTF-8",
        }

    @classmethod
    def is_installed(cls):
        return (cls.BIN / "rabbitmq-server").exists()

    def _write_definitions(self, users, vhosts):
        definitions = {
            "users": [{"name": name, "password": password, "tags": ""}
                      for name, password in [*users, ("edge-1", str(uuid.uuid4())),
                                             ("reader", "reader")]],
            "vhosts": [{"name": name} for name in vhosts],
            "permissions": [{"user": name, "vhost": vhost, "configure": ".*", "write": ".*",
                             "read": ".*"}
                            for name, _ in [*users, ("edge-1", "")] for vhost in vhosts] +
                           [{"user": "reader", "vhost": "/", "configure": "", "write": "",
                             "read": ".*"}],
        }
        (self.folder / "definitions.json").write_text(json.dumps(definitions), encoding="utf-8")

    def _write_config(self):
        files = self.certificates
        (self.folder / "rabbitmq.conf").write_text(f"""
listeners.tcp.default = 127.0.0.1:{self.port}
listeners.ssl.default = 127.0.0.1:{self.tls_port}
ssl_options.cacertfile = {files.ca}
ssl_options.certfile = {files.server}
ssl_options.keyfile = {files.server_key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
disk_free_limit.absolute = 1MB
max_message_size = 1000000
load_definitions = {self.folder / "definitions.json"}
log.console.level = info
""", encoding="utf-8")

    def start(self):
        if not self.epmd:
            self.epmd = Process(["epmd", "-port", self.epmd_port, "-address", "127.0.0.1"],
                                self.folder / "epmd.log")
            poll(lambda: port_is_open(self.epmd_port), 10, "epmd")
        self.process = Process([self.BIN / "rabbitmq-server"], self.folder / "rabbitmq.log",
                               env=self.env, cwd=self.folder, own_group=True)
        poll(lambda: port_is_open(self.port) and port_is_open(self.tls_port), 60,
             lambda: f"RabbitMQ did not start: {self.process.text()[-3000:]}")
        return self

    def signal(self, number):
        os.killpg(self.process.child.pid, number)

    def is_running(self):
        return self.process is not None and self.process.is_running()

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.child.wait()
        poll(lambda: not port_is_open(self.port), 5, "the end of RabbitMQ")

    def stop(self):
        if self.is_running():
            self.kill()  # nobody needs its data any more
        if self.epmd:
            self.epmd.kill()

    def ctl(self, *arguments):
        done = subprocess.run([str(self.BIN / "rabbitmqctl"), "-q", *map(str, arguments)],
                              env={**os.environ, **self.env}, cwd=self.folder,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def url(self, login="guest:guest@", vhost="", tls=False):
        if tls:
            return f"amqps://{login}localhost:{self.tls_port}{vhost}"
        return f"amqp://{login}127.0.0.1:{self.port}{vhost}"


class Redis:
    """A Redis that has every entry on its disk before it answers. Keeps its ports and its data when
    it is started again; USERS are lines of its ACL file."""

    def __init__(self, folder, certificates, users=(), cluster=False):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port = free_port(), free_port()
        self.process = None
        lines = ["bind 127.0.0.1", f"port {self.port}", f"tls-port {self.tls_port}",
                 f"tls-cert-file {certificates.server}", f"tls-key-file {certificates.server_key}",
                 f"tls-ca-cert-file {certificates.ca}", "tls-auth-clients optional",
                 f"dir {self.folder}", "save \"\"", "appendonly yes", "appendfsync always",
                 *users]
        if cluster:
            lines += ["cluster-enabled yes", f"cluster-port {free_port()}"]
        self.config = self.folder / "redis.conf"
        self.config.write_text("\n".join([*lines, ""]), encoding="utf-8")

    @staticmethod
    def is_installed():
        return shutil.which("redis-server") is not None

    def start(self):
        self.process = Process(["redis-server", self.config], self.folder / "redis.log")
        poll(lambda: "Ready to accept connections" in self.process.text().split("started")[-1]
             and port_is_open(self.port) and port_is_open(self.tls_port), 15,
             lambda: f"Redis did not start: {self.process.text()[-3000:]}")
        return self

    def kill(self):
        self.process.kill()

    def stop(self):
        if self.process:
            self.process.kill()  # nobody needs its data any more

    def url(self, login="", path="", tls=False):
        if tls:
            return f"rediss://{login}localhost:{self.tls_port}{path}"
        return f"redis://{login}127.0.0.1:{self.port}{path}"


class Mosquitto:
    """An MQTT broker that forgets what it keeps when it is started again, but keeps its ports:
    `port` lets everybody in, `user_port` takes the users and rights of set_users(), `tls_port` asks
    for TLS and `client_port` for a client's certificate, too."""

    def __init__(self, folder, certificates, settings=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.user_port = free_port(), free_port()
        self.tls_port, self.client_port = free_port(), free_port()
        self.process = None
        self.passwords, self.rights = self.folder / "passwords", self.folder / "rights"
        tls = [f"cafile {certificates.ca}", f"certfile {certificates.server}",
               f"keyfile {certificates.server_key}", "allow_anonymous true"]
        lines = ["per_listener_settings true", "user root", "persistence false", *settings,
                 f"listener {self.port} 127.0.0.1", "allow_anonymous true",
                 f"listener {self.user_port} 127.0.0.1", "allow_anonymous false",
                 f"password_file {self.passwords}", f"acl_file {self.rights}",
                 f"listener {self.tls_port} 127.0.0.1", *tls,
                 f"listener {self.client_port} 127.0.0.1", *tls, "require_certificate true"]
        self.config = self.folder / "mosquitto.conf"
        self.config.write_text("\n".join([*lines, ""]), encoding="utf-8")
        self.set_users({}, "")

    @staticmethod
    def program():
        # Debian has it outside of the path of people.
        return shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")

    def set_users(self, passwords, rights):
        """PASSWORDS by user; RIGHTS are the lines of an ACL file. A running broker takes them over."""
        self.passwords.write_text("", encoding="utf-8")
        self.passwords.chmod(0o600)
        for user, password in passwords.items():
            subprocess.run(["mosquitto_passwd", "-b", str(self.passwords), user, password],
                           check=True)
        self.rights.write_text(rights, encoding="utf-8")
        if self.process:
            seen = self.process.text().count("Reloading config")
            self.process.child.send_signal(signal.SIGHUP)
            poll(lambda: self.process.text().count("Reloading config") > seen, 5, "the new users")

    def start(self):
        self.process = Process([self.program(), "-v", "-c", self.config],
                               self.folder / "mosquitto.log")
        poll(lambda: all(map(port_is_open, (self.port, self.user_port, self.tls_port,
                                            self.client_port))), 15,
             lambda: f"Mosquitto did not start: {self.process.text()[-3000:]}")
        return self

    def kill(self):
        self.process.kill()

    def stop(self):
        if self.process:
            self.process.kill()


class TlsListener:
    """Takes TLS connections and says nothing; `names` are the hosts that clients asked for."""

    def __init__(self, certificate, key):
        self.names = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.sni_callback = lambda socket, name, context: self.names.append(name)
        self.listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)),
                                            server_side=True)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                self.listener.accept()[0].close()
            except (ssl.SSLError, ConnectionError):
                continue
            except OSError:
                return

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class SinkTool:
    """One sink, driven through tests/tools/sink_send.c. When it can't be opened, as EXPECT_CODE=1
    says, the reason is in `answer`."""

    def __init__(self, expect_code=0, **options):
        self.expect_code = expect_code
        self.output = ""
        self.child = subprocess.Popen([str(BUILD / "tests" / "tools" / "sink_send"),
                                       json.dumps(options)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer = self._read() if expect_code else None

    def _read(self):
        line = self.child.stdout.readline()
        assert line, f"the tool ended with {self.child.wait()}"
        self.output += line
        return json.loads(line)

    def call(self, **line):
        self.child.stdin.write(json.dumps(line) + "\n")
        self.child.stdin.flush()
        return self._read()

    def deliver(self, messages, **options):
        return self.call(deliver=messages, **options)

    def deliver_all(self, messages, timeout_s=20):
        """Tries again, as the daemon does, until all of MESSAGES have been delivered, in their
        order."""
        left = list(messages)

        def attempt():
            answer = self.deliver(left)
            left[:] = [message for message, result in zip(left, answer["results"])
                       if result != "ok"]
            attempt.answer = answer
            return not left
        poll(attempt, timeout_s, lambda: f"that all are delivered: {attempt.answer}", 0.2)

    def idle(self, **options):
        return self.call(idle=True, **options)

    def end(self):
        self.child.stdin.close()
        code = self.child.wait(10)
        self.child.stdout.close()
        assert code == self.expect_code, code


def make_messages(count, cameras=4, start=0):
    """Messages with ids that tell their order; those of one camera are COUNT / CAMERAS."""
    return [{"id": f"{uuid.uuid4()}", "camera_id": f"camera-{index % cameras}",
             "type": "face.appeared", "body": {"index": index}}
            for index in range(start, start + count)]
