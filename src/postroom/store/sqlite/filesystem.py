"""What the store asks of the file system: a local one, a private file, some room left."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from postroom.errors import StoreFull, StoreUnavailable
from postroom.store.sqlite import faults

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "9p", "ncpfs", "afs", "fuse.sshfs", "fuse.s3fs"})
MOUNTS = Path("/proc/self/mounts")


def prepare(path: Path, *, network_too: bool, mounts: Path = MOUNTS) -> None:
    """Makes the file and its directory, readable by their owner alone, where they are missing.

    Raises `StoreUnavailable` when it cannot, and on a network file system unless `network_too`: locks lie there.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not network_too and mounts.exists():
            _refuse_network(path, mounts.read_text(errors="surrogateescape"))
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise faults.of_file(path, error) from error


def refuse_unmakable(path: Path) -> None:
    """Raises `StoreUnavailable` where the file, and the directories that lead to it, could not be made; makes none."""
    nearest = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not nearest.is_dir():
        raise StoreUnavailable(f"{path} cannot be made: {nearest} is not a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StoreUnavailable(f"{path} cannot be made: the directory {nearest} may not be written")


def refuse_without_room(path: Path, reserve_bytes: int, *, unused_bytes: Callable[[], int]) -> None:
    """Raises `StoreUnavailable` when less than the reserve is free: what is left is kept to finish accepted emails.

    Half of that is for the file's log. For the other half, pages of the file will do that deleted emails have left
    unused: the file gives nothing back to the disk, so otherwise nothing would be accepted once it has filled the disk.
    """
    try:
        disk = os.statvfs(path.parent)
    except OSError as error:
        raise faults.of_file(path, error) from error
    short = reserve_bytes - disk.f_bavail * disk.f_frsize
    if short > 0 and short > min(unused_bytes(), reserve_bytes // 2):
        raise StoreFull(
            f"the disk that holds {path} has less than {reserve_bytes} bytes left, which are kept to finish accepted "
            "emails: free some space and try again"
        )


def kind_of(path: Path, mounts: str) -> str:
    """The type of the file system that holds the path, by a table in the form of `/proc/self/mounts` (fstab(5))."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, kind_here, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
        if path.is_relative_to(point) and len(point) >= longest:  # the later of two mounts on one point hides the first
            kind, longest = kind_here, len(point)
    return kind


def _refuse_network(path: Path, mounts: str) -> None:
    kind = kind_of(path, mounts)
    if kind in NETWORK:
        raise StoreUnavailable(
            f"{path} lies on a network file system ({kind}), where locks cannot be relied on: "
            "name a file on a local disk"
        )


def identity(path: Path) -> tuple[int, int]:
    """What tells this file from another one of the same name; (0, 0) when there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
