"""A series' labels, as both text formats of Prometheus write them."""

from __future__ import annotations

from typing import Final

from stream.core.series import LabelPairs

#: What stands for a character that would end a label's value.
ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def label_text(window: str, labels: LabelPairs) -> str:
    """The labels of a KPI series in braces, its window among them, sorted by name."""
    pairs = sorted((("window", window), *labels))
    inner = ",".join(f'{name}="{value.translate(ESCAPES)}"' for name, value in pairs)
    return f"{{{inner}}}"
