# Splatcast: the commands that people type. `make help` lists them.
# PORT, HOST, PROFILE (cpu or gpu) and MODEL (such as da3-small) are passed on to `make run`; so are HOSTS (names that it answers to)
# and ORIGINS (other sites that may use it), for tunnels and proxies: docs/proxy.md.
# URL (what `make run` printed), SESSIONS, FPS, SECONDS and ARGS (any other option) are passed on to `make load`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WEB_SOURCES := $(wildcard web/*.json web/*.mjs) $(shell find web/src web/public -type f 2>/dev/null)
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
DA3_STAMP := $(VENV)/.installed-da3

export HOST HOSTS ORIGINS PORT PROFILE MODEL

.DEFAULT_GOAL := help
.PHONY: help run load install-da3 test lint audit format bench web messages vectors kubernetes clean

help: ## List the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) $(if $(MODEL)$(filter gpu,$(PROFILE)),$(DA3_STAMP)) ## Create the environment, build the viewer, start the graph, print the URL (PORT, HOST, HOSTS, PROFILE=cpu|gpu, MODEL=da3-…)
	@exec $(BIN)/splatcast

load: $(STAMP) ## Send viewers to the server that `make run` started and print what they saw (URL, SESSIONS, FPS, SECONDS)
	@$(BIN)/python -m benchmarks.load --url '$(or $(URL),http://127.0.0.1:$(or $(PORT),8000)/)' \
		$(if $(SESSIONS),--sessions '$(SESSIONS)') $(if $(FPS),--fps '$(FPS)') --duration-s '$(or $(SECONDS),30)' $(ARGS)

install-da3: $(DA3_STAMP) ## Install torch and Depth Anything 3 without the 150 packages it does not need to run

test: $(DEV_STAMP) ## Install what the tests need and run all of them
	@$(BIN)/python -m tests.prepare
	$(BIN)/python hatch_build.py test
	$(BIN)/python -m pytest

lint: $(DEV_STAMP) ## Linters and type checks, Python and web
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python hatch_build.py lint

audit: $(DEV_STAMP) ## Known vulnerabilities in Python and npm packages: exits with 0 if none, 1 if some, 3 if a database can't be reached
	@$(BIN)/python audit.py

format: $(DEV_STAMP) ## Format Python and web sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python hatch_build.py format

bench: $(DEV_STAMP) ## The codec and stage benchmarks, as tables
	$(BIN)/python -m benchmarks.codecs
	$(BIN)/python -m benchmarks.stages

web: $(DEV_STAMP) ## Rebuild the viewer
	$(BIN)/python hatch_build.py

messages: $(DEV_STAMP) ## Regenerate the viewer's message types from the Python ones
	$(BIN)/python -m deployments.stream.typescript > web/src/stream/messages.ts

vectors: $(DEV_STAMP) ## Rewrite the golden vectors; read the diff before committing
	$(BIN)/python -m tests.vectors.make

kubernetes: $(DEV_STAMP) ## Regenerate the RayService manifests from the configs and environment files
	$(BIN)/python kubernetes/generate.py

clean: ## Remove the environment and everything built
	rm -rf $(VENV) web/node_modules deployments/http/static deployments/models/relief/assets deployments/scene/sample.msgpack deployments/scene/sample.splatcast

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else f"Splatcast needs Python 3.10 to 3.13, {sys.executable} is {v.major}.{v.minor}: try make PYTHON=python3.12 run")'
	@$(PYTHON) -m venv $(VENV) || { echo "Could not create $(VENV): on Debian and Ubuntu, apt install python3-venv"; rm -rf $(VENV); exit 1; }

$(STAMP): $(VENV)/bin/python pyproject.toml constraints.txt hatch_build.py $(WEB_SOURCES)
	@echo "Installing Splatcast into $(VENV) (about a minute the first time) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@echo "Compiling the kernels and rendering the sample clip (once, up to a minute more) …"
	@$(BIN)/python -m deployments.ops.prepare
	@touch $@

# --no-deps: with its declared dependencies the package pulls in 7.5 GB (a renderer, a web app, notebook tools) and numpy 1.
# --ignore-requires-python: it excludes Python 3.13.1 and later by mistake (<=3.13).
$(DA3_STAMP): $(STAMP)
	@echo "Installing torch and Depth Anything 3 (1.1 GB with a CPU torch, about 5 GB with CUDA) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[da3-minimal]'
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python depth-anything-3==0.1.1 evo==1.38.1
	@touch $@

$(DEV_STAMP): $(STAMP) $(DA3_STAMP)
	@echo "Installing what tests, linters and benchmarks need …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
