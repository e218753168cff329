#!/usr/bin/env bash
# Installs what the tests of other targets need, where this machine allows it: compilers for Cortex-M and WebAssembly,
# QEMU, node, a browser, Rust's targets. What can't be had is named in a line; the tests that need it skip, saying so.
# Never fails.
set -u

packages=()
need() { command -v "$1" >/dev/null || packages+=("${@:2}"); }
need gcc gcc libc6-dev
need arm-none-eabi-gcc gcc-arm-none-eabi libnewlib-arm-none-eabi
need qemu-system-arm qemu-system-arm
need clang clang
need wasm-ld lld
need node nodejs
need chromium chromium

if [ "${#packages[@]}" -gt 0 ]; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >/dev/null 2>&1 || true
    # One by one: what this system doesn't have must not keep the others out.
    for package in "${packages[@]}"; do
      timeout 300 apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 || echo "not available: $package"
    done
  else
    echo "not installed, and not root: ${packages[*]}"
  fi
fi

for target in thumbv7em-none-eabihf wasm32-unknown-unknown "$(uname -m)-unknown-linux-musl"; do
  if ! command -v rustup >/dev/null; then
    echo "not available without rustup: Rust for $target"
  elif ! rustup target list --installed | grep -qx "$target"; then
    timeout 120 rustup target add "$target" >/dev/null 2>&1 || echo "not available: Rust for $target"
  fi
done
exit 0
