PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# TensorFlow has much to say of machines without a GPU; its errors reach Python anyway.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test test-fast test-long bad-input lint format lock compat torch jax addons oracles bench clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"deml_tf needs Python 3.11 to 3.13, but {sys.executable} is {v[0]}.{v[1]}: call make PYTHON=python3.11 (or 3.12, 3.13)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## draw Plumage, train U512 and DeML on it, write their reports (ten minutes)
	$(BIN)/python -m deml_tf.train --flagfile=configs/plumage_u512.cfg
	$(BIN)/python -m deml_tf.train --flagfile=configs/plumage.cfg
	$(BIN)/python -m deml_tf.compare --output=runs/plumage.html runs/plumage_u512 runs/plumage

test: $(STAMP) ## every test, two at a time (twenty minutes)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

test-fast: $(STAMP) ## the quick tests alone
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not long"

test-long: $(STAMP) ## what confirms on more and larger cases (an hour)
	$(BIN)/python -m pytest -q -s -m long

bad-input: $(STAMP) ## write tests/BAD_INPUT.md anew, of what the commands must say
	WRITE_BAD_INPUT=1 $(BIN)/python -m pytest -q tests/bad_input

lint: $(STAMP) ## lint, format and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(STAMP) ## mend what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMP) ## resolve setup.cfg anew into requirements.lock, and the other locks
	$(BIN)/uv pip compile setup.cfg --universal --python-version 3.11 --extra pretrained --extra vit --extra client --extra litert --extra onnx --extra bulk --extra formats --extra search --extra dev --generate-hashes --no-header --quiet --upgrade --custom-compile-command "make lock" -o requirements.lock
	printf 'tensorflow-cpu==2.15.1\nnumpy<2\npillow\n' | $(BIN)/uv pip compile - --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --upgrade -o requirements-compat.lock
	printf 'torch\nkeras==3.15.1\npytorch-metric-learning\nopencv-python-headless\n' | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --upgrade -o requirements-torch.lock
	printf 'jax\nkeras==3.15.1\n' | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --upgrade -o requirements-jax.lock
	printf 'tensorflow-cpu==2.15.1\ntensorflow-addons==0.23.0\nnumpy<2\n' | $(BIN)/uv pip compile - --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --upgrade -o requirements-addons.lock

.venv-compat/.installed: requirements-compat.lock
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"TensorFlow 2.15 is tried with Python 3.11, but {sys.executable} is {v[0]}.{v[1]}: call make compat PYTHON=python3.11")'
	$(PYTHON) -m venv .venv-compat
	.venv-compat/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-compat.lock
	@touch $@

compat: $(STAMP) .venv-compat/.installed ## run exports in TensorFlow 2.15.1 (RUN=runs/mine: that run's as well)
	COMPAT_RUN=$(RUN) $(BIN)/python -m pytest -q -s tests/serving/test_compat.py

.venv-torch/.installed: requirements-torch.lock
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-torch.lock
	@touch $@

torch: .venv-torch/.installed ## PyTorch in an environment of its own, for bench and tests to compare with

.venv-jax/.installed: requirements-jax.lock
	$(PYTHON) -m venv .venv-jax
	.venv-jax/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-jax.lock
	@touch $@

jax: .venv-jax/.installed ## JAX in an environment of its own, for the losses' tests

.venv-addons/.installed: requirements-addons.lock
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"TensorFlow Addons ended with Python 3.11, but {sys.executable} is {v[0]}.{v[1]}: call make addons PYTHON=python3.11")'
	$(PYTHON) -m venv .venv-addons
	.venv-addons/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-addons.lock
	@touch $@

addons: .venv-addons/.installed ## TensorFlow Addons in an environment of its own, for oracles

oracles: $(STAMP) .venv-torch/.installed .venv-addons/.installed ## compare the losses with those of Addons and pytorch-metric-learning
	$(BIN)/python -m pytest -q -s -m long tests/losses/test_oracles.py

bench: $(STAMP) ## every benchmark, with PyTorch's if `make torch` was run (an hour)
	$(BIN)/python -m benchmarks --json=benchmarks.json

clean: ## remove the environment (runs and data stay)
	rm -rf .venv .venv-compat .venv-torch .venv-jax .venv-addons build *.egg-info
