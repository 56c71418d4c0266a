"""What must be right before a window can open; imports no Qt until it is known that Qt can load."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.errors import MachineError

_LIBRARY = re.compile(r"(lib[\w.+-]+\.so(?:\.\d+)*)\s*:\s*cannot open shared object")


def prepare_environment(environ: dict[str, str] | None = None) -> None:
    """Set what torch reads once, when it is imported: waiting threads must not spin next to a painting window."""
    target = os.environ if environ is None else environ
    target.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # No library may look anything up by itself; a download that a person asks for opens connections of its own.
    target.setdefault("HF_HUB_OFFLINE", "1")
    target.setdefault("TOKENIZERS_PARALLELISM", "false")


def missing_library(message: str) -> str | None:
    """The system library a loader's message says is missing, or None."""
    found = _LIBRARY.search(message)
    return found.group(1) if found else None


def require_display(environ: Mapping[str, str], platform: str = sys.platform) -> None:
    """Raise MachineError where a window can never open: Linux without any display."""
    if not platform.startswith(("linux", "freebsd")) or environ.get("QT_QPA_PLATFORM"):
        return
    if not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        raise MachineError(
            "There is no display to open a window on; `circuit-loupe trace PROMPT` does the same work without one."
        )


def platform_plugins(environ: Mapping[str, str]) -> list[str]:
    """The Qt platform plugins that would be tried here, in Qt's order; empty where nothing needs checking."""
    asked = environ.get("QT_QPA_PLATFORM", "")
    if asked:
        names = [part.split(":")[0] for part in asked.split(";")]
        return [name for name in names if name in ("xcb", "wayland")]
    order = ["wayland"] if environ.get("WAYLAND_DISPLAY") else []
    return [*order, "xcb"] if environ.get("DISPLAY") else order


def _plugin_file(name: str) -> Path | None:
    spec = importlib.util.find_spec("PySide6")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    file_name = {"xcb": "libqxcb.so", "wayland": "libqwayland.so"}[name]
    candidates = (folder / "Qt" / "plugins" / "platforms" / file_name, folder / "plugins" / "platforms" / file_name)
    return next((path for path in candidates if path.exists()), None)


def _x_server_answers() -> bool:
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return True  # The plugin check names the missing library better.
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connect.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    xcb.xcb_connection_has_error.argtypes = [ctypes.c_void_p]
    xcb.xcb_disconnect.argtypes = [ctypes.c_void_p]
    connection = xcb.xcb_connect(None, None)
    broken = bool(xcb.xcb_connection_has_error(connection))
    xcb.xcb_disconnect(connection)
    return not broken


def _plugin_fault(name: str, load: Callable[[str], object]) -> str | None:
    path = _plugin_file(name)
    if path is None:
        return None
    try:
        load(str(path))
    except OSError as error:
        library = missing_library(str(error))
        return f"The window needs the system library {library}; install it" if library else str(error)
    if name == "xcb" and not _x_server_answers():
        return f"The display {os.environ.get('DISPLAY', '')} does not answer; check DISPLAY"
    return None


def require_qt(environ: Mapping[str, str], load: Callable[[str], object] = ctypes.CDLL) -> None:
    """Load Qt, and raise MachineError that names what is missing instead of letting Qt abort the process."""
    try:
        import PySide6.QtWidgets  # noqa: F401
    except ImportError as error:
        library = missing_library(str(error))
        what = f"the system library {library}" if library else f"a part of Qt ({error})"
        raise MachineError(
            f"The window needs {what}, which this machine lacks; install it, or work with `circuit-loupe trace PROMPT`."
        ) from error
    if not sys.platform.startswith("linux"):
        return
    faults = [_plugin_fault(name, load) for name in platform_plugins(environ)]
    if faults and all(faults):
        raise MachineError(f"{faults[-1]}, or work without a window: `circuit-loupe trace PROMPT`.")
