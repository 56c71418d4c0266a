"""Commands, and what every way of ending says and returns.

Exit status: 0 done; 1 a fault of ours (one sentence and the path of a log); 2 the request is wrong; 3 the machine
cannot; 4 done, but conservation above the bound, (rerun) not the same graph or (verify) edges that do not hold; 130
interrupted.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import NoReturn

from engine.cli import (
    export_graph,
    import_graph,
    index,
    intervene,
    models,
    rerun,
    rescue,
    shared,
    sharing,
    trace,
    train,
    verify,
)
from engine.errors import Cancelled, LoupeError, RequestError

FAULT, INTERRUPTED = 1, 130
PROGRAM = "circuit-loupe"


class _Parser(argparse.ArgumentParser):
    """Refuses with one sentence instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog=PROGRAM,
        description="Circuit tracing: see which features, in which layers, at which words, made a language model say "
        "a token. Without a command the window opens, with FILE.loupe on that project.",
    )
    top.add_argument("--version", action="version", version=f"Circuit Loupe {metadata.version('circuit-loupe')}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    every = (models, trace, intervene, verify, index, train, shared, rerun, import_graph, export_graph, sharing, rescue)
    for module in every:
        module.add_command(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status and never raises."""
    # Nothing here may reach the network by itself; a library's own look-ups included.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Before torch is imported: threads that wait by spinning made a busy machine four times slower (measured).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        arguments = parser().parse_args(argv)
        run: Callable[[argparse.Namespace], int] = arguments.run
        status = run(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except LoupeError as error:
        _say(error.sentence)
        return error.exit_status
    except (KeyboardInterrupt, Cancelled):
        _say("Interrupted; nothing was written.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): leave quietly, and keep Python from flushing into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        _say("The machine ran out of memory; use a shorter prompt or fewer nodes, or close other programs.")
        return 3
    except Exception as error:  # the last resort: a fault of ours, said in one sentence
        return _fault(error)


def _fault(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        _say("The disk is full; free some space and try again.")
        return 3
    if "out of memory" in str(error).lower():
        _say("The machine ran out of memory; use a shorter prompt or fewer nodes, or another --device.")
        return 3
    _say(f"Something went wrong in the program ({type(error).__name__}); the details are in {_log(error)}.")
    return FAULT


def _log(error: Exception) -> str:
    import platformdirs

    try:
        folder = platformdirs.user_log_path("circuit-loupe", appauthor=False, ensure_exists=True)
        path = folder / "command-line.log"
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)) + "\n")
        return str(path)
    except OSError:
        logging.getLogger(__name__).error("no log could be written", exc_info=error)
        return "no log, since none could be written"


def _say(sentence: str) -> None:
    sys.stderr.write(f"\r\x1b[K{PROGRAM}: {sentence}\n" if sys.stderr.isatty() else f"{PROGRAM}: {sentence}\n")
