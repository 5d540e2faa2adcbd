.PHONY: build demo test test-all test-deploy tools lint deny rust judges alerts dashboards pictures manifests chaos soak mutants proof bench bench-peers plots fuzz corpus audit sbom reproducible release test-release workflows fmt help

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

build: ## Builds the exporter for production: target/release/pinpoint-exporter
	cargo build --locked --release

demo: ## Runs the exporter against a fake Pinpoint on loopback, until Ctrl-C
	@demo/run

test: ## What to run before a pull request, in about 3 minutes once compiled; installs its tools (apt, pip into .venv)
	@tests/run --quick tools compile lint deny rust+judges+alerts+dashboards+manifests

test-all: ## What CI runs: all of `make test`, what it leaves out, chaos, soak, shutdown, workflows; up to an hour the first time
	@tests/run tools tools_all compile lint deny rust+judges alerts+dashboards+manifests chaos soak shutdown workflows

test-deploy: ## What takes long, as root: the images built twice and run, alone and as in compose.yaml; the unit run by systemd
	@tests/run tools tools_all deploy

tools: ## Installs what all the tests need (apt, npm, Go, pip into .venv)
	@tests/run tools tools_all

lint: ## Formatting, lints, prose and links
	@tests/run lint

deny: ## Licences, bans and sources of dependencies
	@tests/run deny

rust: ## The Rust tests alone
	@tests/run rust

judges: ## The tests by AWS's Python SDK, moto, promtool, curl, OpenSSL, gzip, Node, Go, Prometheus, and Chromium with axe-core
	@tests/run judges

alerts: ## The tests of the alerts: promtool, amtool, and live with Prometheus and Alertmanager
	@tests/run alerts

dashboards: ## The tests of the dashboards: Grafana's schema, every query live, panels drawn by Grafana's components
	@tests/run dashboards

pictures: ## Draws the README's pictures of the dashboards and of the status page anew, which takes 7 minutes (needs pngquant)
	@tests/run pictures

manifests: ## The tests of deploy: Helm, Kubernetes, Compose, systemd
	@tests/run manifests

chaos: ## The exporter under random faults, for CHAOS_SECONDS (60), from CHAOS_SEED
	@tests/run chaos

mutants: ## Breaks the exporter in listed ways, each of which chaos must find
	@tests/run mutants

soak: ## A month of 100,000 scrapes; SIGTERM under load, 200 times
	@CHAOS_SCRAPES=$${CHAOS_SCRAPES:-100000} CHAOS_ROUNDS=$${CHAOS_ROUNDS:-200} tests/run soak shutdown

proof: soak ## What takes minutes: soak; the bounds that `plan` prints, held with five thousand segments; a flood of passwords
	@tests/run proof

bench: ## The exporter beside its limits, on a machine with nothing else to do; a quarter of an hour
	@tests/run bench

bench-peers: ## The exporter beside three programs that do the same with common libraries
	@tests/run tools bench_peers

plots: ## Puts target/bench.md and target/bench-peers.md into docs/BENCHMARKS.md, and draws the growth
	@tests/run tools plots

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

release: ## The files of a release, in dist/: archives, packages, image, chart, bills of materials, checksums
	@tests/run release

test-release: ## As root: the files of dist/ linted, installed, upgraded, removed and run
	@tests/run tools tools_all packages

workflows: ## Lints the workflows of .github
	@tests/run tools workflows

fmt: ## Formats the code
	cargo fmt --all
