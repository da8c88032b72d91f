"""What the configuration's tables have in common."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Table(BaseModel):
    """A table of a file: keys that are not known are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


def table_of(info: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a table or an array of tables; None for a plain one."""
    for kind in (info.annotation, *get_args(info.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def is_array_of_tables(info: FieldInfo) -> bool:
    """Whether a field is written as ``[[name]]``."""
    table = table_of(info)
    return table is not None and table is not info.annotation
