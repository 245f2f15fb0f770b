# `make` lists the targets. Python 3.11 or later and make are all that is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUNS ?= runs
TEST_OPTIONS ?=

SPEED := augmentation cold_start detect fit_speed full_size_step prediction_cost training_step
TRUST := chaos chaos_grid processes limits

SOURCES := pyproject.toml constraints.txt requirements-imgaug.txt
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

export NO_ALBUMENTATIONS_UPDATE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo demo-diffusion demo-baseline test slow fuzz check wheel bench trust clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "PYTHON=python3.12 chooses the interpreter of a new environment, VENV=path its folder."

setup: $(INSTALLED) ## create .venv and install the package in it

setup-dev: $(INSTALLED_DEV) ## the same, with what tests and checks need

demo: $(INSTALLED) ## train on phantom radiographs, test, draw pictures (minutes, no GPU, no data needed)
	@mkdir -p $(RUNS)
	@echo "Two trainings side by side. Shown: the diffusion; the baseline's lines go to $(RUNS)/demo_baseline.log"
	@$(MAKE) --no-print-directory -j 2 demo-baseline demo-diffusion
	@echo
	@echo "Tables and pictures of the two models (baseline; diffusion single-step and multi-step):"
	@find $(RUNS)/phantom_baseline $(RUNS)/phantom_diffusion -path '*report*' -type f | sort | sed 's/^/  /'

demo-diffusion:
	$(BIN)/ldx fit --config phantom_diffusion.yaml --run_folder $(RUNS)/phantom_diffusion --overwrite true
	$(BIN)/ldx test --config phantom_diffusion.yaml --run_folder $(RUNS)/phantom_diffusion

demo-baseline:
	@{ $(BIN)/ldx fit --config phantom_baseline.yaml --run_folder $(RUNS)/phantom_baseline --overwrite true \
	&& $(BIN)/ldx test --config phantom_baseline.yaml --run_folder $(RUNS)/phantom_baseline ; } \
	> $(RUNS)/demo_baseline.log 2>&1 || { cat $(RUNS)/demo_baseline.log; exit 1; }

test: $(INSTALLED_DEV) ## run the fast tests
	$(BIN)/python -m pytest -n 2 $(TEST_OPTIONS)

slow: $(INSTALLED_DEV) ## run the slow tests (real processes, long runs)
	$(BIN)/python -m pytest -m slow $(TEST_OPTIONS)

fuzz: $(INSTALLED_DEV) ## feed the readers 50,000 damaged files and requests, and run every attack of tests/security (minutes)
	LDX_FUZZ=full $(BIN)/python -m pytest tests/fuzz $(TEST_OPTIONS)
	$(BIN)/python -m pytest tests/security -m "slow or not slow" $(TEST_OPTIONS)

check: $(INSTALLED_DEV) ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(INSTALLED_DEV) ## build the wheel, install it apart, and train with it
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --no-deps --target build/wheel/installed build/wheel/*.whl
	cd build/wheel && PYTHONPATH=installed $(abspath $(BIN))/python -c "import landmark_diffusion as l; assert 'installed' in l.__file__, l"
	cd build/wheel && PYTHONPATH=installed $(abspath $(BIN))/python -m landmark_diffusion fit --config phantom_diffusion.yaml \
	--trainer.max_steps 2 --run_folder run

bench: $(INSTALLED_DEV) ## compare speed with imgaug and diffusers, count the cost of a prediction
	@for name in $(SPEED); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

trust: $(INSTALLED_DEV) ## kill runs, compare numbers of processes, 100,000 images, 10,000 steps: docs/reliability.md (an hour)
	@for name in $(TRUST); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

clean: ## remove .venv and what tools left behind, but no runs
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Python 3.11 or later is needed, $(PYTHON) is %d.%d: make PYTHON=python3.11 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(SOURCES) | $(BIN)/python
	@echo "Installing into $(VENV): a few minutes, most of it download."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(INSTALLED_DEV): $(SOURCES) | $(BIN)/python
	@echo "Installing into $(VENV), with the tools for tests and checks: a few minutes."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --requirement requirements-imgaug.txt
	@touch $(INSTALLED) $@
