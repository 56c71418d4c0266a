"""What an experiment's parts are called, and what each means: the words of the form and its tool tips."""

from __future__ import annotations

from app.reading import number
from engine.graphs import AttributionGraph
from engine.graphs.visible_text import visible_text
from engine.interventions.changes import AttentionMode, Change, How, Mode
from engine.interventions.status import Status

HOWS: tuple[tuple[How, str, str], ...] = (
    ("ablate", "Ablate", "Its value becomes 0, as if it had not been active."),
    ("scale", "Scale", "Its value becomes this multiple of the recorded one: 0 ablates, −1 flips, 2 doubles it."),
    ("set", "Set", "Its activation becomes this value."),
    ("flip", "Flip", "Its value becomes −1 times the recorded one."),
    (
        "swap",
        "Swap",
        "It takes the value that the same node has at a token of another trace, times this number: "
        "the “Texas → California” of the papers.",
    ),
)
WITH_VALUE = ("scale", "set", "swap")
MODES: tuple[tuple[Mode, str, str], ...] = (
    (
        "constrained",
        "Constrained",
        "What the MLPs write in a range of layers is held as recorded, but for the changes; above the range everything "
        "answers. This is what the papers do.",
    ),
    (
        "iterative",
        "Iterative",
        "The changed nodes keep their new values, and everything after them answers, layer by layer.",
    ),
    (
        "direct",
        "Direct",
        "Everything else is held as recorded: MLPs, attention patterns and norms. What is left is the direct effect, "
        "as the graph's edges mean it.",
    ),
)
ATTENTIONS: tuple[tuple[AttentionMode, str, str], ...] = (
    ("frozen", "Attention frozen", "Attention patterns stay as recorded; only what flows along them changes."),
    ("live", "Attention live", "Attention patterns are computed again from the changed run."),
)
PLACES: tuple[tuple[str, str, str], ...] = (
    ("here", "At its token", "Only where the node stands."),
    ("span", "Through…", "From where it stands to another token of the prompt."),
    ("onward", "From here on", "From where it stands on, at every token that is generated, too."),
)
LAYERS_TIP = (
    "The layers whose MLP outputs are held; by default from the first to the last layer that is changed. Only with "
    "“Constrained”."
)
CONTROLS_TIP = (
    "How many random sets to run beside it: of the same size, at the same layers and tokens, about as active. "
    "p = (1 + sets that do as much) / (sets + 1). 0: none, and then it is no evidence. At least 100."
)
TOKENS_TIP = "How many tokens to generate with the change and without it."
PARAPHRASES_TIP = (
    "Other ways to ask the same, one a line, at least two. “Run on paraphrases” makes the same change where they have "
    "the same words, and gives the mean over all prompts with its range: does it hold for what is asked, or for these "
    "words only?"
)
EDGE_CONTROLS_TIP = (
    "“Verify this graph” then also says how many of the edges it sampled move their target more than random features "
    "that are like their source, corrected for their number (Benjamini and Hochberg). Of several hundred edges none "
    "can stand out with fewer than some hundreds of random features each; 999 are a good number. 0: none."
)
HEAD_TIP = "An attention head, by layer and number; what it puts out is changed at its token."
SAMPLED_TIP = (
    "0: greedy, always the likeliest token. Else so many runs, each with its own seed, beginning with “Seed”. With 10 "
    "and more it is counted how many of the texts hold the watched token, with a range over the seeds."
)
SEED_TIP = "What random controls and sampled tokens are drawn from: the same seed gives the same ones again."
TEMPERATURE_TIP = "Logits are divided by this before a token is drawn: below 1 is bolder, above 1 more varied."

