"""``python -m bench.alerts``: how soon and how often rules are right, on generated days.

Nothing is timed: the same seed gives the same page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import click

from bench import alert_days, alert_looks
from bench.alert_scores import (
    LIMIT,
    OURS,
    PLAIN,
    RECOMMENDED,
    SURE,
    Pair,
    Score,
    best_plain,
    scores,
)
from bench.goals import Goal
from stream.core.settings import MINUTE

RESULTS: Final = Path(__file__).with_name("alerts.md")
DAYS: Final = 200
SERIES: Final = 40
SEED: Final = 1
#: The plain rule as it is found in many a handbook.
_USUAL_PLAIN: Final = next(
    c for c in PLAIN if c.rule.above == LIMIT and c.rule.for_ms == 5 * MINUTE
)
_SPIKES: Final = OURS[-2:]
#: Standard errors by which an incident clears for certain.
_MARGINS: Final = (1, 2)


def measure(seed: int, days: int, series: int) -> dict[str, Any]:
    """All figures: of generated days, and of ``series`` series that never change."""
    found = scores(alert_days.blocks(seed, days), (*OURS, *PLAIN))
    return {
        "seed": seed,
        "days": days,
        "rules": [_row(found[c.name], found) for c in (*OURS, _USUAL_PLAIN)],
        "kinds": _kinds([found[c.name] for c in (SURE, RECOMMENDED, *_SPIKES)]),
        "series": _series([found[c.name] for c in (SURE, RECOMMENDED, *_SPIKES)]),
        "looks": alert_looks.measure(seed, series),
    }


def _row(score: Score, found: Mapping[str, Score]) -> dict[str, Any]:
    clear = score.clear_pairs
    sure = {errors: [p for p in clear if p.margin >= errors] for errors in _MARGINS}
    best = None if score.contender in PLAIN else best_plain(found, score)
    return {
        "name": score.contender.name,
        "series_days": score.days,
        "clear": len(clear),
        "in_time": sum(p.in_time for p in clear),
        "sure": [
            {"margin": errors, "clear": len(pairs), "in_time": sum(p.in_time for p in pairs)}
            for errors, pairs in sure.items()
        ],
        "missed": [_missed(p) for p in clear if not p.in_time],
        "median_delay_minutes": None if score.delay is None else score.delay / MINUTE,
        "false": score.false,
        "false_a_day": score.false_a_day,
        "false_by_region": dict(sorted(score.false_by_region.items())),
        "inside_days": score.inside_days,
        "inside_per_30_days": score.inside_per_30_days,
        "flaps": score.flaps,
        "plain": None
        if best is None
        else {
            "name": best[0].contender.name,
            "false": best[0].false,
            "mean_delay_minutes": best[1] / MINUTE,
        },
    }


def _missed(pair: Pair) -> dict[str, Any]:
    hit = pair.hit
    return {
        "size": hit.size,
        "shape": hit.shape,
        "at_night": hit.at_night,
        "of": hit.region or "all",
        "series": pair.region or "total",
        "margin": pair.margin,
        "clears_minutes": None if pair.clears is None else pair.clears / MINUTE,
        "found_minutes": None if pair.found is None else pair.found / MINUTE,
        "was_firing": pair.was_firing,
    }


def _kinds(chosen: Sequence[Score]) -> list[dict[str, Any]]:
    """What each rule found, for each size, shape and time of day."""
    times = {False: "day", True: "night"}
    return [
        _group(
            f"{size:g} ×, {shape}, {time}",
            {
                s.contender.name: [
                    p
                    for p in s.pairs
                    if (p.hit.size, p.hit.shape, p.hit.at_night) == (size, shape, at_night)
                ]
                for s in chosen
            },
        )
        for size in alert_days.SIZES
        for shape in alert_days.SHAPES
        for at_night, time in times.items()
    ]


def _series(chosen: Sequence[Score]) -> list[dict[str, Any]]:
    """What each rule found, for each series."""
    return [
        _group(
            region or "total",
            {s.contender.name: [p for p in s.pairs if p.region == region] for s in chosen},
        )
        for region in (None, *alert_days.SHARES)
    ]


def _group(what: str, pairs: Mapping[str, Sequence[Pair]]) -> dict[str, Any]:
    return {"what": what, "rules": [_found(name, some) for name, some in pairs.items()]}


def _found(name: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    clear = [p for p in pairs if p.clears is not None]
    found = [p.found for p in clear if p.found is not None]
    return {
        "name": name,
        "pairs": len(pairs),
        "clear": len(clear),
        "in_time": sum(p.in_time for p in clear),
        "found_unclear": sum(p.found is not None for p in pairs if p.clears is None),
        "median_delay_minutes": median(found) / MINUTE if found else None,
    }


def goals(found: Mapping[str, Any]) -> list[Goal]:
    """What the figures should be, and whether they are."""
    rows = {row["name"]: row for row in found["rules"]}
    listed = []
    for contender in (SURE, RECOMMENDED, *_SPIKES):
        row, name = rows[contender.name], contender.name
        shares = [("all that clear", row)]
        shares += [(f"those that clear by {m['margin']} SE or more", m) for m in row["sure"]]
        listed += [
            Goal(
                f"{name}: found within one window, of {words}",
                "at least",
                1.0,
                [part["in_time"] / part["clear"]] if part["clear"] else [],
                ".3f",
            )
            for words, part in shares
        ]
        listed.append(
            Goal(f"{name}: false alerts of a series in 30 days, two standard errors inside",
                 "at most", 1.0, [row["inside_per_30_days"]], ".2f")
        )  # fmt: skip
        listed.append(Goal(f"{name}: flaps", "at most", 0, [row["flaps"]], ".0f"))
        plain = row["plain"]
        ratio = [plain["false"] / max(1, row["false"])] if plain else []
        listed.append(
            Goal(f"{name}: false alerts of the best plain rule that is no slower ÷ its own",
                 "at least", 10.0, ratio, ".1f")
        )  # fmt: skip
    for window, wait in (("5m", 0), ("5m", MINUTE), ("1h", 0), ("1h", 5 * MINUTE)):
        rates = [
            row["per_30_days"]
            for row in found["looks"]
            if (row["window"], row["for_ms"], row["rule"]) == (window, wait, "significant")
            and row["evaluate_ms"] == alert_looks.STEP
        ]
        name = f"`significant` over {window}, `for` {wait // MINUTE}m, exactly two standard errors"
        listed.append(
            Goal(f"{name} inside for ever: false alerts of a series in 30 days, worst of"
                 f" {len(rates)} loads", "at most", 1.0, [max(rates)], ".2f")
        )  # fmt: skip
    return listed


_ORIGIN: Final = (
    "Made by `python -m bench.alerts` with {}; what is simulated, and how, stands in"
    " [README.md](README.md#alerts)."
)
_OF_GOALS: Final = (
    "{} of these {} goals are reached. An incident counts once for each series that has events of"
    " it. It *clears* where the interval that is expected without chance is beyond the threshold"
    " before it ends, if only by a hair; by one or two SE where it gets so many standard errors"
    " beyond. In time is within one window (1 h) after it clears. *Two standard errors inside* is"
    " where the true rate is at least so far from the threshold, with the events that the window"
    " holds: {} of {:,.0f} days of a series. The false alerts of all days stand below."
)
_OF_RULES: Final = (
    "The plain rule beside each is the one with the fewest false alerts of all that miss no more"
    " and are no slower, by mean. False alerts a day are those of all series together."
)
_OF_MISSED: Final = (
    "Incidents that clear and were not found in time; by how many standard errors (SE) they clear"
    " at most, and when. A rule that was firing when one began has not found it."
)
_OF_KINDS: Final = (
    "Found in time, of those that clear, and the median time to detect; and how many were found of"
    " the others, whose interval holds the threshold to the end."
)
_OF_LOOKS: Final = (
    "A series that never changes, its true rate exactly two standard errors inside, for {:,} days"
    " of a series each: false alerts of a series in 30 days, by the events in a window."
)


def page(found: Mapping[str, Any]) -> str:
    """The page of results."""
    origin = f"seed {found['seed']} and {found['days']} days"
    listed = goals(found)
    wanted = [[g.text, g.wanted, g.measured, g.verdict] for g in listed]
    parts = (
        "# Alerts on generated days",
        _ORIGIN.format(origin),
        "## Goals",
        _of_goals(found["rules"], listed),
        _table(["goal", "wanted", "measured", ""], wanted),
        "## Rules",
        _OF_RULES,
        _rules(found["rules"]),
        "False alerts by series, of all days:",
        _by_series(found["rules"]),
        "## What was missed",
        _OF_MISSED,
        _missed_table(found["rules"]),
        "## Kinds of incident",
        _OF_KINDS,
        _groups("incident", found["kinds"]),
        _groups("series", found["series"]),
        "## Looking again and again",
        _OF_LOOKS.format(found["looks"][0]["series_days"]),
        _looks(found["looks"]),
    )
    return "\n\n".join(parts) + "\n"


def _of_goals(rows: Sequence[Mapping[str, Any]], listed: Sequence[Goal]) -> str:
    inside = sorted({round(row["inside_days"]) for row in rows})
    days = " to ".join(f"{n:,}" for n in dict.fromkeys((inside[0], inside[-1])))
    reached = sum(goal.verdict == "reached" for goal in listed)
    return _OF_GOALS.format(reached, len(listed), days, rows[0]["series_days"])


def _missed_table(rows: Sequence[Mapping[str, Any]]) -> str:
    ours = {c.name for c in (SURE, RECOMMENDED, *_SPIKES)}
    cells = [
        [
            row["name"],
            f"{m['size']:g} ×, {m['shape']}, {'night' if m['at_night'] else 'day'}, {m['of']}",
            m["series"],
            f"{m['margin']:.2f}",
            _minutes(m["clears_minutes"]),
            "was firing" if m["was_firing"] else _minutes(m["found_minutes"]),
        ]
        for row in rows
        if row["name"] in ours
        for m in row["missed"]
    ]
    return _table(["rule", "incident", "series", "standard errors", "clears", "found"], cells)


def _by_series(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ["total", *alert_days.SHARES]
    cells = [[row["name"], *(str(row["false_by_region"].get(n, 0)) for n in names)] for row in rows]
    return _table(["rule", *names], cells)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rules(rows: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        ["rule", "in time", "median time to detect", "false alerts a day", "flaps",
         "inside: false in 30 days", "plain rule as fast"],
        [
            [
                row["name"],
                f"{row['in_time']} of {row['clear']}",
                _minutes(row["median_delay_minutes"]),
                f"{row['false_a_day']:.2f}",
                str(row["flaps"]),
                f"{row['inside_per_30_days']:.2f}",
                _beside(row),
            ]
            for row in rows
        ],
    )  # fmt: skip


def _beside(row: Mapping[str, Any]) -> str:
    plain = row["plain"]
    if plain is None:
        return "–"
    return f"{plain['name']}: {plain['false']:,} false to {row['false']:,}"


def _groups(title: str, groups: Sequence[Mapping[str, Any]]) -> str:
    names = [rule["name"] for rule in groups[0]["rules"]]
    rows = [[group["what"], *map(_cell, group["rules"])] for group in groups]
    return _table([title, *names], rows)


def _cell(rule: Mapping[str, Any]) -> str:
    told = f"{rule['in_time']} of {rule['clear']}, {_minutes(rule['median_delay_minutes'])}"
    unclear = rule["pairs"] - rule["clear"]
    more = f"; {rule['found_unclear']} of {unclear} others" if unclear else ""
    return (told if rule["clear"] else "none clears") + more


def _looks(looks: Sequence[Mapping[str, Any]]) -> str:
    cells: dict[tuple[str, str, int, int], dict[int, float]] = {}
    for look in looks:
        key = look["window"], look["rule"], look["for_ms"], look["evaluate_ms"]
        cells.setdefault(key, {})[look["samples"]] = look["per_30_days"]
    return _table(
        ["window", "rule", "`for`", "evaluated each", *map(str, alert_looks.SAMPLES)],
        [
            [window, rule, f"{wait // 1000} s", f"{every // 1000} s",
             *(f"{by[n]:.2f}" for n in alert_looks.SAMPLES)]
            for (window, rule, wait, every), by in cells.items()
        ],
    )  # fmt: skip


def _minutes(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} min"


@click.command()
@click.option("--days", type=click.IntRange(2), default=DAYS, show_default=True)
@click.option("--series", type=click.IntRange(1), default=SERIES, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=SEED, show_default=True)
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULTS,
    help="Where to write the results. [default: bench/alerts.md]",
)
def main(days: int, series: int, seed: int, to: Path) -> None:
    """Let rules loose on generated days; ``--series`` are those that never change."""
    print(write(to, days, series, seed))


def write(to: Path = RESULTS, days: int = DAYS, series: int = SERIES, seed: int = SEED) -> str:
    """Measure, and write the page and the figures beside it; the page."""
    found = measure(seed, days, series)
    to.write_text(page(found))
    to.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    return page(found)


if __name__ == "__main__":
    main()
