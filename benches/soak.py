"""Mixed traffic for a long while: what real clients sent (fixtures/clients) over HTTP and gRPC, each answer compared, and
the same bytes damaged. Prints how many answers were right, and whether memory, handles or threads grew.

    python benches/soak.py [SECONDS, default 1800] [SERVER] [CONNECTIONS A SECOND, default as many as it takes]
"""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("logistic_two", "linear_regression", "tree_of_classes")
WARM = 0.2
THREADS = 4


def answers_of(came: bytes, protocol: str) -> tuple[int, bytes]:
    """How many answers have ended in what came, and what they say: bodies over HTTP, the data of streams over HTTP/2."""
    ended, said = 0, b""
    while came:
        if protocol == "http":
            head, found, rest = came.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            size = int(length[1]) if length else 0
            if not found or len(rest) < size:
                break
            said += rest[:size]
            came, ended = rest[size:], ended + 1
        else:
            size = int.from_bytes(came[:3], "big")
            if len(came) < 9 + size:
                break
            kind, flags = came[3], came[4]
            said += came[9 : 9 + size] if kind == 0 else b""
            ended += kind <= 1 and flags & 1
            came = came[9 + size :]
    return ended, said


class Traffic:
    """Sends recorded connections, whole or damaged, and counts what comes of them."""

    def __init__(self, ports: dict[str, int], rate: float) -> None:
        self.ports = ports
        self.pause = THREADS / rate if rate else 0.0
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.stop = threading.Event()
        self.recorded = []
        for path in sorted((ROOT / "fixtures" / "clients").glob("*.json")):
            told = json.loads(path.read_text(encoding="utf-8"))
            # A model that one client unloads would be missing to the others.
            if told["steady"] and "repository" not in path.stem:
                for turns in told["connections"]:
                    pairs = [(t["sent"].encode("latin-1"), t["answered"].encode("latin-1")) for t in turns]
                    self.recorded.append((path.stem, told["protocol"], pairs))

    def whole(self, name: str, protocol: str, turns: list[tuple[bytes, bytes]]) -> None:
        """A connection as it was: its answers must be what they were."""
        with socket.create_connection(("127.0.0.1", self.ports[protocol]), timeout=20) as s:
            wanted, came = b"", b""
            for sent, answered in turns:
                s.sendall(sent)
                wanted += answered
                ended, said = answers_of(wanted, protocol)
                while (now := answers_of(came, protocol))[0] < ended or len(now[1]) < len(said):
                    more = s.recv(1 << 16)
                    if not more:
                        break
                    came += more
            right = answers_of(came, protocol) == answers_of(wanted, protocol)
        self.counts["right answers" if right else "wrong answers"] += answers_of(wanted, protocol)[0]
        if not right:
            self.wrong.append(name)

    def damaged(self, protocol: str, turns: list[tuple[bytes, bytes]], dice: random.Random) -> None:
        """A connection with some of its bytes changed, cut or doubled: anything may come, soon or never."""
        sent = bytearray(b"".join(sent for sent, _ in turns))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(sent))
            match dice.randrange(3):
                case 0:
                    sent[at] = dice.randrange(256)
                case 1:
                    del sent[at : at + dice.randint(1, 40)]
                case _:
                    sent[at:at] = sent[at : at + dice.randint(1, 40)]
            if not sent:
                return
        with socket.create_connection(("127.0.0.1", self.ports[protocol]), timeout=0.05) as s:
            try:
                s.sendall(sent)
                while s.recv(1 << 16):
                    pass
            except OSError:
                pass
        self.counts["damaged connections"] += 1

    def run(self, seed: int) -> None:
        """Traffic of one thread."""
        dice = random.Random(seed)
        due = time.monotonic()
        while not self.stop.is_set():
            due = max(due + self.pause, time.monotonic() - 1)
            if self.stop.wait(max(0.0, due - time.monotonic())):
                break
            name, protocol, turns = dice.choice(self.recorded)
            try:
                if dice.random() < 0.5:
                    self.whole(name, protocol, turns)
                else:
                    self.damaged(protocol, turns, dice)
            except OSError as error:
                self.counts["connections refused or broken"] += 1
                self.wrong.append(f"{name}: {error}")


def state(pid: int) -> tuple[float, int, int]:
    """Resident MB, open handles and threads of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
    return resident, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(re.search(r"Threads:\s+(\d+)", status)[1])


def main() -> None:
    """Print the table; exit 1 when an answer was wrong or something grew."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1800
    rate = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    server = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / ".venv/bin/corten-serve")
    if not Path(server).is_file():
        server = shutil.which("corten-serve") or sys.exit("soak: corten-serve is not built")
    ports = {}
    for protocol in ("http", "grpc"):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            ports[protocol] = s.getsockname()[1]
    models = [str(ROOT / f"fixtures/models/1/{m}.corten") for m in MODELS]
    options = ["--port", str(ports["http"]), "--grpc-port", str(ports["grpc"]), "--head-timeout", "5", "--admin"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([server, *models, *options], stderr=log)
        time.sleep(1)
        traffic = Traffic(ports, rate)
        threads = [threading.Thread(target=traffic.run, args=(seed,)) for seed in range(THREADS)]
        [thread.start() for thread in threads]
        begun, samples = time.monotonic(), []
        while time.monotonic() - begun < seconds and process.poll() is None:
            time.sleep(min(5, seconds / 50))
            samples.append((time.monotonic() - begun, *state(process.pid)))
        traffic.stop.set()
        [thread.join() for thread in threads]
        time.sleep(6)
        resident, handles, count = state(process.pid)
        metrics = urlopen(f"http://127.0.0.1:{ports['http']}/metrics").read().decode()
        process.terminate()
        code = process.wait(20)
        log.seek(0)
        said = log.read()
    failures = sum(int(n) for n in re.findall(r'status="5(?!03|04|01)\d\d"\} (\d+)', metrics))
    warm = [s for s in samples if s[0] > WARM * seconds]
    half = len(warm) // 2
    early, late = (sum(s[1] for s in part) / len(part) for part in (warm[:half], warm[half:]))
    print(f"{seconds:.0f} s: " + ", ".join(f"{n} {what}" for what, n in sorted(traffic.counts.items())))
    print(
        f"resident MB, mean of the first and second half after {WARM:.0%}: {early:.2f}, {late:.2f}; at the end {resident:.2f}"
    )
    print(f"handles at the end {handles} (most {max(s[2] for s in samples)}), threads {count}; exit status {code}")
    print(f"answers of 5xx but 501, 503 and 504: {failures}; panics: {said.count('panicked')}")
    for problem in traffic.wrong[:10]:
        print(f"wrong: {problem}")
    if traffic.wrong or failures or "panicked" in said or code != 0 or late > 1.1 * early + 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
