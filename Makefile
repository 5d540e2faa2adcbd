.PHONY: build demo test tools lint deny rust judges proof fuzz corpus audit sbom reproducible fmt help

help: ## Lists the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

build: ## Builds the exporter for production: target/release/pinpoint-exporter
	cargo build --locked --release

demo: ## Runs the exporter against a fake Pinpoint on loopback, until Ctrl-C
	@demo/run

test: ## Everything that must hold: installs its tools, then lint, deny, tests, judges; prints each step's time
	@tests/run tools lint deny rust judges

tools: ## Installs what the tests need (apt, pip into .venv, npm)
	@tests/run tools

lint: ## Formatting and lints
	@tests/run lint

deny: ## Licences, bans and sources of dependencies
	@tests/run deny

rust: ## The Rust tests alone
	@tests/run rust

judges: ## The tests by AWS's Python SDK, moto, promtool, Chromium with axe-core, curl, OpenSSL and Prometheus
	@tests/run judges

proof: ## What takes minutes: the bounds that `plan` prints, held with five thousand segments; a flood of passwords
	@tests/run proof

fuzz: ## Looks for inputs that break what must hold, a minute for each target (FUZZ_SECONDS, FUZZ_TARGETS)
	@tests/run tools fuzz

corpus: ## Keeps what fuzzing found for the tests
	@tests/run corpus

audit: ## Known vulnerabilities of dependencies, by RustSec's database (ADVISORY_DB: a copy of its repository)
	@tests/run tools audit

sbom: ## What the exporter is made of, in CycloneDX: target/pinpoint-exporter.cdx.json
	@tests/run sbom

reproducible: ## Builds the release twice, in two folders, and compares
	@tests/run reproducible

fmt: ## Formats the code
	cargo fmt --all
