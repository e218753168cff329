"""The server's HTTP beside the least that a server can do (`serve_http/echo.c`): CPU time a request, requests/s, memory.

The server has core 0, the load (`serve_http/loadgen.c`) core 1; the two servers take turns, and the best of the rounds is
told. A model of 500 trees of 63 leaves and 20 numbers; every request has other rows. Needs gcc.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import BIN, table

from corten.ensemble import HistGradientBoostingClassifier

FEATURES, TREES, LEAVES = 20, 500, 63
SECONDS, ROUNDS = 1, 3
#: Rows of a body, and connections.
CELLS = ((1, 1), (1, 64), (1, 1024), (100, 8))


def requests(path: Path, x: np.ndarray, rows: int, count: int) -> None:
    """Writes whole requests for the load generator."""
    with path.open("wb") as file:
        file.write(b"%d\n" % count)
        for at in range(count):
            data = x[at * rows % (len(x) - rows) :][:rows].ravel().tolist()
            tensor = {"name": "input", "datatype": "FP64", "shape": [rows, FEATURES], "data": data}
            body = json.dumps({"inputs": [tensor]}).encode()
            head = "POST /v2/models/model/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            file.write(b"%d\n" % len(request) + request)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, the kernel's for it included."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def load(loadgen: Path, port: int, file: Path, connections: int, rate: float = 0) -> dict[str, Any]:
    """What the load generator tells."""
    command = ["taskset", "-c", "1", loadgen, port, file, connections, rate, SECONDS, 2]
    told = json.loads(subprocess.run([str(c) for c in command], capture_output=True, check=True).stdout)
    if told["ok"] != told["due"]:
        sys.exit(f"serve_http: not every request was answered well: {told}")
    return told


def measure(folder: Path, x: np.ndarray) -> None:
    """Print the tables."""
    for name in ("echo", "loadgen"):
        source = Path(__file__).parent / "serve_http" / f"{name}.c"
        subprocess.run(["gcc", "-O2", "-o", folder / name, source], check=True)
    requests(folder / "1", x, 1, 1000)
    requests(folder / "100", x, 100, 200)
    commands = {
        "echo (C)": [folder / "echo"],
        "corten": [BIN / "corten-serve", folder / "model.corten", "--workers", "1", "--port"],
    }
    servers, lines = {}, []
    for name, command in commands.items():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        command = ["taskset", "-c", "0", *command, str(port)]
        servers[name] = subprocess.Popen(command, stderr=subprocess.DEVNULL), port
    try:
        time.sleep(1)
        idle = {name: megabytes(server.pid) for name, (server, _) in servers.items()}
        floor: dict[tuple[int, int], tuple[float, float]] = {}
        for cell in CELLS:
            rows, connections = cell
            best: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in servers}
            for _ in range(ROUNDS):
                for name, (server, port) in servers.items():
                    before = cpu_seconds(server.pid)
                    told = load(folder / "loadgen", port, folder / str(rows), connections)
                    used = 1e6 * (cpu_seconds(server.pid) - before) / told["ok"]
                    # Waiting times at half of that rate: at all of it they are the queue's.
                    half = load(folder / "loadgen", port, folder / str(rows), connections, told["ok_per_s"] / 2)
                    best[name].append((used, told["ok_per_s"], half["p50_ms"], half["p99_ms"]))
            for name, found in best.items():
                used, rate = min(f[0] for f in found), max(f[1] for f in found)
                floor.setdefault(cell, (used, rate))
                ratios = [round(used / floor[cell][0], 2), round(rate / floor[cell][1], 2)]
                waits = [min(f[at] for f in found) for at in (2, 3)]
                lines.append([name, rows, connections, round(used, 2), ratios[0], round(rate), ratios[1], *waits])
        heads = [
            "server",
            "rows",
            "connections",
            "CPU us",
            "x echo",
            "requests/s",
            "x echo",
            "p50 ms at half",
            "p99 ms",
        ]
        table(heads, lines)
        print()
        server, port = servers["corten"]
        before, held = megabytes(server.pid), [socket.create_connection(("127.0.0.1", port)) for _ in range(1024)]
        for connection in held:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(1000)
        told = [round(m, 1) for m in (idle["corten"], before, megabytes(server.pid))]
        table(["MB idle at first", "after the load", "with 1,024 idle connections"], [told])
    finally:
        for server, _ in servers.values():
            server.terminate()
            server.wait()


def main() -> None:
    """Fit the model and measure."""
    if shutil.which("gcc") is None or (os.cpu_count() or 1) < 2:
        sys.exit("serve_http: needs gcc and two cores")
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, FEATURES))
    y = (x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + random.normal(size=len(x)) > 0).astype(int)
    model = HistGradientBoostingClassifier(max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False).fit(x, y)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.corten")
        measure(Path(folder), x)


if __name__ == "__main__":
    main()
