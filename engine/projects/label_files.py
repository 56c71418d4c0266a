"""Labels as a file of their own (JSON), to be carried from one project, or one person, to another.

docs/project-file.md describes the form. A file of somebody else is read within bounds and holds nothing but texts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import MachineError, RequestError
from engine.projects.feature_labels import NewLabel
from engine.projects.texts import MAX_NAME, SOURCES
from engine.whole_files import written_whole

if TYPE_CHECKING:
    from engine.projects.project import Project

FORM = "circuit-loupe labels"
VERSION = 1
LARGEST_BYTES = 64 * 2**20
_LARGEST = 2**31 - 1
_LONGEST_IDENTITY = 200


@dataclass(frozen=True)
class ImportedLabels:
    """What became of the labels of a file."""

    given: int  # new here, or in place of what no person wrote
    same: int  # here already
    kept: int  # not given, because a person here wrote something else


def export_labels(project: Project, path: Path | str, *, dictionary: str | None = None) -> int:
    """Write the labels that hold everywhere, or those of one dictionary; how many.

    Raises `RequestError` for a folder that is not there, `MachineError` if it cannot be written.
    """
    labels = project.feature_labels.all(dictionary)
    content = {
        "form": FORM,
        "version": VERSION,
        "labels": [
            {
                "dictionary": label.dictionary,
                "layer": label.layer,
                "feature": label.feature,
                "text": label.text,
                "source": label.source,
            }
            for label in labels
        ],
    }
    with written_whole(Path(path)) as file:
        file.write(json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "replace"))
    return len(labels)


def import_labels(project: Project, path: Path | str, *, over_others: bool = False) -> ImportedLabels:
    """Give the labels of a file, as imported, in one step that can be undone.

    What a person here wrote stays, unless `over_others`. Raises `RequestError` for a file that holds no labels.
    """
    labels = [replace(label, source="imported") for label in read_labels(Path(path))]
    present = {(one.dictionary, one.layer, one.feature): one for one in project.feature_labels.all()}
    wanted, same, kept = [], 0, 0
    for label in labels:
        there = present.get((label.dictionary, label.layer, label.feature))
        if there is not None and there.text == label.text:
            same += 1
        elif there is not None and there.source == "person" and not over_others:
            kept += 1
        else:
            wanted.append(label)
    project.feature_labels.give(wanted, over_others=over_others)
    return ImportedLabels(len(wanted), same, kept)


def read_labels(path: Path) -> list[NewLabel]:
    """The labels of a file; `RequestError` for anything else, with what is wrong in it."""
    try:
        if not path.is_file():
            raise RequestError(f"There is no file {path}; choose a file of labels.")
        if path.stat().st_size > LARGEST_BYTES:
            raise RequestError(f"{path.name} is larger than a file of labels can be; choose another one.")
        content = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise MachineError(f"{path} could not be read ({error.strerror}); check the drive it is on.") from error
    except (ValueError, RecursionError) as error:
        raise _foreign(path, "it is not JSON") from error
    if not isinstance(content, dict) or content.get("form") != FORM or not isinstance(content.get("labels"), list):
        raise _foreign(path, f'it does not say "form": "{FORM}"')
    if content.get("version") != VERSION:
        raise _foreign(path, f"its version is {str(content.get('version'))[:20]!r} and this program reads {VERSION}")
    return [_label(path, number, one) for number, one in enumerate(content["labels"], start=1)]


def _label(path: Path, number: int, one: Any) -> NewLabel:
    if not isinstance(one, dict):
        raise _foreign(path, f"label {number} is none")
    dictionary, text, source = (one.get(name) for name in ("dictionary", "text", "source"))
    layer, feature = one.get("layer"), one.get("feature")
    if not isinstance(dictionary, str) or not 0 < len(dictionary) <= _LONGEST_IDENTITY:
        raise _foreign(path, f"label {number} names no dictionary")
    if type(layer) is not int or type(feature) is not int or not (0 <= layer <= _LARGEST and 0 <= feature <= _LARGEST):
        raise _foreign(path, f"label {number} names no feature")
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_NAME:
        raise _foreign(path, f"label {number} has no text of at most {MAX_NAME:,} characters")
    return NewLabel(dictionary, layer, feature, text, source if source in SOURCES else "imported")


def _foreign(path: Path, why: str) -> RequestError:
    return RequestError(f"{path.name} is not a file of labels: {why}; export one to see the form.")
