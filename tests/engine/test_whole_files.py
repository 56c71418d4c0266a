"""A file is written whole or not at all, and what the machine refuses is one sentence, wherever it is written from."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from engine.errors import Cancelled, MachineError, RequestError
from engine.models.cache import read_json, write_json
from engine.whole_files import written_whole


def test_nothing_is_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"é": [1, None]})
    assert path.read_text(encoding="utf-8") == '{\n  "é": [\n    1,\n    null\n  ]\n}\n'

    def stop_half_way() -> None:
        with written_whole(path) as file:
            file.write(b"half")
            raise Cancelled

    with pytest.raises(Cancelled):
        stop_half_way()
    assert read_json(path) == {"é": [1, None]}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "The disk is full"),
        (errno.EDQUOT, "The disk is full"),
        (errno.EACCES, "is not writable"),
        (errno.EIO, "could not be written"),
    ],
)
def test_a_refusal_of_the_machine_is_a_sentence_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MachineError, match=words):
        write_json(path, 2)
    assert read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There is no folder"):
        write_json(tmp_path / "none" / "a.json", 1)
