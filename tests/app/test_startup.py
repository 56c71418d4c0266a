from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.__main__ import wants_window
from app.startup import missing_library, platform_plugins, prepare_environment, require_display, require_qt
from engine.errors import MachineError
from engine.places import HOME_VARIABLE

ROOT = Path(__file__).parent.parent.parent


def run_program(*arguments: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    kept.pop("QT_QPA_PLATFORM", None)
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "app", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**kept, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux runs without any display")
def test_without_a_display_one_sentence_names_the_command_that_works() -> None:
    done = run_program()
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "no display" in done.stderr
    assert "trace" in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11")
def test_a_display_that_does_not_answer_is_no_crash() -> None:
    done = run_program(DISPLAY=":4711")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_command_loads_no_qt() -> None:
    code = "import sys, app.__main__ as m\ntry: m.main(['--version'])\nexcept SystemExit: pass\n"
    done = run_program(code=code + "print('PySide6' in sys.modules)")
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_the_window_starts_without_torch() -> None:
    code = "import sys, app.application\nprint([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = run_program(code=code, QT_QPA_PLATFORM="offscreen")
    assert done.stdout.strip() == "[]", done.stderr


def test_what_opens_the_window_and_what_is_a_command(tmp_path: Path) -> None:
    assert wants_window([])
    assert wants_window(["missing.loupe"])
    assert not wants_window(["trace", "a prompt"])
    assert not wants_window(["--help"])
    assert not wants_window(["nonsense"])


def test_waiting_threads_do_not_spin() -> None:
    environment: dict[str, str] = {}
    prepare_environment(environment)
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    prepare_environment(mine := {"OMP_WAIT_POLICY": "ACTIVE"})
    assert mine["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize(
    ("environment", "plugins"),
    [
        ({"DISPLAY": ":0"}, ["xcb"]),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, ["wayland", "xcb"]),
        ({"QT_QPA_PLATFORM": "offscreen"}, []),
        ({"QT_QPA_PLATFORM": "xcb:foo;offscreen"}, ["xcb"]),
        ({}, []),
    ],
)
def test_the_plugins_that_qt_would_try(environment: Mapping[str, str], plugins: list[str]) -> None:
    assert platform_plugins(environment) == plugins


def test_a_missing_library_is_named() -> None:
    message = "libEGL.so.1: cannot open shared object file: No such file or directory"
    assert missing_library(message) == "libEGL.so.1"
    assert missing_library("no such thing") is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11")
def test_a_plugin_that_cannot_load_names_the_library() -> None:
    def load(path: str) -> object:
        raise OSError("libxcb-cursor.so.0: cannot open shared object file: No such file or directory")

    with pytest.raises(MachineError, match=r"libxcb-cursor\.so\.0.*trace"):
        require_qt({"DISPLAY": ":0"}, load)


def test_displays_are_asked_for_on_linux_only() -> None:
    require_display({}, platform="darwin")
    require_display({}, platform="win32")
    require_display({"DISPLAY": ":0"}, platform="linux")
    require_display({"QT_QPA_PLATFORM": "offscreen"}, platform="linux")
    with pytest.raises(MachineError):
        require_display({}, platform="linux")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_closes_the_window_without_a_traceback(number: int, tmp_path: Path) -> None:
    environment = {**os.environ, HOME_VARIABLE: str(tmp_path), "QT_QPA_PLATFORM": "offscreen"}
    program = subprocess.Popen(
        [sys.executable, "-m", "app"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    layout = tmp_path / "config" / "window.ini"
    try:
        # The handlers are in place before this file is made.
        for _ in range(200):
            if (tmp_path / "log" / "crash.txt").exists():
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(0.1)
        program.send_signal(number)
        _, err = program.communicate(timeout=30)
    finally:
        program.kill()
    assert program.returncode == 128 + number, err
    assert "Traceback" not in err
    assert layout.exists()
