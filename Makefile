# The one entry for people and CI. `make demo` and `make test` set up what they need: in this folder, and in the caches of uv and pip.

SHELL := /bin/sh
# A Python of 3.11 or newer that really runs, 3.13 first: on PATH, or one of pyenv's.
FIND_PYTHON = for candidate in $$(for version in 3.13 3.14 3.12 3.11; do \
	    command -v python$$version; ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python$$version 2>/dev/null; \
	  done) python3 python; do \
	    "$$candidate" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$candidate"; break; }; \
	  done
# The layers ship bytecode of the Lambda runtime's Python, so building wants that one.
FIND_PYTHON_313 = for candidate in "$$PYTHON_313" python3.13 $$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13.*/bin/python3.13 2>/dev/null) .venv/bin/python; do \
	    "$$candidate" -c 'import sys; raise SystemExit(sys.version_info[:2] != (3, 13))' 2>/dev/null && { echo "$$candidate"; break; }; \
	  done
UV = "$$(test -x .uv/bin/uv && echo "$(CURDIR)/.uv/bin/uv" || command -v uv)"
BIN = .venv/bin
ARCHITECTURE ?= arm64
export SAM_CLI_TELEMETRY = 0

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types check up down bench peers build deploy lock docs clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: .venv/.ready ## virtual environment with the locked, hashed dependencies

# uv of this project's own, unless one on PATH works.
.uv/.ready:
	@if uv --version >/dev/null 2>&1; then mkdir -p .uv; else \
	  python="$$($(FIND_PYTHON))"; \
	  test -n "$$python" || { echo "make: Python 3.11 or newer is needed" >&2; exit 1; }; \
	  "$$python" -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check uv; \
	fi
	@touch $@

.venv/.ready: .uv/.ready requirements/dev.txt
	@python="$$($(FIND_PYTHON))"; \
	test -n "$$python" || { echo "make: Python 3.11 or newer is needed" >&2; exit 1; }; \
	test -x $(BIN)/python || $(UV) venv --quiet --no-project --python "$$python" .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@touch $@

demo: setup ## start the embedded AWS, deploy template.yaml, run the main job on real data
	@PYTHONPATH=layers/core/python $(BIN)/python -m local.demo

test: setup ## all tests, those against the embedded stack included
	@$(BIN)/pytest --numprocesses auto --dist loadgroup $(TESTS)

lint: setup ## ruff and import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@PYTHONPATH=layers/core/python $(BIN)/lint-imports

types: setup ## mypy, strict
	@$(BIN)/mypy
	@$(BIN)/mypy local layers/build_layer.py layers/sizes.py
	@for door in functions/*/app.py; do test ! -f "$$door" || $(BIN)/mypy "$$door" || exit 1; done

check: lint types test ## all three

up: setup ## start the stack and keep it; .local/stack.json says how to reach it
	@$(BIN)/python -m local.stack up

down: setup ## stop it
	@$(BIN)/python -m local.stack down

bench: .venv-bench/.ready ## measure: engine, samplers, cold start, warm request, charges
	@.venv-bench/bin/python -m benchmarks

peers: .venv-bench/.ready ## measure side by side with other systems, each in an environment of its own (long)
	@.venv-bench/bin/python -m benchmarks.peers $(PEERS)

.venv-bench/.ready: .uv/.ready requirements/bench.txt
	@python="$$($(FIND_PYTHON))"; test -x .venv-bench/bin/python || $(UV) venv --quiet --no-project --python "$$python" .venv-bench
	@$(UV) pip sync --quiet --python .venv-bench/bin/python --require-hashes requirements/bench.txt
	@touch $@

.venv-build/.ready: .uv/.ready requirements/build.txt
	@python="$$($(FIND_PYTHON_313))"; \
	test -n "$$python" || { echo "make: building the layers wants Python 3.13" >&2; exit 1; }; \
	test -x .venv-build/bin/python || $(UV) venv --quiet --no-project --python "$$python" .venv-build
	@$(UV) pip sync --quiet --python .venv-build/bin/python --require-hashes requirements/build.txt
	@touch $@

# sam finds python3.13 and its own libraries in the build environment; it asks no account for anything.
SAM = PATH="$(CURDIR)/.venv-build/bin:$$PATH" UV=$(UV) PYTHON="$(CURDIR)/.venv-build/bin/python3.13" \
	AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} sam

build: .venv-build/.ready ## sam validate and sam build for both processors; fails over size limits
	@$(SAM) validate --lint
	@for architecture in x86_64 arm64; do \
	  ARCHITECTURE=$$architecture $(SAM) build --parameter-overrides Architecture=$$architecture \
	    --build-dir .aws-sam/build-$$architecture --cache-dir .aws-sam/cache-$$architecture >.aws-sam-build.log 2>&1 \
	    || { cat .aws-sam-build.log; exit 1; }; \
	done; rm -f .aws-sam-build.log
	@for architecture in x86_64 arm64; do \
	  here="$$(uname -m | sed 's/aarch64/arm64/')"; \
	  if test "$$(uname -s) $$architecture" = "Linux $$here"; then try=--try; else try=; fi; \
	  .venv-build/bin/python layers/sizes.py .aws-sam/build-$$architecture $$try || exit 1; \
	done

deploy: .venv-build/.ready ## build for ARCHITECTURE (arm64) and deploy to your AWS account, asking what it needs
	@ARCHITECTURE=$(ARCHITECTURE) $(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE)
	@PATH="$(CURDIR)/.venv-build/bin:$$PATH" sam deploy --guided --capabilities CAPABILITY_IAM CAPABILITY_NAMED_IAM \
	  --parameter-overrides Architecture=$(ARCHITECTURE)

lock: .uv/.ready ## resolve all requirements anew: exact versions and hashes, no index addresses
	@for name in layers/engine/requirements layers/noise/requirements layers/runtime/requirements requirements/dev requirements/build requirements/bench; do \
	  $(UV) pip compile --quiet --no-header --generate-hashes --universal --python-version 3.11 $$name.in -o $$name.txt || exit 1; \
	done

docs: setup ## make the generated parts of the docs and openapi.json anew
	@PYTHONPATH=layers/core/python $(BIN)/python -m docs.generate

clean: ## delete what setup, build and runs made
	@rm -rf .venv .venv-build .venv-bench .uv .local .aws-sam .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@rm -rf layers/core/build layers/core/*.egg-info layers/core/python/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
