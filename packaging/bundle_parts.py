"""What goes into the bundle besides code, what stays out of it, and what each platform wants to know of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent


def _starter_files() -> list[tuple[str, str]]:
    """The starter model as its package holds it, found without running that package."""
    from engine.models.starters import SMOLLM, starter_parts

    parts = starter_parts(SMOLLM)
    if not parts:
        raise SystemExit(f"The starter model is not installed; run: {SMOLLM.install}")
    return [(str(path), package) for path, (package, _) in zip(parts, SMOLLM.parts, strict=True)]


def _licences() -> list[tuple[str, str]]:
    return [(str(ROOT / name), ".") for name in ("LICENSE", "THIRD_PARTY.md")]


DATAS = [(str(ROOT / "resources"), "resources"), *_starter_files(), *_licences()]

LEFT_OUT = [
    # Not imported by the program.
    "transformers", "sentencepiece", "pytest", "_pytest", "hypothesis", "jaxtyping", "beartype", "mypy", "ruff",
    "PyInstaller", "setuptools", "pip", "tkinter", "matplotlib", "scipy", "pandas", "IPython", "h5py", "OpenGL",
    "ipykernel", "nbclient", "nbformat", "jupyter_client", "zmq", "tornado", "ray",
    "colorcet", "cupy", "numba", "PIL", "lib2to3", "pydoc_data", "sympy", "mpmath",
    # What only the command lines of others, or faster downloads than ours, import.
    "hf_xet", "pydantic", "pydantic_core", "rich", "pygments", "typer", "httpx2._main", "zstandard._cffi",
    "markdown_it", "zstandard.backend_cffi", "pkg_resources", "_distutils_hack",
    # torch: its compiler, exporters and tests.
    "torch._inductor", "torch._dynamo", "torch.onnx", "torch.utils.tensorboard",
    "torch.utils.benchmark", "torch.utils.bottleneck", "torch.utils.hipify", "torch.contrib", "functorch", "triton",
    "torch._export.db", "torch.distributed._shard", "torch.distributed.pipelining", "torch.distributed.checkpoint",
    # Qt: what pyqtgraph would use if it were there.
    "PySide6.QtQml", "PySide6.QtQuick", "PySide6.QtSql",
    "PySide6.QtTest", "PySide6.QtXml", "PySide6.QtConcurrent", "PySide6.QtDesigner", "PySide6.QtUiTools",
    "PySide6.QtHelp", "PySide6.QtQuickWidgets", "PySide6.QtQuickControls2",
]  # fmt: skip

# Paths inside the bundle, with forward slashes.
_UNWANTED = re.compile(
    r"""
    (^|/)tests?/                                        # the tests of others
    | ^torch/(include|share|test)/
    | ^torch/lib/lib(torchbind_test|jitbackend_test|backend_with_compiler|aoti_custom_ops)
    | ^PySide6/(Qt/)?translations/
    | ^PySide6/(Qt/)?qml/
    | (lib)?Qt6?(Qml|Quick|Pdf|EglF|VirtualKeyboard|Sql|Test|Designer|3D|WebEngine)\w*[.\d]*\.(so|dll|dylib)
    | /plugins/(virtualkeyboard|platforminputcontexts/libqtvirtualkeyboard|sqldrivers|qmltooling|networkinformation|tls)
    | /plugins/platforms/libq(eglfs|linuxfb|minimalegl|vnc|vkkhrdisplay)
    | /plugins/egldeviceintegrations/
    | /plugins/imageformats/(lib)?q(pdf|tga|tiff|webp|wbmp|icns|gif)
    | \.a$
    | /plugins/generic/
    | /plugins/platformthemes/libqgtk3                  # for GTK's file dialog only; with what nothing else here needs:
    | ^lib(atk-1|cairo|gdk_pixbuf|gio-2|gmodule-2|gobject-2|pango|pixman-1|harfbuzz|fribidi|thai|datrie|graphite2|jpeg)
    | ^lib(mount|blkid|selinux)\.so
    """,
    re.VERBOSE,
)


def is_wanted(place: str) -> bool:
    """Whether a file of this place in the bundle is of use to the program."""
    return _UNWANTED.search(place.replace("\\", "/")) is None


def icon() -> str | None:
    """The program's icon in the form that this platform's programs carry."""
    name = {"win32": "circuit-loupe.ico", "darwin": "circuit-loupe.icns"}.get(sys.platform)
    return None if name is None else str(HERE / "icons" / name)


# Finder opens .loupe files with the program and shows them as its documents.
MACOS_DOCUMENTS: dict[str, Any] = {
    "CFBundleDocumentTypes": [
        {
            "CFBundleTypeName": "Circuit Loupe project",
            "CFBundleTypeRole": "Editor",
            "LSHandlerRank": "Owner",
            "LSItemContentTypes": ["org.circuitloupe.project"],
        }
    ],
    "UTExportedTypeDeclarations": [
        {
            "UTTypeIdentifier": "org.circuitloupe.project",
            "UTTypeDescription": "Circuit Loupe project",
            "UTTypeConformsTo": ["public.data"],
            "UTTypeTagSpecification": {"public.filename-extension": ["loupe"]},
        }
    ],
    "NSHighResolutionCapable": True,
}


def WINDOWS_VERSION(version: str) -> Any:  # noqa: N802
    """The version information that Windows shows of a program's file."""
    from PyInstaller.utils.win32 import versioninfo as v

    numbers = tuple([*(int(part) for part in re.findall(r"\d+", version)[:3]), 0])
    words = {
        "FileDescription": "Circuit Loupe",
        "ProductName": "Circuit Loupe",
        "FileVersion": version,
        "ProductVersion": version,
        "OriginalFilename": "circuit-loupe.exe",
        "LegalCopyright": "Apache License 2.0",
    }
    return v.VSVersionInfo(
        ffi=v.FixedFileInfo(filevers=numbers, prodvers=numbers),
        kids=[
            v.StringFileInfo([v.StringTable("040904B0", [v.StringStruct(key, text) for key, text in words.items()])]),
            v.VarFileInfo([v.VarStruct("Translation", [0x0409, 1200])]),
        ],
    )
