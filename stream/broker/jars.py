"""The jars of Apache Kafka: fetched once with jgo, verified before each start.

``kafka.lock.toml`` names every jar with its SHA-256. jgo writes such hashes but never checks them,
so it is done here. All of them together take about 0.1 s; a stamp that says "verified before"
would save little and could itself be wrong.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs

from stream.broker.errors import BrokerError, DownloadFailed, JarMismatch

#: The version of Apache Kafka that is embedded, and what the lock file is made from.
KAFKA_VERSION = "4.1.1"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # Kafka itself brings only the interface of its logging, not what writes it. The "!" keeps
    # the versions that log4j's own build manages (an old Kafka among them) out of the rest.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!",
)

LOCK_FILE = Path(__file__).with_name("kafka.lock.toml")

_ATTEMPTS = 3
_PARALLEL = 4
_TIMEOUT_SECONDS = 10
_SCRATCH = ".fetch-"
#: Variables that name the file of the authorities that downloads trust, the first one that is set.
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

#: Tells the user what takes long; gets one line of text.
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """One locked jar."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """The name of its file, unique within the lock file."""
        return f"{self.artifact}-{self.version}.jar"


@cache
def locked() -> tuple[Jar, ...]:
    """Return the jars that the lock file names, in the order of the class path."""
    with LOCK_FILE.open("rb") as file:
        document = tomllib.load(file)
    return tuple(
        Jar(entry["groupId"], entry["artifactId"], entry["version"], entry["sha256"])
        for entry in document["dependencies"]
    )


def cache_folder() -> Path:
    """Return the folder of this user that holds the jars of this version of Kafka."""
    return platformdirs.user_cache_path("cxkpi", appauthor=False) / f"kafka-{KAFKA_VERSION}"


def class_path(folder: Path | None = None, tell: Tell | None = None) -> str:
    """Return the class path of Kafka; fetch what is missing and verify every jar.

    Raises ``DownloadFailed`` if a jar is neither there nor to be had, ``JarMismatch`` if one is not
    what the lock file says.
    """
    folder = folder or cache_folder()
    jars = locked()
    missing = [jar for jar in jars if not (folder / jar.filename).is_file()]
    if missing:
        if tell is not None:
            tell(f"Downloading Apache Kafka {KAFKA_VERSION} ({len(missing)} jars) into {folder}")
        fetch(missing, folder)
    verify(jars, folder)
    return os.pathsep.join(str(folder / jar.filename) for jar in jars)


def verify(jars: Iterable[Jar], folder: Path) -> None:
    """Raise ``JarMismatch`` unless every jar in the folder has the hash of the lock file."""
    _each(lambda jar: _verify(jar, folder / jar.filename), jars)


def _verify(jar: Jar, file: Path) -> None:
    if (found := _sha256(file)) != jar.sha256:
        raise JarMismatch(
            f"{file} has SHA-256 {found} instead of {jar.sha256}: "
            "delete it and start again to download it anew"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fetch(jars: Sequence[Jar], folder: Path) -> None:
    """Download the jars, verify them and move them into the folder.

    A download that is cut short never shows under the final name, and processes that do this at
    the same time don't disturb each other.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A folder that is there may not be writable, which is no fault of the connection.
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder):
            pass
    except OSError as error:
        raise DownloadFailed(
            f"Apache Kafka {KAFKA_VERSION} can't be stored in {folder}: {error.strerror}; "
            "set XDG_CACHE_HOME, or HOME, to a folder that can be written"
        ) from error
    given_up = threading.Event()
    try:
        _each(lambda jar: _fetch(jar, folder, given_up), jars)
    finally:
        given_up.set()


def _fetch(jar: Jar, folder: Path, given_up: threading.Event) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _fetch_once(jar, folder)
        except BrokerError:
            if attempt == _ATTEMPTS or given_up.wait(attempt / 2):
                given_up.set()
                raise
        else:
            return


def _each(work: Callable[[Jar], None], jars: Iterable[Jar]) -> None:
    """Do the work for every jar, some at a time; the first failure (or Ctrl-C) ends it."""
    pool = ThreadPoolExecutor(_PARALLEL)
    try:
        for _ in pool.map(work, jars):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch_once(jar: Jar, folder: Path) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
            file = _download(jar, Path(scratch))
            if _sha256(file) != jar.sha256:
                raise JarMismatch(f"the download of {jar.filename} is not the file that is locked")
            file.replace(folder / jar.filename)
    except (OSError, RuntimeError) as error:  # jgo raises a bare RuntimeError for "not found"
        raise DownloadFailed(
            f"{jar.filename} of Apache Kafka {KAFKA_VERSION} could not be downloaded "
            f"({_reason(error)}): {_remedy(error)} and start again"
        ) from error


def _download(jar: Jar, folder: Path) -> Path:
    # Imported late: it takes a quarter of a second and is needed only once per machine.
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    context = MavenContext(
        repo_cache=folder,
        local_repos=[],
        remote_repos=_repositories(GlobalSettings.load().repositories),
        timeout=_TIMEOUT_SECONDS,
    )
    return context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()


def _repositories(configured: dict[str, str]) -> dict[str, str] | None:
    """Return the repositories that the user's jgo settings name; None stands for jgo's default."""
    return configured or None


def _innermost(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _remedy(error: BaseException) -> str:
    """Return what helps against an error, as far as its innermost cause tells."""
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            "if a proxy of your network opens what is encrypted, set REQUESTS_CA_BUNDLE to the file"
            " with its authority (PEM)"
        )
    named = next((name for name in _BUNDLES if os.environ.get(name)), None)
    # A file that is not there is told of with its name, one without certificates is not.
    said = str(cause)
    if named is not None and (os.environ[named] in said or "NO_CERTIFICATE" in said):
        return f"check {named}"
    return "check the connection"


def _reason(error: BaseException) -> str:
    """Return an error's innermost cause as one short line."""
    error = _innermost(error)
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "…"
