"""`faceworker outbox` beside a daemon that works with the same outbox."""
import json
import sqlite3

import pytest
from harness import Backend, free_port, poll, run_faceworker


@pytest.fixture
def backend():
    server = Backend(standard=400)
    yield server
    server.stop()


@pytest.fixture
def daemon(run_daemon, walker, backend):
    """One whose backend wants none of its events, which are dead letters."""
    started = run_daemon({"cameras": [{"id": "walk", "test_video": str(walker), "max_frames": 150},
                                      {"id": "away", "rtsp": f"rtsp://127.0.0.1:{free_port()}/cam"}],
                          "detector": {"input_size": 320}, "backend_alert_url": backend.url})
    poll(lambda: len(backend.events()) == started.metrics()["faceworker_outbox_dead"] == 2, 60,
         lambda: f"two dead letters; there are {backend.events()}")
    return started


def outbox(daemon, *arguments):
    return run_faceworker("outbox", arguments[0], "-c", daemon.config, *arguments[1:])


def rows(done):
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["time", "state", "id"]
    return [dict(zip(("time", "state", "id", "type", "camera"), line.split(), strict=False))
            for line in lines[1:]]


def test_dead_letters_are_listed_shown_exported_retried_and_purged(daemon, backend):
    sent = {event["id"]: event for event in backend.events()}
    listed = rows(outbox(daemon, "list", "--state", "dead"))
    assert {row["id"] for row in listed} == set(sent)
    faces = rows(outbox(daemon, "list", "--camera", "walk", "--since", "1h"))
    assert [row["type"] for row in faces][::-1][0] == "face.appeared", faces
    assert outbox(daemon, "list", "--state", "waiting").stdout == "nothing\n"
    assert outbox(daemon, "list", "--sink", "nobody").stdout == "nothing\n"
    assert len(rows(outbox(daemon, "list", "--limit", "1"))) == 1

    one = faces[0]["id"]
    shown = outbox(daemon, "show", one)
    assert shown.returncode == 0, shown
    for word in (one, "dead", "backend: rejected", "400", '"specversion": "1.0"'):
        assert word in shown.stdout, (word, shown.stdout)
    exported = [json.loads(line) for line in outbox(daemon, "export").stdout.splitlines()]
    assert {event["id"] for event in exported} == set(sent)
    assert [event["time"] for event in exported] == \
        [event["time"] for event in sorted(exported, key=lambda event: event["id"])]

    backend.standard = 200
    done = outbox(daemon, "retry", one)
    assert (done.returncode, done.stdout) == (0, "1 dead letters wait again\n")
    poll(lambda: [event["id"] for event in backend.events(200)] == [one], 10, "that it is sent again")
    done = outbox(daemon, "retry")
    assert done.stdout == f"{len(sent) - 1} dead letters wait again\n"
    poll(lambda: {event["id"] for event in backend.events(200)} == set(sent), 10, "the others")
    poll(lambda: daemon.metrics()["faceworker_outbox_dead"] == 0, 10, "that none is dead")
    assert len(backend.events(200)) == len(sent)

    poll(lambda: len(rows(outbox(daemon, "list", "--state", "delivered"))) == len(sent), 10,
         "that all are marked")
    done = outbox(daemon, "purge", "--state", "delivered")
    assert (done.returncode, done.stdout) == (0, f"{len(sent)} events removed\n")
    assert outbox(daemon, "list").stdout == "nothing\n"
    poll(lambda: daemon.events() == [], 10, "an empty history")


def test_a_stopped_workers_outbox_by_its_path(daemon):
    daemon.stop()
    path = daemon.folder / "state" / "outbox.db"
    assert rows(run_faceworker("outbox", "list", "--file", path))
    done = run_faceworker("outbox", "purge", "--file", path, "--state", "dead")
    assert done.returncode == 0, done
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_second_worker_is_kept_out(daemon, tmp_path):
    config = json.loads(daemon.config.read_text(encoding="utf-8"))
    config["web"]["listen"] = f"127.0.0.1:{free_port()}"
    second = tmp_path / "second.json"
    second.write_text(json.dumps(config), encoding="utf-8")
    done = run_faceworker("run", "-c", second)
    assert done.returncode == 1, done
    assert "uses the outbox" in done.stderr and "worker.state_dir" in done.stderr, done


@pytest.mark.parametrize("arguments, code, word", [
    ((), 2, "what to do is missing"),
    (("sell",), 2, "'sell' is none of"),
    (("show",), 2, "needs the ids"),
    (("list", "an-id"), 2, "takes no ids"),
    (("purge",), 2, "--state"),
    (("list", "--since", "yesterday"), 2, "--since"),
    (("list", "--since", "2026-02-30T99:00:00Z"), 2, "--since"),
    (("list", "--limit", "-1"), 2, "--limit"),
    (("list", "--no-such"), 2, "no-such"),
    (("list", "--file", "/nonexistent/outbox.db"), 1, "there is no outbox"),
    (("list", "--file", "/etc/passwd"), 1, "no outbox of faceworker"),
    (("list", "-c", "/nonexistent.json"), 78, "/nonexistent.json"),
])
def test_wrong_usage(arguments, code, word):
    done = run_faceworker("outbox", *arguments)
    assert done.returncode == code and word in done.stderr, done


def test_an_unknown_state_and_unknown_ids(daemon):
    done = outbox(daemon, "list", "--state", "lost")
    assert done.returncode == 2 and "'lost'" in done.stderr, done
    for verb in ("show", "retry", "purge"):
        assert outbox(daemon, verb, "no-such-id").returncode == 1


def test_help():
    done = run_faceworker("outbox", "--help")
    assert done.returncode == 0 and "Usage: faceworker outbox list" in done.stdout
