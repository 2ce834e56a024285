# Every target first creates its environment, .venv in this checkout.
# Only dependencies are installed, never the four packages: the code of this checkout runs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH := 2.13.0
PY := .venv/bin/python
STORAGE ?= runs
export PYTHONPATH :=
# Workers are processes of their own: without bytecode each would compile all modules again.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONSAFEPATH :=
# Libraries are limited to the instruction sets of two older processors, which round sums in another order.
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell
SSE4 := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem
TENSORS := tests/models tests/trainables/metrics -k "not warm and not new_weights"

.PHONY: venv demo test test-all test-numerics numerics-avx2 numerics-sse4 soak browser check fix bench clean
.DEFAULT_GOAL := demo

venv: .venv/.ready

# PyTorch is installed first and pinned: otherwise the resolver may choose gigabytes of CUDA wheels.
# Without a GPU, the CPU build comes from the configured pip index, else from PyTorch's own index.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade pip -c constraints.txt
	@if nvidia-smi -L >/dev/null 2>&1 || [ "$$(uname)" = Darwin ]; then \
	  $(PY) -m pip install --quiet "torch==$(TORCH)" -c constraints.txt; \
	else \
	  $(PY) -m pip install --quiet "torch==$(TORCH)+cpu" -c constraints.txt 2>/dev/null \
	  || $(PY) -m pip install --quiet "torch==$(TORCH)" -c constraints.txt --index-url https://download.pytorch.org/whl/cpu \
	       --extra-index-url https://pypi.org/simple; \
	fi
	$(PY) -m pip install --quiet --only-deps ".[test,dev]" -c constraints.txt
	@touch $@

demo: venv  ## the quickstart study, end to end
	$(PY) -m sweeps run sweeps/quickstart.yaml --storage $(STORAGE)

test: venv  ## the quick tests
	OMP_NUM_THREADS=1 timeout 1200 $(PY) -m pytest -n 2 --dist worksteal

test-all: test test-numerics browser  ## slow and fault tests as well; tests that measure times run one at a time
	OMP_NUM_THREADS=1 timeout 3000 $(PY) -m pytest -n 2 --dist loadgroup -m "slow and not alone and not gpu"
	timeout 600 $(PY) -m pytest -m "slow and alone and not gpu"

test-numerics: venv  ## tensor tests under the arithmetic of two older processors
	@$(MAKE) --no-print-directory -j 2 -O numerics-avx2 numerics-sse4

numerics-avx2:
	$(AVX2) OMP_NUM_THREADS=1 timeout 900 $(PY) -m pytest $(TENSORS)

numerics-sse4:
	$(SSE4) OMP_NUM_THREADS=1 timeout 900 $(PY) -m pytest $(TENSORS)

soak: venv  ## the fault tests with twenty kills each
	timeout 3600 $(PY) -m pytest -m slow tests/sweeps/run/test_faults.py --kills 20 -s

browser:  ## installs Debian's Chromium, for tests of the report and of MLflow's pages
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qqy install --no-install-recommends chromium; } \
	  || echo "no Chromium: the browser tests are skipped -> on Debian: apt-get install chromium"

check: venv  ## format, lint, types, import rules
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

fix: venv
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: venv  ## measurements with their targets, saved in benchmarks/results
	@failed=; for name in scale:240 spooling:60 decoding:120 training_step:240 cell_path:420 quickstart:1080 zero:1800 forecast:1800; do \
	  timeout $${name#*:} $(PY) -m benchmarks.$${name%:*} || failed="$$failed $${name%:*}"; echo; \
	done; test -z "$$failed" || { echo "target missed or failed:$$failed"; exit 1; }

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
