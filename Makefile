# `make demo` runs the main job, `make test` the tests; each sets up what it needs in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2
FUZZ_SECONDS ?= 1800

# The modules of the API reference: what an embedder, the author of a device or a store, or a client imports.
DOCUMENTED := chkpt chkpt.context chkpt.device chkpt.errors chkpt.grammar chkpt.machine.board chkpt.machine.config \
    chkpt.machine.run.loop chkpt.manager chkpt.prove chkpt.seal chkpt.service.http.client chkpt.snapshot chkpt.state \
    chkpt.store chkpt.testing

.PHONY: demo quick test test-long oracle reliability fuzz check bench coverage mutants format openapi messages cli-docs docs clean help

help:
	@echo "make demo       save a guest in mid-sector while it runs, kill it, load it in a new process, compare"
	@echo "make quick      run the tests that start no process and run no guest"
	@echo "make test       run the tests, but for those of make test-long"
	@echo "make test-long  run every cut of every trace, new examples of every property, and the other tests that take minutes"
	@echo "make oracle     hold 200,000 random commands with a live QEMU and compare every answer (ARGS=\"--seed random\")"
	@echo "make reliability  break files, memory and processes under it and write down what came of that; takes minutes;"
	@echo "                ARGS=\"saves --sample\" for one part, or for a quick look"
	@echo "make fuzz       fuzz the reader, the commands and every load with atheris; FUZZ_SECONDS=1800 for all of them together"
	@echo "make check      lint, types, import rules"
	@echo "make bench      print times beside their baselines"
	@echo "make coverage   run the tests and tell what they do not reach"
	@echo "make openapi    write the description of the API again, after a change of an operation or a field"
	@echo "make cli-docs   write docs/CLI.md again, after a change of a command or an option"
	@echo "make docs       build the API reference from the docstrings, into build/docs"
	@echo "make messages   write the golden files of all messages again, after a change of wording"
	@echo "make mutants    break the devices in thousands of ways and tell which the tests do not notice; takes an hour;"
	@echo "                FILES=devices/chkpt_devices/pic/chip.py for some files, WORKERS=1 for one at a time"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[guest]" --group dev
	touch $(READY)

demo: $(READY)
	$(BIN)/chkpt demo

# `make quick` also leaves out what imports a large library or cuts whole machines everywhere: a fifth of its time.
QUICK_IGNORES := tests/chkpt/service/test_fuzz.py tests/test_traces.py tests/test_invisible_restore.py

quick: $(READY)
	$(BIN)/pytest -n 2 -m "not long and not process and not guest" --hypothesis-profile chkpt-quick \
		$(addprefix --ignore=,$(QUICK_IGNORES))

test: $(READY)
	$(BIN)/pytest -n 2 -m "not long"

test-long: $(READY)
	$(BIN)/pytest -n 2 -m "long or hypothesis" --hypothesis-profile chkpt-long --timeout 3600 -o faulthandler_timeout=0

oracle: $(READY)
	$(BIN)/python -m tests.lab.oracle $(ARGS)

reliability: $(READY)
	$(BIN)/python -m tests.lab.reliability $(ARGS)

fuzz: $(READY)
	$(BIN)/python -m pip install --quiet --group fuzz
	$(BIN)/python -m tests.lab.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(READY)
	$(BIN)/python -m tests.lab.benchmarks

coverage: $(READY)
	$(BIN)/pytest -n 2 -m "not long" --cov --cov-report term-missing:skip-covered

messages: $(READY)
	$(BIN)/python -m tests.support.wording

mutants: $(READY)
	$(BIN)/python -m tests.lab.mutation --workers $(WORKERS) $(FILES)

format: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

cli-docs: $(READY)
	$(BIN)/python -m chkpt.cli.reference

docs: $(READY)
	$(BIN)/python -m pip install --quiet --group docs
	$(BIN)/python -W error -m pdoc --docformat google --output-directory build/docs $(DOCUMENTED)
	@echo "the API reference is build/docs/index.html"

openapi: $(READY)
	$(BIN)/python -m chkpt.service.api.openapi

clean:
	rm -rf $(VENV) .guests .oracle .pytest_cache .mypy_cache .ruff_cache .hypothesis mutants build/docs
