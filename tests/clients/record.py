"""Writes down what passes between the clients and the server: `.venv-clients/bin/python tests/clients/record.py`.

Each scenario runs through a proxy that keeps the bytes of both directions in turn. A scenario checks its answers against
the golden models, so what is written was right for a real client. `cargo test` replays it without one.
"""

from __future__ import annotations

import importlib.metadata
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from golden import ROOT, serving
from scenarios import ALL, Scenario

FOLDER = ROOT / "fixtures" / "clients"


class Proxy:
    """Hands connections on to an address, and keeps what passes: turns of what was sent and what was answered."""

    def __init__(self, target: str) -> None:
        self.connections: list[list[list[bytes]]] = []
        self._target = ("127.0.0.1", int(target.rsplit(":", 1)[1]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            turns: list[list[bytes]] = []
            self.connections.append(turns)
            for side, (source, sink) in enumerate(((client, server), (server, client))):
                thread = threading.Thread(target=self._hand_on, args=(turns, side, source, sink))
                thread.start()
                self._threads.append(thread)

    def _hand_on(self, turns: list[list[bytes]], side: int, source: socket.socket, sink: socket.socket) -> None:
        while True:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            with self._lock:
                # A turn is what the client sent, then what it was answered.
                if data and side == 0 and (not turns or turns[-1][1]):
                    turns.append([data, b""])
                elif data and turns:
                    turns[-1][side] += data
            try:
                sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)
            except OSError:
                return
            if not data:
                return

    def close(self) -> None:
        """Waits until all connections have ended."""
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


def record(scenario: Scenario, address: str) -> dict[str, object]:
    """The bytes of a scenario, each byte the character of its number."""
    proxy = Proxy(address)
    script = Path(__file__).with_name("scenarios.py")
    subprocess.run([sys.executable, script, scenario.name, proxy.address], check=True, timeout=120)
    proxy.close()
    client = "tritonclient" if scenario.name.startswith("triton") else "kserve"
    return {
        "client": f"{client} {importlib.metadata.version(client)}",
        "protocol": scenario.protocol,
        "steady": scenario.steady,
        "connections": [
            [{"sent": sent.decode("latin-1"), "answered": answered.decode("latin-1")} for sent, answered in turns]
            for turns in proxy.connections
        ],
    }


def main() -> None:
    """Record all scenarios anew."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    with serving("--admin") as addresses:
        for scenario in ALL:
            recorded = record(scenario, getattr(addresses, scenario.protocol))
            path = FOLDER / f"{scenario.name}.json"
            path.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
            print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
