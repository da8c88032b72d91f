"""Encrypted connections with a login: they work, and what keeps us out is said without secrets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from stream.config import load
from tests.kafka.conftest import Site, Sites
from tests.kafka.workers import WorkerProcess
from tests.safety.secured import MECHANISMS, PASSWORD, Secured, secured

WRONG = "wr0ng-one-f0r-sure"


@pytest.fixture(scope="module")
def guarded(kafka_jars: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker that only lets in who proves to be somebody."""
    with secured(tmp_path_factory.mktemp("secured")) as found:
        yield found


def run(site: Site, command: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream", command, "--config", str(site.file), *more],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def visits(folder: Path, n: int) -> Path:
    file = folder / "visits.jsonl"
    fields = {"type": "visit.ended", "occurred_at": "2026-03-02T10:00:00Z"}
    lines = [orjson.dumps({"event_id": str(i), "visit_id": str(i), **fields}) for i in range(n)]
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file


def arguments(worker: WorkerProcess) -> str:
    """What anybody on the machine can read of a process."""
    return Path(f"/proc/{worker.pid}/cmdline").read_text()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_worker_send_and_generate_work_with_a_login_over_tls(
    sites: Sites, guarded: Secured, mechanism: str, tmp_path: Path
) -> None:
    site = sites(f"localhost:{guarded.port}", kafka=guarded.kafka(mechanism))
    sent = run(site, "send", "--now", str(visits(tmp_path, 10)))
    assert sent.returncode == 0, sent.stderr
    made = run(site, "generate", "--history", "1m", "--rate", "20", "--for", "1s")
    assert made.returncode == 0, made.stderr
    worker = site.worker()
    worker.until_ready()

    def accepted() -> float:
        found = (s for s in worker.scrape() if s.name == "cx_events_total")
        return sum(s.value for s in found if s.labels["outcome"] == "accepted")

    worker.until(lambda: accepted() > 200, "counted what was sent")
    shown = [worker.page("/metrics")[1], worker.log(), arguments(worker), sent.stderr, made.stderr]
    assert PASSWORD not in "".join(shown)
    worker.terminate()
    assert PASSWORD not in worker.log()


@pytest.mark.parametrize(
    ("changes", "host", "reason"),
    [
        ({"sasl_mechanism": "PLAIN"}, "localhost", "refuses the login of 'monitor' by PLAIN"),
        (
            {"sasl_mechanism": "SCRAM-SHA-512"},
            "localhost",
            "refuses the login of 'monitor' by SCRAM-SHA-512",
        ),
        ({"ssl_cafile": "stranger"}, "localhost", "is refused: unable to get local issuer"),
        ({}, "127.0.0.1", "is refused: IP address mismatch"),
        (
            {"security_protocol": "SASL_PLAINTEXT"},
            "localhost",
            "is security_protocol SASL_PLAINTEXT with sasl_mechanism PLAIN right?",
        ),
    ],
    ids=["password", "password by SCRAM", "authority", "host name", "no encryption"],
)
def test_what_keeps_the_worker_out_is_one_line_without_secrets(
    sites: Sites,
    guarded: Secured,
    tmp_path: Path,
    changes: dict[str, str],
    host: str,
    reason: str,
) -> None:
    keys = {"sasl_mechanism": "PLAIN", **changes}
    if "ssl_cafile" in keys:
        keys["ssl_cafile"] = str(guarded.stranger)
    elif host == "localhost":
        (tmp_path / "wrong").write_text(WRONG)
        keys["sasl_password_file"] = str(tmp_path / "wrong")
    kafka = guarded.kafka(keys.pop("sasl_mechanism"), **keys)
    if keys.get("security_protocol") == "SASL_PLAINTEXT":
        kafka = "".join(line for line in kafka.splitlines(True) if "ssl_" not in line)
    site = sites(f"{host}:{guarded.port}", kafka=kafka)

    worker = site.worker()
    worker.until(lambda: reason in worker.page("/readyz")[1], f"said {reason}")
    status, text = worker.page("/readyz")
    assert (status, text.count("\n")) == (503, 1)
    sent = run(site, "send", str(visits(tmp_path, 1)))
    assert sent.returncode == 2
    assert reason in sent.stderr
    assert sent.stderr.count("\n") == 1
    checked = run(site, "check", "--json")
    assert checked.returncode == 0
    assert worker.exit_code is None
    # It goes on trying and has said it once.
    assert worker.log().count(reason) == 1
    config = load(site.file, {})
    said = [worker.log(), text, worker.page("/metrics")[1], arguments(worker), sent.stderr]
    said += [sent.stdout, checked.stdout, checked.stderr, repr(config), str(config.model_dump())]
    for secret in (PASSWORD, WRONG):
        assert secret not in "".join(said)
    assert worker.terminate() < 30


def test_a_certificate_that_is_none_is_told_with_its_line(
    sites: Sites, guarded: Secured, tmp_path: Path
) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_bytes(guarded.authority.read_bytes())
    kafka = guarded.kafka("PLAIN", ssl_cafile=str(authority))
    site = sites(f"localhost:{guarded.port}", kafka=kafka)
    authority.write_text("nothing")
    for command in ("check", "worker", "send"):
        more = [str(visits(tmp_path, 1))] if command == "send" else []
        done = run(site, command, *more)
        assert done.returncode in (1, 2)
        assert "kafka.ssl_cafile" in done.stderr
        assert "holds no certificate in PEM" in done.stderr
        assert "Traceback" not in done.stderr