EVIDENCE: dict[Status, tuple[str, str]] = {
    "hypothesis": ("hypothesis", "Nothing was run yet that could speak for or against it."),
    "attribution": (
        "supported by attribution",
        "The graph predicts the direction that was measured. Set “Controls” and run it, so that random changes stand "
        "beside it.",
    ),
    "intervention": (
        "supported by intervention",
        "Random changes that are like it do significantly less, on one prompt. Run it on paraphrases, or on another "
        "trace with the same number watched, to replicate it; another seed alone draws other random changes only.",
    ),
    "replicated": ("replicated", "Supported by interventions on two prompts or more, in the same direction."),
    "contradicted": ("not borne out", "Random changes that are like it move the output as much as it does."),
    "unclear": ("unclear", "What was run speaks for it in part, and in part against it."),
}
ABLATED: tuple[tuple[str, str, str], ...] = (
    ("mean", "To their mean", "Features are ablated to their mean over the built-in text."),
    ("zero", "To zero", "Features are ablated to 0, which the model may never have seen."),
    (
        "counterfactual",
        "As in another trace",
        "Features are ablated to what they are on the prompt of another trace, of as many tokens.",
    ),
)
ERRORS: tuple[tuple[str, str, str], ...] = (
    ("kept", "Error nodes kept", "What the dictionary leaves unexplained stays: only features are tested."),
    ("ablated", "Error nodes ablated", "What the dictionary leaves unexplained is taken away, too."),
)
METHODS: tuple[tuple[str, str, str], ...] = (
    ("greedy", "Greedy", "One set; round by round what is missed least is taken away."),
    ("beam", "Beam", "Three sets that went different ways: slower, and sometimes smaller."),
)
SHARE_TIP = "How much of the behaviour the circuit must keep when the rest of the graph’s features is ablated."
KINDS: dict[str, str] = {
    "intervention": "change",
    "text": "text",
    "circuit": "necessity and sufficiency",
    "search": "search for a circuit",
    "doses": "doses",
    "layers": "ranges of layers",
    "matrix": "matrix of groups",
    "paraphrases": "change on paraphrases",
    "verify": "verification",
}


def what_words(change: Change) -> str:
    """What becomes of a node, in a few letters: "ablated", "−2×", "= 3.5", "from ␣California"."""
    value = number(change.value)
    words = {"ablate": "ablated", "flip": "flipped", "scale": f"{value}×", "set": f"= {value}"}
    if change.how != "swap":
        return words[change.how]
    return "swapped" if change.value == 1 else f"swapped {value}×"


def place_words(graph: AttributionGraph, change: Change) -> str:
    """Where it is changed: "␣Texas", "␣Texas to ␣is", "from ␣Texas on"."""
    here = token_words(graph, change.position)
    if change.onward:
        return f"from {here} on"
    return here if change.last is None else f"{here} to {token_words(graph, change.last)}"


def token_words(graph: AttributionGraph, position: int) -> str:
    """A token of the prompt, blanks visible; its number where there is none."""
    return visible_text(graph.tokens[position]) if 0 <= position < len(graph.tokens) else f"token {position}"


def change_name(graph: AttributionGraph, labels: dict[int, str], change: Change, node: int) -> str:
    """What is changed: its label, or layer and number."""
    if labels.get(node):
        return visible_text(" ".join(labels[node].split()))
    if change.kind == "embedding":
        return "embedding"
    name = {"feature": str(change.index), "error": "error", "head": f"head {change.index}"}.get(change.kind, "random")
    return f"L{change.layer} · {name}"


def title_of(graph: AttributionGraph, labels: dict[int, str], changes: tuple[Change, ...], nodes: list[int]) -> str:
    """A short title for a set of changes: "L12 · 503 ablated at ␣Texas and 2 more"."""
    first = changes[0]
    what = f"{change_name(graph, labels, first, nodes[0])} {what_words(first)} at {place_words(graph, first)}"
    return what if len(changes) == 1 else f"{what} and {len(changes) - 1} more"


def probability_words(share: float) -> str:
    """A probability, small ones in full: "43.2 %", "0.012 %", "1.2e−06"."""
    percent = 100 * share
    if percent >= 0.1:
        return f"{percent:.1f} %"
    return f"{percent:.3f} %" if percent >= 0.001 else f"{share:.1e}".replace("-", "−")
