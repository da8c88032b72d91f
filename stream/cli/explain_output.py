"""What ``cxkpi explain`` prints: one screen, from 80 columns on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.cli.replay_output import console
from stream.core.escape import escaped
from stream.core.explain import Part, Reached
from stream.core.kpi import CONSTANT, Kpi
from stream.core.timestamps import format_ms
from stream.replay.explain import Explanation, help_of
from stream.top.numbers import number

#: So many segments of a label are shown, and so many labels.
_SEGMENTS: Final = 4
_LABELS: Final = 3
_LONGEST_LABEL: Final = 24
#: With a denominator below this, what is known is called little.
_FEW: Final = 30
#: What rounding leaves of an effect that there is not.
_NOTHING: Final = 1e-9
#: From here on two digits round to a hundred.
_HUNDRED: Final = 99.5


def show(explanation: Explanation, to: Console | None = None) -> None:
    """Print an explanation; without the blanks that fill columns where that is no terminal."""
    out = to or console()
    if out.is_terminal:
        _print(explanation, out)
        return
    with out.capture() as captured:
        _print(explanation, out)
    out.file.write("\n".join(line.rstrip() for line in captured.get().split("\n")))
    out.file.flush()


def _print(explanation: Explanation, out: Console) -> None:
    for line in _head(explanation):
        out.print(line, soft_wrap=False)
    out.print(_terms(explanation))
    out.print(Text(f"\n{_records(explanation)}"))
    for table in _segments(explanation):
        out.print(Text())
        out.print(table)
    changes = list(_changes(explanation))
    if changes:
        out.print(Text("\nWhat would change it", style="bold"))
        for change in changes:
            out.print(Text(f"  {change}"))


def _records(e: Explanation) -> str:
    outcomes = ", ".join(f"{n:,} {outcome}" for outcome, n in e.outcomes.items())
    said = f"Records of {e.kpi.topic}: {outcomes or 'none'}"
    if e.invalid:
        said += f", and {e.invalid:,} invalid of any topic (replay --rejects - lists them)"
    return said


def _head(e: Explanation) -> Iterator[Text]:
    labels = ", ".join(f"{k}={escaped(v)}" for k, v in e.labels.items()) or "total"
    when = format_ms(e.at).replace("T", " ").replace(".000Z", "Z").replace("Z", " UTC")
    yield Text.assemble(
        (f"{e.kpi.title} ({e.kpi.id})", "bold"), f" · {labels} · {e.window} · {when}"
    )
    yield Text(e.kpi.help, style="dim")
    yield Text()
    yield Text.assemble("  ", (_value(e, e.numbers.value), "bold"), f"  {_sureness(e)}")
    if e.first is not None and number(e.covered, "ratio") != number(1.0, "ratio"):
        yield Text(f"  {_coverage(e, e.first)}", style="yellow")
    yield Text()
    yield Text(f"  {e.kpi.formula}")
    worked = e.kpi.formula_with(lambda term: plain(e.terms[term.words]))
    yield Text(f"  = {worked}")
    yield Text(f"  = {_worked_value(e)}")
    yield Text()


def _coverage(e: Explanation, first: int) -> str:
    """How much of the window is covered, and whether the value is lower for it."""
    since = f"{format_ms(first)[:-5].replace('T', ' ')} UTC"
    said = f"data covers {number(e.covered, 'ratio')} of {e.window}, from {since} on"
    per_window = e.kpi.grows_with_window or any(t.column in CONSTANT for t in e.kpi.terms)
    return f"{said}; too low so far" if per_window else said


def _value(e: Explanation, value: float | None) -> str:
    """A value with its unit, as people say it."""
    if value is None:
        return "no value"
    said = number(value, e.kpi.unit).replace("-", "−")
    if e.kpi.unit == "currency":
        return f"{said} {escaped(e.labels.get('currency', ''))}".strip()
    return said if e.kpi.unit in ("ratio", "seconds") else f"{said} {e.kpi.unit}"


def _sureness(e: Explanation) -> str:
    numbers, unit = e.numbers, e.kpi.unit
    if numbers.value is None:
        what = "nothing counted" if _is_count(e.kpi) else "nothing to divide by"
        return f"{what} in the window of {e.window}"
    if numbers.lower is None or numbers.upper is None:
        if e.kpi.sketch and e.quantiles:
            said = (f"{100 * float(q):g}% ≤ {number(x, unit)}" for q, x in e.quantiles.items())
            return "; ".join(said)
        return "no bounds are defined for it" if e.kpi.bounds is None else "no bounds"
    lower, upper = (number(x, unit).replace("-", "−") for x in (numbers.lower, numbers.upper))
    sure = f"95% sure: {lower} to {upper}"
    few = numbers.denominator is not None and numbers.denominator < _FEW
    return f"{sure} (few: {plain(numbers.denominator or 0)} only)" if few else sure


def _is_count(kpi: Kpi) -> bool:
    """Whether its formula is one counter, which nothing divides."""
    return len(kpi.terms) == 1


def _worked_value(e: Explanation) -> str:
    value = e.numbers.value
    if value is None:
        return "no value"
    said, exact = _value(e, value), plain(value)
    return said if e.kpi.unit not in ("ratio", "seconds") else f"{exact} = {said}"


def plain(value: float) -> str:
    """A number with as many digits as tell something, and a minus sign as formulas have it."""
    if float(value).is_integer():
        text = f"{value:,.0f}"
    else:
        digits = len(f"{abs(value):.0f}") if abs(value) >= 1 else 0
        text = f"{value:,.{max(2, 6 - digits)}f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")


def _terms(e: Explanation) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for term in e.kpi.terms:
        table.add_row(f"  {term.words}", plain(e.terms[term.words]), help_of(term.column))
    return table


def _segments(e: Explanation) -> Iterator[Table | Text]:
    by_effect = sorted(
        e.segments.items(), key=lambda by: -max((abs(p.effect or 0) for p in by[1]), default=0)
    )
    for label, found in by_effect[:_LABELS]:
        yield _by(e, label, found)
    if any(part.overlaps for _, found in by_effect for part in found):
        yield Text("A customer whose signals differ in a label is in several.", style="dim")
    if len(by_effect) > _LABELS:
        left = ", ".join(label for label, _ in by_effect[_LABELS:])
        yield Text(f"Also by {left}: see --json.", style="dim")


def _by(e: Explanation, label: str, found: Sequence[Part]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"By {label}", no_wrap=True, min_width=14, max_width=_LONGEST_LABEL)
    known = {
        "share": [p.share for p in found],
        "value": [p.numbers.value for p in found],
        "adds": [p.adds for p in found],
        "without it": [p.without for p in found],
        "moves it by": [p.effect for p in found],
    }
    names = [name for name, cells in known.items() if any(c is not None for c in cells)]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for part in found[:_SEGMENTS]:
        cells = {
            "share": "–" if part.share is None else number(part.share, "ratio"),
            "value": number(part.numbers.value, e.kpi.unit).replace("-", "−"),
            "adds": _signed(part.adds, e.kpi.unit),
            "without it": number(part.without, e.kpi.unit).replace("-", "−"),
            "moves it by": _signed(part.effect, e.kpi.unit),
        }
        name = f"(no {label})" if part.name is None else escaped(part.name)
        table.add_row(Text(f"  {name}"), *(cells[column] for column in names))
    if len(found) > _SEGMENTS:
        table.add_row(Text(f"  and {len(found) - _SEGMENTS} more", style="dim"))
    return table


def _signed(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if abs(value) < _NOTHING:
        return "0"
    return ("+" if value > 0 else "−") + number(abs(value), unit)


def _changes(e: Explanation) -> Iterator[str]:
    value, unit = e.numbers.value, e.kpi.unit
    if value is not None and e.one_more:
        said = (f"one more {m.move.one} {_step(m.value - value, unit)}" for m in e.one_more)
        yield ", ".join(said)
    elif value is not None and e.per_unit is not None and _can_be(e.kpi, value + e.per_unit):
        yield f"1 more in {e.kpi.terms[0].words} {_step(e.per_unit, unit)}"
    for target in e.reached:
        yield _reached(e, target)
    if e.next is not None:
        when = format_ms(e.next.at)[:-5].replace("T", " ")
        moved = ", ".join(
            f"{words} {plain(e.terms[words])} → {plain(n)}"
            for words, n in e.next.terms.items()
            if n != e.terms[words]
        )
        yield f"at {when} UTC without new events: {_value(e, e.next.numbers.value)} ({moved})"


def _can_be(kpi: Kpi, value: float) -> bool:
    """Whether the KPI can have a value: no more upsell is paid than is paid at all."""
    return kpi.highest is None or value <= kpi.highest


def _reached(e: Explanation, found: Reached) -> str:
    target = found.target
    if found.move is None:
        said = f"{_signed_plain(found.count)} in {e.kpi.terms[0].words}"
    else:
        said = f"{found.count:,} more {found.move.one if found.count == 1 else found.move.many}"
    value = number(target.value, e.kpi.unit).replace("-", "−")
    if target.rule is None:
        return f"{said}: {value} or {'more' if target.side > 0 else 'less'}"
    what = "its whole interval " if target.rule.significant and not target.back else ""
    what = "its interval " if target.rule.significant and target.back else what
    way = "back to" if target.back else "beyond"
    return f"{said}: {what}{way} {value}, the threshold of {escaped(target.rule.name)}"


def _signed_plain(value: float) -> str:
    return plain(value) if value < 0 else f"+{plain(value)}"


def _step(change: float, unit: str) -> str:
    """A small change: with enough digits to be seen."""
    factor, sign = (100, "%") if unit == "ratio" else (1, " s" if unit == "seconds" else "")
    step = factor * change
    # Two digits of what is smaller, which floats would write with an exponent.
    said = f"{step:+,.0f}" if abs(step) >= _HUNDRED else f"{Decimal(f'{step:.2g}'):+f}"
    return f"{said}{sign}".replace("-", "−")
