# Everything here works on a fresh machine with Python >= 3.11 and make.
PYTHON ?= python3
TORCH ?= torch==2.13.0# installed before all else; name another build with make TORCH='torch==...'
VENV := .venv
RUN := $(VENV)/bin/python
DATA ?= synthetic
SOURCE ?=
PORT ?= 8080

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[train,serve,load,dev]'
	touch $@

setup: $(VENV)/installed  ## the environment in .venv, with all extras

demo: setup  ## from a log to answered requests; DATA=taobao-ad SOURCE=DIR for real ads
	$(RUN) -m loadtest demo --data $(DATA) --port $(PORT) $(if $(SOURCE),--source $(SOURCE))

test: lint  ## everything that must hold: lint, types, tests
	$(RUN) -m pytest

lint: setup  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

clean:  ## removes what the targets made
	rm -rf $(VENV) build *.egg-info demo
