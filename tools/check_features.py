"""Check that whatever part of the workspace is built compiles the same third-party code.

Cargo unifies features over what a command selects: `cargo test -p X`, maturin's build of the extension and a build of the
whole workspace each compile a crate again that they ask different features of, and all that stands on it. Features that
the whole workspace asks for stand in `crates/corten-unified/Cargo.toml`, which every selection reaches.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def resolved(*selection: str, edges: str = "normal,build,dev") -> set[str]:
    """Packages of a selection, each with its version and features."""
    line = ["cargo", "tree", "--locked", *selection, "-e", edges, "--prefix", "none", "--no-dedupe", "-f", "{p} [{f}]"]
    done = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"check_features: {' '.join(line)} failed")
    return {row.replace(" (proc-macro)", "").removesuffix(" (*)") for row in done.stdout.splitlines() if row}


def main() -> None:
    """Print what is compiled twice, and fail where there is such a thing."""
    whole = resolved("--workspace")
    manifests = sorted(ROOT.glob("crates/*/Cargo.toml"))
    names = [tomllib.loads(path.read_text())["package"]["name"] for path in manifests]
    selections = {f"-p {name}, with tests": resolved("-p", name) for name in names}
    selections["--workspace, without tests"] = resolved("--workspace", edges="normal,build")
    selections["-p corten-python, as maturin builds it"] = resolved("-p", "corten-python", edges="normal,build")
    faults = [
        f"{selection}: {package}" for selection, packages in selections.items() for package in sorted(packages - whole)
    ]
    if faults:
        print("\n".join(faults))
        sys.exit(
            "check_features: these have fewer features than in the whole workspace: add what they lack to corten-unified"
        )
    print(f"features: {len(whole)} packages, the same in {len(selections)} selections")


if __name__ == "__main__":
    main()
