"""The kinds of values that the configuration has: checked texts, ranges and durations."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AllowInfNan,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from stream.config import durations
from stream.config.errors import shown, suggestion

#: Type of the errors that this package words itself; the message is the error's only context.
REFUSED: Final = "refused"
LONGEST_TEXT: Final = 1_000
_ONE_LINE: Final = f"1 to {LONGEST_TEXT} printable characters on one line, no blank at either end"


def refused(message: str) -> PydanticCustomError:
    """An error whose message is shown as it is."""
    return PydanticCustomError(REFUSED, "{message}", {"message": message})


@dataclass(frozen=True, slots=True)
class Duration:
    """Marks an ``int`` field as milliseconds, written as a duration from ``low`` to ``high``."""

    low: int = 0
    high: int = 366 * durations.MILLISECONDS["d"]

    def range(self) -> str:
        """The allowed durations in words."""
        return f"{durations.label(self.low)} to {durations.label(self.high)}"

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._read, serialization=core_schema.plain_serializer_function_ser_schema(self._write)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        text: JsonSchemaValue = {"type": "string", "pattern": durations.PATTERN}
        return {"anyOf": [text, {"const": 0}]} if self.low == 0 else text

    def _read(self, value: object) -> int:
        if value == 0 and not isinstance(value, (bool, float)):
            value = "0"
        if not isinstance(value, str):
            raise refused(f"must be a duration: {durations.FORM}; not {shown(value)}")
        try:
            milliseconds = durations.parse(value)
        except durations.TooLong:
            raise refused(f"must be {self.range()}, not {shown(value)}") from None
        except ValueError:
            raise refused(f"must be a duration: {durations.FORM}; not {shown(value)}") from None
        if not self.low <= milliseconds <= self.high:
            raise refused(f"must be {self.range()}, not {shown(value)}")
        return milliseconds

    @staticmethod
    def _write(milliseconds: int | None) -> str | None:
        return None if milliseconds is None else durations.label(milliseconds)


@dataclass(frozen=True, slots=True)
class Between:
    """Marks a number that lies between two limits, both allowed."""

    low: float
    high: float

    def range(self) -> str:
        """The allowed numbers in words."""
        return f"{self.low} to {self.high}"

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "minimum": self.low, "maximum": self.high}

    def _check(self, value: float) -> float:
        if not self.low <= value <= self.high:
            raise refused(f"must be {self.range()}, not {shown(value).removesuffix('.0')}")
        return value


@dataclass(frozen=True, slots=True)
class OneOf:
    """Marks a ``str`` field that has one of a few values, known when it is checked."""

    allowed: Callable[[], list[str]]
    what: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "enum": self.allowed()}

    def _check(self, value: str) -> str:
        allowed = self.allowed()
        if value not in allowed:
            raise refused(f"unknown {self.what} {shown(value)}; {suggestion(value, allowed)}")
        return value


@dataclass(frozen=True, slots=True)
class Form:
    """Marks a ``str`` field that must match a pattern as a whole; ``words`` say what is allowed.

    What stands there instead is shown, unless it may be a secret or hold a login.
    """

    pattern: str
    words: str
    may_be_secret: bool = False

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^({self.pattern})$"}

    def _check(self, value: str) -> str:
        if re.fullmatch(self.pattern, value) is None:
            but_is = "" if self.may_be_secret or "@" in value else f", not {shown(value)}"
            raise refused(f"must be {self.words}{but_is}")
        return value


def _printable(value: str) -> str:
    if not _is_one_line(value):
        raise refused(f"must be {_ONE_LINE}; not {shown(value)}")
    return value


def _is_one_line(value: str) -> bool:
    return 0 < len(value) <= LONGEST_TEXT and value.isprintable() and value == value.strip()


def _file_name(value: str) -> str:
    if "://" in value:
        raise refused("must be the name of a file, not an address")
    if not _is_one_line(value):
        raise refused(f"must be the name of a file: {_ONE_LINE}")
    return value


Text = Annotated[str, Strict()]
#: A text that can be a label's value and stand in one line of a log.
OneLine = Annotated[str, Strict(), AfterValidator(_printable)]
#: The name of a file. Some hold a secret, which is easily written here itself, so nothing that
#: can't be such a name is shown.
FileName = Annotated[str, Strict(), AfterValidator(_file_name)]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
SnakeCase = Annotated[
    str, Strict(), Form("[a-z][a-z0-9]*(_[a-z0-9]+)*", 'snake_case, such as "plan" or "sales_area"')
]
#: A short text that can be a label's value.
ShortLine = Form(
    r"[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,62}[^\s\x00-\x1f\x7f-\x9f])?",
    "1 to 64 printable characters on one line, no blank at either end",
)
#: An address that can be posted to or opened.
ADDRESS = Form(r"[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#]+\S*", "an http:// or https:// address")
_OCTET: Final = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LABEL: Final = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


def host_name(end: str) -> str:
    """A pattern of host names and IPv4 addresses before ``end``.

    A name that ends in a number is meant as an address, and has to be one.
    """
    return (
        rf"({_OCTET}[.]){{3}}{_OCTET}"
        rf"|(?=[^:]{{1,253}}{end})({_LABEL}[.])*(?=[0-9]*[A-Za-z_-]){_LABEL}[.]?"
    )


def address_of_ipv6(end: str) -> str:
    """A pattern of IPv6 addresses, with a zone or not, before ``end``."""
    part = r"[^:\]]*"
    return (
        r"(?![^\]]*::[^\]]*::)(?![^\]]*:::)"
        rf"(?=({part}:){{2,7}}{part}{end}|::({part}:){{6}}{part}{end}|([^:\]]+:){{7}}:{end})"
        r"[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?"
    )


#: Where a server listens.
HOST = Form(
    f"{host_name('$')}|{address_of_ipv6('$')}",
    "a host name or an IP address, without a port",
)
#: A variable of the environment that holds a secret, which is easily written here itself.
VARIABLE = Form(
    "[A-Za-z_][A-Za-z0-9_]*",
    "the name of a variable (letters, digits, underscores), which holds the secret",
    may_be_secret=True,
)
#: The part of a topic's name that the user chooses; the rest needs room too (249 in all).
TopicPart = Form("[A-Za-z0-9._-]{0,150}", "up to 150 letters, digits, dots, hyphens, underscores")


def is_address(text: str) -> bool:
    """Whether something can be posted to this address."""
    try:
        parts = urlsplit(text)
        return (
            re.fullmatch(ADDRESS.pattern, text) is not None
            and bool(parts.hostname)
            and parts.port != 0
        )
    except ValueError:
        return False


def is_duration(metadata: list[Any]) -> bool:
    """Whether a field with these markers is written as a duration."""
    return any(isinstance(m, Duration) for m in metadata)
