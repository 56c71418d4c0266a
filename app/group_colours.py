"""The colours of groups that were given none."""

from __future__ import annotations

from dataclasses import replace

from engine.projects import Annotations

# They stay apart for colour-blind eyes (Okabe and Ito 2008) on both themes.
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


def with_colours(annotations: Annotations) -> Annotations:
    """Give every group that has no colour of its own one that stays the same as long as the group lives."""
    groups = tuple(
        group if group.colour else replace(group, colour=GROUP_COLOURS[(group.id - 1) % len(GROUP_COLOURS)][1])
        for group in annotations.groups
    )
    return replace(annotations, groups=groups)
