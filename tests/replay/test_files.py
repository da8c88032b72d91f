"""Reading recorded events: order, line numbers, compression, and what can't be read."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import BinaryIO, cast

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stream.replay import files
from stream.replay.files import InputBroken, InputMissing, Reader, read


def records(paths: Sequence[Path | str]) -> list[tuple[str, int, bytes]]:
    return [
        (Path(file).name, line, value)
        for batch in read([str(path) for path in paths])
        for file, line, value in zip(*batch, strict=True)
    ]


def visit(second: int) -> bytes:
    return json.dumps({"occurred_at": f"2026-03-02T10:00:{second:02}Z"}).encode()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def checked(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 0xFF
    return bytes(changed)


#: What parallel compressors put before a frame, to tell how long it is.
SKIPPED = bytes((0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0)) + b"size"

LINES = [visit(i % 60) for i in range(10_000)]
TEXT = b"\n".join(LINES) + b"\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.jsonl", TEXT),
        ("no-end.jsonl", TEXT.removesuffix(b"\n")),
        ("windows.jsonl", b"\xef\xbb\xbf" + TEXT.replace(b"\n", b"\r\n")),
        ("a.gz", gzip.compress(TEXT)),
        ("members.gz", gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:])),
        ("padded.gz", gzip.compress(TEXT) + bytes(512)),
        ("a.zst", zstd(TEXT)),
        ("frames.zst", zstd(TEXT[:1000]) + zstd(TEXT[1000:])),
        ("skipped.zst", SKIPPED + zstd(TEXT[:1000]) + SKIPPED + zstd(TEXT[1000:]) + SKIPPED),
        ("skipped-by-another-name", SKIPPED + zstd(TEXT)),
        ("gzip-by-another-name", gzip.compress(TEXT)),
        ("zstd-by-another-name", zstd(TEXT)),
    ],
)
def test_a_file_is_read_whole_with_line_numbers(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert records([path]) == [(name, i, line) for i, line in enumerate(LINES, 1)]


@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=6).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")),
            st.sampled_from([b"", b" ", b"\t", b"x" * 50]),
        ),
        max_size=30,
    ),
    block=st.integers(1, 40),
)
def test_every_line_is_a_record_also_a_blank_one_wherever_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], block: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "lines"
    # The first line keeps magic numbers away.
    path.write_bytes(b"-\n" + b"".join(part + b"\n" for part in parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BLOCK", block)
        assert records([path])[1:] == [("lines", i, part) for i, part in enumerate(parts, 2)]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\xef\xbb\xbf", []),
        (b"\n", [b""]),
        (b"\r\n", [b""]),
        (b"a\n", [b"a"]),
        (b"a", [b"a"]),
        (b"a\n\n", [b"a", b""]),
        (b"\n\n  \n", [b"", b"", b"  "]),
        (b"a\n  ", [b"a", b"  "]),
    ],
)
def test_the_end_of_the_last_line_begins_no_further_record(
    tmp_path: Path, content: bytes, lines: list[bytes]
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(content)
    assert records([path]) == [("lines", i, line) for i, line in enumerate(lines, 1)]


def test_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = None

    stdin = Stdin()
    stdin.buffer = _Pipe(gzip.compress(TEXT))  # type: ignore[assignment]
    monkeypatch.setattr(sys, "stdin", stdin)
    assert [value for _, _, value in records(["-"])] == LINES


class _Pipe(io.BytesIO):
    """Gives a few bytes at a time and has no size."""

    most = 37

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(min(size or 0, self.most))

    def fileno(self) -> int:
        return 0


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
def test_what_begins_with_one_byte_and_a_pause_is_known_all_the_same(
    monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes]
) -> None:
    class Slow(_Pipe):
        most = 1

    monkeypatch.setattr(files, "has_more", lambda *_: False)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Slow(compress(b"one\ntwo\n"))))
    assert [value for _, _, value in records(["-"])] == [b"one", b"two"]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[BinaryIO]:
    """Where to write what is read from standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb", buffering=0) as writer:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
        yield cast("BinaryIO", writer)


