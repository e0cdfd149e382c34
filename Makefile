# Two commands do everything on a fresh machine: make run, make test.

.PHONY: help setup build run dev test lint test-rust test-browser simulate fuzz trust bench screenshot clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## Bring the tools that building needs; skips what is there
	@scripts/setup.sh build

build: setup ## Build the program (target/release/noom) and the site (target/site)
	@scripts/build.sh

run: build ## Build, then serve at 127.0.0.1:3000; ARGS="--listen 0.0.0.0:8080" adds flags
	@exec target/release/noom $(ARGS)

dev: setup ## Serve, and rebuild and reload on every change
	@scripts/with-tools.sh cargo leptos watch

test: ## Run every test: lints, Rust, browsers
	@scripts/setup.sh test
	@scripts/test.sh lint rust browser

lint: setup ## Only formatting and lints
	@scripts/test.sh lint

test-rust: setup ## Only the Rust tests
	@scripts/test.sh rust

test-browser: ## Only the browser tests; ARGS="-g name" chooses
	@scripts/setup.sh test
	@scripts/test.sh browser $(ARGS)

simulate: setup ## Break network, disk and server by chance and check every promise; SEEDS=10000 FROM=0
	@NOOM_SIMULATE_SEEDS=$(or $(SEEDS),10000) NOOM_SIMULATE_FROM=$(or $(FROM),0) \
		scripts/with-tools.sh cargo test --locked --release --test simulate whatever_breaks -- --nocapture

fuzz: setup ## Look for input that breaks something; SECONDS=60 for each target, TARGETS="frames names" chooses
	@scripts/fuzz.sh "$(or $(SECONDS),60)" $(TARGETS)

trust: ## Run what depends on chance for long, and write the figures into TRUST.md; SEEDS=10000 CUTS=2000
	@scripts/setup.sh build
	@SEEDS=$(SEEDS) CUTS=$(CUTS) scripts/trust.sh

bench: setup ## Measure Noom beside others, write BENCHMARKS.md; QUICK=1: a first look, GOAL=F2: one goal
	@QUICK="$(QUICK)" GOAL="$(GOAL)" scripts/bench.sh

screenshot: ## Make the README's screenshot anew
	@scripts/setup.sh test
	@scripts/build.sh
	@cd end2end && ../scripts/with-tools.sh node screenshot.mjs

clean: ## Remove everything that was built here
	rm -rf target benches/browser/node_modules benches/peers/node_modules benches/peers/*/node_modules \
		benches/peers/next/.next benches/peers/sveltekit/build benches/peers/sveltekit/.svelte-kit end2end/node_modules end2end/test-results end2end/playwright-report
