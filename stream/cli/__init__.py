"""The command ``cxkpi``: one module per subcommand, loaded when it is called."""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from stream import __version__
from stream.cli.lazy import Lazy
from stream.cli.telling import (
    have_standard_outputs,
    let_go_of_output,
    let_go_of_the_unsaid,
    tell,
)

#: A disk that has no room, or that fails, which a traceback says nothing of.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
#: The name of what stands in for characters that an encoding lacks.
_REPLACED: Final = "cxkpi.replaced"

#: Subcommands in the order of the help, with the line that it shows.
COMMANDS = {
    "demo": "Show all of it: broker, worker, generator and live view in one.",
    "worker": "Take in events from Kafka, keep the KPIs, fire alerts.",
    "top": "Watch a worker's KPIs in the terminal.",
    "check": "Check a configuration.",
    "alerts": "Try out alerts: a test to the sinks, rules on recorded events.",
    "state": "Show a group's state, or make it anew.",
    "send": "Write recorded events to their topics.",
    "dlq": "Look at refused records, and send them again.",
    "replay": "Run recorded events through the same core, without Kafka.",
    "explain": "Say why a KPI has its value, from recorded events.",
    "generate": "Make the events of a plausible company.",
    "broker": "Run the embedded Apache Kafka.",
    "rules": "Write the alert rules for Prometheus.",
    "dashboard": "Write the dashboard for Grafana.",
    "schema": "Print or write the JSON Schemas.",
}


#: What runs until it is stopped: Ctrl-C is its usual end, but of one look. ``generate`` sees to
#: that itself.
_UNTIL_STOPPED: Final = frozenset({"demo", "worker", "top", "broker"})
#: What Ctrl-C cut short, as shells have it: 128 and the signal's number.
INTERRUPTED: Final = 130
_RUNS_ON: Final = "stream.cli.runs_on"


class _Commands(Lazy):
    """All commands; their ends from outside have one rule.

    Ctrl-C is 130 where it cut work short and 0 for what runs until it is stopped. Whoever reads
    what is printed may have enough of it at any time: 0.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note what kind of command is called before it is imported."""
        called = next((word for word in args if not word.startswith("-")), "")
        ctx.meta[_RUNS_ON] = called in _UNTIL_STOPPED and "--once" not in args
        if called == "worker":
            # What it imports takes seconds on a busy machine; stopped meanwhile it has ended well.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            let_go_of_output()
            sys.exit(0)
        except SystemExit as end:
            # rich ends the program with 1, once it has found that nobody reads.
            if isinstance(end.__context__, BrokenPipeError):
                sys.exit(0)
            raise
        except (KeyboardInterrupt, click.Abort):
            if ctx.meta[_RUNS_ON]:
                sys.exit(0)
            tell("Interrupted")
            sys.exit(INTERRUPTED)


@click.group(
    cls=_Commands,
    catalogue=COMMANDS,
    modules="stream.cli.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="cxkpi")
def cli() -> None:
    """Customer-experience KPIs, live and exact, from events in Kafka."""


def main(argv: list[str] | None = None) -> Any:
    """Run the command line.

    Exits with 0 (fine), 1 (findings), 2 (unusable input) or 130 (cut short by Ctrl-C).
    """
    args = sys.argv[1:] if argv is None else argv
    have_standard_outputs()
    _let_all_characters_pass(as_json="--json" in args)
    run: Callable[..., Any] = cli.main
    try:
        return run(args=args, prog_name="cxkpi")
    except OSError as error:
        if error.errno not in _FULL:
            raise
        tell(f"Error: can't write: {os.strerror(error.errno).lower()}")
        let_go_of_output()
        sys.exit(2)
    finally:
        let_go_of_the_unsaid()


def _let_all_characters_pass(*, as_json: bool) -> None:
    """What the locale's encoding has no character for is a question mark, not the end.

    A minus sign is a hyphen, as a number without its sign is another number.

    JSON is UTF-8 whatever the locale is, as its readers expect.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if _is_utf8(stream) and stream.errors != "strict":
            continue
        if as_json and stream is sys.stdout:
            stream.reconfigure(encoding="utf-8")
        else:
            codecs.register_error(_REPLACED, _replaced)
            stream.reconfigure(errors=_REPLACED)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join("-" if c == "−" else "?" for c in lacking), error.end


def _is_utf8(stream: io.TextIOWrapper) -> bool:
    return codecs.lookup(stream.encoding).name == "utf-8"
