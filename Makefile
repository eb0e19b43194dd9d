# The commands of this repository. `make` alone lists them.
# Needs a Rust toolchain, make, a C compiler and Python 3.11 or later.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Loom looks at every schedule with up to this many preemptions per thread.
LOOM_MAX_PREEMPTIONS ?= 3

# `make bench` passes these on, as ARGS="--quick --only lock".
ARGS ?=

# `make demo` counts the words below this directory.
DIR ?=

# The first Python on PATH that is recent enough.
find_python = for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; python=; done; \
	if [ -z "$$python" ]; then echo 'no Python 3.11 or later on PATH: install python3' >&2; exit 1; fi

# The test runner: nextest where it is installed, `cargo test` otherwise.
has_nextest := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
run_tests = $(if $(has_nextest),$(CARGO) nextest run --no-fail-fast,$(CARGO) test --no-fail-fast)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-crates test-docs check-machine lint tidy loom bench bench-build doc clean

help: ## list the targets
	@echo 'procession: process-based parallelism for Rust'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  make demo DIR=path     counts the words below path instead of the Python library'

demo: check-machine ## build in release mode, count words on a pool, then run the tour
	$(CARGO) build --release -p procession --features progress --example wordcount --example tour
	@directory='$(DIR)'; \
	if [ -z "$$directory" ]; then $(find_python); \
		directory=$$("$$python" -c 'import sysconfig; print(sysconfig.get_paths()["stdlib"])'); fi; \
	echo "counting the words below $$directory"; \
	'$(TARGET)/release/examples/wordcount' "$$directory"
	'$(TARGET)/release/examples/tour'

test: check-machine test-crates test-docs loom ## run every test: crates, crash points, examples, doctests, loom
	@echo 'all tests passed'

# Crash points do nothing until a test names one, so one build with all
# features serves the ordinary tests and the crash tests alike.
test-crates: check-machine
	$(CARGO) build --workspace --all-features --examples
	$(run_tests) --workspace --all-features

# A doctest is a program of its own: nextest leaves it to cargo.
test-docs: check-machine
	$(CARGO) test --doc --workspace --all-features

check-machine:
	@command -v $(firstword $(CARGO)) >/dev/null || { echo 'no cargo on PATH: install a Rust toolchain, 1.88 or later' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'no C compiler (cc) on PATH: install gcc or clang' >&2; exit 1; }
	@$(find_python)

lint: ## check formatting, lints, the loom build, documentation and the house rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	$(CARGO) clippy --workspace -- -D warnings
	RUSTFLAGS='--cfg procession_loom' $(CARGO) check -p procession-sync --tests --target-dir '$(TARGET)/loom'
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --all-features
	$(CARGO) run -q -p xtask -- tidy

tidy: ## rewrite the generated pages, then check the house rules
	$(CARGO) run -q -p xtask -- tidy --write

loom: ## check every algorithm of procession-sync under all schedules
	LOOM_MAX_PREEMPTIONS=$(LOOM_MAX_PREEMPTIONS) RUSTFLAGS='--cfg procession_loom' \
		$(CARGO) test --release -p procession-sync --test 'loom*' --target-dir '$(TARGET)/loom'

bench: ## measure beside the peers and the bare floors (medians and ratios)
	$(CARGO) run --release --manifest-path benches/Cargo.toml --target-dir benches/target -- $(ARGS)

bench-build:
	$(CARGO) build --release --manifest-path benches/Cargo.toml --target-dir benches/target

doc: ## build the documentation
	$(CARGO) doc --workspace --no-deps --all-features

clean: ## remove what was built
	$(CARGO) clean
