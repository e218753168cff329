"""The server's HTTP beside the least that a server can do (`serve_http/floor.c`): CPU time a request, requests/s, memory.

The server has core 0, the load (wrk) core 1; the two servers take turns, and the best of the rounds is told. A model of 500
trees of 63 leaves and 20 numbers; every request has other rows. Needs gcc and wrk.
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

import numpy as np
from _common import BIN, table

from corten.ensemble import HistGradientBoostingClassifier

FEATURES, TREES, LEAVES = 20, 500, 63
SECONDS, ROUNDS = 2, 3
#: Rows of a body, and connections.
CELLS = ((1, 1), (1, 64), (1, 1024), (100, 8))


SCRIPT = """
local bodies, turn, bad = {}, 0, 0
for line in io.lines("%s") do bodies[#bodies + 1] = line end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local whole = {}
init = function() for i = 1, #bodies do whole[i] = wrk.format(nil, nil, nil, bodies[i]) end end
request = function() turn = turn %% #whole + 1; return whole[turn] end
done = function(summary, latency)
  local e = summary.errors
  print(string.format("FOUND %%d %%d %%d %%.0f %%.0f", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


def script(folder: Path, x: np.ndarray, rows: int, count: int) -> Path:
    """A script of wrk that sends bodies of so many rows, each of other rows."""
    with (folder / f"bodies{rows}").open("w") as file:
        for at in range(count):
            data = x[at * rows % (len(x) - rows) :][:rows].ravel().tolist()
            tensor = {"name": "input", "datatype": "FP64", "shape": [rows, FEATURES], "data": data}
            file.write(json.dumps({"inputs": [tensor]}) + "\n")
    path = folder / f"{rows}.lua"
    path.write_text(SCRIPT % (folder / f"bodies{rows}"))
    return path


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, the kernel's for it included."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def load(port: int, lua: Path, connections: int) -> tuple[int, float, float, float]:
    """Requests that were answered, how many a second, and the median and 99th percentile of waiting in ms."""
    url = f"http://127.0.0.1:{port}/v2/models/model/infer"
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(lua), url]
    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    words = next(line for line in told.splitlines() if line.startswith("FOUND")).split()
    done, micros, bad, p50, p99 = (float(w) for w in words[1:])
    if bad or not done:
        sys.exit(f"serve_http: not every request was answered well: {told}")
    return int(done), done / micros * 1e6, p50 / 1000, p99 / 1000


def measure(folder: Path, x: np.ndarray) -> None:
    """Print the tables."""
    source = Path(__file__).parent / "serve_http" / "floor.c"
    subprocess.run(["gcc", "-O2", "-o", folder / "floor", source], check=True)
    scripts = {rows: script(folder, x, rows, count) for rows, count in ((1, 1000), (100, 200))}
    commands = {
        "floor (C)": [folder / "floor"],
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
                    done, rate, *waits = load(port, scripts[rows], connections)
                    used = 1e6 * (cpu_seconds(server.pid) - before) / done
                    best[name].append((used, rate, *waits))
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
            "x floor",
            "requests/s",
            "x floor",
            "p50 ms",
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
    if shutil.which("gcc") is None or shutil.which("wrk") is None or (os.cpu_count() or 1) < 2:
        sys.exit("serve_http: needs gcc, wrk and two cores")
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, FEATURES))
    y = (x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + random.normal(size=len(x)) > 0).astype(int)
    model = HistGradientBoostingClassifier(max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False).fit(x, y)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.corten")
        measure(Path(folder), x)


if __name__ == "__main__":
    main()
