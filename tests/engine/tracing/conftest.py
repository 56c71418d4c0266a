"""Where the oracle tests compute, and the table of what they proved.

LOUPE_TEST_DEVICE=cuda runs them there (`make oracle DEVICE=cuda`). `--proof-table FILE` writes family x dictionary x
test from the outcomes of the run (`make proof`).
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest
import torch

TESTS = {
    "test_every_row_conserves": "conservation",
    "test_feature_rows_equal_autograd": "autograd",
    "test_columns_are_interventions": "interventions",
}

if device := os.environ.get("LOUPE_TEST_DEVICE"):
    torch.set_default_device(device)


class ProofTable:
    """Collects outcomes by family and dictionary."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        self.where: dict[str, tuple[str, str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            name = getattr(item, "originalname", "")
            values = getattr(getattr(item, "callspec", None), "params", {})
            if name in TESTS and {"family", "kind"} <= set(values):
                self.where[item.nodeid] = (str(values["family"]), str(values["kind"]), TESTS[name])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self.where and (report.when == "call" or report.failed):
            self.outcomes[self.where[report.nodeid]].add(report.outcome)

    def pytest_sessionfinish(self) -> None:
        families = sorted({family for family, _, _ in self.outcomes})
        kinds = sorted({kind for _, kind, _ in self.outcomes})
        lines = [
            "# What is proved, by family and dictionary",
            "",
            "Written by `make proof` from the outcomes of that run; do not edit. Models are small and random, "
            f"float64, on {os.environ.get('LOUPE_TEST_DEVICE', 'cpu')}. A cell names the tests that passed for every "
            "case: **c** every row sums to its value to 1e-9; **a** every edge equals autograd's through "
            "transformers' own forward to 1e-9; **i** every sampled edge equals the change under an intervention with "
            "everything else held. Where a softcap bounds the logits **i** is left out: there a logit's edge is a "
            "slope, not a finite change.",
            "",
            "| family | " + " | ".join(kinds) + " |",
            "|---|" + "---|" * len(kinds),
        ]
        for family in families:
            cells = [self._cell(family, kind) for kind in kinds]
            lines.append(f"| {family} | " + " | ".join(cells) + " |")
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _cell(self, family: str, kind: str) -> str:
        shown = []
        for test in TESTS.values():
            outcomes = self.outcomes.get((family, kind, test))
            if outcomes:
                shown.append(test[0] if outcomes == {"passed"} else f"**{test[0]} FAILED**")
        return " ".join(shown) or "-"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof-table", type=Path, default=None, help="write family x dictionary x test to this file")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--proof-table", default=None)
    if path is not None:
        config.pluginmanager.register(ProofTable(path))
