"""A model's config.json, read with the defaults of its family and one sentence for a value that fits no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import RequestError
from engine.models.rotary import Rotary, read_rotary

_LARGEST = 1 << 31


class Settings:
    """Fields of a config by name.

    Parameters
    ----------
    config:
        config.json as it was read; nobody vouches for its types.
    defaults:
        What the family means where a field is missing: older files leave some out.
    where:
        The file, for the sentence of a refusal.
    """

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
        self._config = config
        self._defaults = defaults
        self._where = where

    def get(self, name: str) -> Any:
        """The field as it is, or the family's default, or None."""
        return self._config.get(name, self._defaults.get(name))

    def refuse(self, name: str) -> RequestError:
        """The refusal of a field's value."""
        return RequestError(
            f"{self._where} gives {name} as {str(self.get(name))[:40]!r}, which fits no model of its family; fetch the "
            "model again."
        )

    def whole(self, name: str, otherwise: int | None = None) -> int:
        """A whole number above 0; `otherwise` stands for null or nothing."""
        value = self.get(name)
        if value is None and otherwise is not None:
            return otherwise
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < _LARGEST:
            raise self.refuse(name)
        return value

    def number(self, name: str) -> float:
        """A number above 0."""
        value = self.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise self.refuse(name)
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        """A number above 0, or None for null or nothing."""
        return None if self.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        """True or false; null counts as false."""
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(name)
        return bool(value)

    def must_be_off(self, name: str) -> None:
        """Refuse a model that turns on what is not computed here."""
        if self.flag(name):
            raise RequestError(
                f"{self._where} turns on {name}, which is not computed here; fetch an edition of the model without it."
            )

    def mapping(self, name: str) -> dict[str, Any]:
        """A copy of an object of fields; empty for null or nothing."""
        value = self.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.refuse(name)
        return dict(value or {})

    @property
    def n_heads(self) -> int:
        """Query heads."""
        return self.whole("num_attention_heads")

    @property
    def n_kv_heads(self) -> int:
        """Key/value heads; the query heads are a multiple of them."""
        heads, groups = self.n_heads, self.whole("num_key_value_heads", self.n_heads)
        if heads % groups:
            raise self.refuse("num_key_value_heads")
        return groups

    @property
    def d_head(self) -> int:
        """Width of a head."""
        width, heads = self.whole("hidden_size"), self.n_heads
        if self.get("head_dim") is None and width % heads:
            raise self.refuse("num_attention_heads")
        return self.whole("head_dim", width // heads)

    def windows(self) -> list[int | None]:
        """For each layer how far attention reaches back, None for everywhere, by `layer_types`."""
        count, kinds = self.whole("num_hidden_layers"), self.get("layer_types")
        if not isinstance(kinds, list) or len(kinds) != count:
            raise self.refuse("layer_types")
        if set(kinds) - {"full_attention", "sliding_attention"}:
            raise self.refuse("layer_types")
        window = None if self.get("sliding_window") is None else self.whole("sliding_window")
        return [window if kind == "sliding_attention" else None for kind in kinds]

    def rotary_parameters(self, *, theta: str = "rope_theta", partial: str = "partial_rotary_factor") -> dict[str, Any]:
        """`rope_parameters`, or in older files `rope_scaling` with `theta` and `partial` beside it."""
        parameters = self.mapping("rope_scaling") or self.mapping("rope_parameters")
        parameters.setdefault("rope_theta", self.get(theta) or 10_000.0)
        parameters.setdefault("partial_rotary_factor", self.get(partial))
        return self.completed(parameters)

    def completed(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Rotary parameters with the kind and the length that the model was trained at in their places."""
        parameters.setdefault("rope_type", parameters.get("type", "default"))
        trained = self.get("original_max_position_embeddings")
        if trained is not None:
            parameters["original_max_position_embeddings"] = trained
        parameters.setdefault("original_max_position_embeddings", self.get("max_position_embeddings"))
        return parameters

    def rotary(self, parameters: Mapping[str, Any], d_head: int | None = None) -> Rotary:
        """The rotary positions of those parameters."""
        try:
            return read_rotary(parameters, d_head or self.d_head, self.whole("max_position_embeddings"))
        except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise RequestError(
                f"{self._where} describes its rotary positions with values that fit no model; fetch the model again."
            ) from error
