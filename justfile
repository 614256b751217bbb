# Shortcuts. `just check` is what CI runs, in the same order.

default: check

check: fmt clippy test deny doc

fmt:
    cargo fmt --all --check

clippy:
    #!/usr/bin/env bash
    set -euo pipefail
    unset CLIPPY_CONF_DIR
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    cargo clippy --locked --workspace --all-targets -- -D warnings 2>&1 | tee "$log"
    ! grep -F 'does not refer to' "$log"

test:
    cargo test --locked --workspace

deny:
    cargo deny --workspace --locked check licenses bans sources
    cargo deny --workspace --locked check advisories || echo 'advisories are reported, they do not block'

doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

# Writes expected output again: snapshots and the committed dependency list of the planner.
expect:
    UPDATE_EXPECT=1 cargo test --locked --workspace

# Everything on this machine, from a state repository in ./easyenclave-data.
up:
    cargo run --release -- up
