#!/usr/bin/env bash
# Runs a command of cargo for 64-bit ARM, its tests in QEMU: `tools/aarch64.sh test -p corten-kernels --lib`.
#
# The compiler is rustup's where rustup has the target. Else it is Debian's `rustc-web`, which has a standard library for
# arm64: taken out of its packages, not installed. What can't be had is named in a line, and then nothing is run.
# `tools/aarch64.sh check` runs the tests that .ci/run does: the kernels' own, ensembles against a plain walk, and the golden
# files, whose answers x86 gave.
#
#   CORTEN_CACHE   folder that keeps Debian's compiler between runs (default ~/.cache/corten-build if it exists, else target)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() {
  echo "64-bit ARM skipped: $1"
  exit 0
}

# What links and runs; installed where this machine allows it.
packages=()
command -v aarch64-linux-gnu-gcc >/dev/null || packages+=(gcc-aarch64-linux-gnu)
[ -e /usr/aarch64-linux-gnu/lib/libc.so.6 ] || packages+=(libc6-dev-arm64-cross)
command -v qemu-aarch64 >/dev/null || packages+=(qemu-user)
if [ "${#packages[@]}" -gt 0 ]; then
  { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; } || skip "not installed, and not root: ${packages[*]}"
  apt-get update -qq >/dev/null 2>&1 || true
  timeout 300 apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
    skip "not available: ${packages[*]}"
fi

target=aarch64-unknown-linux-gnu
by_rustup() {
  command -v rustup >/dev/null && timeout 120 rustup target add $target >/dev/null 2>&1
}

# Takes Debian's compiler out of its packages, into a folder that is whole as soon as it has its name.
take_out() {
  local std llvm
  dpkg --add-architecture arm64 && apt-get update -qq || return 1
  std=$(apt-cache search --names-only '^libstd-rust-web-[0-9.]*$' | sort -V | tail -n 1 | cut -d ' ' -f 1)
  llvm=$(apt-cache depends "$std" | grep -o 'libllvm[0-9]*') || return 1
  rm -rf "$1.part" && mkdir -p "$1.part/packages" &&
    (cd "$1.part/packages" && apt-get download -qq rustc-web "$std" "$llvm" libstd-rust-web-dev:{amd64,arm64}) &&
    find "$1.part/packages" -name '*.deb' -print0 | xargs -0 -n 1 -I {} dpkg -x {} "$1.part" &&
    rm -r "$1.part/packages" && mv "$1.part" "$1"
}

if ! by_rustup; then
  cache=${CORTEN_CACHE:-$HOME/.cache/corten-build}
  [ -d "$cache" ] || cache=$PWD/target
  compiler=$cache/rustc-web
  if [ ! -d "$compiler" ]; then
    command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] && [ "$(uname -m)" = x86_64 ] ||
      skip "rustup has no compiler for it here"
    mkdir -p "$cache"
    take_out "$compiler" >/dev/null 2>&1 || skip "neither rustup nor Debian has a compiler for it here"
  fi
  export RUSTC=$compiler/usr/bin/rustc
  export LD_LIBRARY_PATH=$compiler/usr/lib/x86_64-linux-gnu:$compiler/usr/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi

export CARGO_BUILD_TARGET=$target
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
[ "${1:-}" = check ] || exec cargo "$@"

# Compiled for these tests alone, so quickly: third parties without optimisation. Damaged files take minutes in QEMU.
export CARGO_PROFILE_DEV_OPT_LEVEL=2 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
flags=(-q --locked --config 'profile.dev.package."*".opt-level=0')
cargo test "${flags[@]}" -p corten-kernels --lib
CORTEN_CPU=neon cargo test "${flags[@]}" -p corten-model --test trees --test golden -- --skip damage
CORTEN_CPU=plain cargo test "${flags[@]}" -p corten-model --test golden -- --skip damage
