# make speedrun   train a language model on this machine, in a few minutes
# make test       run every test
# make lab        open the notebooks in JupyterLab
# make book       build the book into _build/html
# make notebooks  execute again the notebooks that changed, and verify those on which a change may tell
# Each makes the environment it needs in .venv, once. PYTHON=... chooses the Python (3.11 to 3.13).

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
OK := import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python,$(shell $(p) -c '$(OK)' 2>/dev/null && echo $(p))))

.PHONY: help speedrun test lab book notebooks
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

$(INSTALLED): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.13 with venv found; install one, or say make PYTHON=/path/to/python3.12"; exit 2; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version), once: a few minutes and about 2 GB …"
	@$(PYTHON) -c '$(OK)' || { echo "error: $$($(PYTHON) --version) will not do; Blueberry needs Python 3.11 to 3.13"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -e .
	@touch $@

speedrun: $(INSTALLED)
	@$(BIN)/python -m blueberry_lib speedrun run --recipe best --track pocket

test: $(INSTALLED)
	@$(BIN)/python -m pytest

lab: $(INSTALLED)
	@$(BIN)/python -m jupyterlab notebooks

book: $(INSTALLED)
	@$(BIN)/jupyter-book build . --path-output . -W -n --keep-going --quiet
	@echo "The book: $(CURDIR)/_build/html/index.html"

notebooks: $(INSTALLED)
	@$(BIN)/python book/tools/notebooks.py run
	@$(BIN)/python book/tools/notebooks.py verify
