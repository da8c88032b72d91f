"""Unpacking into bounded memory gives what the client's own functions give, or says why not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from aiokafka import codec as client
from aiokafka.errors import CorruptRecordException

from stream.kafka import codecs
from stream.kafka.codecs import Packed, TooLarge, ungzip, unlz4, unsnappy, unzstd

Pack = Callable[[bytes], bytes]
Unpack = Callable[[Packed], bytes | memoryview]

CODECS: dict[str, tuple[Pack, Unpack]] = {
    "gzip": (client.gzip_encode, ungzip),
    "gzip in two members": (
        lambda content: client.gzip_encode(content[:9]) + client.gzip_encode(content[9:]),
        ungzip,
    ),
    "snappy in blocks": (client.snappy_encode, unsnappy),
    "snappy whole": (lambda content: bytes(client.snappy_encode(content, False)), unsnappy),
    "lz4": (client.lz4_encode, unlz4),
    "zstd": (client.zstd_encode, unzstd),
}
#: Bytes that pack not at all, a few times and thousands of times.
CONTENTS: dict[str, bytes] = {
    "nothing": b"",
    "a few bytes": b"abc",
    "noise": random.Random(1).randbytes(300_000),
    "words": b'{"type":"visit.ended","pages":3}' * 9_000,
    "one letter": b"x" * 20_000_000,
}

each_codec = pytest.mark.parametrize(("pack", "unpack"), CODECS.values(), ids=CODECS)


@each_codec
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_what_was_packed_is_unpacked(pack: Pack, unpack: Unpack, content: bytes) -> None:
    packed = pack(content)
    assert bytes(unpack(packed)) == content
    assert bytes(unpack(memoryview(packed))) == content


@each_codec
@pytest.mark.parametrize("most", [100_000, 1_000_000])
def test_only_what_is_beyond_the_bound_is_too_large(
    pack: Pack, unpack: Unpack, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codecs, "MOST_UNPACKED", most)
    assert len(unpack(pack(b"x" * most))) == most
    for beyond in (1, 500_000):
        with pytest.raises(TooLarge, match="a batch unpacks to more than"):
            unpack(pack(b"x" * (most + beyond)))


@pytest.mark.parametrize("behind", [b"\0" * 8, b"garbage", b"\x1f\x8b"], ids=repr)
@pytest.mark.parametrize("members", [1, 2, 300])
def test_what_is_behind_gzip_and_not_packed_is_left_out_as_javas_client_does(
    behind: bytes, members: int
) -> None:
    for content in CONTENTS.values():
        packed = client.gzip_encode(content) + client.gzip_encode(b"more") * (members - 1)
        assert bytes(ungzip(packed + behind)) == content + b"more" * (members - 1)


def test_what_is_behind_gzip_may_not_lead_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "MOST_UNPACKED", 100_000)
    assert len(ungzip(client.gzip_encode(b"x" * 100_000) + b"\0")) == 100_000
    for sizes in ([100_001], [60_000, 40_001]):
        packed = b"".join(client.gzip_encode(b"x" * size) for size in sizes)
        with pytest.raises(TooLarge):
            ungzip(packed + b"\0")


def test_gzip_that_breaks_off_in_a_later_member_is_damaged() -> None:
    member = client.gzip_encode(CONTENTS["words"])
    with pytest.raises(CorruptRecordException, match="it breaks off"):
        ungzip(member + member[:-9])


def test_snappy_of_several_writers_in_a_row_is_one_content() -> None:
    packed = client.snappy_encode(b"abc") + client.snappy_encode(b"") + client.snappy_encode(b"def")
    assert bytes(unsnappy(packed)) == b"abcdef"


@each_codec
def test_what_is_no_packed_content_is_damaged_and_not_too_large(pack: Pack, unpack: Unpack) -> None:
    packed = pack(CONTENTS["noise"])
    for damaged in (packed[:-10], b"no packed content" * 9):
        with pytest.raises(CorruptRecordException, match="can't be unpacked") as raised:
            unpack(damaged)
        assert not isinstance(raised.value, TooLarge)
