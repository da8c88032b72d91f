"""``python -m stream.dashboards``: write the dashboards, or say whether they are current."""

from __future__ import annotations

from pathlib import Path

import click

from stream.core.catalogue import KPIS
from stream.core.settings import Settings
from stream.dashboards.overview import overview

_FOLDER = Path("grafana/dashboards")


@click.command()
@click.option("--to", "folder", type=click.Path(path_type=Path), default=_FOLDER, show_default=True)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a file is not current.")
def write(folder: Path, *, check: bool) -> None:
    """Write the Grafana dashboards for the default dimensions."""
    text = overview(KPIS, Settings().dimensions)
    path = folder / "overview.json"
    if check:
        current = path.is_file() and path.read_text(encoding="utf-8") == text
        click.echo(f"{path} is {'current' if current else 'out of date'}")
        raise SystemExit(0 if current else 1)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"{path} written")


if __name__ == "__main__":
    write()
