"""Reads recorded events: JSON lines, plain or compressed, several files side by side.

A blank line is an empty record. Lines end with LF or CR LF, the last one with or without.
"""

from __future__ import annotations

import heapq
import os
import select
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from io import UnsupportedOperation
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Self, TextIO

import zstandard

from stream.core.errors import StopError
from stream.core.head import occurred_at

STANDARD_INPUT: Final = "-"
#: So much is read at once, after decompression.
#: A batch costs much whatever it holds, and all event types share it. Several files share this.
_BLOCK: Final = 1 << 22
#: A pipe holds little at once, so what it brings is gathered for so long, or until it is a block.
_GATHER_SECONDS: Final = 0.25
_GZIP_PIECE: Final = 1 << 14
#: Four bytes of it can be a block of 128 KiB, and a piece's blocks come at once.
_ZSTD_PIECE: Final = 1 << 9
#: A longer line is no record, and would fill the memory.
LONGEST_LINE: Final = 64 << 20
#: A batch has so many lines at most, however short they are.
_BATCH_LINES: Final = 16_000

_GZIP_MAGIC: Final = b"\x1f\x8b"
#: A frame, or one of sixteen kinds that are skipped: with these parallel compressors begin.
_ZSTD_MAGIC: Final = (b"\x28\xb5\x2f\xfd", *(bytes((n, 0x2A, 0x4D, 0x18)) for n in range(80, 96)))
#: So many bytes tell all of these kinds.
_TELLING: Final = 4
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BEFORE_ALL: Final = float("-inf")


class InputError(StopError):
    """A file can't be read; the message names it, the position and the reason on one line."""


class InputMissing(InputError):
    """There is no such file, or it can't be opened."""


class InputBroken(InputError):
    """A file ends too early, or isn't what its name or beginning says."""


class Batch(NamedTuple):
    """Records in the order in which they are read; three sequences of the same length."""

    files: Sequence[str]
    #: Line numbers, from 1.
    lines: Sequence[int]
    values: list[bytes]


def read(files: Sequence[str]) -> Iterator[Batch]:
    """Hand out the records of all files; see :class:`Reader`."""
    with Reader(files) as reader:
        yield from reader.batches()


