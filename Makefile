# What a developer types. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# Builds go where cargo puts them.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help demo dev bench test test-console check chaos soak dist \
	fire fire-poison fire-cluster fire-outage fire-restarts fire-backlog fire-timing

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
		while IFS=$$'\t' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

demo: ## Build it and watch a month of a creator's traffic arrive; nothing else is needed
	cargo build --release --locked -p treehook
	"$(TARGET)/release/treehook" demo

dev: ## Run it from source in embedded mode, with a secret of its own unless you set one
	secret="$${TREEHOOK_LINKTREE_SECRET:-$$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}"; \
	echo "Send it something: cargo run -p treehook -- simulate --url http://127.0.0.1:8080 --source linktree" \
		"--secret $$secret --events 100" >&2; \
	TREEHOOK_LINKTREE_SECRET="$$secret" cargo run -p treehook -- serve

test: ## Run every test, against a RabbitMQ and a Postgres of its own, and check deploy/
	deploy/check.sh
	tests/servers/with.sh cargo test --workspace --locked --quiet

test-console: ## Test the dashboard in a browser, and the API against its OpenAPI document; installs what that needs
	cargo test --workspace --locked --quiet --no-run
	tests/browser/test.sh "$(TARGET)/debug"

# What a server with a machine of its own is set to, and no checkpoint within a run: neither for ours nor for what it
# is compared to.
bench: export TREEHOOK_TEST_POSTGRES = shared_buffers=1GB max_wal_size=8GB checkpoint_timeout=30min
# As RabbitMQ comes: whenever its log is full it moves it into segments, and all that is published waits meanwhile.
bench: export RABBITMQ_CONF_LINES = raft.wal_max_size_bytes = 536870912
bench: ## Measure every stage beside a reference: ONLY=ingest,worker picks, ROUNDS, EVENTS and ARCHIVE scale
	tests/servers/with.sh env ONLY="$(ONLY)" cargo bench --locked --quiet -p treehook --bench pipeline

check: ## Run formatter, linter and dependency rules, without running any code
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny --locked --log-level error check bans licenses sources; \
		else echo 'cargo-deny is not installed, dependency rules are unchecked: cargo install --locked cargo-deny' >&2; fi
	@if command -v cargo-machete >/dev/null; then cargo machete; \
		else echo 'cargo-machete is not installed, unused dependencies are unchecked: cargo install --locked cargo-machete' >&2; fi

# The servers that other tests share are not started: a storm has its own. The names are never connected to.
storm = TREEHOOK_TEST_AMQP_URL=none TREEHOOK_TEST_DATABASE_URL=none \
	TREEHOOK_CHAOS_SEED="$(1)" TREEHOOK_CHAOS_MINUTES="$(2)" TREEHOOK_CHAOS_BATCH="$(BATCH)" \
	tests/servers/with.sh cargo test --locked --quiet -p treehook --test chaos asked_for -- --nocapture

SEED ?= 1
MINUTES ?= 5
BATCH ?= 3
chaos: ## Kill, cut and stall everything under traffic, then prove every count: SEED=1 MINUTES=5 BATCH=3
	$(call storm,$(SEED),$(MINUTES))

soak: ## The same for an hour, with a seed that is printed
	$(call storm,$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '),60)

# Each has servers of its own, and says what it measured.
under_fire = TREEHOOK_TEST_AMQP_URL=none TREEHOOK_TEST_DATABASE_URL=none TREEHOOK_FIRE_MINUTES="$(MINUTES)" \
	tests/servers/with.sh cargo test --locked --quiet -p treehook --test fire $(1) -- --ignored --nocapture

fire: fire-poison fire-cluster fire-outage fire-restarts fire-timing fire-backlog ## Run the tests that are too long for `make test`: an hour

fire-poison: ## Let one event kill every worker that takes it, and find it as a dead letter
	tests/servers/with.sh cargo test --locked --quiet -p treehook --features test-hooks --test poison -- --nocapture

fire-cluster: ## Lose one of three RabbitMQ nodes under traffic: killed, cut off, hung
	$(call under_fire,nodes::)

fire-outage: MINUTES = 10
fire-outage: ## Stop Postgres under traffic while RabbitMQ waits 30 s for acknowledgements: MINUTES=10
	$(call under_fire,outage::)

fire-restarts: ## Restart RabbitMQ a hundred times under traffic, and time each recovery
	$(call under_fire,restarts::)

fire-timing: ## Measure whether a refusal's time tells how much of a signature is right
	$(call under_fire,timing::)

fire-backlog: MINUTES = 10
fire-backlog: ## Stop RabbitMQ at 500 deliveries/s, and time the answers and the making up: MINUTES=10
	cargo build --release --locked -p treehook
	TREEHOOK_TEST_BIN="$(abspath $(TARGET))/release/treehook" $(call under_fire,backlog::)

dist: ## Build the release tarball into dist/
	cargo build --release --locked -p treehook
	deploy/dist.sh "$(TARGET)/release/treehook"
