# `make train` and `make test` need Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: train test bench results readme fuzz kill mutate mutate-cuda gpu gates clean

train: $(VENV)/.train
	$(BIN)/scratchnn train lenet --epochs 3 --seed 0

test: $(VENV)/.test
	$(BIN)/pytest -q -n auto

bench: $(VENV)/.bench     # against PyTorch, half an hour on two cores; .venv/bin/scratchnn-bench --help for less
	$(BIN)/scratchnn-bench --against torch

results: $(VENV)/.train   # the numbers that the README quotes: five trainings, a quarter of an hour on two cores
	$(BIN)/scratchnn train lenet --seeds 5 --out runs/lenet-results --results results/lenet.json

readme: $(VENV)/.train    # its table and pictures, from results/ and the run of `make results`
	$(BIN)/python docs/generate.py --run runs/lenet-results/seed-0
	$(BIN)/python docs/museum.py

fuzz: $(VENV)/.test       # a million hostile files for each reader, four to six minutes
	$(BIN)/python tests/fuzz.py --inputs 1000000

kill: $(VENV)/.test       # 200 times kill -9 while checkpoints are written
	$(BIN)/python tests/kill.py --kills 200

mutate: $(VENV)/.test     # every small fault in kernels, layers, losses and optimizers: does a test see it?
	$(BIN)/python tests/mutate.py --jobs 2 --results results/mutation.json

mutate-cuda: $(VENV)/.test  # the same for the CUDA kernels, emulated and compiled: about two hours on one core
	$(BIN)/python tests/mutate_cuda.py --results results/cuda-mutation.json

# On a machine with an NVIDIA GPU and the CUDA toolkit: the kernels' tests, and compute-sanitizer's four tools over them.
CUDA ?= 13
gpu: export SCRATCHNN_REQUIRE_GPU = 1
gpu: $(VENV)/.test
	$(PIP) -e '.[dev,cuda$(CUDA)]'
	$(BIN)/scratchnn doctor
	$(BIN)/pytest -q -m gpu
	for tool in memcheck racecheck initcheck synccheck; do \
	    SCRATCHNN_NO_POOL=1 compute-sanitizer --tool $$tool --error-exitcode 1 \
	        $(BIN)/python -m pytest -q -m gpu --timeout 0 tests/test_gpu.py || exit 1; \
	done

gates: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python docs/museum.py --check

clean:
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[bench]'
	touch $@ $(VENV)/.train

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/.train
