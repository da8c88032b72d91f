"""A compressed page is one gzip file, and its large part is compressed once."""

from __future__ import annotations

import asyncio
import zlib

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.metrics import zipped
from stream.metrics.server import MetricsServer
from stream.metrics.zipped import Zipped
from tests.fixtures.prometheus import NewPrometheus
from tests.metrics.kpis import KPIS
from tests.metrics.serving import serving
from tests.metrics.views import view

_LARGE = tuple((("channel", f"c{number}"),) for number in range(300))


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The texts that were compressed to be kept."""
    kept: list[bytes] = []
    deflated = zipped._deflated

    def noted(text: bytes, end: int) -> bytes:
        if end == zlib.Z_FULL_FLUSH:
            kept.append(text)
        return deflated(text, end)

    monkeypatch.setattr(zipped, "_deflated", noted)
    return kept


@given(st.binary(max_size=300), st.lists(st.binary(max_size=300), min_size=1, max_size=3))
def test_a_text_and_whatever_follows_it_is_one_member(text: bytes, rests: list[bytes]) -> None:
    async def judge() -> None:
        one = Zipped(text)
        for rest in rests:
            reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
            assert reader.decompress(b"".join(await one.followed_by(rest))) == text + rest
            assert (reader.eof, reader.unused_data) == (True, b"")

    asyncio.run(judge())


async def test_many_who_ask_at_once_have_one_text_compressed_once(compressed: list[bytes]) -> None:
    worker = view(KPIS, series=_LARGE)
    async with (
        MetricsServer(lambda: worker, KPIS, unready=lambda: None, port=0) as server,
        aiohttp.ClientSession(server.url) as session,
    ):

        async def page() -> str:
            async with session.get("/metrics", headers={"Accept-Encoding": "gzip"}) as response:
                return await response.text()

        pages = await asyncio.gather(*(page() for _ in range(20)))
        assert len(compressed) == 1
        kpis = compressed[0].decode()
        assert len(kpis) > zipped._SOON, "it is compressed in a thread"
        assert all(one.startswith(kpis) and one > kpis for one in pages)
        worker = view(KPIS, series=_LARGE, shift=0.1)
        assert (await page()).startswith(compressed[-1].decode())
        assert compressed[-1].decode() != kpis


def test_prometheus_reads_a_compressed_page(
    new_prometheus: NewPrometheus, compressed: list[bytes]
) -> None:
    worker = view(KPIS)
    with serving(lambda: worker, KPIS) as server:
        prometheus = new_prometheus(server.url.removeprefix("http://"))
        assert prometheus.wait_for('cx_csat_ratio{window="5m"}')
        assert prometheus.wait_for("cx_worker_ready"), "what follows the KPIs is read, too"
    assert compressed
