"""Sparse coders of sparsify and clt-training: one layer's file, and cross-layer sets made of them.

With x' = x sqrt(d) / in_norm, the coder of layer l at its i-th target, layer m = l + i, gives

    (a + post_encs[i] [a > 0]) post_enc_scales[i] W_decs[i] + b_decs[i] + W_skips[i] x'

and layer m's output is out_norm_m / sqrt(d) times the sum over all l that reach it. Where decoders are tied
(`coalesce_topk: concat`), all sources are decoded by layer m's own W_dec, with its b_dec and W_skip once; where they
are joined there (`per-layer`), by the n rows of that W_dec that are theirs, in the order of the layers; where they are
tied by source (`per_source_tied`), by the source's. With `secondary_target_tied` all of them are decoded once more by
layer m's own first decoder, with its bias and skip. All of that is affine in a, so that it is folded exactly: norms and
scales into the matrices, biases into layer m's b_dec, and post_enc is the transcoder's offset.

Active are the k largest of a position (`topk`), the largest of each of k groups (`groupmax`), or k a position of the
prompt together (`batchtopk`, of which a batch is then the prompt).
Format and formulas: clt-training at commit cf9821f, sparse_coder.py, runner.py and fused_encoder.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engine.dictionaries.matrices import Matrix, ScaledMatrix, StackedMatrix, SummedMatrix
from engine.dictionaries.settings_files import Settings
from engine.dictionaries.tensor_files import Placement, TensorFile
from engine.dictionaries.tensor_headers import label
from engine.dictionaries.transcoders import Choice, ReadSite, Transcoder, WriteSite
from engine.errors import RequestError

CHOICES: dict[str, Choice] = {"topk": "position", "groupmax": "group", "batchtopk": "prompt"}
_BY_TARGET = ("concat", "per-layer")  # one decoder a target, whatever the source


@dataclass(frozen=True)
class Sites:
    """Where a coder was hooked."""

    reads: ReadSite
    writes: WriteSite


class SparseCoder:
    """One layer's file, its tensors found under whichever of the two programs' names they have."""

    def __init__(self, file: TensorFile, config: Settings, sites: Sites, d: int, placement: Placement) -> None:
        self.file, self.config, self.sites, self._d, self._placement = file, config, sites, d, placement
        self.n = file.length("encoder.bias")
        self.top_k = config.count("k", 32)
        self.n_targets = config.count("n_targets", 0, least=0)
        self.choice = self._choice()
        self.tied = config.text("coalesce_topk", "none") if self.n_targets else "none"
        self.tied_twice = self.n_targets > 0 and config.flag("secondary_target_tied")
        if self.tied not in ("none", *_BY_TARGET):
            self.config.refuse("coalesce_topk", f"is {self.tied}; none, concat and per-layer are read")
        if self.by_target and self.config.flag("topk_coalesced"):
            self.config.refuse("topk_coalesced", "is true: a feature may then be active for some layers only")
        if self.by_target and self.tied_twice:
            self.config.refuse("secondary_target_tied", "is true beside coalesce_topk; one of the two is read")

    def _choice(self) -> Choice:
        activation = self.config.text("activation", "topk")
        if activation not in CHOICES:
            self.config.refuse("activation", f"is {activation}; {', '.join(CHOICES)} are read")
        if activation == "groupmax" and self.n % self.top_k:
            self.config.refuse(
                "k", f"is {self.top_k}, which does not divide the {self.n} features of {label(self.file.path)} evenly"
            )
        return CHOICES[activation]

    @property
    def by_target(self) -> bool:
        """Whether a layer has one decoder for all sources that reach it."""
        return self.tied in _BY_TARGET

    @cached_property
    def in_scale(self) -> Tensor:
        """What the input is multiplied by, a number."""
        return self._norm("in_norm").reciprocal().mul(self._d**0.5)

    @cached_property
    def out_scale(self) -> Tensor:
        """What the output is multiplied by, a number."""
        return self._norm("out_norm").div(self._d**0.5)

    def _norm(self, name: str) -> Tensor:
        if not self.config.flag("normalize_io"):
            return torch.tensor(self._d**0.5, dtype=self._placement.dtype, device=self._placement.device)
        self.file.require((name,), "a sparse coder with normalize_io")
        norm = self.file.tensor(name, self.file.shape(name)[:1], self._placement)
        if norm.numel() != 1 or not float(norm) > 0:
            raise RequestError(f"{name} of {self.file.path} is not one number above 0; get the dictionary again.")
        return norm.reshape(())

    def encoder(self) -> Matrix:
        """(n, d) for inputs as they are."""
        matrix = self.file.matrix("encoder.weight", (self.n, self._d), self._placement)
        name = f"encoder.weight of {label(self.file.path)}"
        folded = ScaledMatrix(matrix, name, by_column=self.in_scale.expand(self._d))
        return folded.whole() if isinstance(matrix, Tensor) else folded

    def encoder_bias(self) -> Tensor:
        """(n,)."""
        return self.file.tensor("encoder.bias", (self.n,), self._placement)

    def decoder(self, target: int) -> Matrix:
        """(n, d) for the i-th target, before scales."""
        name = self._name("W_dec", target)
        return self.file.matrix(name, (self.n, self._d), self._placement)

    def joined_decoder(self, rank: int) -> Matrix:
        """(n, d) the part of a decoder for several sources that is the source's of this rank, before scales."""
        rows = self.n * max(1, self.config.count("n_sources", 1, least=0))
        if (rank + 1) * self.n > rows:
            self.config.refuse("n_sources", f"leaves no rows of W_dec for {rank + 1} layers of {self.n} features")
        whole = self.file.mapped("W_dec", (rows, self._d), self._placement)
        part = whole.from_first(rank * self.n, (rank + 1) * self.n)
        return part.whole() if self._placement.resident else part

    def decoder_bias(self, target: int) -> Tensor:
        """(d,) for the i-th target, before scales."""
        return self.file.tensor(self._name("b_dec", target), (self._d,), self._placement)

    def post_enc(self, target: int) -> Tensor | None:
        """(n,) what is added to an active value before the i-th target's decoder."""
        return self._vector("post_enc", target)

    def post_enc_scale(self, target: int) -> Tensor | None:
        """(n,) what an active value is multiplied by after that."""
        return self._vector("post_enc_scale", target) if self.config.flag("post_encoder_scale") else None

    def skip(self, target: int) -> Tensor | None:
        """(d, d) from the input as it is to the i-th target, before the output's scale; None without one."""
        if not self.config.flag("skip_connection"):
            return None
        weight = self.file.tensor(self._name("W_skip", target), (self._d, self._d), self._placement)
        return weight * self.in_scale

    def alone(self) -> Transcoder:
        """The transcoder of a per-layer set."""
        scale, post, skip = self.post_enc_scale(0), self.post_enc(0), self.skip(0)
        return Transcoder(
            w_enc=self.encoder(),
            b_enc=self.encoder_bias(),
            w_dec=scaled_decoder(self, self.decoder(0), scale, self.out_scale),
            b_dec=self.decoder_bias(0) * self.out_scale,
            top_k=self.top_k,
            choice=self.choice,
            w_skip=None if skip is None else skip * self.out_scale,
            reads=self.sites.reads,
            writes=self.sites.writes,
            offset=None if post is None or not post.count_nonzero() else post[None],
        )

    def _name(self, base: str, target: int) -> str:
        """A tensor's name: numbered in cross-layer files, which keep the first under its bare name in some."""
        numbered = f"{base}s.{target}"
        name = base if numbered not in self.file.places and target == 0 else numbered
        self.file.require((name,), "a sparse coder")
        return name

    def _vector(self, base: str, target: int) -> Tensor | None:
        numbered = f"{base}s.{target}"
        name = numbered if numbered in self.file.places else base
        if name not in self.file.places or (name == base and target):
            return None
        return self.file.tensor(name, (self.n,), self._placement)


