#!/usr/bin/env bash
# Fuzzes a target on stable Rust for some seconds, starting from the golden files: fuzz/run.sh [target] [seconds]
set -euo pipefail
cd "$(dirname "$0")"
target=${1:-model_file} seconds=${2:-60}
mkdir -p "corpus/$target"
cp -n ../fixtures/models/*/*.corten "corpus/$target/" 2>/dev/null || true
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
 -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
  cargo build --release --target x86_64-unknown-linux-gnu --bin "$target"
exec "target/x86_64-unknown-linux-gnu/release/$target" "corpus/$target" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=10
