"""Files that a command writes: a disk that is full is one line that names the file."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

import click
import zstandard

from stream.cli.failure import CommandFailed


class _Named(io.FileIO):
    """A file that says its name where it can't be written."""

    def __init__(self, path: Path, shown: Path) -> None:
        self._shown = shown
        super().__init__(path, "wb")

    def write(self, data: Any, /) -> int:
        """Write, or say what is in the way."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise  # Whoever read it has enough.
        except OSError as error:
            raise CommandFailed(failed(self._shown, error)) from error


@contextmanager
def compressed(file: BinaryIO, name: str) -> Iterator[IO[bytes]]:
    """The file, closed at the end; compressed where the name ends in ``.gz`` or ``.zst``.

    The same data give the same bytes.
    """
    with file:
        if name.endswith(".gz"):
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
                yield cast("IO[bytes]", zipped)
        elif name.endswith(".zst"):
            with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as zipped:
                yield zipped
        else:
            yield file


#: For commands whose output people keep.
output_option: Final = click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write into this file instead of printing.",
)


def print_or_write(text: str, output: Path | None) -> None:
    """Print a text, or write it into a file.

    Raises:
        CommandFailed: the file can't be written.
    """
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(failed(output, error)) from error


def failed(path: Path | str, error: OSError) -> str:
    """The file, and why it can't be written."""
    return f"{path}: {(error.strerror or str(error)).lower()}"


def opened_for_writing(path: Path, shown: Path | None = None) -> BinaryIO:
    """The file, emptied; ``shown`` is what people call it, where that is another name.

    Raises:
        CommandFailed: it can't be opened; and later, it can't be written.
    """
    shown = shown or path
    try:
        return cast("BinaryIO", io.BufferedWriter(_Named(path, shown)))
    except OSError as error:
        raise CommandFailed(failed(shown, error)) from error


def refuse_overwriting(read: Iterable[str | Path], written: Mapping[str, Path | None]) -> None:
    """See that no file is written that is read, or written twice; ``written`` is by option.

    ``-`` is no file.

    Raises:
        CommandFailed: one is.
    """
    taken = {_identity(Path(name)): f"{name} is read" for name in read if str(name) != "-"}
    for option, path in written.items():
        if path is not None and not _is_special(path):
            if (said := taken.get(_identity(path))) is not None:
                raise CommandFailed(f"{option} {path}: would be overwritten, but {said}")
            taken[_identity(path)] = f"{option} writes it too"


def _identity(path: Path) -> object:
    """The same for two names of one file."""
    try:
        status = path.stat()
    except OSError:
        return path.absolute()
    return status.st_dev, status.st_ino


def _is_special(path: Path) -> bool:
    """Whether it is a device or a pipe, which nothing overwrites."""
    return path.exists() and not path.is_file()
