"""The colours a graph is drawn in, on screen and in exports: two themes, and two pairs of sign colours.

Signs follow ColorBrewer's PRGn (purple negative, green positive) or, for eyes that cannot tell those apart, PuOr's
orange against RdBu's blue (https://colorbrewer2.org). Plain hex text, so that neither Qt nor the engine is needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GraphColours:
    """One set of colours as '#rrggbb'; a fill for each kind of node, and five stops of the signed scale."""

    background: str
    band: str  # behind every row that has nodes
    rule: str  # between columns and rows
    text: str
    muted: str
    outline: str  # around a node
    feature: str
    embedding: str
    logit: str
    error: str
    bias: str
    # Strong negative, negative, nothing, positive, strong positive: fills of connected nodes.
    scale: tuple[str, str, str, str, str]
    # The sign in lines and in text: at least 4.5:1 against the background.
    negative: str
    positive: str
    # Nodes of two compared graphs, as marks and in text: at least 4.5:1 against the background.
    only_left: str
    only_right: str
    changed: str

    def kind_fills(self) -> tuple[str, str, str, str, str]:
        """Fills in the order of `NodeKind`."""
        return (self.feature, self.error, self.embedding, self.bias, self.logit)


LIGHT = GraphColours(
    background="#ffffff",
    band="#f5f6f8",
    rule="#e3e6ea",
    text="#1c2127",
    muted="#5a636e",
    outline="#4c5561",
    feature="#cfd7e2",
    embedding="#e8d5a4",
    logit="#3d4651",
    error="#ffffff",
    bias="#aab3bf",
    scale=("#762a83", "#c2a5cf", "#f2f2f2", "#a6dba0", "#1b7837"),
    negative="#762a83",
    positive="#1b7837",
    only_left="#a65a00",
    only_right="#0067b3",
    changed="#1c2127",
)
DARK = GraphColours(
    background="#16181b",
    band="#1d2024",
    rule="#2b2f35",
    text="#e6e9ed",
    muted="#9aa4b0",
    outline="#8b95a3",
    feature="#4a5563",
    embedding="#8c7640",
    logit="#dfe4ea",
    error="#16181b",
    bias="#69737f",
    scale=("#d6a5e3", "#7d5288", "#33383f", "#3f7d50", "#86dc9c"),
    negative="#cb98da",
    positive="#6fcb89",
    only_left="#f2a541",
    only_right="#62b3f0",
    changed="#f2f4f7",
)
# Supernodes that were given none. They stay apart for colour-blind eyes (Okabe and Ito 2008) on both themes.
GROUP_COLOURS = (
    ("Orange", "#d58400"),
    ("Sky blue", "#3f9fd8"),
    ("Green", "#0a9c73"),
    ("Pink", "#bf6f9f"),
    ("Vermilion", "#d05a10"),
    ("Blue", "#0f6fb0"),
    ("Yellow", "#c9b21b"),
    ("Grey", "#7d858f"),
)
_HEX = re.compile(r"#[0-9a-fA-F]{6}\Z")


def group_colour(given: str, number: int) -> str:
    """A supernode's colour: the one it was `given`, or else one that stays the same as long as it keeps its number."""
    return given if _HEX.match(given) else GROUP_COLOURS[(number - 1) % len(GROUP_COLOURS)][1]


def colour_blind(colours: GraphColours) -> GraphColours:
    """The same theme with orange for negative, blue for positive; what two graphs do not share is pink and green."""
    if colours.background == DARK.background:
        scale = ("#f5b06b", "#96612a", "#33383f", "#37678f", "#8cc4ee")
        sides = {"only_left": "#e59bc6", "only_right": "#3fc79d"}
        return replace(colours, scale=scale, negative="#eda45c", positive="#74b4e4", **sides)
    scale = ("#a34f05", "#f1b071", "#f2f2f2", "#92c5de", "#1c5fa3")
    sides = {"only_left": "#a3457c", "only_right": "#00735c"}
    return replace(colours, scale=scale, negative="#a34f05", positive="#1c5fa3", **sides)


def rgb(colour: str) -> tuple[int, int, int]:
    """'#rrggbb' as three numbers from 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def hex_text(channels: Sequence[float]) -> str:
    """Three numbers from 0 to 255 as '#rrggbb'."""
    red, green, blue = (min(max(round(c), 0), 255) for c in channels)
    return f"#{red:02x}{green:02x}{blue:02x}"


def mix(below: str, above: str, share: float) -> str:
    """`above` laid over `below` with opacity `share`."""
    return hex_text([b + (a - b) * share for b, a in zip(rgb(below), rgb(above), strict=True)])


def signed_ramp(colours: GraphColours, steps: int = 17) -> tuple[str, ...]:
    """`steps` colours from the strongest negative to the strongest positive; an odd number has a neutral middle."""
    stops = np.array([rgb(colour) for colour in colours.scale], dtype=np.float64)  # (5, 3)
    at = np.linspace(0.0, len(stops) - 1, steps)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)]
    return tuple(hex_text(row) for row in np.stack(channels, axis=1).tolist())


def ramp_index(share: NDArray[np.floating], domain: float, steps: int = 17) -> NDArray[np.intp]:
    """Which of `signed_ramp`'s colours each signed share in [-domain, domain] takes.

    Strength grows as the square root, and the neutral middle is kept for an exact zero: a weak edge still has a sign.
    """
    middle = steps // 2
    strength = np.sqrt(np.minimum(np.abs(share) / max(domain, 1e-12), 1.0))
    step = np.maximum(np.rint(strength * middle), 1).astype(np.intp)
    return np.where(share > 0, middle + step, np.where(share < 0, middle - step, middle)).astype(np.intp)
