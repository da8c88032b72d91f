"""Secrets come from variables and files, and show up nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from stream.cli import cli
from stream.cli.check import check
from stream.cli.configured import unusable
from stream.config import ConfigError, load
from stream.config.secrets import LONGEST_SECRET

SECRET = "s3cr3t-t0ken"
#: Variables that sinks are pointed to.
ADDRESSES = {
    "HOOK": SECRET,
    "SLAK": f"slak://{SECRET}/b/c",
    "HALF": f"slack://{SECRET}",
    "LOCAL": f"syslog://{SECRET}",
    "LOGIN": f"http://me:{SECRET}@h/",
    "TWO_LINES": f"{SECRET}\n{SECRET}",
    "ACCENT": f"{SECRET}é",
}
LOGIN = '[kafka]\nsecurity_protocol = "SASL_PLAINTEXT"\nsasl_username = "me"\n'


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _write(content: str, name: str = "cxkpi.toml") -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


def test_a_sink_takes_its_address_and_secret_from_the_environment() -> None:
    _write('[[sink]]\ntype = "webhook"\nurl_env = "HOOK"\nsecret_env = "KEY"\n')
    (sink,) = load(None, {"HOOK": f"https://h/{SECRET}", "KEY": SECRET}).sinks
    assert sink.endpoint is not None
    assert sink.endpoint.get_secret_value() == f"https://h/{SECRET}"
    assert sink.secret is not None
    assert sink.secret.get_secret_value() == SECRET


def test_files_of_secrets_are_found_beside_the_configuration() -> None:
    path = _write(
        '[[sink]]\ntype = "webhook"\nurl_file = "url"\nsecret_file = "key"\n'
        + LOGIN
        + 'sasl_password_file = "password"\n',
        "etc/cxkpi.toml",
    )
    for name in ("key", "password"):
        _write(f"{SECRET}\n", f"etc/{name}")
    _write(f"http://h/{SECRET}\n", "etc/url")
    config = load(path, {})
    (sink,) = config.sinks
    found = [sink.endpoint, sink.secret, config.kafka.sasl_password]
    assert [s.get_secret_value() for s in found if s is not None] == [
        f"http://h/{SECRET}",
        SECRET,
        SECRET,
    ]


def test_certificates_are_found_beside_the_configuration() -> None:
    content = '[kafka]\nsecurity_protocol = "SSL"\nssl_cafile = "ca.pem"\n'
    path = _write(content, "etc/cxkpi.toml")
    with pytest.raises(ConfigError, match=r"^etc/cxkpi.toml:3: .*can't read etc/ca.pem: no such"):
        load(path, {})
    _write("no certificate", "etc/ca.pem")
    with pytest.raises(ConfigError, match=r"^etc/cxkpi.toml:3: .*holds no certificate in PEM$"):
        load(path, {})
    trustme.CA().cert_pem.write_to_path("etc/ca.pem")
    assert load(path, {}).kafka.ssl_cafile == "etc/ca.pem"


def test_a_clients_certificate_must_have_its_key_and_no_passphrase() -> None:
    path = _write('[kafka]\nsecurity_protocol = "SSL"\nssl_certfile = "me.pem"\n', "etc/cxkpi.toml")
    client = trustme.CA().issue_cert("me@example.org")
    _write(client.cert_chain_pems[0].bytes().decode(), "etc/me.pem")
    with pytest.raises(ConfigError, match=r"^etc/cxkpi.toml:3: .*no certificate with its key"):
        load(path, {})
    locked = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-passout", "pass:secret"],
        input=client.private_key_pem.bytes(),
        capture_output=True,
        check=True,
    ).stdout
    _write(client.cert_chain_pems[0].bytes().decode() + locked.decode(), "etc/me.pem")
    with pytest.raises(ConfigError, match=r"^etc/cxkpi.toml:3: .*needs a passphrase"):
        load(path, {})
    client.private_key_and_cert_chain_pem.write_to_path("etc/me.pem")
    assert load(path, {}).kafka.ssl_certfile == "etc/me.pem"


def test_the_password_of_the_environment_wins_over_the_file() -> None:
    _write(LOGIN + 'sasl_password_file = "missing"\n')
    password = load(None, {"CXKPI_KAFKA__SASL_PASSWORD": SECRET}).kafka.sasl_password
    assert password is not None
    assert password.get_secret_value() == SECRET


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_end_of_line_and_the_mark_of_an_editor_are_no_part_of_a_password(end: str) -> None:
    _write(LOGIN + 'sasl_password_file = "pass"\n')
    _write(f"\ufeff{SECRET}{end}", "pass")
    for environ in ({}, {"CXKPI_KAFKA__SASL_PASSWORD": SECRET + end}):
        password = load(None, environ).kafka.sasl_password
        assert password is not None
        assert password.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            f'[kafka]\nsasl_password = "{SECRET}"\n',
            (
                "cxkpi.toml:2: kafka.sasl_password: a password does not belong in the file; "
                "use CXKPI_KAFKA__SASL_PASSWORD or sasl_password_file"
            ),
        ),
        (
            f'[[sink]]\ntype = "log"\nsecret = "{SECRET}"\n',
            (
                "cxkpi.toml:3: sink[0].secret: a secret does not belong in the file; "
                "use secret_env or secret_file"
            ),
        ),
        (
            f'[[sink]]\ntype = "webhook"\nurl = "http://me:{SECRET}@h/"\n',
            (
                "cxkpi.toml:3: sink[0].url: a password does not belong in the file; "
                "use url_env or url_file"
            ),
        ),
        (
            f'[[sink]]\ntype = "slack"\nurl = ["{SECRET}"]\n',
            "cxkpi.toml:3: sink[0].url: must be text in quotes",
        ),
        (
            f'[[sink]]\ntype = "slack"\nurl = "{SECRET}"\n',
            "cxkpi.toml:3: sink[0].url: must be an http:// or https:// address",
        ),
        (
            '[[sink]]\ntype = "slack"\nurl_env = "HOOK"\n',
            "cxkpi.toml:3: sink[0].url_env: must hold an http:// or https:// address",
        ),
        (
            '[[sink]]\ntype = "slack"\nurl_env = "UNSET"\n',
            "cxkpi.toml:3: sink[0].url_env: the variable UNSET is not set",
        ),
        *(
            (
                f'[[sink]]\ntype = "webhook"\nurl = "http://h/"\n{key} = "{SECRET}!"\n',
                (
                    f"cxkpi.toml:4: sink[0].{key}: must be the name of a variable"
                    " (letters, digits, underscores), which holds the secret"
                ),
            )
            for key in ("url_env", "secret_env")
        ),
        (
            f'[[sink]]\ntype = "slack"\nurl_file = "https://h/{SECRET}"\n',
            ("cxkpi.toml:3: sink[0].url_file: must be the name of a file, not an address"),
        ),
        (
            f'[kafka]\nbootstrap = "me:{SECRET}@kafka:9092"\n',
            (
                "cxkpi.toml:2: kafka.bootstrap: must be host:port, several comma-separated, such"
                ' as "kafka-1:9092,kafka-2:9092"'
            ),
        ),
        (
            '[[sink]]\ntype = "slack"\nurl_file = "none"\n',
            "cxkpi.toml:3: sink[0].url_file: can't read none: no such file or directory",
        ),
        (
            '[[sink]]\ntype = "slack"\nurl_file = "empty"\n',
            "cxkpi.toml:3: sink[0].url_file: empty is empty",
        ),
        (
            '[[sink]]\ntype = "slack"\nurl = "http://h/"\nsecret_env = "HOOK"\n',
            "cxkpi.toml:4: sink[0].secret_env: a slack sink takes none: its address is the secret",
        ),
        (
            '[[sink]]\ntype = "apprise"\nurl_env = "HOOK"\n',
            (
                "cxkpi.toml:3: sink[0].url_env: must hold an address of apprise, such as"
                " mailtos://… or"
                " pagerduty://… (https://appriseit.com/services/ lists them)"
            ),
        ),
        (
            '[[sink]]\ntype = "apprise"\nurl_env = "SLAK"\n',
            (
                'cxkpi.toml:3: sink[0].url_env: unknown scheme "slak"; did you mean "slack"?'
                " allowed: those of https://appriseit.com/services/"
            ),
        ),
        (
            '[[sink]]\ntype = "apprise"\nurl_env = "HALF"\n',
            (
                "cxkpi.toml:3: sink[0].url_env: apprise can't use it:"
                " a part of a slack:// address is"
                " missing or wrong"
            ),
        ),
        (
            '[[sink]]\ntype = "apprise"\nurl_env = "LOCAL"\n',
            (
                "cxkpi.toml:3: sink[0].url_env: syslog:// tells nobody but this machine;"
                " allowed: those"
                " of https://appriseit.com/services/"
            ),
        ),
        (
            '[[sink]]\ntype = "alertmanager"\nurl_env = "LOGIN"\nsecret_env = "HOOK"\n',
            "cxkpi.toml:4: sink[0].secret_env: does not go with the login in the address",
        ),
        *(
            (
                f'[[sink]]\ntype = "alertmanager"\nurl = "http://h/"\nsecret_env = "{name}"\n',
                (
                    "cxkpi.toml:4: sink[0].secret_env: must hold one token:"
                    " visible ASCII characters, no spaces"
                ),
            )
            for name in ("TWO_LINES", "ACCENT")
        ),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_without_it(content: str, line: str) -> None:
    _write(content)
    _write("", "empty")
    with pytest.raises(ConfigError) as refused:
        load(None, ADDRESSES, vet=unusable)
    assert str(refused.value) == line
    assert SECRET not in repr(refused.value)


@pytest.mark.parametrize(
    "key",
    ["url_file", "secret_file", "sasl_password_file", "ssl_cafile", "ssl_certfile", "ssl_keyfile"],
)
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (f"https://hooks.slack.com/services/{SECRET}", ", not an address"),
        (f"mailtos://user:{SECRET}@example.org", ", not an address"),
        (f"  {SECRET}", ": 1 to 1000 printable characters on one line, no blank at either end"),
        (
            f"-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n",
            ": 1 to 1000 printable characters on one line, no blank at either end",
        ),
    ],
)
def test_a_secret_in_the_place_of_its_file_is_refused_by_every_command_and_not_shown(
    key: str, value: str, reason: str
) -> None:
    in_sink = key in {"url_file", "secret_file"}
    _write(('[[sink]]\ntype = "webhook"\n' if in_sink else LOGIN) + f'{key} = "{value}"\n')
    line = 3 if in_sink else 4
    for arguments in (["check"], ["check", "--no-secrets"], ["check", "--no-secrets", "--json"]):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 1
        place = f"cxkpi.toml:{line}: {'sink[0]' if in_sink else 'kafka'}.{key}"
        said = f"{place}: must be the name of a file{reason}"
        assert said in result.stderr.splitlines()
        assert SECRET not in result.output
    result = CliRunner().invoke(cli, ["rules", "export"])
    assert result.exit_code == 2
    assert SECRET not in result.output


@pytest.mark.parametrize(
    "key", ["url", "url_env", "url_file", "secret_env", "sasl_password_file", "ssl_keyfile"]
)
def test_what_is_no_text_in_the_place_of_a_secret_is_not_shown_either(key: str) -> None:
    in_sink = key.startswith(("url", "secret"))
    _write(('[[sink]]\ntype = "webhook"\n' if in_sink else LOGIN) + f"{key} = 271828\n")
    with pytest.raises(ConfigError) as refused:
        load(None, {}, needs=())
    assert f"{key}: must be text in quotes" in str(refused.value)
    assert "271828" not in str(refused.value)


@pytest.mark.parametrize(
    ("more", "line"),
    [("\n", None), ("x", "cxkpi.toml:4: kafka.sasl_password_file: long is too long for a secret")],
)
def test_a_secret_is_taken_whole_or_refused(more: str, line: str | None) -> None:
    _write(LOGIN + 'sasl_password_file = "long"\n')
    _write("s" * LONGEST_SECRET + more, "long")
    if line is None:
        password = load(None, {}).kafka.sasl_password
        assert password is not None
        assert password.get_secret_value() == "s" * LONGEST_SECRET
        return
    with pytest.raises(ConfigError) as refused:
        load(None, {})
    assert str(refused.value) == line


def test_nothing_that_is_printed_holds_a_secret() -> None:
    _write(
        f'[[sink]]\ntype = "webhook"\nurl = "https://h/{SECRET}?t={SECRET}"\nsecret_env = "KEY"\n'
        '[[sink]]\ntype = "slack"\nurl_env = "HOOK"\n'
        '[[sink]]\ntype = "apprise"\nurl_env = "MAIL"\n'
        '[[sink]]\ntype = "alertmanager"\nurl_env = "LOGIN"\n' + LOGIN
    )
    environ = ADDRESSES | {
        "MAIL": f"json://me:{SECRET}@h/{SECRET}?-t={SECRET}",
        "KEY": SECRET,
        "HOOK": f"https://h/{SECRET}",
        "CXKPI_KAFKA__SASL_PASSWORD": SECRET,
    }
    config = load(None, environ)
    assert SECRET not in repr(config)
    assert SECRET not in str(config.sinks) + config.model_dump_json()
    for arguments in ([], ["--json"]):
        result = CliRunner().invoke(check, arguments, env=environ)
        assert result.exit_code == 0
        assert SECRET not in result.output


def test_a_command_that_notifies_no_one_needs_no_secrets() -> None:
    _write('[[sink]]\ntype = "slack"\nurl_env = "UNSET"\n' + LOGIN)
    assert load(None, {}, needs=()).kafka.sasl_password is None
    assert (
        load(None, {"CXKPI_KAFKA__SASL_PASSWORD": "x"}, needs=("kafka",)).sinks[0].endpoint is None
    )
    with pytest.raises(ConfigError, match="SASL_PASSWORD"):
        load(None, {"UNSET": "http://h/"}, needs=("kafka", "sinks"))