class Reader:
    """Several files read side by side; a context manager that holds them open.

    The file whose next record is the oldest goes first, on a tie the one named first; a record
    without readable time goes at once. ``-`` is standard input. ``.gz`` and ``.zst`` are
    decompressed, and so is what begins like one of them, whatever it is called.
    """

    def __init__(
        self, files: Sequence[str], wait: Callable[[BinaryIO], None] | None = None
    ) -> None:
        """Open all files; ``wait`` is called before each read of one that may have to wait.

        Raises:
            InputMissing: one of them can't be opened.
        """
        self._stack = ExitStack()
        try:
            block = max(1, _BLOCK // max(1, len(files)))
            self._sources = [
                self._stack.enter_context(_Source(name, block, wait)) for name in files
            ]
        except InputMissing:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        """Nothing is left to do: the files are open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files, but not standard input."""
        self._stack.close()

    def batches(self) -> Iterator[Batch]:
        """The records, some thousands at a time.

        Raises:
            InputBroken: where a file can't be read on.
        """
        if len(self._sources) == 1:
            return self._sources[0].batches()
        return _merged([_Cursor(source) for source in self._sources])

    @property
    def size(self) -> int | None:
        """The bytes of all files as they lie there; None where one has no size, as a pipe."""
        sizes = [source.size for source in self._sources]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def consumed(self) -> int:
        """How many of these bytes have been read."""
        return sum(source.consumed for source in self._sources)


def standard_input() -> BinaryIO:
    """Standard input as bytes.

    Raises:
        InputMissing: whoever started this process has closed it.
    """
    # Python's own name for a stream that is there from the start, unless it is closed.
    stream: TextIO | None = sys.stdin
    if stream is None:
        raise InputMissing("standard input: is closed")
    return stream.buffer


class _Source:
    """One file as batches of lines."""

    def __init__(self, name: str, block: int, wait: Callable[[BinaryIO], None] | None) -> None:
        self._name = name
        self._block = block
        self._wait = wait or (lambda _file: None)
        self._shown = "standard input" if name == STANDARD_INPUT else name
        self.consumed = 0
        try:
            # Held open for as long as the reader is; ``__exit__`` closes it.
            self._file: BinaryIO = (
                standard_input() if name == STANDARD_INPUT else Path(name).open("rb")  # noqa: SIM115
            )
        except OSError as error:
            raise InputMissing(f"{self._shown}: {_reason(error)}") from error
        self.size = _size(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._name != STANDARD_INPUT:
            self._file.close()

    def batches(self) -> Iterator[Batch]:
        """The lines, some thousands at a time."""
        line = 1
        rest: list[bytes] = []
        size = 0
        try:
            for block in self._content():
                head, newline, tail = block.rpartition(b"\n")
                if newline:
                    text = b"".join([*rest, head])
                    for batch in self._batches(text, line):
                        yield batch
                        line += len(batch.values)
                    rest, size = [], 0
                rest.append(tail)
                size += len(tail)
                _check_length(size)
        except (OSError, zlib.error, zstandard.ZstdError, InputBroken) as error:
            raise InputBroken(f"{self._shown}: line {line}: {_reason(error)}") from error
        # What follows the last line's end is a line only where there is something.
        if last := b"".join(rest):
            yield from self._batches(last, line)

    def _batches(self, text: bytes, first: int) -> Iterator[Batch]:
        """Whole lines without the last line's end; ``first`` is the number of the first."""
        lines = text.split(b"\n")
        if b"\r" in text:
            lines = [value.removesuffix(b"\r") for value in lines]
        for start in range(0, len(lines), _BATCH_LINES):
            some = lines[start : start + _BATCH_LINES]
            number = first + start
            yield Batch([self._name] * len(some), range(number, number + len(some)), some)

    def _content(self) -> Iterator[bytes]:
        """The blocks of the file, decompressed."""
        blocks = self._blocks()
        first = b""
        while len(first) < _TELLING and (more := next(blocks, b"")):
            first += more
        blocks = chain([first], blocks)
        if self._name.endswith(".gz") or first.startswith(_GZIP_MAGIC):
            _check_kind("gzip", first, _GZIP_MAGIC)
            return _gathered(_gunzip(blocks, self._block), self._block)
        if self._name.endswith(".zst") or first.startswith(_ZSTD_MAGIC):
            _check_kind("zstd", first, *_ZSTD_MAGIC)
            return _gathered(_unzstd(blocks), self._block)
        return chain([first.removeprefix(_BYTE_ORDER_MARK)], islice(blocks, 1, None))

    def _blocks(self) -> Iterator[bytes]:
        # ``read1`` gives what a pipe has instead of waiting for more.
        read: Callable[[int], bytes] = getattr(self._file, "read1", self._file.read)
        self._wait(self._file)
        more = read(self._block)
        while more:
            parts, size, until = [more], len(more), time.monotonic() + _GATHER_SECONDS
            while more and size < self._block and has_more(self._file, until):
                more = read(self._block - size)
                parts.append(more)
                size += len(more)
            self.consumed += size
            yield b"".join(parts)
            if more:
                self._wait(self._file)
                more = read(self._block)


def _pieces(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Blocks in pieces: what follows a compressed part in one is copied, however much it is."""
    for block in blocks:
        for start in range(0, len(block), size):
            yield block[start : start + size]


def _gathered(parts: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Parts joined until they come to so many bytes; what came before an error comes first."""
    content: list[bytes] = []
    size = 0
    try:
        for part in parts:
            content.append(part)
            size += len(part)
            if size >= most:
                yield b"".join(content)
                content, size = [], 0
    except Exception:
        yield b"".join(content)
        raise
    yield b"".join(content)


def _gunzip(blocks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Decompress gzip of one member or several, up to ``most`` bytes at a time."""
    decoder = None
    begun = False
    for piece in _pieces(blocks, _GZIP_PIECE):
        while piece:
            if decoder is None:
                piece = piece.lstrip(b"\0") if begun else piece  # Tapes pad with zeros.
                if not piece:
                    break
                decoder, begun = zlib.decompressobj(wbits=31), True
            yield decoder.decompress(piece, most)
            if decoder.eof:
                piece, decoder = decoder.unused_data, None
            else:
                piece = decoder.unconsumed_tail
    if decoder is not None:
        yield decoder.flush()
    if not begun or (decoder is not None and not decoder.eof):
        raise InputBroken("the gzip data end too early")


def _unzstd(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress Zstandard of one frame or several, some 16 MiB at a time at most."""
    decoder = None
    begun = False
    for piece in _pieces(blocks, _ZSTD_PIECE):
        while piece:
            if decoder is None:
                decoder, begun = zstandard.ZstdDecompressor().decompressobj(), True
            yield decoder.decompress(piece)
            piece, decoder = (decoder.unused_data, None) if decoder.eof else (b"", decoder)
    if not begun or decoder is not None:
        raise InputBroken("the zstd data end too early")


class _Cursor:
    """The next record of a file, with its time."""

    def __init__(self, source: _Source) -> None:
        self._batches = source.batches()
        self._is_pipe = source.size is None
        self._batch = Batch((), (), [])
        self._times: list[float] = []
        self._place = -1

    def advance(self) -> float | None:
        """Go to the next record: its time in ms, before all where unreadable; None at the end."""
        self._place += 1
        if self._place == len(self._batch.values):
            batch = next(self._batches, None)
            if batch is None:
                return None
            self._batch, self._place = batch, 0
            times = map(occurred_at, batch.values)
            self._times = [_BEFORE_ALL if time is None else time for time in times]
        return self._times[self._place]

    @property
    def may_wait(self) -> bool:
        """Whether the record after this one may take any time to come."""
        return self._is_pipe and self._place + 1 == len(self._batch.values)

    @property
    def record(self) -> tuple[str, int, bytes]:
        """File, line number and value of the record."""
        batch, place = self._batch, self._place
        return batch.files[place], batch.lines[place], batch.values[place]


def _merged(cursors: Sequence[_Cursor]) -> Iterator[Batch]:
    """The records of several files, the oldest of their next ones first."""
    heads = [
        (time, index)
        for index, cursor in enumerate(cursors)
        if (time := cursor.advance()) is not None
    ]
    heapq.heapify(heads)
    batch: list[tuple[str, int, bytes]] = []
    while heads:
        _, index = heads[0]
        batch.append(cursors[index].record)
        if len(batch) == _BATCH_LINES or cursors[index].may_wait:
            yield _batch_of(batch)
            batch = []
        time = cursors[index].advance()
        if time is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (time, index))
    if batch:
        yield _batch_of(batch)


def _batch_of(records: Sequence[tuple[str, int, bytes]]) -> Batch:
    files, lines, values = zip(*records, strict=True)
    return Batch(files, lines, list(values))


def has_more(file: BinaryIO, until: float, *, untold: bool = False) -> bool:
    """Whether a pipe has more, or has ended, before ``until`` (monotonic seconds).

    ``untold`` where the system can't say that.
    """
    try:
        return bool(select.select([file], [], [], max(0.0, until - time.monotonic()))[0])
    except (OSError, ValueError):
        # What is not of the system can't be waited for, nor what has a number beyond select's.
        return untold


def _size(file: BinaryIO) -> int | None:
    """The bytes of a regular file; None for a pipe or what is no file of the system."""
    try:
        status = os.fstat(file.fileno())
    except UnsupportedOperation:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _check_kind(kind: str, first: bytes, *magic: bytes) -> None:
    """See that data which a name calls compressed begin so; whether they are whole shows later."""
    if first and not any(begin.startswith(first[: len(begin)]) for begin in magic):
        raise InputBroken(f"is not {kind}")


def _check_length(size: int) -> None:
    if size > LONGEST_LINE:
        raise InputBroken(f"is longer than {LONGEST_LINE} bytes")


def _reason(error: Exception) -> str:
    """What went wrong in a few words."""
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:].rstrip(".")
