"""Groups of workers are looked at rightly, and the simulated merge is one."""

import math

import msgspec
import pytest

from bench import merge
from bench.crew import counted, gaps
from bench.merge import Cost, Fit, Point
from stream.core.catalogue import TOPICS
from stream.core.contents import Contents
from stream.core.sharing import Beat, pack

FITTED = Fit(record=1e-5, cell=1e-8, once=3e-3, row=3e-7, window_cell=1e-7, sample=1e-6)


def cost(shards: int, segments: int, cells: float) -> Cost:
    """What the formula says, as if it had been measured."""
    told, samples = segments * cells, 8 * segments
    return Cost(
        family="cx.visit", shards=shards, segments=segments, records=5, cells=told, bytes=told,
        window_cells=2 * told, tell=0.0, take=FITTED.take(shards, 5, told),
        evaluate=FITTED.evaluate(shards, segments, 2 * told, samples), samples=samples,
        peak_mib=1.0,
    )  # fmt: skip


def test_the_fit_finds_the_formula_that_made_the_costs() -> None:
    costs = [cost(n, s, c) for n in (1, 10, 100) for s in (100, 1_000) for c in (3, 20, 90)]
    found = merge.fit(costs)
    for name in ("record", "cell", "once", "row", "window_cell", "sample"):
        assert math.isclose(getattr(found, name), getattr(FITTED, name), rel_tol=1e-6), name


def test_a_share_under_another_number_is_the_same_but_for_its_keys_and_their_mark() -> None:
    beat = Beat(2, True, 1, 1, None, None, {}, (0, 0), {})
    told = [(b"beat/0", pack("life", beat)), (b"pane/0/5m/17", b"y"), (b"pane/0/1h/0", None)]
    contents, wanted = Contents(), Contents()
    (key, value), *rest = merge.renumbered(told, 12, contents)
    assert rest == [(b"pane/12/5m/17", b"y"), (b"pane/12/1h/0", None)]
    wanted.note(b"pane/12/5m/17", b"y")
    assert contents.mark == wanted.mark != (0, 0)
    marked = msgspec.structs.replace(beat, mark=wanted.mark)
    assert (key, value) == (b"beat/12", pack("life", marked))


@pytest.mark.parametrize("family", ["cx.visit", "cx.ticket"])
def test_a_simulated_owner_hears_every_shard(family: str) -> None:
    one = merge.measure(Point(family, 1, 9))
    five = merge.measure(Point(family, 5, 9))
    assert five.samples == one.samples > 0
    assert five.records == 5
    assert five.cells > 4 * 9


ALL = frozenset(TOPICS)
SOME = ALL - {"cx.visit"}


@pytest.mark.parametrize(
    ("looks", "over", "absent"),
    [
        ([(0, ALL), (1, ALL)], 0.0, 0.0),
        ([(0, ALL), (1, SOME), (2, SOME), (3, ALL)], 2.0, 3.0),
        ([(0, ALL), (1, SOME), (2, ALL), (5, SOME), (7, ALL)], 6.0, 5.0),
    ],
)
def test_an_absence_lasts_from_look_to_look(
    looks: list[tuple[float, frozenset[str]]], over: float, absent: float
) -> None:
    assert gaps(looks, 1.0) == (over, absent)


def test_families_that_several_workers_show_are_found_on_all_pages() -> None:
    pages = [
        'cx_events_total{topic="cx.visit",outcome="accepted"} 5\n',
        "".join(
            f'cx_events_total{{topic="cx.cart",outcome="{outcome}"}} {n}\n'
            for outcome, n in (("accepted", 2), ("duplicate", 1))
        ),
    ]
    assert counted(pages) == {"cx.visit": 5, "cx.cart": 3}
