"""Files appear whole or not at all: write under a temporary name in the same folder, then publish.

A temporary name begins with a dot and tells the machine and process that writes it, so that the
next writer can remove what a killed one left behind, and no one takes it for data.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import socket
import tempfile
from pathlib import Path

from gen2reco.errors import EventFileError, OutputExistsError

_ENDING = ".part"
_NAME = re.compile(r"\..+\.(?P<host>[^.]+)-(?P<pid>\d+)-\d+\.part")
_count = itertools.count()


def temporary_name(path: Path) -> Path:
    """A name in the folder of `path` that no other process uses."""
    return path.parent / f".{path.name}.{_host()}-{os.getpid()}-{next(_count)}{_ENDING}"


def remove_stale(folder: Path) -> None:
    """Remove temporary files and folders of processes of this machine that no longer run."""
    for file in folder.glob(f".*{_ENDING}"):
        name = _NAME.fullmatch(file.name)
        if name and name["host"] == _host() and not _runs(int(name["pid"])):
            if file.is_dir():
                shutil.rmtree(file, ignore_errors=True)
            else:
                file.unlink(missing_ok=True)


def refuse_below_file(path: Path) -> None:
    """Refuse a folder to be made in what is a file.

    Raises:
        OutputExistsError: naming both.
    """
    for above in path.parents:
        if os.path.lexists(above):
            if not above.is_dir():
                raise OutputExistsError(f"{above} is a file, so that {path} cannot be made in it")
            return


def refuse_foreign(path: Path, mark: str, what: str) -> None:
    """Refuse to replace something that gen2reco has not made.

    A folder goes with all that is in it.

    Args:
        path: what would be replaced.
        mark: a file that every folder of this kind has.
        what: of this kind, in words.

    Raises:
        OutputExistsError: it is neither an empty folder nor one with that file.
    """
    if path.is_dir() and ((path / mark).is_file() or not any(path.iterdir())):
        return
    if os.path.lexists(path):
        message = f"{path} is there and is not {what}, so it is not replaced; choose another name"
        raise OutputExistsError(message)


def refuse_place(path: Path) -> None:
    """Refuse a place where no file can be: its folder is missing, or it is a folder or a device.

    Raises:
        EventFileError: naming the file and what to do.
    """
    if not path.parent.is_dir():
        raise EventFileError("the folder of this file is not there; make it first", file=str(path))
    if path.is_dir():
        raise EventFileError("this is a folder; name a file in it", file=str(path))
    if path.exists() and not path.is_file():
        message = "this is a device, a pipe or a socket and is not replaced; choose another name"
        raise EventFileError(message, file=str(path))


def refuse_existing(path: Path) -> None:
    """Refuse an output that is already there.

    Raises:
        OutputExistsError: naming the file and what to do.
    """
    if os.path.lexists(path):
        message = (
            f"{path} is already there; choose another name, or replace it with --overwrite"
            " (in Python: overwrite=True)"
        )
        raise OutputExistsError(message)


def publish_folder(folder: Path, path: Path) -> None:
    """Give a complete folder its name; what had the name before is removed once the new one has it.

    Of a link the link is replaced, not what it points to. A kill at any moment leaves the old
    folder or the new one, at worst under a hidden name.
    """
    if not os.path.lexists(path):
        folder.rename(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
    path.rename(aside / path.name)
    folder.rename(path)
    shutil.rmtree(aside)


def publish(temporary: Path, path: Path, *, overwrite: bool = False) -> None:
    """Give a complete file its name, safely on disk; without `overwrite` the first writer wins.

    Raises:
        OutputExistsError: another file got the name first; `temporary` is left as it is.
    """
    flush(temporary)
    if overwrite:
        temporary.replace(path)
    else:
        try:
            os.link(temporary, path)
        except FileExistsError:
            refuse_existing(path)
        except OSError:
            # No hard links on this file system: a small gap between looking and renaming remains.
            refuse_existing(path)
            temporary.rename(path)
        else:
            temporary.unlink()
    flush(path.parent)


def flush(path: Path) -> None:
    """Ask for the data of a file, or the names in a folder, to be on disk.

    Some systems cannot open folders, and some network file systems cannot flush them; these commit
    names at once.

    Raises:
        OSError: the data of a file could not be written.
    """
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _host() -> str:
    """Name the machine, and with it the container: two of them may count processes from 1."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", socket.gethostname()) or "local"
    with contextlib.suppress(OSError):  # elsewhere than on Linux
        name += f"_{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116
    return name


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
