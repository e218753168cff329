"""A load in an open loop (`load/load.c`) on a server of one core, over REST or gRPC, and what came of it."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
from _common import BIN

#: Columns of the matrices that are sent.
FEATURES = 20
HEADERS, DATA, SETTINGS, WINDOW = 1, 0, 4, 8


def varint(number: int) -> bytes:
    """A number as protobuf has it."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def part(tag: int, value: bytes) -> bytes:
    """A field of a protobuf message."""
    return varint(tag << 3 | 2) + varint(len(value)) + value


def asked(x: np.ndarray, protocol: str, model: str = "model") -> bytes:
    """A request for all that a model says of some rows: whole over REST, a message behind its five bytes over gRPC."""
    if protocol == "rest":
        tensor = {"name": "input", "datatype": "FP64", "shape": list(x.shape), "data": x.ravel().tolist()}
        body = json.dumps({"inputs": [tensor]}).encode()
        head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    tensor = part(1, b"input") + part(2, b"FP64") + part(3, b"".join(map(varint, x.shape)))
    message = part(1, model.encode()) + part(5, tensor) + part(7, x.astype("<f8").tobytes())
    return b"\0" + struct.pack(">I", len(message)) + message


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def called(port: int, message: bytes) -> bytes:
    """The answer to one call of gRPC, spoken by hand as the load does."""
    path, kind = b"/inference.GRPCInferenceService/ModelInfer", b"application/grpc"
    head = b"\x83\x86\x04" + bytes([len(path)]) + path + b"\x01\x09127.0.0.1\x0f\x10" + bytes([len(kind)]) + kind
    sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)
    sent += frame(HEADERS, 4, 1, head + b"\x00\x02te\x08trailers")
    pieces = [message[at : at + 16384] for at in range(0, len(message), 16384)]
    sent += b"".join(frame(DATA, int(at == len(pieces) - 1), 1, piece) for at, piece in enumerate(pieces))
    said = b""
    with socket.create_connection(("127.0.0.1", port)) as s, s.makefile("rb") as came:
        s.sendall(sent)
        while True:
            beginning = came.read(9)
            payload = came.read(int.from_bytes(beginning[:3], "big"))
            kind_of, flags = beginning[3], beginning[4]
            if beginning[5:] == b"\0\0\0\1" and kind_of in (DATA, HEADERS):
                said += payload if kind_of == DATA else b""
                if flags & 1:
                    return said


class Server:
    """A server of one worker on core 0."""

    def __init__(self, *arguments: str | Path) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        command = ["taskset", "-c", "0", BIN / "corten-serve", *arguments, "--workers", "1", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        sys.exit("the server doesn't start")

    def stop(self) -> int:
        """Ends it, and returns its exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def infer(self, request: bytes, protocol: str) -> bytes:
        """The answer to one request."""
        if protocol == "grpc":
            return called(self.port, request)
        body = request.split(b"\r\n\r\n", 1)[1]
        url = f"http://127.0.0.1:{self.port}{request.split()[1].decode()}"
        with urlopen(Request(url, body, {"Content-Type": "application/json"})) as answer:
            return answer.read()

    def metric(self, name: str) -> float:
        """One of its metrics, labels included in the name."""
        text = urlopen(f"http://127.0.0.1:{self.port}/metrics").read().decode()
        return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + " "))

    def statuses(self) -> set[str]:
        """The statuses of inference requests so far, of HTTP and of gRPC."""
        text = urlopen(f"http://127.0.0.1:{self.port}/metrics").read().decode()
        return set(re.findall(r'route="[^"]*[iI]nfer",status="(\d+)"', text))

    def cpu_seconds(self) -> float:
        """Its CPU time, the kernel's for it included."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def scoring_share(self, since: tuple[float, float] = (0.0, 0.0)) -> tuple[float, tuple[float, float]]:
        """How much of its CPU time its models took, since an earlier look where that is given, and this look."""
        stats = json.loads(urlopen(f"http://127.0.0.1:{self.port}/v2/models/stats").read())["model_stats"]
        now = sum(s["inference_stats"]["success"]["ns"] for s in stats) / 1e9, self.cpu_seconds()
        return (now[0] - since[0]) / max(now[1] - since[1], 1e-9), now

    def resident(self) -> float:
        """Its resident MB."""
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1024


@dataclass
class Told:
    """What came of a load."""

    counts: dict[str, int]
    #: Milliseconds from the due time, of right answers and of refusals.
    right: np.ndarray
    refused: np.ndarray
    #: Which of the right answers came, for each.
    which: np.ndarray
    seconds: float
    behind: float

    @property
    def others(self) -> dict[str, int]:
        """What is neither a right answer nor a refusal."""
        return {what: n for what, n in self.counts.items() if n and what not in ("right", "refused")}


class Load:
    """Requests and their right answers, several each where several models may answer."""

    def __init__(
        self, folder: Path, protocol: str, requests: Sequence[bytes], right: Sequence[Sequence[bytes]]
    ) -> None:
        self.folder, self.protocol = folder, protocol
        self.program = folder / "load"
        if not self.program.exists():
            subprocess.run(["gcc", "-O2", "-o", self.program, Path(__file__).parent / "load" / "load.c"], check=True)
        with (folder / "requests").open("wb") as file:
            file.write(struct.pack("<I", len(requests)))
            for request, answers in zip(requests, right, strict=True):
                file.write(struct.pack("<I", len(request)) + request + struct.pack("<I", len(answers)))
                file.writelines(struct.pack("<I", len(answer)) + answer for answer in answers)

    def run(
        self,
        port: int,
        rate: float,
        seconds: float,
        connections: int,
        then: Sequence[tuple[float, Callable[[], object]]] = (),
    ) -> Told:
        """Sends requests in turn from core 1, at a rate or, for 0, each connection one after the other.

        `then` are things to do at times of the load.
        """
        command = [self.program, str(port), self.protocol, self.folder / "requests", str(rate), str(seconds)]
        command = ["taskset", "-c", "1", *command, str(connections), self.folder / "waits"]
        begun = time.monotonic() + 0.3
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        for at, action in then:
            time.sleep(max(0.0, begun + at - time.monotonic()))
            action()
        counts = json.loads(process.communicate()[0])
        waits = np.fromfile(self.folder / "waits", np.dtype([("kind", "<i4"), ("ms", "<f4")]))
        answers = waits[waits["kind"] >= 0]
        refused = waits["ms"][waits["kind"] < 0]
        return Told(counts, answers["ms"], refused, answers["kind"], seconds, counts.pop("behind_ms"))