def scaled_decoder(coder: SparseCoder, matrix: Matrix, by_row: Tensor | None, factor: Tensor) -> Matrix:
    """A decoder times its features' scales and its output's; as it is where both are 1."""
    if by_row is None and factor == 1:
        return matrix
    name = f"A decoder for the features of {label(coder.file.path)}"
    return ScaledMatrix(matrix, name, factor.expand(matrix.shape[0]) if by_row is None else by_row * factor)


def cross_layer(coders: Mapping[int, SparseCoder], n_layers: int) -> dict[int, Transcoder]:
    """A cross-layer set's transcoders; sources reach n_targets layers each, or as many as the model has."""
    first = next(iter(coders.values()))
    for coder in coders.values():
        if (coder.by_target or coder.tied_twice) and coder.n != first.n:
            raise RequestError(
                f"{label(coder.file.path)} has {coder.n} features and {label(first.file.path)} {first.n}; where "
                "decoders are tied by target, every layer needs as many: get the dictionary again."
            )
    if missing := [layer for layer in range(n_layers) if layer not in coders]:
        raise RequestError(
            f"This cross-layer dictionary lacks the folder of layer {missing[0]}; a cross-layer set needs every "
            "layer's."
        )
    reached = {layer: range(layer, min(layer + max(coder.n_targets, 1), n_layers)) for layer, coder in coders.items()}
    return {layer: _cross_transcoder(layer, coders, reached) for layer in coders}


