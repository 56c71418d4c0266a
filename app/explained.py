"""What the window's controls mean that run no command: those that do have the command's own tool tip.

One table, so that the words can be read together; a test walks every control and finds the ones without.
"""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from app.panels.plain import tip

# By accessible name.
MEANING = {
    "Areas of the curves": (
        "The curves of the search in one number each: how soon the circuit does the work, and how far off it stays"
    ),
    "Change by dose as a table": (
        "What each dose did: measured and predicted change, probability and KL over the vocabulary"
    ),
    "Change by last layer as a table": "What holding the changes up to each layer did",
    "Commands": "Every command with its keys; Enter runs the chosen one, what is grey is not possible now",
    "Compare decoders": (
        "Compare what this feature writes with what each other feature of the graph writes (cosine of their "
        "decoders); needs the model"
    ),
    "Compute the logit effects": (
        "Read what this feature writes through the final norm and the unembedding: which tokens it raises and "
        "lowers; needs the model"
    ),
    "Differences of the two graphs": (
        "Nodes that both graphs have with another influence, or that one of them lacks; a click selects the node on "
        "both sides"
    ),
    "Everything in this project": (
        "Folders, traces, circuits, notes and experiments. A click opens one; Ctrl+click chooses several, to "
        "compare or to find what they share"
    ),
    "Features that the chosen traces share": "One row a feature; a click opens it in a trace that has it",
    "Edges of the sample": "Edges that were measured to verify the graph, those that stand out most first",
    "Find a command": "Type a part of a command's name; Up and Down choose, Enter runs it (Ctrl+K)",
    "Find in the differences": "List only rows that hold every word typed: label, token, layer",
    "Find in the shared features": "List only rows that hold every word typed: label, token, layer, number",
    "Find nodes": "Words, or kind:feature layer:3-7 token:Texas sign:- influence:>0.01; found nodes stay bright (/)",
    "First layer that is held": "The first layer of the range in which what the changes write is held",
    "Group connections": (
        "Put the rows of inputs and outputs together by token, layer, group or label, with their sums"
    ),
    "Groups and what they do": "What taking out each group does to each other group and to the target",
    "Help with this message": "Do what helps with this message",
    "Highest layer": "Find nodes up to this layer",
    "How many tokens to generate": "How many tokens the model adds to the prompt at most, each time its likeliest",
    "Inputs of the selected node": (
        "Edges into the selected node: each source's share of all that it receives; a click goes there (Ctrl+3)"
    ),
    "Kind of node": "Find features, embeddings, errors, biases or logits only",
    "Label of the selected node": (
        "Your name for the selected node; Enter keeps it, in this trace or everywhere as chosen beside it (L)"
    ),
    "Show more or fewer examples": "Show all examples of this feature that are known, or only the first few",
    "Where the label holds": (
        "In this trace only, or everywhere: in every trace of this project that has the feature. A label of the trace "
        "goes before one that holds everywhere"
    ),
    "Last layer that is held": "The last layer of the range in which what the changes write is held",
    "Lowest layer": "Find nodes from this layer up",
    "Nodes of the graph": (
        "Every shown node with its numbers; click a title to sort, a row to select the node (Ctrl+2)"
    ),
    "Notes on this trace": "Anything you want to remember about this trace; kept in the project as you type",
    "Outputs of the selected node": (
        "Edges out of the selected node: its share of what each target receives; a click goes there (Ctrl+4)"
    ),
    "Parts of the verdict": "What was checked of this graph, what was found, and what was needed",
    "Paths, and what lies on them": (
        "The strongest paths between the two ends, by the product of the shares along them"
    ),
    "Pinned nodes and groups": (
        "What you keep of this graph: the circuit. A click selects, a double-click renames a group"
    ),
    "Predicted and measured changes as a table": (
        "For each watched number the change that the graph foretells beside the one that was measured"
    ),
    "Prompt": "The text whose next token is explained; Enter traces, Shift+Enter begins a new line (Ctrl+L)",
    "Pushes by layer": "How alike the model and its replacement change when the residual stream is pushed a little",
    "Recent projects": "Projects that you opened or saved lately; a click opens one",
    "Search labels, notes and titles of this project": "List what holds the words you type, anywhere in this project",
    "Similar features": "Features of this graph that write or receive nearly the same; a click selects one",
    "Suggested pins and groups": "Previews to accept or reject one by one; nothing is changed before",
    "System text of the chat template": (
        "What the model is told before the message, where its chat template has a place for it"
    ),
    "Text with the changes": "What the model writes while the changes act",
    "Text without the changes": "What the model writes by itself, with the same settings",
    "The change on each prompt": "What the same change does on the traced prompt and on its paraphrases",
    "The circuit’s figures": "How much of the answer the circuit keeps alone, and how much is lost without it",
    "The last token": "The last token of the range at which it is changed",
    "The likeliest next tokens; Enter traces one": (
        "What the model says next, and how probable; a click chooses the token to explain"
    ),
    "The target before and after": "The watched token without and with the changes",
    "The token there": "The token of the other trace whose value is taken",
    "The trace it is swapped from": "The trace of this project whose value takes the place of the recorded one",
    "Token of the answer": "Which token of the traced answer the graph explains; Left and Right step through them",
    "Token of the prompt": "Find nodes at this token only",
    "Tokens before and after": "The likeliest next tokens without and with the changes",
    "Tokens of the prompt and of what the model said; Enter traces one": (
        "The prompt as the model reads it; click a token to explain why it was said there"
    ),
    "Tokens to generate": "How many tokens the model writes with the changes and without them, to compare the texts",
    "Value or multiple": (
        "For scaling a multiple of what was recorded (0 takes it out, -1 flips it), for setting the value itself"
    ),
    "What becomes of it": (
        "How the chosen node is changed: taken out, scaled, flipped, set or swapped; each choice explains itself"
    ),
    "What the experiment changes": (
        "The nodes that are changed before the model runs again, one a row; choose a row to say how below"
    ),
    "What was found": "Labels, notes and titles with the words; a click goes there",
    "Where it is changed": "At its own token only, at a range of tokens, or from there on while the model writes",
}


def explain(window: QWidget) -> None:
    """Give every control of the table its tool tip, where it has none of its own."""
    for widget in window.findChildren(QWidget):
        words = MEANING.get(widget.accessibleName())
        if words and not widget.toolTip():
            widget.setToolTip(tip(words))
