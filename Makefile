.PHONY: build demo test test-all test-deploy tools lint deny rust judges alerts dashboards pictures manifests chaos soak mutants proof bench bench-peers plots fuzz corpus audit sbom reproducible release test-release workflows fmt help

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

build: ## Builds the exporter for production: target/release/pinpoint-exporter
	cargo build --locked --release

demo: ## Runs the exporter against a fake Pinpoint on loopback, until Ctrl-C
	@demo/run

test: ## Runs the quick tests, before a pull request; 3 minutes once compiled; installs its tools (apt, pip into .venv)
	@tests/run --quick tools compile lint deny rust+judges+alerts+dashboards+manifests

test-all: ## Runs all tests, as CI does: also the slow ones, chaos, soak, shutdown and workflows; up to an hour the first time
	@tests/run tools tools_all compile lint deny rust+judges alerts+dashboards+manifests chaos soak shutdown workflows

test-deploy: ## Builds the images twice and runs them, alone and with compose.yaml, and runs the systemd unit; slow, needs root
	@tests/run tools tools_all deploy

tools: ## Installs the tools of all tests (apt, npm, Go, pip into .venv)
	@tests/run tools tools_all

lint: ## Checks formatting, lints, prose and links
	@tests/run lint

deny: ## Checks the licences, bans and sources of dependencies
	@tests/run deny

rust: ## Runs only the Rust tests
	@tests/run rust

judges: ## Tests with AWS's Python SDK, moto, promtool, curl, OpenSSL, gzip, Node, Go, Prometheus, and Chromium with axe-core
	@tests/run judges

alerts: ## Tests the alerts with promtool and amtool, and live with Prometheus and Alertmanager
	@tests/run alerts

dashboards: ## Tests the dashboards: Grafana's schema, every query live, panels drawn by Grafana's components
	@tests/run dashboards

pictures: ## Renews the README's pictures of the dashboards and of the status page; 7 minutes, needs pngquant
	@tests/run pictures

manifests: ## Tests the files of deploy: Helm, Kubernetes, Compose, systemd
	@tests/run manifests

chaos: ## Runs the exporter under random faults for CHAOS_SECONDS (60), with the seed CHAOS_SEED
	@tests/run chaos

mutants: ## Breaks the exporter in several ways, and checks that chaos finds each of them
	@tests/run mutants

soak: ## Simulates a month of 100,000 scrapes, and sends SIGTERM under load 200 times
	@CHAOS_SCRAPES=$${CHAOS_SCRAPES:-100000} CHAOS_ROUNDS=$${CHAOS_ROUNDS:-200} tests/run soak shutdown

proof: soak ## Runs soak, checks the limits that `plan` prints with 5,000 segments, and measures attacks on the port; takes minutes
	@tests/run proof

bench: ## Measures the exporter and compares it with its limits; run it on an idle machine; a quarter of an hour
	@tests/run bench

bench-peers: ## Compares the exporter with three programs that do the same with common libraries
	@tests/run tools bench_peers

plots: ## Copies target/bench.md and target/bench-peers.md into docs/BENCHMARKS.md, and draws its chart
	@tests/run tools plots

fuzz: ## Looks for inputs that break a property, a minute for each target (FUZZ_SECONDS, FUZZ_TARGETS)
	@tests/run tools fuzz

corpus: ## Adds the inputs that fuzzing found to fuzz/corpus, for the tests
	@tests/run corpus

audit: ## Looks for known vulnerabilities of dependencies in RustSec's database (ADVISORY_DB: a copy of its repository)
	@tests/run tools audit

sbom: ## Writes the exporter's bill of materials in CycloneDX: target/pinpoint-exporter.cdx.json
	@tests/run sbom

reproducible: ## Builds the release twice, in two folders, and compares the results
	@tests/run reproducible

release: ## Builds the files of a release in dist/: archives, packages, images, chart, bills of materials, checksums
	@tests/run release

test-release: ## Lints, installs, upgrades, removes and runs the files of dist/; needs root
	@tests/run tools tools_all packages

workflows: ## Lints the workflows of .github
	@tests/run tools workflows

fmt: ## Formats the code
	cargo fmt --all
