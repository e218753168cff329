"""One row over each protocol: requests/s of one core and the server's CPU time a request, gRPC beside REST, one run.

Needs `h2load` (nghttp2). The model has 500 trees of 63 leaves and 20 numbers; the server has one core, the load the other.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from _common import BIN, table

from corten.ensemble import HistGradientBoostingClassifier

FEATURES, TREES, LEAVES = 20, 500, 63
REQUESTS = 60_000


def field(tag: int, value: bytes | int) -> bytes:
    """A field of a protobuf message, of bytes or of one small number."""
    if isinstance(value, int):
        return bytes([tag << 3, value])
    assert len(value) < 1 << 14
    length = [len(value)] if len(value) < 128 else [len(value) & 127 | 128, len(value) >> 7]
    return bytes([tag << 3 | 2, *length]) + value


def bodies(row: np.ndarray) -> dict[str, tuple[bytes, list[str], str]]:
    """The body, header fields and path of one row in each protocol."""
    tensor: dict[str, Any] = {"name": "input", "datatype": "FP64", "shape": [1, len(row)]}
    rest = "/v2/models/model/infer"
    data = json.dumps({"inputs": [tensor | {"data": row.tolist()}]}).encode()
    size = {"parameters": {"binary_data_size": row.nbytes}}
    head = json.dumps({"inputs": [tensor | size], "parameters": {"binary_data_output": True}}).encode()
    described = field(1, b"input") + field(2, b"FP64") + field(3, bytes([1, len(row)]))
    raw = field(1, b"model") + field(5, described) + field(7, row.tobytes())
    lists = field(1, b"model") + field(5, described + field(5, field(7, row.tobytes())))
    grpc = ["content-type: application/grpc", "te: trailers"]
    service = "/inference.GRPCInferenceService/ModelInfer"
    octets = ["content-type: application/octet-stream", f"inference-header-content-length: {len(head)}"]
    return {
        "gRPC, bytes": (b"\0" + len(raw).to_bytes(4, "big") + raw, grpc, service),
        "gRPC, lists": (b"\0" + len(lists).to_bytes(4, "big") + lists, grpc, service),
        "REST, JSON": (data, ["content-type: application/json"], rest),
        "REST, bytes": (head + row.tobytes(), octets, rest),
    }


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, the kernel's for it included."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def answered(port: int) -> int:
    """Requests that were answered well so far."""
    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    good = re.findall(r'corten_requests_total\{route="[^"]*[iI]nfer",status="(?:0|200)"\} (\d+)', text)
    return sum(int(count) for count in good)


def load(port: int, body: Path, headers: list[str], path: str, connections: int, streams: int) -> float:
    """Requests a second of h2load."""
    command = ["h2load", "-n", str(REQUESTS), "-c", str(connections), "-m", str(streams), "-t", "1", "-d", str(body)]
    command += [part for header in headers for part in ("-H", header)]
    if path.startswith("/v2"):
        command.append("--h1")
    pinned = ["taskset", "-c", "1"] if (os.cpu_count() or 1) > 1 else []
    done = subprocess.run([*pinned, *command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True)
    return float(re.search(r"([\d.]+) req/s", done.stdout)[1])


def main() -> None:
    """Print the table."""
    if shutil.which("h2load") is None:
        sys.exit("serve_protocols: needs h2load (nghttp2)")
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, FEATURES))
    y = (x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + random.normal(size=len(x)) > 0).astype(int)
    model = HistGradientBoostingClassifier(max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False).fit(x, y)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.corten")
        ports = []
        for _ in range(2):
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                ports.append(s.getsockname()[1])
        rest, grpc = ports
        command = [BIN / "corten-serve", Path(folder) / "model.corten", "--workers", "1"]
        command += ["--port", str(rest), "--grpc-port", str(grpc)]
        pinned = ["taskset", "-c", "0"] if (os.cpu_count() or 1) > 1 else []
        server = subprocess.Popen([*pinned, *command], stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            rows = []
            for name, (body, headers, path) in bodies(x[0]).items():
                file = Path(folder) / "body"
                file.write_bytes(body)
                port = rest if path.startswith("/v2") else grpc
                for connections, streams in ((1, 1), (64, 1), (8, 16))[: 3 if port == grpc else 2]:
                    before, count = cpu_seconds(server.pid), answered(rest)
                    rate = load(port, file, headers, path, connections, streams)
                    count = answered(rest) - count
                    if count != REQUESTS:
                        sys.exit(f"serve_protocols: {count} of {REQUESTS} requests were answered over {name}")
                    used = 1e6 * (cpu_seconds(server.pid) - before) / count
                    rows.append([name, connections, streams, round(rate), round(used, 1)])
        finally:
            server.terminate()
            server.wait()
    table(["protocol", "connections", "streams each", "requests/s", "server CPU us a request"], rows)


if __name__ == "__main__":
    main()
