"""YAML as files of others are read: data only, and never larger than the text it was written in."""

from __future__ import annotations

from typing import Any

import yaml


class _PlainLoader(yaml.SafeLoader):
    """YAML's safe loader without aliases: a file of a few lines could otherwise unfold into gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Any:
    """What a text says, None where it says nothing; ValueError where it is not readable. Bound its length before."""
    try:
        return yaml.load(text, Loader=_PlainLoader)
    # Numbers of thousands of digits, dates of a month 13, "!!int" of nothing: the loader passes Python's errors on.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        raise ValueError("not a readable YAML text") from error
