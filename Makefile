# Every target is a command a person could type. `make setup` needs only Python >= 3.10 and a package index.
PYTHON ?= python3
UV_VERSION = 0.13.9
BIN = .venv/bin
# Imports are compiled once at installation; a shell that forbids bytecode would double every start-up.
unexport PYTHONDONTWRITEBYTECODE
# A busy machine is slow to compile and to download; that is no reason to give up.
export UV_COMPILE_BYTECODE_TIMEOUT = 900
export UV_HTTP_TIMEOUT = 300

.PHONY: setup demo test test-numeric test-faults test-slurm lint format lock bench bench-peers

setup: .venv/.installed

.venv/.installed: requirements.lock setup.cfg
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/python -m experiments.run --paper inspose --preset demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slurm" --cov --cov-report=term

# The numeric tests again, as a processor with other vector instructions rounds: sums in another order, other ties.
test-numeric: setup
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(BIN)/python -m pytest -n 2 --dist worksteal tests/losses \
		tests/lightning_modules --ignore-glob='*/test_complexity.py' --ignore-glob='*/test_tables.py'

# Every fault of tests/faults/matrix.py: what it is, what must happen, what was seen.
test-faults: setup
	FAULTS=all $(BIN)/python -m pytest -p tests.faults.table -m fault

# A real SLURM on this machine (Debian, root); says why where there can be none.
test-slurm: setup
	$(BIN)/python -m pytest -rs tests/slurm

bench: setup
	$(BIN)/python -m experiments.benchmark

# The same beside other people's models, which lie in a folder of their own that nothing else looks into.
bench-peers: .peers/.installed
	PYTHONPATH=.peers $(BIN)/python -m experiments.benchmark

.peers/.installed: requirements-peers.txt .venv/.installed
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --no-deps --target .peers -r requirements-peers.txt
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup
	$(BIN)/uv pip compile setup.cfg --extra dev --extra demo --universal --python-version 3.10 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file requirements.lock
