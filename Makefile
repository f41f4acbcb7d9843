# The commands: `make demo`, `make rank`, `make test`, `make site`. Only Python >= 3.11 and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo rank test test-vllm acceptance soak lint site install clean

demo: $(VENV)/.installed
	$(BIN)/python -m rlhfkit_plugins.quickstart.model
	$(BIN)/rlhfkit recipe=quickstart

# Twenty prompts to rank in the browser, then a reward model on what was said.
RANK := recipe=quickstart run_name=rank $(if $(wildcard runs/quickstart/sft/stage.json),reuse=runs/quickstart)
rank: $(VENV)/.installed-label
	$(BIN)/python -m rlhfkit_plugins.quickstart.model
	$(BIN)/rlhfkit $(RANK) stages=sft,sample
	$(BIN)/rlhfkit label runs/rank --kind rank --prompts 20 --until-done
	$(BIN)/rlhfkit $(RANK) stages=sft,sample,label,reward_model force_from=label \
		labeler=people labeler.with_simulated=true
	$(BIN)/rlhfkit label runs/rank --disagreements

test: $(VENV)/.installed-dev
	$(BIN)/python -m rlhfkit_plugins.quickstart.model
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# The quickstart's promises over three seeds: twenty minutes on two cores of an AMD EPYC.
acceptance: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow -s tests/acceptance

# sampler=server with a real vLLM on this machine's CPU, in an environment of its own.
test-vllm: $(VENV)/.installed-dev
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m vllm -s tests/vllm

# Kills tiny runs with SIGKILL for so long; each must end as if nothing had happened.
MINUTES ?= 30
soak: $(VENV)/.installed-dev
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m tests.resume.soak $(MINUTES)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p $(VENV)/typing && ln -sfn ../../plugins $(VENV)/typing/rlhfkit_plugins  # by its own name
	MYPYPATH=$(VENV)/typing $(BIN)/mypy
	$(BIN)/lint-imports

# The documentation as a site, in build/site; a warning is an error.
site: $(VENV)/.installed-docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/site

install: $(VENV)/.installed

# torch first and by itself, so that the platform's own build is taken.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-label: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[label]
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[dev]
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[docs]
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
