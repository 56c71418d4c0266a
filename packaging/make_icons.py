"""Draws the program's icon in the forms that platforms want, from resources/program.svg: `make icons`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QSize
from PySide6.QtGui import QGuiApplication, QIcon

HERE = Path(__file__).parent
SIZES = {"circuit-loupe.png": 256, "circuit-loupe.ico": 128, "circuit-loupe.icns": 512}


def main() -> None:
    """Write every form; fails where Qt cannot write one."""
    application = QGuiApplication(sys.argv[:1])
    icon = QIcon(str(HERE.parent / "resources" / "program.svg"))
    for name, size in SIZES.items():
        if not icon.pixmap(QSize(size, size)).toImage().save(str(HERE / "icons" / name)):
            raise SystemExit(f"{name} could not be written")
    del application


if __name__ == "__main__":
    main()
