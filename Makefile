.PHONY: build demo test tools lint rust judges chaos mutants soak proof fmt deny help

help: ## Lists the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

build: ## Builds the exporter for production: target/release/pinpoint-exporter
	cargo build --locked --release

demo: ## Runs the exporter against a fake Pinpoint on loopback, until Ctrl-C
	@demo/run

test: ## Everything that must hold: installs its tools, then lint, tests, judges; prints each step's time
	@tests/run tools lint rust judges chaos soak shutdown

tools: ## Installs what the tests need (apt, pip into .venv)
	@tests/run tools

lint: ## Formatting and lints
	@tests/run lint

rust: ## The Rust tests alone
	@tests/run rust

judges: ## The tests by AWS's Python SDK, by moto and by promtool
	@tests/run judges

chaos: ## The exporter under random faults, for CHAOS_SECONDS (60), from CHAOS_SEED
	@tests/run chaos

mutants: ## Breaks the exporter in listed ways, each of which chaos must find
	@tests/run mutants

soak: ## A month of 100,000 scrapes; SIGTERM under load, 200 times
	@CHAOS_SCRAPES=$${CHAOS_SCRAPES:-100000} CHAOS_ROUNDS=$${CHAOS_ROUNDS:-200} tests/run soak shutdown

proof: soak ## What takes minutes: soak, and the bounds that `plan` prints, held with five thousand segments
	@tests/run proof

fmt: ## Formats the code
	cargo fmt --all

deny: ## Licences, bans and sources of dependencies (needs cargo-deny)
	cargo deny --all-features check licenses bans sources
