"""Numbers in the unit of a KPI, and how to write one that was written otherwise."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from stream.config import durations
from stream.config.errors import shown
from stream.config.fields import refused
from stream.config.kpis import kpis
from stream.core.settings import SECOND


@dataclass(frozen=True, slots=True)
class InUnit:
    """Marks a number in the unit of the KPI that the key ``kpi`` before it in the table names."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_before_validator_function(self._check, handler(source))

    def _check(self, value: object, info: ValidationInfo) -> object:
        kpi = kpis().get(info.data.get("kpi") or "")
        if kpi is None or not isinstance(value, str):
            return value
        form = f"{kpi.id} is {in_unit(kpi.unit, value)}"
        raise refused(f"must be a number, not {shown(value)}; {form}")


def in_unit(unit: str, text: str) -> str:
    """How a text is written as a number in a unit of KPIs; an example where it is no quantity."""
    number = _number(text)
    match unit:
        case "ratio":
            percent = _number(text.removesuffix("%")) if text.endswith("%") else None
            share = number if percent is None else percent / 100
            is_share = share is not None and abs(share) <= 1
            return f"a share: {share:.12g}" if is_share else "a share: 0.7 for 70%"
        case "seconds":
            seconds = _seconds(text) if number is None else number
            return "in seconds: 7200 for 2h" if seconds is None else f"in seconds: {seconds:.12g}"
        case "points" if text.endswith("%"):
            number = _number(text.removesuffix("%"))
    words = "in its currency" if unit == "currency" else f"in {unit}"
    return words if number is None else f"{words}: {number:.12g}"


def _number(text: str) -> float | None:
    with suppress(ValueError):
        number = float(text)
        return number if abs(number) < float("inf") else None
    return None


def _seconds(text: str) -> float | None:
    with suppress(ValueError):
        return durations.parse(text) / SECOND
    return None
