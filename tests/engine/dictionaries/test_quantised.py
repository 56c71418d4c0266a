"""Weights as whole numbers with a scale a row: what is read back, whole and by rows, and damaged files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.dictionaries.tensor_files import Placement, TensorFile
from engine.errors import RequestError
from engine.training.export import _matrix

N, D = 6, 10


@pytest.mark.parametrize(("storage", "step"), [("int8", 127), ("int4", 7)])
@pytest.mark.parametrize("resident", [True, False])
def test_what_is_stored_is_read_back(storage: str, step: int, resident: bool, tmp_path: Path) -> None:
    """Within half a step of the row's scale, where nothing is clipped; rows from the file are the same numbers."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(N, D, generator=generator) * 2 - 1  # even: no number is beyond 2.7 times the mean square
    matrix *= torch.tensor([1e-3, 1.0, 5.0, 0.2, 30.0, 1e4])[:, None]
    save_file(_matrix("W", matrix, storage), tmp_path / "w.safetensors")  # type: ignore[arg-type]
    place = Placement(torch.device("cpu"), torch.float32, resident)
    read = TensorFile(tmp_path / "w.safetensors").matrix("W", (N, D), place)
    assert isinstance(read, torch.Tensor) == resident
    whole = read if isinstance(read, torch.Tensor) else read.whole()
    assert ((whole - matrix).abs() <= matrix.abs().amax(1, keepdim=True) / step * 0.501).all()
    if not isinstance(read, torch.Tensor):
        index = torch.tensor([4, 0, 4])
        assert torch.equal(read.rows(index), whole[index])


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    place = Placement(torch.device("cpu"), torch.float32, True)
    right = _matrix("W", torch.randn(N, D), "int4")
    for tensors in (
        {**right, "W": right["W"][:, :-1].contiguous()},
        {**right, "W": right["W"].to(torch.int16)},
        {**right, "W.scale": right["W.scale"][:-1].contiguous()},
        {**right, "W.scale": right["W.scale"] * torch.nan},
        {"W.scale": right["W.scale"]},
    ):
        save_file(tensors, path)
        with pytest.raises(RequestError):
            TensorFile(path).matrix("W", (N, D), place)
    save_file(right, path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RequestError):
        TensorFile(path)
