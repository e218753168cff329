#!/usr/bin/env bash
# Builds libcorten without the standard library, for a Cortex-M4 and for WebAssembly, where Rust has these targets; names
# those that it hasn't. The tests in tests/devices run what is built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

installed=$(rustup target list --installed 2>/dev/null || true)
build() { # target, crate type
  if ! grep -qx "$1" <<<"$installed"; then
    echo "not built: Rust has no $1 here"
    return
  fi
  # What only detection of instructions at run time uses is dead here.
  RUSTFLAGS="-A dead_code -A unused_imports" cargo rustc -q --locked -p corten-run --lib --no-default-features --crate-type "$2" --profile tiny --target "$1"
}
build thumbv7em-none-eabihf staticlib
build wasm32-unknown-unknown cdylib
