"""What is known of the drive a project is on, and whether the file that is open is still the one at its path."""

from __future__ import annotations

from pathlib import Path

import psutil

from engine.errors import MachineError
from engine.projects.faults import moved

# File systems whose locks another computer may not see (https://www.sqlite.org/lockingv3.html, section 6.0).
_NETWORK = (
    *("nfs", "cifs", "smb", "afp", "webdav", "davfs", "9p", "sshfs", "fuse.s", "fuse.rclone", "fuse.gvfs"),
    *("afs", "ncp", "ceph", "gluster", "lustre", "beegfs", "drvfs"),
)

# Device and number of a file: the same as long as it is the same file, whatever its name.
FileId = tuple[int, int]


def network_drive(path: Path) -> str | None:
    """The kind of network drive a file is on ("nfs4", "remote"), or None for a drive of this computer."""
    place = path.absolute()
    if str(place).startswith("\\\\"):
        return "remote"
    found, depth = None, -1
    for part in psutil.disk_partitions(all=True):
        mount = Path(part.mountpoint)
        if len(mount.parts) > depth and (mount == place or mount in place.parents):
            found, depth = part, len(mount.parts)
    if found is None:
        return None
    if "remote" in found.opts.split(","):
        return "remote"
    kind = found.fstype.lower()
    return kind if kind.startswith(_NETWORK) else None


def warning(path: Path) -> str | None:
    """One sentence about the drive that a person should know before working on it, or None."""
    kind = network_drive(path)
    if kind is None:
        return None
    return (
        f"{path.name} is on a network drive ({kind}), where other computers may not see that it is open here; "
        "work on a copy on this computer, and put it back afterwards."
    )


def file_id(path: Path) -> FileId:
    """What tells this file from every other on this computer."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def require_same(path: Path, opened: FileId) -> None:
    """Raise one sentence if the file at a path is no longer the one that was opened, or cannot be reached."""
    try:
        now = file_id(path)
    except FileNotFoundError:
        raise moved(path.name) from None
    except OSError as error:
        raise MachineError(
            f"{path.name} cannot be reached ({error.strerror}); check the drive, or save this project elsewhere."
        ) from error
    if now != opened:
        raise moved(path.name)
