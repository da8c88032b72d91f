"""Sinks, emotions and security that can not work are refused in one line each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.mistakes import Case, check_said

CASES: list[Case] = [
    (
        "an emotion on both sides",
        '[emotion]\nnegative = ["sad", "Happy"]\n',
        ['2: emotion.negative[1]: "Happy" is a positive emotion too'],
    ),
    (
        "certificates without encryption",
        '[kafka]\nssl_cafile = "cxkpi.toml"\n',
        [
            (
                "2: kafka.ssl_cafile: has no effect with security_protocol PLAINTEXT; use SSL or "
                "SASL_SSL"
            )
        ],
    ),
    (
        "certificates that aren't there",
        '[kafka]\nsecurity_protocol = "SSL"\nssl_cafile = "ca.pem"\n',
        ["3: kafka.ssl_cafile: can't read ca.pem: no such file or directory"],
    ),
    (
        "a certificate whose name is too long for the system",
        '[kafka]\nsecurity_protocol = "SSL"\nssl_cafile = "' + "x" * 900 + '"\n',
        ["3: kafka.ssl_cafile: can't read " + "x" * 900 + ": file name too long"],
    ),
    (
        "a folder for a certificate",
        '[kafka]\nsecurity_protocol = "SSL"\nssl_cafile = "."\n',
        ["3: kafka.ssl_cafile: can't read .: is a directory"],
    ),
    (
        "a device for a certificate",
        '[kafka]\nsecurity_protocol = "SSL"\nssl_cafile = "/dev/null"\n',
        ["3: kafka.ssl_cafile: can't read /dev/null: is no file"],
    ),
    (
        "a folder for a sink's address",
        '[[sink]]\ntype = "slack"\nurl_file = "."\n',
        ["3: sink[0].url_file: can't read .: is a directory"],
    ),
    (
        "a login without name and password",
        '[kafka]\nsecurity_protocol = "SASL_SSL"\n',
        [
            "1: kafka.sasl_username: is missing; SASL_SSL needs it",
            (
                "1: kafka.sasl_password_file: is missing; set it or CXKPI_KAFKA__SASL_PASSWORD for "
                "SASL_SSL"
            ),
        ],
    ),
    (
        "a flush that outlasts its transaction",
        '[kafka]\nflush = "1s"\ntransaction_timeout = "1s"\n',
        ["2: kafka.flush: must be at most half of transaction_timeout"],
    ),
    (
        "a transaction that is shorter than two flushes of the usual length",
        '[kafka]\ntransaction_timeout = "1500ms"\n',
        ["2: kafka.transaction_timeout: must be at least twice flush (1s)"],
    ),
    (
        "a type of sink that isn't there",
        '[[sink]]\ntype = "slak"\n',
        [
            (
                '2: sink[0].type: unknown type "slak"; did you mean "slack"? allowed: log, '
                "webhook, slack, alertmanager, apprise"
            )
        ],
    ),
    (
        "a webhook without address",
        '[[sink]]\ntype = "webhook"\n',
        ["1: sink[0].url: is missing; a webhook needs url, url_env or url_file"],
    ),
    (
        "an address of another kind",
        '[[sink]]\ntype = "webhook"\nurl = "ftp://host/x"\n',
        ["3: sink[0].url: must be an http:// or https:// address"],
    ),
    (
        "an address that is broken",
        '[[sink]]\ntype = "webhook"\nurl = "http://[::1/x"\n',
        ["3: sink[0].url: must be an http:// or https:// address"],
    ),
    (
        "two addresses",
        '[[sink]]\ntype = "webhook"\nurl = "http://h/"\nurl_file = "cxkpi.toml"\n',
        [
            (
                "4: sink[0].url_file: only one of url, url_env, url_file is allowed; url is there "
                "already"
            )
        ],
    ),
    (
        "a log with an address",
        '[[sink]]\ntype = "log"\nurl = "http://h/"\n',
        ["3: sink[0].url: a log takes none"],
    ),
    (
        "an address for each type of sink",
        '[[sink]]\ntype = "alertmanager"\n[[sink]]\ntype = "apprise"\n',
        [
            "1: sink[0].url: is missing; an alertmanager needs url, url_env or url_file",
            "3: sink[1].url: is missing; an apprise needs url, url_env or url_file",
        ],
    ),
    (
        "Alertmanager's API in the place of its root",
        '[[sink]]\ntype = "alertmanager"\nurl = "http://h:9093/api/v2/alerts"\n',
        [
            (
                "3: sink[0].url: must be Alertmanager's root, such as http://127.0.0.1:9093;"
                " /api/v2/alerts is added"
            )
        ],
    ),
    (
        "a part of Alertmanager's page in the place of its root",
        '[[sink]]\ntype = "alertmanager"\nurl = "http://h:9093/#/alerts"\n',
        [
            (
                "3: sink[0].url: must be Alertmanager's root, such as http://127.0.0.1:9093;"
                " /api/v2/alerts is added"
            )
        ],
    ),
    (
        "an address whose port there is none of",
        '[[sink]]\ntype = "webhook"\nurl = "http://h:0/"\n',
        ["3: sink[0].url: must be an http:// or https:// address"],
    ),
    (
        "an address of apprise that may hold a secret",
        (
            '[[sink]]\ntype = "apprise"\nurl = "pagerduty://abc@def"\n'
            '[[sink]]\ntype = "apprise"\nurl = "discord://123/abc"\n'
            '[[sink]]\ntype = "apprise"\nurl = "nothing"\n'
            '[[sink]]\ntype = "apprise"\nurl = "json://host/path"\n'
        ),
        [
            "3: sink[0].url: a password does not belong in the file; use url_env or url_file",
            (
                "6: sink[1].url: the address may hold a secret; use url_env or url_file"
                " (allowed in the file: json, jsons, form, forms, xml, xmls)"
            ),
            (
                "9: sink[2].url: must be an address of apprise, such as mailtos://… or pagerduty://…"
                " (https://appriseit.com/services/ lists them)"
            ),
        ],
    ),
    (
        "Slack's own address in the file",
        '[[sink]]\ntype = "slack"\nurl = "https://hooks.slack.com/services/T/B/x"\n',
        ["3: sink[0].url: Slack's address is a secret; use url_env or url_file"],
    ),
    (
        "a refresh for what forgets nothing",
        (
            '[[sink]]\ntype = "log"\nrefresh = "30s"\n'
            '[[sink]]\ntype = "alertmanager"\nurl = "http://h/"\nrefresh = "10ms"\n'
        ),
        [
            "3: sink[0].refresh: a log takes none; only alertmanager forgets what fires",
            '7: sink[1].refresh: must be 1s to 1h, not "10ms"',
        ],
    ),
    (
        "a refresh that has no effect",
        '[[sink]]\ntype = "log"\nrefresh = "30s"\n',
        ["3: sink[0].refresh: a log takes none; only alertmanager forgets what fires"],
    ),
    (
        "two sinks of one name",
        '[[sink]]\nname = "hook"\ntype = "log"\n[[sink]]\ntype = "log"\nname = "hook"\n',
        ['6: sink[1].name: "hook" is another sink\'s name'],
    ),
]


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("content", "lines"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_can_not_work_is_one_line_with_place_and_key(content: str, lines: list[str]) -> None:
    check_said(content, lines)