def _cross_transcoder(layer: int, coders: Mapping[int, SparseCoder], reached: Mapping[int, range]) -> Transcoder:
    coder, parts, offsets = coders[layer], [], []
    for target, at in enumerate(reached[layer]):
        parts.append(_decoder(layer, at, coders, reached))
        post = coder.post_enc(target)
        offsets.append(torch.zeros_like(coder.encoder_bias()) if post is None else post)
        _refuse_cross_skip(coder, coders[at], target)
    offset, skip = torch.stack(offsets), coder.skip(0)
    times = 2 if coder.tied_twice else 1
    return Transcoder(
        w_enc=coder.encoder(),
        b_enc=coder.encoder_bias(),
        w_dec=StackedMatrix(tuple(parts)),
        b_dec=_bias(layer, coders, reached) * coder.out_scale,
        top_k=coder.top_k,
        choice=coder.choice,
        w_skip=None if skip is None else skip * coder.out_scale * times,
        reads=coder.sites.reads,
        writes=coder.sites.writes,
        offset=offset if offset.count_nonzero() else None,
    )


def _decoder(layer: int, at: int, coders: Mapping[int, SparseCoder], reached: Mapping[int, range]) -> Matrix:
    """(n, d) what an active value of a layer is multiplied by where it is written, scales included."""
    coder, own, target = coders[layer], coders[at], at - layer
    if own.tied == "concat":
        decoder = own.decoder(0)
    elif own.tied == "per-layer":
        decoder = own.joined_decoder(_sources(at, reached).index(layer))
    else:
        decoder = coder.decoder(0 if _by_source(coder) else target)
    scale, share = coder.post_enc_scale(target), _share(layer, at, coders, reached)
    scaled = scaled_decoder(coder, decoder, scale, share * own.out_scale)
    if not own.tied_twice:
        return scaled
    return SummedMatrix((scaled, scaled_decoder(coder, own.decoder(0), scale, own.out_scale)))


def _sources(at: int, reached: Mapping[int, range]) -> list[int]:
    """The layers that reach a layer, from the lowest up."""
    return sorted(source for source, layers in reached.items() if at in layers)


def _bias(layer: int, coders: Mapping[int, SparseCoder], reached: Mapping[int, range]) -> Tensor:
    """(d,) what every source that reaches a layer adds to it, before the output's scale."""
    own = coders[layer]
    total = own.decoder_bias(0) * (2 if own.tied_twice else 1)
    if own.by_target:
        return total
    for source in _sources(layer, reached):
        if source < layer:
            total = total + coders[source].decoder_bias(layer - source) * _share(source, layer, coders, reached)
    return total


def _share(source: int, at: int, coders: Mapping[int, SparseCoder], reached: Mapping[int, range]) -> float:
    """What a source's contribution is divided by at a later layer (`divide_cross_layer`), as a factor."""
    if source == at or coders[at].by_target or not coders[at].config.flag("divide_cross_layer"):
        return 1.0
    return 1 / max(1, len(_sources(at, reached)) - 1)


def _by_source(coder: SparseCoder) -> bool:
    return coder.config.flag("per_source_tied")


def _refuse_cross_skip(coder: SparseCoder, own: SparseCoder, target: int) -> None:
    """A skip into a later layer is a path of its own, which the tracer does not sweep: refused unless it is zero."""
    if target == 0 or own.by_target:
        return
    skip = coder.skip(target)
    if skip is not None and skip.count_nonzero():
        raise RequestError(
            f"W_skips.{target} of {coder.file.path} carries a layer's input straight into a later layer, which is not "
            "traced; choose a set without skip connections, or one with tied decoders."
        )
