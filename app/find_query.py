"""The find bar's query as text: what may be written, what a term says, and a query with a term exchanged."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import RequestError
from engine.graphs import KIND_NAMES
from engine.graphs.search import Names, Term, query_terms
from engine.graphs.visible_text import visible_text

# What may be written, and what it means: the help of the find bar, and the first words that are completed.
LANGUAGE: tuple[tuple[str, str], ...] = (
    ("capital", "the label, the token or the name of the node contains it"),
    ('"of the"', "the same with blanks in it"),
    ("label:texas", "its label contains it"),
    ("token:dallas", "its token contains it"),
    ("in:cities", "it is in a supernode of this name"),
    ("layer:3..8", "its layer; also layer:12, layer:20.. and layer:2,5..7"),
    ("position:-1", "its token's number, the last being -1; also 4 and 2..5"),
    ("feature:503", "the number of the feature"),
    ("kind:error", "feature, error, embedding, bias or logit; also kind:feature,logit"),
    ("sign:+", "its effect on the target is positive, over the paths that are in this graph; also sign:-"),
    ("activation>2.5", "also >=, <, <= and ="),
    ("influence>=1%", "its influence; with neurons, its relevance"),
    ("density<=1%", "the share of the indexed text's tokens at which it is active; needs an index of its dictionary"),
    ("is:pinned", "also is:labelled and is:grouped"),
    ("-kind:error", "a minus before a term: it does not hold"),
)
SIGN_SCOPE = (
    "The sign of a node's effect on what is explained, added up over all paths that are in this graph. "
    "In a graph that was cut, by its number of nodes or by leaving out weak edges, paths through what is missing do "
    "not count."
)
_KEYS = ("label:", "token:", "in:", "layer:", "position:", "feature:", "kind:", "sign:", "is:")
_AMOUNTS = ("activation>=", "influence>=", "density<=")
_MOST = 40


def understood(query: str) -> list[Term]:
    """The terms of a query, none where a quotation mark stands alone."""
    try:
        return query_terms(query)
    except RequestError:
        return []


def value_of(query: str, key: str, sign: str = ":") -> str:
    """What the last term `key` says, "" without one: "3..8" of layer:3..8."""
    said = [term.text for term in understood(query) if term.key == key and term.sign == sign and not term.no]
    return said[-1] if said else ""


def with_value(query: str, key: str, text: str, sign: str = ":") -> str:
    """The query with its terms `key` replaced by one that says `text`, at the end; without one where it is empty."""
    kept = [query[term.start : term.end] for term in understood(query) if term.key != key or term.no]
    if text:
        quoted = f'"{text}"' if any(letter.isspace() for letter in text) else text
        kept.append(f"{key}{sign}{quoted}")
    return " ".join(kept)


def last_term(text: str) -> str:
    """What stands behind the last blank outside quotation marks: the term that is being typed."""
    start, inside = 0, False
    for at, letter in enumerate(text):
        if letter == '"':
            inside = not inside
        elif letter.isspace() and not inside:
            start = at + 1
    return text[start:]


def completions(tokens: Sequence[str], names: Names) -> list[str]:
    """Every term that is offered while typing: the keys, and what each may say in this graph."""
    offered = [*_KEYS, *_AMOUNTS]
    offered += [f"kind:{name}" for name in KIND_NAMES]
    offered += ["sign:+", "sign:-", "is:pinned", "is:labelled", "is:grouped", "position:-1"]
    words = [*(("token", token) for token in tokens), *(("label", label) for label in names.labels.values())]
    words += [("in", name) for chain in names.supernodes.values() for name in chain]
    for key, word in dict.fromkeys(words):
        said = word.strip()
        if said and '"' not in said and said == visible_text(said):
            offered.append(f'{key}:"{said}"' if any(letter.isspace() for letter in said) else f"{key}:{said}")
    return list(dict.fromkeys(offered))


def fitting(offered: Sequence[str], typed: str) -> list[str]:
    """What `typed`, the beginning of a term, may become; its own end is no help, and neither is nothing typed."""
    no, beginning = ("-", typed[1:]) if typed.startswith("-") else ("", typed)
    if not beginning:
        return []
    lower = beginning.casefold()
    found = [f"{no}{one}" for one in offered if one.casefold().startswith(lower) and one.casefold() != lower]
    # Behind a colon the beginning of the word will do, with or without its quotation mark.
    key, colon, word = lower.partition(":")
    if colon and word:
        found += [f"{no}{one}" for one in offered if one.casefold().startswith(f'{key}:"{word}')]
    return list(dict.fromkeys(found))[:_MOST]
