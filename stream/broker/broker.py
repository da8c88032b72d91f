"""Start, watch and stop one embedded broker."""

from __future__ import annotations

import base64
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from stream.broker import jars
from stream.broker.errors import PortTaken, StartFailed
from stream.broker.folder import DataFolder, telling_line
from stream.broker.ports import check_free, free_port
from stream.broker.process import JavaProcess
from stream.broker.properties import HOST, properties, text

#: How long a start may take, in seconds; a tenth of it is normal.
START_SECONDS = 60.0
#: How long a broker may take to end by itself before it is killed, in seconds.
STOP_SECONDS = 15.0

_STARTED = "Kafka Server started"
_IN_USE = "Address already in use"
_LOG_SETTINGS = Path(__file__).with_name("log4j2.properties")
_ATTEMPTS = 3
#: The most that the JVM takes for its objects.
_HEAP = "512m"


class Broker:
    """A real Apache Kafka of one node on loopback, with its data in one folder.

    As a context manager it is ready inside the block and gone after it. It may be started again
    after ``stop`` or ``kill``, with its data and on the same port. Whatever happens to this
    process, the broker ends with it.
    """

    def __init__(
        self,
        data: Path,
        port: int | None = None,
        *,
        overrides: Mapping[str, object] = MappingProxyType({}),
        tell: jars.Tell | None = None,
    ) -> None:
        """Describe a broker; nothing is started yet.

        ``data`` is an empty or new folder or one of an earlier broker; ``port`` None picks a free
        port, once; ``overrides`` are Kafka properties that win over ours; ``tell`` gets a
        line when something takes long (the download).
        """
        self.folder = DataFolder(data)
        self._wanted = port
        self._port = port
        self._overrides = dict(overrides)
        self._tell = tell
        self._process: JavaProcess | None = None

    @property
    def port(self) -> int:
        """The port that clients use; known after the first start if none was asked for."""
        if self._port is None:
            raise RuntimeError("the broker has no port before it is started")
        return self._port

    @property
    def bootstrap(self) -> str:
        """The address for clients, host:port."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of the JVM while there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether the broker's process lives."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the broker, return when it serves clients.

        Raises a ``BrokerError``: ``PortTaken``, ``FolderRefused``, ``DownloadFailed``,
        ``JarMismatch`` or ``StartFailed``.
        """
        if self.running:
            return
        self._forget()
        if self._port is not None:
            check_free(self._port)
        class_path = jars.class_path(tell=self._tell)
        self.folder.open()
        try:
            if not self.folder.formatted:
                self._format(class_path)
            self._serve(class_path)
        except BaseException:
            # Also on Ctrl-C: nothing may be left running.
            self.kill()
            raise

    def stop(self) -> None:
        """End the broker in good order; it is killed if that takes more than STOP_SECONDS."""
        if self._process is not None:
            self._process.terminate(STOP_SECONDS)
        self._forget()

    def kill(self) -> None:
        """End the broker with SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
        self._forget()

    def pause(self) -> None:
        """Freeze the broker: it keeps its connections and answers nobody."""
        if self._process is not None:
            self._process.pause()

    def resume(self) -> None:
        """Let a paused broker go on."""
        if self._process is not None:
            self._process.resume()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the broker to end by itself; return its exit code, None after the time."""
        if self._process is None:
            return None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """Return the line of the logs that best says why the broker ended, and where to read on."""
        log, jvm = self.folder.server_log, self.folder.jvm_log
        line = telling_line(log.text(), jvm.text())
        return f"{line or 'no word in its log'} (see {log.path if log.text() else jvm.path})"

    def _forget(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None
        self.folder.close()

    def _format(self, class_path: str) -> None:
        """Have Kafka prepare the folder; it gets its name only when that is done."""
        fresh = self.folder.path / "logs.new"
        self.folder.properties.write_text(text(properties(fresh, 9092, 9093, {})))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").lstrip("-")
        self._process = self._java(
            class_path,
            "kafka.tools.StorageTool",
            *("format", "--ignore-formatted", "--cluster-id", cluster or "cxkpi"),
            *("--config", str(self.folder.properties)),
        )
        if self.wait(START_SECONDS) != 0:
            raise StartFailed(f"Kafka could not format {self.folder.path}: {self.last_words()}")
        self._process.close()
        self._process = None
        fresh.rename(self.folder.logs)

    def _serve(self, class_path: str) -> None:
        for _ in range(_ATTEMPTS):
            port = self._port or free_port()
            entries = properties(self.folder.logs, port, free_port(but=port), self._overrides)
            self.folder.properties.write_text(text(entries))
            self._process = self._java(class_path, "kafka.Kafka", str(self.folder.properties))
            if self._ready():
                self._port = port
                return
            late = self._process.poll() is None
            self._process.kill()
            if late:
                raise StartFailed(
                    f"Kafka is not ready after {START_SECONDS:.0f} s: {self.last_words()}"
                )
            if _IN_USE not in self.folder.server_log.text():
                raise StartFailed(f"Kafka does not start: {self.last_words()}")
            self._process.close()
            if self._port is not None:
                check_free(self._port)
        raise PortTaken(f"others keep taking the ports meant for Kafka on {HOST}")

    def _ready(self) -> bool:
        """Wait until the broker says that it serves; False if it ends or takes too long."""
        if self._process is None:
            raise RuntimeError("Kafka was not started")
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if _STARTED in self.folder.server_log.text():
                return True
            if self._process.poll() is not None:
                return False
            time.sleep(0.03)
        return False

    def _java(self, class_path: str, *arguments: str) -> JavaProcess:
        self.folder.server_log.mark()
        return JavaProcess(
            [
                f"-Xmx{_HEAP}",
                f"-Djava.io.tmpdir={self.folder.scratch}",
                f"-Dlog4j2.configurationFile={_LOG_SETTINGS.as_uri()}",
                f"-Dcxkpi.broker.log={self.folder.server_log.path}",
                "-cp",
                class_path,
                *arguments,
            ],
            self.folder.jvm_log.path,
        )
