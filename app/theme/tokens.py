"""The two palettes of the program: every colour has a name here, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.graphs.colours import DARK as GRAPH_DARK
from engine.graphs.colours import LIGHT as GRAPH_LIGHT
from engine.graphs.colours import GraphColours, colour_blind, rgb, signed_ramp


@dataclass(frozen=True)
class Theme:
    """Named colours as '#rrggbb'. Text, muted text, links and states reach 4.5:1 on window, panel, base and raised."""

    name: str  # "light" or "dark"
    window: str  # behind docks, menus and bars
    panel: str  # the surface of a panel
    base: str  # text fields, lists and tables
    raised: str  # buttons, cards and headers
    hover: str  # a row or a button under the pointer
    border: str
    text: str
    muted: str
    disabled: str
    accent: str  # filled: the default button, selected rows, progress
    accent_text: str  # text on `accent`
    link: str  # the accent as text or as a thin line
    selection: str  # a selected row that keeps its own text colours
    good: str
    warning: str
    error: str
    error_panel: str  # behind a sentence that reports an error
    graph: GraphColours

    @property
    def dark(self) -> bool:
        """Whether light text stands on dark surfaces."""
        return self.name == "dark"

    @property
    def positive(self) -> str:
        """Positive weights, as text or lines."""
        return self.graph.positive

    @property
    def negative(self) -> str:
        """Negative weights, as text or lines."""
        return self.graph.negative

    def signed_colours(self, steps: int = 17) -> tuple[str, ...]:
        """Fills from the strongest negative to the strongest positive."""
        return signed_ramp(self.graph, steps)

    def with_colour_blind_signs(self) -> Theme:
        """The same theme, signs in orange and blue."""
        return replace(self, graph=colour_blind(self.graph))


LIGHT = Theme(
    name="light",
    window="#f1f3f5",
    panel="#f8f9fa",
    base="#ffffff",
    raised="#ffffff",
    hover="#e8ebef",
    border="#d3d8de",
    text="#1c2127",
    muted="#57606b",
    disabled="#8d959f",
    accent="#1a66c9",
    accent_text="#ffffff",
    link="#1a5fba",
    selection="#d6e5f8",
    good="#17703a",
    warning="#8a5200",
    error="#b3261e",
    error_panel="#fdecea",
    graph=GRAPH_LIGHT,
)
DARK = Theme(
    name="dark",
    window="#1d2024",
    panel="#212529",
    base="#16181b",
    raised="#2b3036",
    hover="#31373e",
    border="#3a4048",
    text="#e6e9ed",
    muted="#a2acb7",
    disabled="#6d7681",
    accent="#6aaefc",
    accent_text="#0c1420",
    link="#7cb8fd",
    selection="#26405f",
    good="#6fcb89",
    warning="#e9b64d",
    error="#ff9a91",
    error_panel="#3b2220",
    graph=GRAPH_DARK,
)


def luminance(colour: str) -> float:
    """Relative luminance of '#rrggbb' (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    channels = [c / 255.0 for c in rgb(colour)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two colours, from 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def text_on(fill: str) -> str:
    """Black or white text, whichever reads better on `fill`."""
    return "#ffffff" if contrast("#ffffff", fill) >= contrast("#000000", fill) else "#000000"
