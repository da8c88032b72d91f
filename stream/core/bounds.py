"""95% confidence bounds, over columns of series."""

from __future__ import annotations

from typing import Final

import numpy as np

from stream.core.kpi import Column, Interval

#: The 97.5th percentile of the standard normal distribution, for two-sided 95% bounds.
Z = 1.959964


def wilson(numerator: Column, denominator: Column) -> tuple[Column, Column]:
    """The Wilson score interval of a proportion; NaN where 0 ≤ numerator ≤ denominator fails.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
    Journal of the American Statistical Association 22 (1927).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        n = denominator
        p = numerator / n
        middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    valid = (n > 0) & (numerator >= 0) & (numerator <= n)
    # At 0 and at n the interval ends exactly at 0 and 1; rounding would leave a sign behind.
    lower = np.where(numerator == 0, 0.0, np.clip(middle - half, 0.0, 1.0))
    upper = np.where(numerator == n, 1.0, np.clip(middle + half, 0.0, 1.0))
    return np.where(valid, lower, np.nan), np.where(valid, upper, np.nan)


def adjusted_wald(promoters: Column, detractors: Column, answers: Column) -> tuple[Column, Column]:
    """Bounds of a net promoter score, −100 to 100: three answers are added, ¾ each to the
    promoters and the detractors, and the Wald interval of the difference is clipped.

    Source: J. Sauro and J. R. Lewis, "Quantifying the User Experience" (adjusted Wald for NPS).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        n = answers + 3
        p, d = (promoters + 0.75) / n, (detractors + 0.75) / n
        middle = p - d
        half = Z * np.sqrt((p + d - middle**2) / n)
    lower, upper = 100 * np.clip(middle - half, -1, 1), 100 * np.clip(middle + half, -1, 1)
    return np.where(answers > 0, lower, np.nan), np.where(answers > 0, upper, np.nan)


_NET_SCORE: Final = (
    "The 95% adjusted Wald interval: 3 answers are added, ¾ of one each to the promoters and"
    " the detractors, and the interval of their difference is clipped to ±100. B. Rocks"
    " (The American Statistician, 2016) found it the most reliable of those he compared. The"
    " bounds are those of three answers more, so for very few answers they need not hold the"
    " value. They are absent where the value is."
)

#: Of a share.
WILSON: Final = Interval(
    short="Wilson",
    name="95% Wilson score interval",
    meaning=(
        "The 95% Wilson score interval (E. B. Wilson, Journal of the American Statistical"
        " Association 22, 1927, z = 1.959964): the shares under which what was counted would be no"
        " surprise. It holds for few events too, and it stays within 0 and 1. The bounds are absent"
        " where the value is, and where the numerator is below 0 or above the denominator, which is"
        " no share of anything."
    ),
    ends=lambda columns, numerator, denominator: wilson(numerator, denominator),
)


def net_score(promoters: str, detractors: str) -> Interval:
    """The interval of promoters minus detractors, which are columns, per 100 answers."""
    return Interval(
        short="adjusted Wald",
        name="95% adjusted Wald interval, clipped to ±100",
        meaning=_NET_SCORE,
        ends=lambda columns, numerator, answers: adjusted_wald(
            columns[promoters].astype(np.float64), columns[detractors].astype(np.float64), answers
        ),
    )
