"""A drive that fails when a test says so: SQLite's own file functions, with errors put in (sqlite.org/vfs.html).

Python's sqlite3 has no way to name a file system of one's own, but the library behind it has: its default one is copied
here through ctypes, with `xOpen` and `xDelete` replaced, and `xWrite`, `xSync` and `xTruncate` of every opened file.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

FULL, IO_WRITE, IO_SYNC, IO_TRUNCATE, IO_DELETE = 13, 778, 1034, 1546, 2570
_POINTER = ctypes.c_void_p


class Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = [
        ("iVersion", ctypes.c_int),
        *(
            (name, _POINTER)
            for name in (
                *("xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock"),
                *("xCheckReservedLock", "xFileControl", "xSectorSize", "xDeviceCharacteristics"),
                *("xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap", "xFetch", "xUnfetch"),
            )
        ),
    ]


class Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = [
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", _POINTER),
        ("zName", ctypes.c_char_p),
        ("pAppData", _POINTER),
        *(
            (name, _POINTER)
            for name in (
                *("xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose"),
                *("xRandomness", "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64"),
                *("xSetSystemCall", "xGetSystemCall", "xNextSystemCall"),
            )
        ),
    ]


class File(ctypes.Structure):
    """sqlite3_file."""

    _fields_ = [("pMethods", ctypes.POINTER(Methods))]


_INT = ctypes.c_int
_OPEN = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, ctypes.POINTER(File), _INT, _POINTER)
_DELETE = ctypes.CFUNCTYPE(_INT, _POINTER, ctypes.c_char_p, _INT)
_WRITE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(_INT, _POINTER, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(_INT, _POINTER, _INT)


@dataclass
class Plan:
    """Which of the next calls that change the drive fails, and how.

    `how`: "full" (no room), "io" (an error), "half" (half of what was to be written is, then an error). `lasting`: so
    does every call after it, as when a drive is gone.
    """

    at: int = 0  # 0: none fails
    how: str = "io"
    lasting: bool = False
    calls: int = 0
    failed: int = 0

    def fails(self) -> bool:
        self.calls += 1
        hit = self.at > 0 and (self.calls == self.at or (self.lasting and self.calls > self.at))
        self.failed += hit
        return hit


class FaultyDrive:
    """The drive of every file that SQLite opens while this is in place."""

    def __init__(self) -> None:
        # The module itself is linked with the library it uses, so that its symbols are found through it.
        self._library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        self._library.sqlite3_vfs_find.restype = ctypes.POINTER(Vfs)
        self.plan = Plan()
        self._real = self._library.sqlite3_vfs_find(None)
        self._vfs = Vfs.from_buffer_copy(self._real.contents)
        self._vfs.zName = b"faulty"
        self._keep: list[Any] = []  # callbacks live as long as the library may call them
        self._methods: dict[int, Methods] = {}
        self._open, self._delete = _OPEN(self._real.contents.xOpen), _DELETE(self._real.contents.xDelete)
        self._vfs.xOpen = self._callback(_OPEN, self._opened)
        self._vfs.xDelete = self._callback(_DELETE, self._deleted)

    @contextmanager
    def in_place(self) -> Iterator[FaultyDrive]:
        """Make it the drive of what is opened in the block."""
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)
        try:
            yield self
        finally:
            self.plan = Plan()
            self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))
            self._library.sqlite3_vfs_register(self._real, 1)

    def _callback(self, kind: Any, function: Callable[..., int]) -> Any:
        made = kind(function)
        self._keep.append(made)
        return ctypes.cast(made, _POINTER)

    def _opened(self, _: Any, name: Any, file: Any, flags: int, out: Any) -> int:
        status = int(self._open(ctypes.cast(self._real, _POINTER), name, file, flags, out))
        if status == 0:
            address = ctypes.addressof(file.contents.pMethods.contents)
            if address not in self._methods:
                self._methods[address] = self._changed(file.contents.pMethods.contents)
            file.contents.pMethods = ctypes.pointer(self._methods[address])
        return status

    def _changed(self, methods: Methods) -> Methods:
        write, truncate, sync = _WRITE(methods.xWrite), _TRUNCATE(methods.xTruncate), _SYNC(methods.xSync)

        def fail_write(file: Any, data: Any, amount: int, offset: int) -> int:
            if not self.plan.fails():
                return int(write(file, data, amount, offset))
            if self.plan.how == "half":
                write(file, data, amount // 2, offset)
            return FULL if self.plan.how == "full" else IO_WRITE

        def fail_truncate(file: Any, size: int) -> int:
            return IO_TRUNCATE if self.plan.fails() else int(truncate(file, size))

        def fail_sync(file: Any, flags: int) -> int:
            return IO_SYNC if self.plan.fails() else int(sync(file, flags))

        changed = Methods.from_buffer_copy(methods)
        changed.xWrite = self._callback(_WRITE, fail_write)
        changed.xTruncate = self._callback(_TRUNCATE, fail_truncate)
        changed.xSync = self._callback(_SYNC, fail_sync)
        return changed

    def _deleted(self, _: Any, name: Any, sync: int) -> int:
        return IO_DELETE if self.plan.fails() else int(self._delete(ctypes.cast(self._real, _POINTER), name, sync))
