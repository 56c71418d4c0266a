"""What a person may set before training, checked before anything is computed, and the memory and disk it will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from engine.errors import MachineError, RequestError
from engine.models.memory import available_bytes
from engine.sizes import byte_words

if TYPE_CHECKING:
    from engine.models.weights import ModelWeights

Storage = Literal["float32", "bfloat16", "int8", "int4"]
# Bytes of one number kept for each activation in the buffer: bfloat16.
_KEPT_BYTES = 2
# Float32 numbers held for each parameter while training: itself and Adam's two moments.
_NUMBERS_A_PARAMETER = 3


@dataclass(frozen=True)
class TrainSettings:
    """One training. The defaults are those measured in docs/training.md."""

    width: int = 2048  # features a layer
    k: int = 32  # active features a position and layer, on average
    skip: bool = True  # an affine skip, y += W_skip x
    cross_layer: bool = False  # features write to their own layer and every later one
    tokens: int = 400_000  # different tokens read, at most
    passes: int = 4  # how often each is trained on
    minutes: float | None = None  # the schedule ends after so long, whatever is left to read
    sampled_share: float = 0.5  # of the tokens, from the model itself
    context: int = 128  # tokens read at once, BOS included
    batch: int = 1024  # positions a step
    learning_rate: float = 2e-3
    warm_up: int = 40  # steps
    decay_share: float = 0.3  # the last share of training, in which the learning rate falls to 3 %
    auxiliary_share: float = 1 / 32  # weight of the error that dead features are trained on
    dead_after: int = 50_000  # positions without being active once
    storage: Storage = "bfloat16"
    keep: int | None = None  # features a layer that are stored, those that write most; all of them where None
    seed: int = 0
    buffer_gb: float = 4.0  # disk for recorded activations

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, in one sentence."""
        if not 1 <= self.k < self.width:
            raise RequestError(
                f"k is {self.k} and the width {self.width}; k must be at least 1 and smaller than the width."
            )
        if self.keep is not None and not self.k < self.keep <= self.width:
            raise RequestError(
                f"{self.keep} features are to be kept of {self.width}; keep more than the {self.k} active ones, and at "
                "most the width."
            )
        if self.keep is not None and self.cross_layer:
            raise RequestError("Features are left out of per-layer transcoders; keep all of a cross-layer set.")
        if min(self.tokens, self.passes, self.batch) < 1 or self.context < 8:
            raise RequestError("Tokens, passes and batch must be at least 1, and the context at least 8 tokens.")
        if self.minutes is not None and self.minutes <= 0:
            raise RequestError("The minutes to train must be more than 0.")
        if not 0 <= self.sampled_share <= 1 or not 0 <= self.decay_share <= 1 or self.learning_rate <= 0:
            raise RequestError("Shares lie between 0 and 1, and the learning rate above 0; correct the settings.")
        if self.storage not in get_args(Storage):
            raise RequestError(f"Weights are stored as {', '.join(get_args(Storage))}, not {self.storage!r}.")
        if self.storage in ("int8", "int4") and self.cross_layer:
            raise RequestError("8 and 4 bits are for per-layer transcoders; store a cross-layer set in bfloat16.")


@dataclass(frozen=True)
class Plan:
    """What a training will take for one model. `slot`: fresh positions a round; the buffer holds `passes` slots."""

    slot: int
    parameters: int
    memory_bytes: int
    disk_bytes: int


def plan(settings: TrainSettings, weights: ModelWeights) -> Plan:
    """Sizes of everything, from the settings and the model alone.

    Raises
    ------
    RequestError
        The buffer is smaller than two batches.
    """
    n_layers, d = weights.n_layers, weights.d_model
    position = 2 * n_layers * d * _KEPT_BYTES
    slot = int(settings.buffer_gb * 2**30 / position) // settings.passes
    # Twelve rounds at least, so that the schedule and the plots have steps.
    slot = min(slot, max(settings.tokens // 12, 2 * settings.batch))
    slot -= slot % settings.batch
    if slot < settings.batch:
        needed = position * settings.batch * settings.passes / 2**30
        raise RequestError(
            f"A buffer of {settings.buffer_gb:g} GB is too small for a batch of {settings.batch} positions of "
            f"{n_layers} layers; give at least {needed:.1f} GB, a smaller batch or fewer passes."
        )
    written = (n_layers + 1) / 2 if settings.cross_layer else 1.0
    layer = settings.width * d * (1 + written) + (d * d if settings.skip else 0) + settings.width + d
    parameters = int(n_layers * layer)
    group = n_layers if settings.cross_layer else 1
    working = 4 * settings.batch * group * (4 * settings.width + 6 * d) + 4 * parameters // (n_layers // group)
    # A checkpoint is put together in memory before it is written.
    memory = 2 * 4 * _NUMBERS_A_PARAMETER * parameters + working
    # The checkpoint is written beside the one before it.
    checkpoints = 2 * 4 * _NUMBERS_A_PARAMETER * parameters
    return Plan(slot, parameters, memory, position * slot * settings.passes + checkpoints)


def require_room(made: Plan, settings: TrainSettings, weights: ModelWeights) -> None:
    """`MachineError` where the parameters would not fit in the memory that is free now."""
    free = available_bytes(weights.device)
    if made.memory_bytes > free:
        raise MachineError(
            f"Training width {settings.width:,} for {weights.n_layers} layers needs about "
            f"{byte_words(made.memory_bytes)} of memory and {byte_words(free)} are free; choose a smaller width, "
            "or close other programs."
        )
