# Two commands do everything on a fresh machine with Python and make: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check install install-dev clean

demo: install  ## compare plain training, mixup and GenLabel on bundled data, and write report.html
	$(BIN)/vicinal compare iris --report report.html
	@echo "Open report.html in a browser: $(CURDIR)/report.html"

test: install-dev check  ## all checks and tests
	$(BIN)/python -m pytest

check: install-dev  ## what pre-commit runs: style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	@# Some tests read Fashion-MNIST, which Debian packages; without it they skip and say why.
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get install -qq -y dataset-fashion-mnist >/dev/null || true; fi
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e ".[dev]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) report.html
