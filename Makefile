# Commands for contributors. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build test kinds compose-test page-test gateway-test istio-test manifests manifests-test alerts-test lint deny demo bench algorithms faults fuzz image release release-pgo clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Fetch Envoy and Redis into .tools/, unless they are installed
	@scripts/setup

build:
	@cargo build --workspace --locked

test: setup build ## Run every test against the real Redis, Envoy and nginx
	@scripts/setup nginx
	TOLLGATE_REQUIRE_REAL=1 cargo test --workspace --locked

kinds: setup build ## Run the tests that depend on Redis on Redis 6.2, Redis 8.2 and Valkey 9.1
	@scripts/test-kinds

compose-test: ## Test compose.yaml in a Docker engine; skipped with a message if there is none
	@scripts/compose-test

page-test: setup build ## Test the live page in a headless Chromium; skipped with a message if there is none
	@scripts/page-test

gateway-test: ## Test with a real Envoy Gateway, built by Go; skipped with a message if there is none
	@scripts/gateway-test

istio-test: ## Test deploy/istio with a real istiod, built by Go; skipped with a message if there is none
	@scripts/istio-test

manifests: ## Render and check deploy/: the chart, manifests, alerts; names what it skips, for example without Go
	@scripts/manifests

alerts-test: ## Check the alert rules by promtool, and how they behave; says what it skips
	@scripts/alerts-test

manifests-test: ## See `make manifests` fail at a typo of each kind
	@scripts/manifests-test

lint: ## Check the format and run clippy, as CI does
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

deny: ## Check dependencies: licences, duplicate versions, sources, known vulnerabilities
	@scripts/deny

demo: setup ## Compare three Envoy nodes with and without Tollgate under the same load
	@cargo build --release --workspace --locked
	@target/release/lab demo

bench: setup ## Measure what a decision costs, compared with alternatives; under 20 minutes
	@cargo build --release --workspace --locked
	@target/release/lab bench

algorithms: setup ## Compare token bucket, sliding log and fixed window: memory, CPU, what they admit
	@cargo build --release --workspace --locked
	@target/release/lab algorithms

faults: setup ## Inflict every fault and check what is promised for it; about 22 minutes
	@scripts/setup faketime
	@cargo build --release --workspace --locked
	@target/release/lab faults

fuzz: ## Fuzz the configuration, requests, replies and rules by xDS for a minute
	@scripts/fuzz

image: ## Build the image with its version as tag: make image VERSION=0.1.0
	@scripts/image "$(VERSION)" "$(PLATFORM)"

release: ## Make the archive of a release for x86-64 Linux, and its checksum, in target/dist/
	@scripts/release

release-pgo: setup ## Build with a profile of the bench's load, in target/pgo/; needs llvm-profdata
	@scripts/release-pgo

clean: ## Remove everything that was built or fetched
	cargo clean
	rm -rf .tools
