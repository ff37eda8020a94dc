# Everything runs in .venv, made on first use from requirements.txt.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export NO_MKDOCS_2_WARNING := 1

.PHONY: help serve build zensical test lint pyodide bench bench-speed bench-build measure font lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(READY): requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

serve: $(READY) ## run the snippets and serve the site with live reload
	$(BIN)/mkdocs serve --livereload

build: $(READY) ## run the snippets and write the site to site/
	$(BIN)/mkdocs build --strict

zensical: $(READY) ## build the same pages with Zensical, to .cache/plain/site/
	$(BIN)/python -m builder expand .cache/plain
	PYTHONPATH=. $(BIN)/zensical build --config-file .cache/plain/mkdocs.yml

test: $(READY) ## run every test
	$(BIN)/python -m pytest

lint: $(READY) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

pyodide: $(READY) ## fetch Python for the browser, which the tests of live code need
	$(BIN)/python -m tests.fetch_pyodide

bench: bench-speed bench-build ## both of the following

bench-speed: $(READY) ## time simulators and sketches against other packages, which pip fetches to .cache/bench
	$(BIN)/python benchmarks/speed.py

bench-build: $(READY) ## time builds against the plain theme, then against other builders on the same chapters
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/build.py --peers

bench-predict: $(READY) ## hold the step model against a public predictor on published runs; takes a quarter of an hour
	$(BIN)/python benchmarks/predictor.py

measure: $(READY) ## run the real servers and models again and rewrite their records under measurements/
	$(BIN)/python -m serving_mathematics.capacity.overload_measurement
	$(BIN)/python -m serving_mathematics.definitions.coordinated_omission
	$(BIN)/python -m serving_mathematics.architecture.wire_measurement
	$(BIN)/python -m serving_mathematics.architecture.token_stream_measurement
	$(BIN)/python -m serving_mathematics.architecture.routing_measurement
	$(BIN)/python -m serving_mathematics.optimization.onnx_latency_measurement
	$(BIN)/python -m serving_mathematics.optimization.onnx_quantization_measurement
	$(BIN)/python -m serving_mathematics.reference.coverage_measurement
	$(BIN)/python -m serving_mathematics.reference.scale_out_measurement
	$(BIN)/python -m serving_mathematics.machine.calibration

font: build ## cut the formula font to the characters the site uses
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "fonttools>=4.60,<5" "brotli>=1.1,<2" "ziamath>=0.13,<1"
	$(BIN)/python -m builder.fonts

lock: ## resolve the ranges of pyproject.toml into requirements.txt
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check '.[docs,serve,models,scale,test,lint]'
	.venv-lock/bin/python -m pip freeze --exclude serving-mathematics > requirements.txt
	rm -rf .venv-lock build *.egg-info

clean: ## remove everything that was built, the cache included
	rm -rf site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
