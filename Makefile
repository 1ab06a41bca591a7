PYTHON ?= python3
LAB_FLAGS ?=
LOCK_FLAGS ?=
BIN := .venv/bin
ONLY ?= $(patsubst notebooks/source/%.py,%,$(wildcard notebooks/source/*.py notebooks/source/exercises/*.py))

.PHONY: help setup dev lab test test-colab lint notebooks figures site lock address bench bench-full bench-gpu

help:
	@echo "Learn"
	@echo "  make lab        set up, prepare the data, open the first lesson in JupyterLab"
	@echo "                  (options: PYTHON=python3.12, LAB_FLAGS=\"--no-browser --port 8899\")"
	@echo "Edit"
	@echo "  make notebooks  run the notebooks from their texts and store them (ONLY=03_dense_block for one,"
	@echo "                  ONLY=exercises/03_dense_block for an exercise)"
	@echo "  make figures    draw the pictures of README and lessons again"
	@echo "  make site       build the website from the stored notebooks into site/"
	@echo "Check"
	@echo "  make test       set up, prepare the data, run everything CI runs"
	@echo "  make test-colab run lessons 00 to 06 with the packages that Colab has"
	@echo "  make lint       ruff only"
	@echo "Measure"
	@echo "  make bench      measure speed and memory in a few minutes (bench-full: all of it, for hours)"
	@echo "  make bench-gpu  test and measure on a CUDA GPU, in under ten minutes; goes on where it was stopped"
	@echo "Maintain"
	@echo "  make setup      set up .venv and the data, nothing else (make dev: with the tools of tests and website)"
	@echo "  make lock       bring requirements.lock up to date with pyproject.toml (LOCK_FLAGS=--upgrade for new versions)"
	@echo "  make address    write the course's address and version, of pyproject.toml, wherever else they stand"

setup:
	@$(PYTHON) bootstrap.py

dev:
	@$(PYTHON) bootstrap.py --dev

lab: setup
	@$(BIN)/jupyter lab --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb \
	    $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_FLAGS)

test: dev
	@$(BIN)/python tests/run_all.py

test-colab: dev
	@$(BIN)/python tests/colab.py

lint: | $(BIN)
	@$(BIN)/python tests/run_all.py ruff

figures: | $(BIN)
	$(BIN)/python -m densenet_course.figures

# Stored outputs are shown, nothing is executed. Every warning is an error.
site: dev
	@$(BIN)/python -m sphinx -q -W --keep-going docs site
	@echo "site/index.html"

bench bench-full: dev
	@$(BIN)/python benchmarks/bench.py $(patsubst bench-%,--%,$(filter-out bench,$@))

bench-gpu: dev
	@$(BIN)/python benchmarks/gpu.py

lock:
	@$(PYTHON) lock.py $(LOCK_FLAGS)

address: | $(BIN)
	@$(BIN)/python address.py

notebooks: $(addprefix run-,$(ONLY))

# Text → notebook → executed notebook; the old one is replaced only when every cell has run. What a cell prints is one
# output, however it happened to arrive.
EXECUTE = $(BIN)/jupyter nbconvert --log-level WARN --to notebook --execute --inplace \
    --ExecutePreprocessor.timeout=900 --ExecutePreprocessor.record_timing=False
COALESCE = $(BIN)/jupyter nbconvert --log-level WARN --to notebook --inplace --coalesce-streams

run-%: notebooks/source/%.py | $(BIN)
	@echo "executing $<"
	@test ! -f notebooks/$*.ipynb || cp notebooks/$*.ipynb notebooks/.draft-$*.ipynb
	@$(BIN)/jupytext --quiet --to ipynb --update --set-kernel python3 --output notebooks/.draft-$*.ipynb $<
	@$(EXECUTE) notebooks/.draft-$*.ipynb
	@$(COALESCE) notebooks/.draft-$*.ipynb
	@$(BIN)/python notebooks/fold.py notebooks/.draft-$*.ipynb
	@mv notebooks/.draft-$*.ipynb notebooks/$*.ipynb

# Of an exercise two notebooks are made: the student's by nbgrader, without the solution, and the solution, executed.
run-exercises/%: notebooks/source/exercises/%.py | $(BIN)
	@echo "executing $<"
	@$(BIN)/python -m densenet_course.cli.masters $*
	@$(EXECUTE) notebooks/solutions/.draft-$*.ipynb
	@$(COALESCE) notebooks/solutions/.draft-$*.ipynb
	@mv notebooks/solutions/.draft-$*.ipynb notebooks/solutions/$*.ipynb

$(BIN):
	@$(PYTHON) bootstrap.py --dev
