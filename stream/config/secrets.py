"""Fetch what may not stand in the file: addresses with tokens, signing keys, passwords."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Final, Literal

from pydantic import SecretStr

from stream.config.checks import Finding
from stream.config.environment import PASSWORD
from stream.config.kafka import KafkaConfig
from stream.config.model import Config, SinkConfig
from stream.config.sink_kinds import SINK_KINDS
from stream.config.sinks import has_login
from stream.config.toml import cannot_read, unreadable

#: A secret file that is longer is some other file.
LONGEST_SECRET: Final = 65_536
#: What may stand after ``Bearer`` in a header.
_TOKEN: Final = re.compile(r"[!-~]+")
_KINDS: tuple[Literal["url"], Literal["secret"]] = ("url", "secret")


_CERTIFICATES: Final = ("ssl_cafile", "ssl_certfile", "ssl_keyfile")


#: Says what is wrong with a sink that has all it needs, without its secrets; None: nothing.
Vet = Callable[[SinkConfig], str | None]


class _Missing(Exception):
    """The secret can't be had; the message says why, without it."""


def fetch_for_sinks(
    config: Config,
    indexes: Iterable[int],
    environ: Mapping[str, str],
    folder: FilePath,
    vet: Vet | None = None,
) -> Iterator[Finding]:
    """Give these sinks their addresses and secrets; yield what is missing or what ``vet`` finds.

    Names of files are relative to ``folder``.
    """
    for index in indexes:
        sink = config.sinks[index]
        for kind in _KINDS:
            key = _key_of(kind, sink)
            try:
                value = _of_sink(sink, kind, key, environ, folder)
            except _Missing as missing:
                yield ("sink", index, key or kind), str(missing)
                continue
            sink.hold(kind, value)
        if sink.endpoint is not None:
            yield from _of_both(sink, index, sink.endpoint.get_secret_value())
            if vet is not None and (reason := vet(sink)):
                yield ("sink", index, _key_of("url", sink) or "url"), reason


def _key_of(kind: str, sink: SinkConfig) -> str | None:
    """The key that says where an address or a secret stands, other than in the file."""
    return next((k for k in (f"{kind}_env", f"{kind}_file") if getattr(sink, k) is not None), None)


def _of_both(sink: SinkConfig, index: int, address: str) -> Iterator[Finding]:
    """Whoever takes a token has one way to let us in, and the token goes into a header."""
    if sink.secret is None or not SINK_KINDS[sink.type].is_token:
        return
    key = _key_of("secret", sink) or "secret"
    if has_login(address):
        yield ("sink", index, key), "does not go with the login in the address"
    if not _TOKEN.fullmatch(sink.secret.get_secret_value()):
        yield ("sink", index, key), "must hold one token: visible ASCII characters, no spaces"


def beside(kafka: KafkaConfig, folder: FilePath) -> KafkaConfig:
    """Return the same with the certificates' names read from ``folder`` on."""
    names = {key: getattr(kafka, key) for key in _CERTIFICATES}
    return kafka.model_copy(
        update={key: str(folder / name) for key, name in names.items() if name is not None}
    )


def fetch_for_kafka(
    kafka: KafkaConfig, environ: Mapping[str, str], folder: FilePath
) -> Iterator[Finding]:
    """Give Kafka its password, and see that its certificates are there; yield what is missing."""
    missing = [
        (key, why)
        for key in _CERTIFICATES
        if (name := getattr(kafka, key)) is not None and (why := unreadable(name))
    ]
    yield from ((("kafka", key), why) for key, why in missing)
    if not missing and kafka.uses_tls:
        yield from _unusable_certificates(kafka)
    if not kafka.uses_sasl:
        return
    try:
        kafka.hold_password(_password(kafka, environ, folder))
    except _Missing as missing:
        yield ("kafka", "sasl_password_file"), str(missing)


def _unusable_certificates(kafka: KafkaConfig) -> Iterator[Finding]:
    """What Kafka's client would stumble over later, and with fewer words."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if kafka.ssl_cafile is not None:
        try:
            context.load_verify_locations(kafka.ssl_cafile)
        except OSError as error:
            reason = _reason(error, "holds no certificate in PEM")
            yield ("kafka", "ssl_cafile"), f"{kafka.ssl_cafile} {reason}"
    if kafka.ssl_certfile is None:
        return
    asked: list[bool] = []

    def passphrase() -> str:
        # Otherwise OpenSSL would ask for it on the terminal.
        asked.append(True)
        return ""

    key = "ssl_keyfile" if kafka.ssl_keyfile is not None else "ssl_certfile"
    try:
        context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile, passphrase)
    except (OSError, ValueError) as error:
        if asked:
            yield ("kafka", key), "the key needs a passphrase; give it without one, readable by us"
        else:
            files = " and ".join(filter(None, [kafka.ssl_certfile, kafka.ssl_keyfile]))
            yield ("kafka", key), f"{files}: {_reason(error, 'no certificate with its key in PEM')}"


def _reason(error: Exception, otherwise: str) -> str:
    is_plain = isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
    return f"can't be read: {error.strerror}" if is_plain else otherwise  # type: ignore[attr-defined]


def _of_sink(
    sink: SinkConfig, kind: str, key: str | None, environ: Mapping[str, str], folder: FilePath
) -> SecretStr | None:
    if key is None:
        return sink.url if kind == "url" else None
    name = str(getattr(sink, key))
    value = _variable(name, environ) if key.endswith("_env") else _file(folder / name)
    if kind == "url" and (words := SINK_KINDS[sink.type].refused(value)):
        raise _Missing(f"must hold {words}")
    return SecretStr(value)


def _password(kafka: KafkaConfig, environ: Mapping[str, str], folder: FilePath) -> SecretStr:
    if password := environ.get(PASSWORD, "").strip("\r\n"):
        return SecretStr(password)
    if kafka.sasl_password_file is None:
        raise _Missing(f"is missing; set it or {PASSWORD} for {kafka.security_protocol}")
    return SecretStr(_file(folder / kafka.sasl_password_file))


def _variable(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise _Missing(f"the variable {name} is not set")
    return value


def _file(path: FilePath) -> str:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            value = lines.read(LONGEST_SECRET + 1).strip()
    except UnicodeDecodeError:
        raise _Missing(f"{path} is not UTF-8") from None
    except OSError as error:
        raise _Missing(cannot_read(str(path), error.strerror or str(error))) from None
    if not value or len(value) > LONGEST_SECRET:
        raise _Missing(f"{path} {'is too long for a secret' if value else 'is empty'}")
    return value
