"""The browser that tests use shows pages."""

from pathlib import Path

from tests.fixtures.chromium import Chromium


def test_chromium_runs_a_pages_script(chromium: Chromium, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p id=sum></p><script>sum.textContent = `${6 * 7} answers`</script>")
    shown = chromium.run("--dump-dom", page.as_uri(), profile=tmp_path / "profile")
    assert '<p id="sum">42 answers</p>' in shown
