"""Check the floors of ARCHITECTURE.md: arrows between crates point down only, and each outside concern has one home.

Direct arrows come from `cargo metadata`; what a crate reaches through others comes from `cargo tree`, asked crate by
crate, because features unified over the whole workspace would blame the runner for what only the trainer switches on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

INFERENCE = {"corten-core", "corten-kernels", "corten-model"}
MAY_USE: dict[str, set[str]] = {
    "corten-core": set(),
    "corten-kernels": {"corten-core"},
    "corten-data": {"corten-core"},
    "corten-model": {"corten-core", "corten-kernels"},
    "corten-learn": INFERENCE,
    "corten-trees": INFERENCE,
    # Tables only with its feature `arrow`, which is off by default: HOMES keeps Arrow out of the small runner.
    "corten-run": {"corten-core", "corten-data", "corten-model"},
    "corten-serve": INFERENCE | {"corten-data"},
    "corten-python": INFERENCE | {"corten-data", "corten-learn", "corten-trees", "corten-unified"},
    # No code: what it reaches, whoever is built has anyway.
    "corten-unified": {"corten-kernels", "corten-model"},
}

# Crate from outside -> the workspace crates that may reach it, directly or through others.
HOMES: dict[str, set[str]] = {
    "pyo3": {"corten-python"},
    "tokio": {"corten-serve"},
    "hyper": {"corten-serve"},
    "rustls": {"corten-serve"},
    "arrow-array": {"corten-data", "corten-serve", "corten-python"},
    "parquet": {"corten-data", "corten-serve", "corten-python"},
    "faer": {"corten-kernels", "corten-learn", "corten-trees", "corten-python", "corten-unified"},
    # The runner has one thread and starts in a millisecond.
    "rayon": {
        "corten-kernels",
        "corten-model",
        "corten-learn",
        "corten-trees",
        "corten-serve",
        "corten-python",
        "corten-unified",
    },
}


def cargo(*arguments: str) -> str:
    """Standard output of a cargo command in the workspace."""
    done = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"check_layers: cargo {' '.join(arguments)} failed")
    return done.stdout


def direct_faults(packages: list[dict]) -> list[str]:
    """Arrows between workspace crates that the table does not have."""
    faults = []
    for package in packages:
        name = package["name"]
        if name not in MAY_USE:
            faults.append(f"{name} has no floor: add it to MAY_USE here and to the table in ARCHITECTURE.md")
            continue
        for dependency in package["dependencies"]:
            target = dependency["name"]
            # Tests may look across floors; what is shipped may not.
            if target.startswith("corten-") and dependency["kind"] != "dev" and target not in MAY_USE[name]:
                allowed = ", ".join(sorted(MAY_USE[name])) or "nothing"
                faults.append(f"{name} uses {target}; it may use {allowed}")
    return faults


def reached_faults(names: list[str]) -> list[str]:
    """Outside crates that a workspace crate reaches though it is not their home."""
    faults = []
    for name in names:
        tree = cargo("tree", "--locked", "-p", name, "-e", "normal", "--prefix", "none", "--format", "{p}")
        reached = {line.split()[0] for line in tree.splitlines() if line.strip()}
        for outside, homes in HOMES.items():
            if outside in reached and name not in homes:
                faults.append(f"{name} reaches {outside}; only {', '.join(sorted(homes))} may")
    return faults


def main() -> None:
    """Print every fault; exit 1 when there is one."""
    packages = json.loads(cargo("metadata", "--locked", "--no-deps", "--format-version", "1"))["packages"]
    names = sorted(package["name"] for package in packages)
    faults = direct_faults(packages) + reached_faults(names)
    for fault in faults:
        print(f"layers: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"layers: {len(names)} crates, every arrow points down")


if __name__ == "__main__":
    main()
