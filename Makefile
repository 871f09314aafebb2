# What a contributor types. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help setup build test compose-test lint deny demo bench algorithms faults fuzz clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Fetch Envoy and Redis into .tools/, unless they are there
	@scripts/setup

build:
	@cargo build --workspace --locked

test: setup build ## Every test, against the real Redis and Envoy
	TOLLGATE_REQUIRE_REAL=1 cargo test --workspace --locked

compose-test: ## compose.yaml in a Docker engine; says so where there is none
	@scripts/compose-test

lint: ## Format and clippy, as CI wants them
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

deny: ## Licences, doubled versions, sources and known holes of the dependencies
	@scripts/deny

demo: setup ## Three Envoy nodes: naive against Tollgate, under the same load
	@cargo build --release --workspace --locked
	@target/release/lab demo

bench: setup ## What a decision costs, beside what else could be asked; under 15 minutes
	@cargo build --release --workspace --locked
	@target/release/lab bench

algorithms: setup ## Token bucket, sliding log and fixed window: memory, CPU, and what they admit
	@cargo build --release --workspace --locked
	@target/release/lab algorithms

faults: setup ## Break everything, and measure what was promised for it; about 20 minutes
	@scripts/setup faketime
	@cargo build --release --workspace --locked
	@target/release/lab faults

fuzz: ## Hostile bytes for the configuration, requests and replies, for a minute
	@scripts/fuzz

clean: ## Remove what was built and fetched
	cargo clean
	rm -rf .tools
