"""The training of a dictionary, from text to files: rounds of recording, steps, measuring and keeping.

One pass of the model records every layer at once. Memory is bounded by the plan (settings.py); a kill loses what came
after the last checkpoint, and the same call goes on from there.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from engine.errors import MachineError
from engine.progress import Progress, checkpoint, part, silent
from engine.training.activations import ActivationBuffer
from engine.training.card import Material, measure_set, write_card
from engine.training.checkpoints import Progressed, read_checkpoint, write_checkpoint
from engine.training.export import write_set
from engine.training.folding import transcoders_of
from engine.training.group import LayerGroup, started
from engine.training.keeping import strongest
from engine.training.measuring import ROUND_POSITIONS, Measured, baseline, recovered, unexplained
from engine.training.schedule import Window, in_last_part, rate, total_steps, window
from engine.training.settings import TrainSettings, plan, require_room
from engine.training.start import layer_start
from engine.training.text import TrainingText, gather

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

WORK_NAME = ".training"
# No checkpoint is written sooner than this after the last, in seconds.
_CHECKPOINT_EVERY = 60.0
_START_POSITIONS = 32_768


def train(
    model: LanguageModel,
    settings: TrainSettings,
    out: Path,
    *,
    folder: Path | None = None,
    prompts: Sequence[str] = (),
    on_round: Callable[[Measured], None] | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> list[Measured]:
    """Train a dictionary for a model and write it to the folder `out`; gives what was measured after each round.

    Text is read from `folder`, or from what ships where it is None, and sampled from the model (settings). A training
    that `out` holds unfinished is continued. `prompts` are traced for the card.

    Raises
    ------
    RequestError
        No text, or an unfinished training with other settings there.
    MachineError
        Too little memory, disk full or not writable.
    Cancelled
        The user asked to stop; the last checkpoint stays.
    """
    made = plan(settings, model.weights)
    require_room(made, settings, model.weights)
    work = _work_folder(out)
    text = gather(model, settings, folder, work, part(progress, 0.0, 0.1), cancel)
    job = _Job(model, settings, text, work, made.slot, cancel)
    try:
        material = job.run(part(progress, 0.1, 0.9), on_round)
        transcoders = transcoders_of(job.groups)
        if settings.keep is not None:
            transcoders = strongest(transcoders, material.recorded, settings.keep)
        write_set(out, transcoders, model, settings.storage, part(progress, 0.9, 0.92))
        measures = measure_set(out, model, material, prompts, part(progress, 0.92, 1.0), cancel)
        write_card(out, model, settings, text.sources, job.state.history, measures)
    finally:
        job.close()
    shutil.rmtree(work, ignore_errors=True)
    progress("Trained", 1.0)
    return job.state.history


def _work_folder(out: Path) -> Path:
    work = out.expanduser() / WORK_NAME
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{out} cannot be written ({error.strerror}); choose another folder.") from error
    return work


class _Job:
    """A training under way. `groups` is empty until the first activations are there."""

    def __init__(
        self,
        model: LanguageModel,
        settings: TrainSettings,
        text: TrainingText,
        work: Path,
        slot: int,
        cancel: threading.Event | None,
    ) -> None:
        self._model, self._settings, self._text = model, settings, text
        self._work, self._slot, self._cancel = work, slot, cancel
        self._compute = fast_dtype(model.weights.device)
        self._buffers: list[ActivationBuffer] = []
        self._since_checkpoint = time.monotonic()
        self._made_from = {"model": model.fingerprint, "text": text.digest}
        held = read_checkpoint(work, settings, self._made_from, model.weights.device, self._compute)
        self.groups: list[LayerGroup]
        self.groups, self.state = held if held is not None else ([], Progressed())

    def run(self, progress: Progress, on_round: Callable[[Measured], None] | None) -> Material:
        """Rounds until the schedule is at its end; gives what the result is to be judged by."""
        weights, settings = self._model.weights, self._settings
        recorded = self._buffer("activations", self._slot * settings.passes)
        held_out = self._buffer("held-out", self._text.held_out.n_tokens)
        held_out.fill(self._text.held_out, held_out.capacity, cancel=self._cancel)
        material = Material(recorded, held_out, baseline(weights, self._text.held_out, self._cancel))
        self._refill(recorded)
        total, took = total_steps(settings, self._text.train.n_tokens), 0.0
        # A kill may have come after the last round, while the result was being measured.
        done = bool(self.state.history) and self.state.history[-1]["share"] >= 1
        while not done:
            began = time.monotonic()
            left = self._text.train.take(slice(self.state.pieces, None))
            before = recorded.recorded
            self.state.pieces += recorded.fill(
                left, self._slot, progress=lambda stage, _: progress(stage, self._share(total)), cancel=self._cancel
            )
            self.state.positions += recorded.recorded - before
            if not self.groups:
                self.groups = self._start(recorded)
            steps = max(1, recorded.filled // settings.batch)
            here = window(settings, total, self.state.steps, steps, self.state.seconds, took)
            train_fvu = self._round(recorded, here, progress)
            self.state.steps += steps
            done = here.is_last
            measured = self._measure(material, here, train_fvu)
            took = time.monotonic() - began
            self.state.seconds += took
            measured |= {"seconds": round(self.state.seconds, 1)}
            self.state.history.append(measured)
            if on_round is not None:
                on_round(measured)
            self._keep(always=done)
        return material

    def close(self) -> None:
        """Delete the recorded activations."""
        for buffer in self._buffers:
            buffer.close()

    def _buffer(self, name: str, capacity: int) -> ActivationBuffer:
        self._buffers.append(ActivationBuffer(self._work / f"{name}.tmp", self._model.weights, capacity))
        return self._buffers[-1]

    def _share(self, total: int) -> float:
        """How much is done, for the progress bar."""
        shares = [self.state.steps / total]
        if self._settings.minutes is not None:
            shares.append(self.state.seconds / (60 * self._settings.minutes))
        return min(1.0, max(shares))

    def _refill(self, recorded: ActivationBuffer) -> None:
        """After a kill: record again what the buffer held, as far back as it reaches."""
        if not self.state.pieces:
            return
        before = self._text.train.take(slice(0, self.state.pieces))
        back = (before.length - before.first).flip(0).cumsum(0)
        count = int((back < recorded.capacity).sum()) + 1
        recorded.fill(before.take(slice(max(0, len(before) - count), None)), recorded.capacity, cancel=self._cancel)

    def _start(self, recorded: ActivationBuffer) -> list[LayerGroup]:
        """Every layer's start from what the buffer holds."""
        weights, settings = self._model.weights, self._settings
        layers = []
        for number, layer in enumerate(weights.layers):
            checkpoint(self._cancel)
            generator = torch.Generator().manual_seed(settings.seed + number)
            x, y = recorded.rows(number, slice(0, min(recorded.filled, _START_POSITIONS)))
            start = layer_start(layer, x, y, settings.width, settings.k, settings.skip, generator)
            layers.append(started(start, weights.n_layers - number if settings.cross_layer else 1))
        parts = [layers] if settings.cross_layer else [[layer] for layer in layers]
        return [LayerGroup(at, one, settings, self._compute) for at, one in enumerate(parts)]

    def _round(self, recorded: ActivationBuffer, here: Window, progress: Progress) -> list[float]:
        """Every group's steps, one group after the other so that its weights stay near; mean FVU of each layer."""
        settings, found = self._settings, list[float]()
        for group in self.groups:
            order = torch.randperm(
                recorded.filled, generator=torch.Generator().manual_seed(self.state.steps * 1009 + group.first)
            )
            sums = torch.zeros(len(group.layers))
            layers = range(group.first, group.first + len(group.layers))
            share_before = group.first / self._model.weights.n_layers
            for step in range(here.steps):
                checkpoint(self._cancel)
                index = order[step * settings.batch : (step + 1) * settings.batch]
                batch = [recorded.rows(layer, index) for layer in layers]
                share = here.at(step)
                fvus = group.step(
                    [x for x, _ in batch],
                    [y for _, y in batch],
                    rate(settings, share, self.state.steps + step),
                    last_part=in_last_part(settings, share),
                )
                sums += torch.tensor(fvus)
                inside = share_before + (step + 1) / here.steps * len(layers) / self._model.weights.n_layers
                progress(f"Training, layer {group.first}", here.start + (here.end - here.start) * inside)
            found += (sums / here.steps).tolist()
            if not in_last_part(settings, here.at(here.steps)):
                group.revive([x for x, _ in batch], [y for _, y in batch])
        return found

    def _measure(self, material: Material, here: Window, train_fvu: Sequence[float]) -> Measured:
        transcoders = transcoders_of(self.groups)
        layers = [layer for group in self.groups for layer in group.layers]
        with torch.no_grad():
            fvus, l0 = unexplained(transcoders, material.held_out, self._cancel, ROUND_POSITIONS)
            kept = recovered(self._model.weights, transcoders, material.base, self._cancel)
        return {
            "share": here.end,
            "steps": self.state.steps,
            "positions": self.state.positions,
            "fvu": fvus,
            "l0": l0,
            "dead": [float((one.idle > self._settings.dead_after).float().mean()) for one in layers],
            "ce_recovered": kept,
            "train_fvu": list(train_fvu),
        }

    def _keep(self, *, always: bool) -> None:
        if always or time.monotonic() - self._since_checkpoint >= _CHECKPOINT_EVERY:
            write_checkpoint(self._work, self._settings, self._made_from, self.groups, self.state)
            self._since_checkpoint = time.monotonic()


def fast_dtype(device: torch.device) -> torch.dtype:
    """What encoders are multiplied in: bfloat16 where that is faster, which is tried once."""
    left, right = (torch.ones(512, 512, device=device) for _ in range(2))
    took: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = left.to(dtype), right.to(dtype)
        float((a @ b)[0, 0])
        began = time.perf_counter()
        for _ in range(3):
            float((a @ b)[0, 0])
        took[dtype] = time.perf_counter() - began
    return min(took, key=lambda one: took[one])