def test_what_a_pipe_brings_bit_by_bit_is_read_together(
    pipe: BinaryIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_GATHER_SECONDS", 300.0)
    lines = [b"%d" % i * 10 for i in range(10_000)]
    assert len(lines) < files._BATCH_LINES

    def write() -> None:
        pipe.writelines(line + b"\n" for line in lines)
        pipe.close()

    writer = Thread(target=write)
    writer.start()
    batches = [batch.values for batch in read(["-"])]
    writer.join()
    assert batches == [lines], "a pipe holds a fraction of it"


def test_what_a_pipe_has_brought_is_handed_out_before_its_end(
    pipe: BinaryIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_GATHER_SECONDS", 0.0)
    pipe.write(b"one\ntwo\nthr")
    batches = read(["-"])
    assert next(batches).values == [b"one", b"two"]
    pipe.write(b"ee\n")
    assert next(batches).values == [b"three"]
    pipe.close()
    assert list(batches) == []


def test_of_several_what_a_pipe_may_follow_is_handed_out_before_it_does(
    pipe: BinaryIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "_GATHER_SECONDS", 0.0)
    (tmp_path / "file").write_bytes(b"early\nlate\n")
    pipe.write(b"one\ntwo\n")
    batches = read(["-", str(tmp_path / "file")])
    assert next(batches).values == [b"one", b"two"]
    pipe.write(b"three\n")
    assert next(batches).values == [b"three"]
    pipe.close()
    assert [batch.values for batch in batches] == [[b"early", b"late"]]


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert records([tmp_path / "empty"]) == []
    assert records([tmp_path / "empty", tmp_path / "empty"]) == []


def by_the_rule(contents: Sequence[Sequence[tuple[float, bytes]]]) -> list[tuple[int, int]]:
    """(file, line) in the contract's order, by looking at all heads each time."""
    places = [0] * len(contents)
    order: list[tuple[int, int]] = []
    while True:
        heads = [
            (c[p][0], i)
            for i, (c, p) in enumerate(zip(contents, places, strict=True))
            if p < len(c)
        ]
        if not heads:
            return order
        _, file = min(heads)
        places[file] += 1
        order.append((file, places[file]))


@given(
    contents=st.lists(
        st.lists(
            st.one_of(
                st.integers(0, 59).map(lambda s: (float(s), visit(s))),
                st.sampled_from([b"not JSON", b"{}", b'{"occurred_at":1}']).map(
                    lambda line: (float("-inf"), line)
                ),
            ),
            max_size=12,
        ),
        min_size=2,
        max_size=4,
    )
)
def test_of_several_files_the_one_with_the_oldest_next_record_goes_first(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[tuple[float, bytes]]]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    paths = []
    for i, content in enumerate(contents):
        paths.append(folder / str(i))
        paths[-1].write_bytes(b"".join(line + b"\n" for _, line in content))
    assert records(paths) == [
        (str(file), line, contents[file][line - 1][1]) for file, line in by_the_rule(contents)
    ]


def test_several_large_files_come_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BATCH_LINES", 4_000)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(TEXT)
    batches = list(read([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert sum(len(batch.values) for batch in batches) == 20_000
    assert len(batches) == 5


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_what_came_before_a_break_is_read_and_its_line_is_named(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "broken"
    path.write_bytes(compress(b"one\ntwo\n") + compress(b"three\n") + compress(b"4\n" * 99)[:-9])
    batches = read([str(path)])
    assert next(batches).values[:3] == [b"one", b"two", b"three"]
    with pytest.raises(InputBroken, match=r"broken: line ([4-9]|\d\d+): "):
        list(batches)


def test_many_files_hold_no_more_at_once_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK", 60_000)
    monkeypatch.setattr(files, "_BATCH_LINES", 10)
    for i in range(10):
        (tmp_path / f"{i}").write_bytes(TEXT)
    with Reader([str(tmp_path / f"{i}") for i in range(10)]) as reader:
        next(reader.batches())
        assert reader.consumed == 10 * 6_000


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_little_that_becomes_much_comes_little_by_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 32 << 20)
    (tmp_path / "bomb").write_bytes(compress(b"0" * (128 << 20)))
    with Reader([str(tmp_path / "bomb")]) as reader:
        tracemalloc.start()
        try:
            with pytest.raises(InputBroken, match=r"bomb: line 1: is longer than 33554432 bytes"):
                list(reader.batches())
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 64 << 20


def test_many_short_lines_come_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BATCH_LINES", 100)
    (tmp_path / "short").write_bytes(b"\n" * 250)
    batches = list(read([str(tmp_path / "short")]))
    assert [len(batch.values) for batch in batches] == [100, 100, 50]
    assert [line for batch in batches for line in batch.lines] == list(range(1, 251))


def test_progress_is_in_bytes_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(TEXT))
    with Reader([str(path), str(path)]) as reader:
        assert (reader.size, reader.consumed) == (2 * path.stat().st_size, 0)
        list(reader.batches())
        assert reader.consumed == reader.size


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file or directory"),
        (lambda path: path.mkdir(), "is a directory"),
    ],
)
def test_a_file_that_is_missing_is_named_before_anything_is_read(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(TEXT)
    make(bad)
    with pytest.raises(InputMissing, match=f"bad: {said}"):
        next(read([str(good), str(bad)]))


GZ = gzip.compress(TEXT, mtime=0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.gz", GZ[: len(GZ) // 2]),
        ("no-trailer.gz", GZ[:-8]),
        ("head.gz", GZ[:5]),
        ("empty.gz", b""),
        ("plain.gz", TEXT),
        ("wrong-sum.gz", GZ[:-8] + bytes(8)),
        ("second.gz", GZ + b"rubbish"),
        ("cut.zst", zstd(TEXT)[:-3]),
        ("second-cut.zst", zstd(TEXT) + zstd(TEXT)[:-3]),
        ("rubbish-after.zst", zstd(TEXT) + b"rubbish"),
        ("corrupt.zst", flipped(checked(TEXT), 60)),
        ("wrong-sum.zst", flipped(checked(TEXT), -1)),
        ("corrupt.gz", flipped(GZ, 60)),
        ("empty.zst", b""),
        ("plain.zst", TEXT),
    ],
)
def test_a_broken_file_is_named_with_the_position(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputBroken, match=rf"{name}: line \d+: \w+") as caught:
        records([path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "said"), [("a.gz", "is not gzip"), ("a.zst", "is not zstd")])
def test_a_plain_file_under_the_name_of_a_compressed_one_is_told_so(
    tmp_path: Path, name: str, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(TEXT)
    with pytest.raises(InputBroken, match=f"{name}: line 1: {said}"):
        records([path])


def test_a_line_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 1_000)
    monkeypatch.setattr(files, "_BLOCK", 100)
    path = tmp_path / "long"
    path.write_bytes(b"{}\n" + b"x" * 5_000)
    with pytest.raises(InputBroken, match="line 2: is longer than 1000 bytes"):
        records([path])
