"""gRPC over TLS, with and without certificates of clients, spoken by gRPC's own library."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from golden import server_binary, serving
from scenarios import check_matrix, matrix

# tritonclient without its extra fails otherwise than by an ImportError.
pytest.importorskip("grpc", reason="needs tritonclient[grpc]: requirements/clients.txt")
triton: Any = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]: requirements/clients.txt")
pytestmark = [
    pytest.mark.binaries,
    pytest.mark.skipif(server_binary() is None, reason="corten-serve is not built"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificates, is not here"),
]


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a server and a client that it has signed."""
    folder = tmp_path_factory.mktemp("tls")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(folder, "req", *curve, "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    for name in ("server", "client"):
        _openssl(folder, "req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext")
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signer, "-out", f"{name}.pem")
    return folder


@pytest.mark.parametrize("both_ways", [False, True])
def test_calls_are_encrypted(folder: Path, both_ways: bool) -> None:
    options = ["--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server.key")]
    if both_ways:
        options += ["--tls-client-ca", str(folder / "ca.pem")]
    with serving(*options) as reached:
        own = {"private_key": str(folder / "client.key"), "certificate_chain": str(folder / "client.pem")}
        known: Any = {"ssl": True, "root_certificates": str(folder / "ca.pem"), **(own if both_ways else {})}
        client = triton.InferenceServerClient(reached.grpc, **known)
        check_matrix(client.infer("linear_regression", [matrix(triton)]))
        client.close()
        for wrong in ({}, {"ssl": True, "root_certificates": str(folder / "ca.pem")} if both_ways else {}):
            stranger = triton.InferenceServerClient(reached.grpc, **wrong)
            with pytest.raises(triton.InferenceServerException):
                stranger.is_server_live(client_timeout=2)
            stranger.close()
