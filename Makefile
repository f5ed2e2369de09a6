# `make demo` shows the main job, `make test` passes the tests. Both need nothing but Python (3.10 or later) and make.
PYTHON ?= python3
JOBS ?= 2
DEMO := .venv-demo
TOX := .venv/bin/tox
COMMA := ,

.PHONY: demo test test-long bench clean

demo: $(DEMO)/.installed
	@echo "Installed: $$(du -sm $(DEMO) | cut -f1) MB on disk"
	$(DEMO)/bin/modelscope-ext demo

# pip leaves when its work is done, so that the size is that of the product.
$(DEMO)/.installed: setup.py requirements/core.txt requirements/demo.txt $(shell find modelscope_ext -type f -not -name '*.pyc')
	$(PYTHON) -m venv --clear $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c requirements/core.txt -c requirements/demo.txt ".[onnx]"
	$(DEMO)/bin/python -m pip uninstall --quiet --yes pip setuptools
	touch $@

$(TOX): requirements/tools.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c requirements/tools.txt tox
	touch $@

# `JOBS` environments at a time, the long ones first; each prints what it did when it is done. `make test SKIP_MS=1`
# leaves out the environment `ms`: MindSpore's libraries take 4 GB of disk.
test: $(TOX)
	$(TOX) run-parallel --parallel $(JOBS) --parallel-no-spinner -e lint,pt,core$(if $(SKIP_MS),,$(COMMA)ms),serve,scale,pt-cv,olah,type

# What takes longer: property tests over new examples, and tests marked `long`: faults of hubs, conversions of a
# gigabyte, a CUDA device where there is one. Then every reader is fuzzed for ten minutes.
test-long: $(TOX)
	HYPOTHESIS_PROFILE=search $(TOX) run -e core -- tests/utils tests/metadata tests/safety
	$(TOX) run -e core -- -m "long and not pt and not elsewhere" tests
	$(TOX) run -e pt -- -m "long and not light and not elsewhere" tests
	$(TOX) run -e scale -- -m "long and scale" tests/scale
	$(TOX) run -e serve -- -m "long and serve" tests/serve
	$(TOX) run -e ms -- -m "long and ms" tests
	$(TOX) run -e fuzz

bench: $(TOX)
	$(TOX) run -e bench

clean:
	rm -rf $(DEMO) .venv .tox build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
