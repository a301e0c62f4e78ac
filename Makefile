# KalamDB. A Rust toolchain on Debian or Ubuntu is enough: the targets install what else they need, and say what.
#
#   make run     builds the server and runs it in the foreground, with its data in ./data
#   make test    every layer of tests, with each one's time
#   make bench   the same work by KalamDB and by PostgreSQL, as ratios
#   make soak    the randomised layers for an hour
#   make fuzz    the parser, the binder, the types' input and the protocol, a minute each with inputs that are made up
#   make regress PostgreSQL's own regression scripts on both servers: the share of equal answers (not part of make test)
#
# Running, testing and benchmarks share one build profile, so that dependencies are compiled once.

.PHONY: run test bench soak fuzz regress

run:
	@scripts/need run
	@# The whole workspace decides which features dependencies have, so that this build and the tests' are one.
	cargo build --workspace --bin kalamdb-server
	@exec "$${CARGO_TARGET_DIR:-target}/debug/kalamdb-server" --data-dir ./data

test:
	@scripts/need test
	@scripts/layers

bench:
	@scripts/need bench
	@echo 'Built as for the tests: profile dev, dependencies at opt-level 3, ours at 2 with assertions.'
	cargo build --workspace --bin kalamdb-server --bin kalamdb-benches
	@"$${CARGO_TARGET_DIR:-target}/debug/kalamdb-benches"

soak:
	@scripts/need test
	cargo build --workspace
	KALAMDB_CRASH_ROUNDS=1000 timeout 3600 cargo test --workspace --test crash -- --nocapture
	KALAMDB_RANDOM_SEED=0 KALAMDB_RANDOM_QUERIES=100000 cargo test --workspace --test random -- --nocapture
	KALAMDB_SQLSMITH_SEED=0 KALAMDB_SQLSMITH_QUERIES=20000 cargo test --workspace --test sqlsmith -- --nocapture

fuzz:
	@scripts/need run
	@# One after the other, so that each has the machine for its minute.
	KALAMDB_FUZZ_SECONDS=60 KALAMDB_FUZZ_SEED=0 cargo test --workspace --lib fuzz_ -- --nocapture --test-threads=1

regress:
	@scripts/need regress
	@scripts/regress
