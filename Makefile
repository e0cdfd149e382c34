# Two commands do everything on a fresh machine: make run, make test.

.PHONY: help setup build run dev test lint format test-rust test-browser simulate fuzz trust bench screenshot clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## Install the tools that building needs, if they are missing
	@scripts/setup.sh build

run: setup ## Build quickly and serve at 127.0.0.1:3000; ARGS="--listen 0.0.0.0:8080" adds flags
	@exec scripts/run.sh $(ARGS)

build: setup ## Build the release: target/release/noom and the site in target/site
	@scripts/build.sh release

dev: ## Serve, and rebuild and reload the page on every change
	@scripts/setup.sh dev
	@# cargo-leptos replaces the release's site, which is then no longer complete.
	@rm -f target/release/.built
	@scripts/with-tools.sh node scripts/emoji.mjs public
	@scripts/with-tools.sh cargo leptos watch --split

test: ## Run every test: lints, Rust, browsers
	@scripts/test.sh setup lint rust browser

lint: ## Only check formatting, prose, spelling, dependencies, lints and documentation
	@scripts/setup.sh lint
	@scripts/test.sh lint

format: setup ## Format Rust, TypeScript, JavaScript and CSS
	@for manifest in Cargo.toml fuzz/Cargo.toml scripts/wasm/Cargo.toml; do \
		scripts/with-tools.sh cargo fmt --manifest-path $$manifest || exit; done
	@scripts/with-tools.sh biome check --write .

test-rust: setup ## Only the Rust tests
	@scripts/setup.sh test-rust
	@scripts/test.sh rust

test-browser: ## Only the browser tests; ARGS="-g name" selects tests
	@scripts/setup.sh test
	@scripts/test.sh browser $(ARGS)

simulate: setup ## Deterministic simulation with faults in network, disk and server; SEEDS=10000 FROM=0
	@NOOM_SIMULATE_SEEDS=$(or $(SEEDS),10000) NOOM_SIMULATE_FROM=$(or $(FROM),0) \
		scripts/with-tools.sh cargo test --locked --release --test simulate promises_hold_under_random_faults -- --nocapture

fuzz: setup ## Fuzz every parser of untrusted input; SECONDS=60 per target, TARGETS="frames names" selects
	@scripts/fuzz.sh "$(or $(SECONDS),60)" $(TARGETS)

trust: ## Run the randomized tests for long and write their figures into TRUST.md; SEEDS=10000 CUTS=2000
	@scripts/setup.sh trust
	@SEEDS=$(SEEDS) CUTS=$(CUTS) scripts/trust.sh

bench: setup ## Benchmark Noom and its peers, write BENCHMARKS.md; QUICK=1 prints only, GOAL=F2 selects, AGAINST=path compares two builds
	@QUICK="$(QUICK)" GOAL="$(GOAL)" AGAINST="$(AGAINST)" scripts/bench.sh

screenshot: ## Take the README's screenshots again
	@scripts/setup.sh test
	@scripts/build.sh release
	@cd end2end && ../scripts/with-tools.sh node screenshot.mjs

clean: ## Remove everything that was built in this checkout
	rm -rf target benches/browser/node_modules benches/peers/node_modules benches/peers/*/node_modules \
		benches/peers/next/.next benches/peers/sveltekit/build benches/peers/sveltekit/.svelte-kit \
		end2end/node_modules end2end/test-results end2end/playwright-report
