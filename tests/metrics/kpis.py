"""A catalogue of KPIs that stands apart from the product's: every shape that a KPI can have."""

from typing import cast

from stream.core.bounds import WILSON, net_score
from stream.core.kpi import Column, Columns, Direction, Interval, Kpi, Meaning, Term


def _column(columns: Columns) -> Column:
    return columns["n"]


def _kpi(
    id_: str,
    gauge: str,
    unit: str = "ratio",
    *,
    good: str = "up",
    bounds: Interval | None = WILSON,
    fraction: bool = True,
    labels: tuple[str, ...] = (),
    quantile_gauge: str | None = None,
    lowest: float | None = 0.0,
    highest: float | None = 1.0,
    topic: str = "cx.survey",
) -> Kpi:
    return Kpi(
        id=id_,
        gauge=gauge,
        title=id_.replace("_", " ").capitalize(),
        help=f"What {id_} is, with \\n and\na second line",
        formula="n / n",
        terms=(Term("n", "n"),),
        unit=unit,
        source="a source",
        good=cast(Direction, good),
        meaning=Meaning("", (), (), {}, (), (), 0.0),
        numerator=_column if fraction else None,
        denominator=_column if fraction else None,
        bounds=bounds,
        labels=labels,
        sketch="n" if quantile_gauge else None,
        quantile_gauge=quantile_gauge,
        lowest=lowest,
        highest=highest,
        topic=topic,
    )


KPIS = {
    kpi.id: kpi
    for kpi in (
        _kpi("nps", "cx_nps", "points", bounds=net_score("n", "n"), lowest=-100, highest=100),
        _kpi("csat", "cx_csat_ratio"),
        _kpi("art", "cx_art_seconds", "seconds", good="down", bounds=None, highest=None,
             quantile_gauge="cx_art_quantile_seconds", topic="cx.ticket"),
        _kpi("churn", "cx_churn_ratio", good="down", topic="cx.subscription"),
        _kpi("upsell", "cx_upsell_ratio", bounds=None, labels=("currency",),
             topic="cx.subscription"),
        _kpi("cart_recovered", "cx_cart_recovered", "carts", bounds=None, fraction=False,
             highest=None, topic="cx.cart"),
    )
}  # fmt: skip
