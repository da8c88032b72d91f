"""What peers need: Python environments from lock files of their own, and Java with its jars.

Nothing of it enters the product's environment; all of it stays in ``.cache/bench`` and, for the
jars, beside those of the embedded broker in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from stream.broker import BrokerError, jars

CACHE: Final = Path(__file__).parent.parent / ".cache" / "bench"
PEERS: Final = Path(__file__).with_name("peers")

#: What Kafka Streams needs beside the jars of the broker, which has the same version.
_STREAMS_JARS: Final = (
    jars.Jar(
        "org.apache.kafka",
        "kafka-streams",
        "4.1.1",
        "e554318dbc2b07461f714be32bb324744ba993eb7a49f938792beff577d7044b",
    ),
    jars.Jar(
        "org.rocksdb",
        "rocksdbjni",
        "9.7.3",
        "5ca63e0e955f101f7af1c1fb8ce260b5d3a5701cea7d8c2852b9d56031a57221",
    ),
)
_JAVA_SOURCE: Final = PEERS / "KafkaStreamsNps.java"
_INSTALL_SECONDS: Final = 400


class Unavailable(Exception):
    """A peer can't be had on this machine; the message says why."""


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is not there yet.

    Raises:
        Unavailable: its packages can't be installed.
    """
    lock = PEERS / f"{peer}.lock"
    named = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"{peer}-{named}"
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    if stamp.exists():
        return python
    print(f"Installing {peer} into {folder} (once)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], f"{peer} can't be installed")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    _run(install, f"{peer} can't be installed")
    stamp.touch()
    return python


def kafka_streams() -> list[str]:
    """The Java command with the class path that runs Kafka Streams' program, compiled if need be.

    Raises:
        Unavailable: there is no JDK, or the jars can't be had.
    """
    javac, java = shutil.which("javac"), shutil.which("java")
    if javac is None or java is None:
        raise Unavailable("no JDK on this machine (javac and java on the PATH)")
    folder = jars.cache_folder()
    try:
        class_path = jars.class_path()
        missing = [jar for jar in _STREAMS_JARS if not (folder / jar.filename).is_file()]
        if missing:
            print("Downloading Kafka Streams (70 MB, once)", file=sys.stderr)
            jars.fetch(missing, folder)
        jars.verify(_STREAMS_JARS, folder)
    except BrokerError as error:
        raise Unavailable(str(error)) from error
    own = [str(folder / jar.filename) for jar in _STREAMS_JARS]
    classes = CACHE / f"java-{hashlib.sha256(_JAVA_SOURCE.read_bytes()).hexdigest()[:12]}"
    class_path = os.pathsep.join([class_path, *own])
    if not (classes / ".compiled").exists():
        classes.mkdir(parents=True, exist_ok=True)
        compiling = [javac, "-nowarn", "-cp", class_path, "-d", str(classes), str(_JAVA_SOURCE)]
        _run(compiling, "Kafka Streams' program does not compile")
        (classes / ".compiled").touch()
    # As an operator would start it, but for the limit of the heap.
    return [java, "-Xmx512m", "-cp", os.pathsep.join([str(classes), class_path])]


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{what}: no end after {_INSTALL_SECONDS} s") from error
    except OSError as error:
        raise Unavailable(f"{what}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{what}: {said[-1][:300] if said else 'no reason given'}")
