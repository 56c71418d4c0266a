"""Every text colour is legible on every surface it may stand on, in both themes and with either pair of signs."""

from __future__ import annotations

from dataclasses import fields

import pytest

from app.theme import DARK, LIGHT, Theme, contrast, luminance, text_on
from engine.graphs.colours import rgb, signed_ramp

THEMES = [LIGHT, DARK, LIGHT.with_colour_blind_signs(), DARK.with_colour_blind_signs()]
NAMES = ["light", "dark", "light-blue-orange", "dark-blue-orange"]
SURFACES = ("window", "panel", "base", "raised", "hover")


@pytest.mark.parametrize("theme", THEMES, ids=NAMES)
def test_text_reaches_four_and_a_half_to_one_on_every_surface(theme: Theme) -> None:
    failures = []
    for surface in (*SURFACES, "selection"):
        for text in ("text", "muted", "link", "good", "warning", "error"):
            if surface == "selection" and text != "text":
                continue
            ratio = contrast(getattr(theme, text), getattr(theme, surface))
            if ratio < 4.5:
                failures.append(f"{text} on {surface}: {ratio:.2f}")
    pairs = [("accent_text", "accent"), ("error", "error_panel"), ("text", "error_panel")]
    failures += [f"{a} on {b}" for a, b in pairs if contrast(getattr(theme, a), getattr(theme, b)) < 4.5]
    assert not failures


@pytest.mark.parametrize("theme", THEMES, ids=NAMES)
def test_graph_text_and_signs_are_legible(theme: Theme) -> None:
    graph = theme.graph
    marks = (graph.only_left, graph.only_right, graph.changed)
    for surface in (graph.background, graph.band, theme.panel, theme.base):
        for text in (graph.text, graph.muted, graph.positive, graph.negative, *marks):
            assert contrast(text, surface) >= 4.5, (text, surface)
    # Not text: glyph outlines and the accent ring need 3:1 against what is behind them.
    for line in (graph.outline, theme.accent):
        assert contrast(line, graph.background) >= 3
        assert contrast(line, graph.band) >= 3


def test_contrast_of_black_on_white_is_twenty_one() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert luminance("#ffffff") == pytest.approx(1.0)


@pytest.mark.parametrize("theme", THEMES, ids=NAMES)
def test_text_on_any_fill_of_the_signed_scale_is_legible(theme: Theme) -> None:
    assert all(contrast(text_on(fill), fill) >= 4.5 for fill in theme.signed_colours())


def test_signed_colours_are_purple_below_green_above_and_grey_between() -> None:
    ramp = signed_ramp(LIGHT.graph, 17)
    red, green, blue = rgb(ramp[0])
    assert blue > green
    assert red > green
    red, green, blue = rgb(ramp[-1])
    assert green > red
    assert green > blue
    assert len(set(rgb(ramp[8]))) == 1
    blue_orange = signed_ramp(LIGHT.with_colour_blind_signs().graph, 17)
    assert rgb(blue_orange[-1])[2] > rgb(blue_orange[-1])[0]
    assert rgb(blue_orange[0])[0] > rgb(blue_orange[0])[2]


@pytest.mark.parametrize("theme", THEMES, ids=NAMES)
def test_every_colour_is_six_hex_digits(theme: Theme) -> None:
    for name in (f.name for f in fields(theme)):
        value = getattr(theme, name)
        if isinstance(value, str) and name != "name":
            assert len(value) == 7
            rgb(value)
