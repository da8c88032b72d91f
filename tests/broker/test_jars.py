"""Which jars Kafka consists of, that each is what the lock file says, and how they are fetched."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import re
import ssl
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from stream.broker import DownloadFailed, JarMismatch, jars

CONTENT = b"the one and only content"
JAR = jars.Jar("org.example", "thing", "1.0", hashlib.sha256(CONTENT).hexdigest())


def test_the_lock_file_names_each_jar_once_with_its_hash() -> None:
    locked = jars.locked()
    assert max(Counter((jar.group, jar.artifact) for jar in locked).values()) == 1
    assert len({jar.filename for jar in locked}) == len(locked)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in locked)


def test_all_parts_of_kafka_are_of_one_version() -> None:
    versions = {jar.version for jar in jars.locked() if jar.group == "org.apache.kafka"}
    assert versions == {jars.KAFKA_VERSION}


def test_the_lock_file_holds_no_address() -> None:
    text = jars.LOCK_FILE.read_text()
    assert "://" not in text
    assert "/" not in text


def test_the_class_path_is_the_locked_jars_and_no_other(kafka_jars: str) -> None:
    names = [Path(entry).name for entry in kafka_jars.split(os.pathsep)]
    assert names == [jar.filename for jar in jars.locked()]


def test_a_changed_jar_is_refused_though_size_and_time_are_the_same(
    kafka_jars: str, tmp_path: Path
) -> None:
    for entry in map(Path, kafka_jars.split(os.pathsep)):
        (tmp_path / entry.name).symlink_to(entry)
    victim = tmp_path / jars.locked()[0].filename
    original = victim.resolve()
    content = bytearray(original.read_bytes())
    content[len(content) // 2] ^= 1
    victim.unlink()
    victim.write_bytes(content)
    times = original.stat()
    os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(JarMismatch) as caught:
        jars.class_path(tmp_path)
    assert str(victim) in str(caught.value)
    assert "\n" not in str(caught.value)


Answer = Callable[[str, int], bytes | None]


class Repository(http.server.ThreadingHTTPServer):
    """A repository of jars that answers as told: bytes, or None for "not found"."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.asked: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.answer(self.path, self.server.asked.count(self.path))
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], None]]:
    """Let jgo download from a repository of the test's own."""
    servers: list[Repository] = []

    def start(answer: Answer) -> None:
        server = Repository(answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        name_repository(tmp_path, monkeypatch, server.server_port)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def name_repository(
    folder: Path, monkeypatch: pytest.MonkeyPatch, port: int, scheme: str = "http"
) -> None:
    settings = folder / "jgo.conf"
    settings.write_text(f"[repositories]\nown = {scheme}://127.0.0.1:{port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def only_jar(content: bytes | None, from_time: int = 1) -> Answer:
    def answer(path: str, time: int) -> bytes | None:
        is_jar = path == "/org/example/thing/1.0/thing-1.0.jar"
        return content if is_jar and time >= from_time else None

    return answer


def test_a_missing_jar_is_fetched_under_its_own_name(
    serve: Callable[[Answer], None], tmp_path: Path
) -> None:
    serve(only_jar(CONTENT))
    jars.fetch([JAR], tmp_path / "jars")
    assert [file.name for file in (tmp_path / "jars").iterdir()] == ["thing-1.0.jar"]
    assert (tmp_path / "jars" / "thing-1.0.jar").read_bytes() == CONTENT


def test_a_download_that_fails_once_is_tried_again(
    serve: Callable[[Answer], None], tmp_path: Path
) -> None:
    serve(only_jar(CONTENT, from_time=2))
    jars.fetch([JAR], tmp_path / "jars")
    assert (tmp_path / "jars" / "thing-1.0.jar").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (b"another content", JarMismatch, "not the file that is locked"),
        (None, DownloadFailed, "could not be downloaded"),
    ],
)
def test_what_can_not_be_had_leaves_nothing_behind(
    serve: Callable[[Answer], None],
    tmp_path: Path,
    content: bytes | None,
    error: type[Exception],
    reason: str,
) -> None:
    serve(only_jar(content))
    with pytest.raises(error, match=reason) as caught:
        jars.fetch([JAR], tmp_path / "jars")
    assert "thing-1.0.jar" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "jars").iterdir()) == []


def test_a_repository_out_of_reach_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_repository(tmp_path, monkeypatch, port=1)
    with pytest.raises(DownloadFailed) as caught:
        jars.class_path(tmp_path / "jars")
    message = str(caught.value)
    assert "check the connection and start again" in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.fixture
def inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository whose certificate is of an authority of the network's own: its file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Repository(only_jar(CONTENT))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    name_repository(tmp_path, monkeypatch, server.server_port, "https")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path / "ca.pem"
    server.shutdown()
    server.server_close()


def test_an_authority_that_is_not_trusted_is_told_with_what_helps(
    inspected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadFailed) as refused:
        jars.fetch([JAR], tmp_path / "jars")
    message = str(refused.value)
    assert "CERTIFICATE_VERIFY_FAILED" in message
    assert message.endswith(
        "): if a proxy of your network opens what is encrypted, set REQUESTS_CA_BUNDLE to the file"
        " with its authority (PEM) and start again"
    )
    assert "check the connection" not in message
    assert "\n" not in message

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(inspected))
    jars.fetch([JAR], tmp_path / "jars")
    assert (tmp_path / "jars" / "thing-1.0.jar").read_bytes() == CONTENT


def test_a_file_of_authorities_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_repository(tmp_path, monkeypatch, 1, "https")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(DownloadFailed, match=r"/nowhere/ca\.pem.*: check REQUESTS_CA_BUNDLE"):
        jars.fetch([JAR], tmp_path / "jars")


REMEDY = "set XDG_CACHE_HOME, or HOME, to a folder that can be written"


def test_a_folder_that_can_not_be_made_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadFailed, match=f"can't be stored in .*; {REMEDY}$"):
        jars.fetch([JAR], tmp_path / "file" / "jars")


def test_a_folder_that_can_not_be_written_is_no_failed_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # Root can write to any folder, whatever its mode.
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(DownloadFailed) as refused:
        jars.fetch([JAR], tmp_path)
    assert str(refused.value).endswith(
        f" can't be stored in {tmp_path}: Permission denied; {REMEDY}"
    )
