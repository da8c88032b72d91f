"""Files that a command writes: a disk that is full is one line that names the file."""

from __future__ import annotations

import errno
import gzip
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

import click
import zstandard

from stream.cli.failure import CommandFailed
from stream.cli.signals import ended_by_signals


class _Named(io.FileIO):
    """A file that says its name where it can't be written."""

    def __init__(self, file: Path | int, shown: Path) -> None:
        self._shown = shown
        super().__init__(file, "wb")

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
    """Print a text that other programs read, or write it into a file: UTF-8 in every locale.

    Raises:
        CommandFailed: the file can't be written.
    """
    if output is None:
        click.echo(text.encode(), nl=False)
        return
    with replacing(output) as file:
        file.write(text.encode())


def failed(path: Path | str, error: OSError) -> str:
    """The file, and why it can't be written."""
    return f"{path}: {(error.strerror or str(error)).lower()}"


def opened_for_writing(path: Path) -> BinaryIO:
    """The file, emptied.

    Raises:
        CommandFailed: it can't be opened; and later, it can't be written.
    """
    return _opened(path, path)


def _opened(file: Path | int, shown: Path) -> BinaryIO:
    try:
        return cast("BinaryIO", io.BufferedWriter(_Named(file, shown)))
    except OSError as error:
        raise CommandFailed(failed(shown, error)) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` when it is complete, so that no part is ever there.

    Where anything is raised, or a signal ends us, what was there stays. It keeps its rights, and
    links to it lead to the new one. A pipe, a device and what we print into are written at once.

    Raises:
        CommandFailed: it can't be written, or put into its place.
    """
    if _is_special(path) or _is_printed_into(path):
        with opened_for_writing(path) as file:
            yield file
        return
    # The place of a link is where it leads to.
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".cxkpi-{secrets.token_hex(8)}.part")
    with ended_by_signals():
        try:
            with _opened(_begun(draft, target, path), path) as file:
                yield file
            try:
                _put(draft, target)
            except OSError as error:
                raise CommandFailed(failed(path, error)) from error
        finally:
            draft.unlink(missing_ok=True)


def _put(draft: Path, target: Path) -> None:
    """Put the draft, which is complete, into its place."""
    try:
        draft.replace(target)
    except OSError as error:
        # A file that is mounted by itself, as into a container, can be written but not replaced.
        if error.errno != errno.EBUSY:
            raise
        shutil.copyfile(draft, target)


def _begun(draft: Path, target: Path, shown: Path) -> int:
    """The draft of a file, empty and with the rights of what it is to replace, if anything."""
    mode = _mode(target)
    if mode is not None and not os.access(target, os.W_OK):
        raise CommandFailed(f"{shown}: permission denied")
    try:
        begun = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        beside = "" if mode is None else f" in {target.parent}, where its successor is written"
        raise CommandFailed(failed(shown, error) + beside) from error
    if mode is not None:
        os.fchmod(begun, stat.S_IMODE(mode))
    return begun


def _mode(path: Path) -> int | None:
    """What kind of file it is, and its rights; None where there is none."""
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _is_printed_into(path: Path) -> bool:
    """Whether it is the file behind standard output or error, such as ``/dev/stdout``."""
    for stream in (1, 2):
        with suppress(OSError):  # It may be closed, or no such file be there.
            if os.path.samestat(path.stat(), os.fstat(stream)):
                return True
    return False


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
    mode = _mode(path)
    return mode is not None and not stat.S_ISREG(mode)
