"""Build backend of the wheel: maturin for the extension module, cargo for the binaries and `libcorten` beside it.

maturin builds one crate per wheel. Corten's wheel also carries `corten-serve` and `corten-run`, so this backend builds
them first, copies them into `corten.data/scripts` (which maturin packs, and pip puts on the PATH), and then hands over
to maturin's own hooks. `libcorten` and its header go into `corten.data/data`: pip puts them into `lib` and `include` of
the environment.

Environment
    CORTEN_PROFILE      cargo profile of the extension and the server (default `ci`; `release` to publish)
    CORTEN_CACHE        folder outside the clone that keeps build output, one subfolder per compiler version
    CORTEN_BINARIES=0   leave the binaries as they are; for the edit loop on the extension alone
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import maturin
from maturin import (  # noqa: F401  (hooks that need nothing beside maturin's own work)
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "corten.data" / "scripts"
DATA = ROOT / "corten.data" / "data"
HEADER = ROOT / "crates" / "corten-run" / "include" / "corten.h"
Settings = Mapping[str, Any] | None

# maturin refuses to write metadata when the data folder of pyproject.toml is not there yet.
SCRIPTS.mkdir(parents=True, exist_ok=True)


def profile() -> str:
    """Cargo profile of everything but the runner."""
    return os.environ.get("CORTEN_PROFILE") or "ci"


def rustc() -> tuple[str, str]:
    """Version and host target of the compiler in use."""
    lines = subprocess.run(["rustc", "-vV"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    facts = dict(line.split(": ", 1) for line in lines if ": " in line)
    return facts["release"], facts["host"]


def choose_target_dir() -> None:
    """Point cargo at the cache of CORTEN_CACHE, one folder per compiler, unless CARGO_TARGET_DIR says where."""
    cache = os.environ.get("CORTEN_CACHE")
    if cache and not os.environ.get("CARGO_TARGET_DIR"):
        os.environ["CARGO_TARGET_DIR"] = str(Path(cache).expanduser().resolve() / f"rustc-{rustc()[0]}")


def cargo(name: str, *arguments: str, rustflags: str | None = None) -> list[dict[str, Any]]:
    """What cargo says of a target of some name that it builds.

    Raises
    ------
    SystemExit
        If cargo fails.
    """
    environment = dict(os.environ)
    if rustflags is not None:
        environment["RUSTFLAGS"] = f"{environment.get('RUSTFLAGS', '')} {rustflags}".strip()
    command, *options = arguments
    line = ["cargo", command, "--locked", "--message-format=json-render-diagnostics", *options]
    print("Running", " ".join(line), flush=True)
    done = subprocess.run(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"corten_build: cargo could not build {name} (exit status {done.returncode})")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [m for m in messages if m.get("target", {}).get("name") == name]


def cargo_build(package: str, *options: str, rustflags: str | None = None) -> Path:
    """Build one package and return the path of the executable of the same name.

    Raises
    ------
    SystemExit
        If cargo fails, or if the package has no executable of its name.
    """
    for message in cargo(package, "build", "--bin", package, *options, rustflags=rustflags):
        if message.get("executable"):
            return Path(message["executable"])
    sys.exit(f"corten_build: package {package} has no executable of that name")


def small_target(host: str) -> str:
    """The target of the small runner: with musl it has half the bytes and starts in half the time, where Rust has it."""
    musl = host.replace("-linux-gnu", "-linux-musl")
    found = subprocess.run(["rustc", "--print", "target-libdir", "--target", musl], capture_output=True, text=True)
    return musl if found.returncode == 0 and Path(found.stdout.strip()).is_dir() else host


def build_runner(host: str, static: str) -> Path:
    """Build the small runner and return its path."""
    target = small_target(host)
    options = ["-p", "corten-run", "--profile", "tiny", "--target", target]
    if target == host:
        # The C library alone takes 0.7 MB then, which the executor makes good in part.
        for package, level in (("corten-model", '"s"'), ("corten-kernels", "2")):
            options += ["--config", f"profile.tiny.package.{package}.opt-level={level}"]
    name, version = platform.libc_ver()
    if "musl" in target or (name == "glibc" and tuple(map(int, version.split("."))) >= (2, 36)):
        # A table of 58 kB becomes one of 1 kB, which older C libraries don't read.
        static += " -C link-arg=-Wl,-z,pack-relative-relocs"
    return cargo_build("corten-run", *options, rustflags=static)


def build_library() -> Path:
    """Build the shared library of the C interface and return its path."""
    # The library's crate type is said here, so that no other build links it.
    options = ["-p", "corten-run", "--lib", "--crate-type", "cdylib", "--profile", profile()]
    for message in cargo("corten", "rustc", *options):
        for name in message.get("filenames", []):
            if Path(name).name.startswith("libcorten."):
                return Path(name)
    sys.exit("corten_build: cargo made no shared library of corten-run")


def put(file: Path, folder: Path, mode: int, name: str | None = None) -> None:
    """Copy a file into a folder. It is replaced, not overwritten: a process may still run or map the old one."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{name or file.name}.new"
    shutil.copyfile(file, fresh)
    fresh.chmod(mode)
    fresh.replace(folder / (name or file.name))


def build_binaries() -> None:
    """Put fresh servers, runners and `libcorten` into the data folder of the wheel."""
    host = rustc()[1]
    # All of the workspace is selected, one binary is built: cargo unifies features over the selection, and this one is
    # that of the tests, so nothing compiles twice.
    serve = cargo_build("corten-serve", "--profile", profile(), "--workspace")
    # The runner is copied into every bundle and has to start on any Linux, so it links its C library statically. With
    # --target the flag stays away from build scripts and procedural macros, which cannot be static.
    static = "-C target-feature=+crt-static" if "linux" in host else ""
    for binary in (serve, build_runner(host, static)):
        put(binary, SCRIPTS, 0o755)
    # The larger runner counts less in bytes than in what it takes to build: the profile of the server.
    options = ["-p", "corten-run", "--features", "arrow", "--profile", profile(), "--target", host]
    put(cargo_build("corten-run", *options, rustflags=static), SCRIPTS, 0o755, "corten-run-arrow")
    put(build_library(), DATA / "lib", 0o755)
    put(HEADER, DATA / "include", 0o644)


def prepare() -> None:
    """Everything that has to be true before maturin builds or describes the wheel."""
    # Without build isolation pip does not put the environment's programs, maturin among them, on the PATH.
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    choose_target_dir()
    os.environ.setdefault("MATURIN_PEP517_ARGS", f"--profile {profile()}")


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """PEP 517 hook."""
    prepare()
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """PEP 517 hook: the binaries, then the extension."""
    prepare()
    if os.environ.get("CORTEN_BINARIES") != "0":
        build_binaries()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """PEP 660 hook: the binaries, then the extension, which lands in python/corten."""
    prepare()
    if os.environ.get("CORTEN_BINARIES") != "0":
        build_binaries()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)
