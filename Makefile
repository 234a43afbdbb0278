# make demo: from nothing to a trained model on the embedded sample dataset.
# make test: the whole test suite and the linters (mypy beside the tests). Both create .venv and install on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE := 1

.PHONY: demo test install clean

install: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml $(wildcard featurestore/_*.[ch] linker/_*.c)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-compile --editable ".[train,encode,dev]"
	$(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || true  # on all cores; pip uses one
	touch $@

demo: install
	rm -rf demo
	$(BIN)/drin-fs sample demo/raw
	$(BIN)/drin-fs ingest demo/raw -o demo/sample.h5 --boxes demo/raw/boxes \
	    --text-encoder demo/raw/encoders/bert \
	    --image-encoder demo/raw/encoders/resnet \
	    --clip demo/raw/encoders/clip
	$(BIN)/drin-fs inspect demo/sample.h5
	$(BIN)/drin-fs train demo/sample.h5 --model text -o demo/runs/text --epochs 10
	$(BIN)/drin-fs train demo/sample.h5 --model drin -o demo/runs/drin --epochs 10
	$(BIN)/drin-fs report demo/runs/text demo/runs/drin

test: install
	$(BIN)/python -m compileall -qq -j 0 cli featurestore linker benchmarks tests  # hundreds of processes import them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/mypy > $(VENV)/mypy.txt & types=$$!; \
	$(BIN)/pytest -q -n 2 --dist worksteal; tests=$$?; \
	wait $$types; types=$$?; cat $(VENV)/mypy.txt; exit $$((tests | types))

clean:
	rm -rf demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache
