.PHONY: build demo test tools lint rust judges proof fmt deny help

help: ## Lists the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

build: ## Builds the exporter for production: target/release/pinpoint-exporter
	cargo build --locked --release

demo: ## Runs the exporter against a fake Pinpoint on loopback, until Ctrl-C
	@demo/run

test: ## Everything that must hold: installs its tools, then lint, tests, judges; prints each step's time
	@tests/run tools lint rust judges

tools: ## Installs what the tests need (apt, pip into .venv)
	@tests/run tools

lint: ## Formatting and lints
	@tests/run lint

rust: ## The Rust tests alone
	@tests/run rust

judges: ## The tests by AWS's Python SDK, moto, promtool, curl, OpenSSL and Prometheus
	@tests/run judges

proof: ## What takes minutes: the bounds that `plan` prints, held with five thousand segments; a flood of passwords
	@tests/run proof

fmt: ## Formats the code
	cargo fmt --all

deny: ## Licences, bans and sources of dependencies (needs cargo-deny)
	cargo deny --all-features check licenses bans sources
