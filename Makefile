# Everything here works on a fresh machine with Python >= 3.11 and make.
PYTHON ?= python3
TORCH ?= torch==2.13.0# installed before all else; name another build with make TORCH='torch==...'
VENV := .venv
RUN := $(VENV)/bin/python
# The kernel's compiler; a machine without one gets it from PyPI.
ZIG := $(if $(shell command -v cc),,ziglang)
COMPILER := $(if $(ZIG),$(CURDIR)/$(RUN) -m ziglang cc -mcpu=baseline,cc)
EDITABLE := --editable '.[train,cluster,serve,trace,load,dev]' --editable service/client
COMPOSE ?= docker compose -f docker/compose.yaml# docker/compose.host.yaml where there is no bridge network
LOCKS := docker/requirements
LOCK := $(VENV)/bin/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-annotate \
	--python-version 3.11 --python-platform linux --custom-compile-command 'make lock' --excludes $(LOCKS)/excludes.in
DATA ?= synthetic
SOURCE ?=
PORT ?= 8080
HOST ?= http://127.0.0.1:$(PORT)
BUNDLE ?= $(or $(wildcard bundles),demo/$(DATA)/bundle)
RATE ?= 50
DURATION ?= 1m
P99_MS ?= 100
ERROR_SHARE ?= 0.001

# Hundreds of processes import torch or the service: they share byte code, whatever the caller's Python does.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo load test lint promtool schemas notebook lock up down long lab chaos soak clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

$(VENV)/installed: pyproject.toml setup.py service/client/pyproject.toml $(wildcard index_store/compiled/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --no-compile --disable-pip-version-check '$(TORCH)' uv $(ZIG)
	export CC='$(COMPILER)'$(if $(ZIG), LDSHARED='$(COMPILER) -shared'); $(VENV)/bin/uv pip install --quiet --python $(RUN) $(EDITABLE) || \
		$(RUN) -m pip install --quiet $(EDITABLE)# if only pip knows of a mirror
	$(RUN) -c 'import onnxscript, torch._dynamo'# byte code of what is used, a tenth of the files
	touch $@

setup: $(VENV)/installed  ## the environment in .venv, with all extras

demo: setup  ## from a log to answered requests; DATA=taobao-ad SOURCE=DIR for real ads
	$(RUN) -m loadtest demo --data $(DATA) --port $(PORT) $(if $(SOURCE),--source $(SOURCE))

load: setup  ## users who ask HOST for RATE answers a second; fails over P99_MS or ERROR_SHARE; BUNDLE has its users
	mkdir -p build
	$(VENV)/bin/locust -f loadtest/http/locustfile.py --headless --only-summary --host $(HOST) --bundle $(BUNDLE) \
		-u $(RATE) -r $(RATE) -t $(DURATION) --p99-ms $(P99_MS) --error-share $(ERROR_SHARE) --html build/load.html

test: setup  ## everything that must hold: lint, types, tests on two cores (three processes, since many wait)
	$(MAKE) --no-print-directory --jobs 2 lint promtool
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: setup  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy --num-workers 2 || { test $$? = 2 && $(VENV)/bin/mypy; } # 2: a busy machine has not started a worker in 3 s

promtool: $(VENV)/bin/promtool

$(VENV)/bin/promtool: | $(VENV)/installed
	tests/docker/get-promtool $@

schemas: setup  ## the OpenAPI document, and the client's types from it
	$(RUN) -m service --openapi > docs/openapi.json
	$(RUN) service/client/write_schemas.py

notebook: setup  ## docs/tour.ipynb from docs/tour.md
	$(VENV)/bin/jupytext --to ipynb docs/tour.md

lock: setup  ## newest versions for the images, with hashes
	$(LOCK) $(LOCKS)/build.in --output-file $(LOCKS)/build.txt
	$(LOCK) pyproject.toml --extra serve --extra trace --output-file $(LOCKS)/serve.txt
	$(LOCK) pyproject.toml --extra serve --extra trace --extra beams --output-file $(LOCKS)/serve-beams.txt
	$(LOCK) pyproject.toml $(LOCKS)/serve-cluster.in --extra serve --extra trace --output-file $(LOCKS)/serve-cluster.txt
	$(LOCK) pyproject.toml --extra train --output-file $(LOCKS)/train.txt
	$(LOCK) pyproject.toml --extra load --output-file $(LOCKS)/load.txt

up:  ## the whole stack in containers, with a bundle of a synthetic world where there is none
	COMPOSE='$(COMPOSE)' docker/up

down:  ## ends the stack; its bundles and metrics stay in their volumes
	$(COMPOSE) --profile load --profile train down

long: setup  ## whole tables of experiments on a small world, every point of a kill; some minutes
	$(RUN) -m pytest -m long

lab: setup  ## tests of the stack on the engine that DOCKER_HOST names, or the local one
	$(RUN) -m pytest -m lab -rP tests/docker

chaos: setup  ## the service under faults, 20 minutes; writes build/chaos, fails where a promise is broken
	$(RUN) -m loadtest chaos --out build/chaos

soak: setup  ## ten minutes of requests and swaps: growth of memory, files and threads; writes build/chaos
	$(RUN) -m loadtest chaos --out build/chaos --only soak

clean:  ## removes what the targets made
	rm -rf $(VENV) build *.egg-info demo
