"""TLS, spoken by Python's own `ssl` module with certificates that openssl has made."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from corten._serve import binary

pytestmark = [
    pytest.mark.binaries,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificates, is not here"),
]
RIDGE = Path(__file__).parents[2] / "fixtures" / "models" / "1" / "ridge.corten"
Serving = Callable[..., AbstractContextManager[int]]


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def _certificate(folder: Path, name: str, authority: str) -> None:
    """NAME.pem and NAME.key, signed by an authority."""
    extension = folder / f"{name}.ext"
    extension.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl("req", *curve, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr", "-subj", f"/CN={name}")
    signer = ("-CA", folder / f"{authority}.pem", "-CAkey", folder / f"{authority}.key", "-CAcreateserial")
    out = ("-out", folder / f"{name}.pem", "-days", "2", "-extfile", extension)
    _openssl("x509", "-req", "-in", folder / f"{name}.csr", *signer, *out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    for name in ("authority", "stranger"):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509", "-days", "2")
        files = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", "-subj", f"/CN={name}")
        _openssl("req", *curve, *files)
    for name, authority in (("server", "authority"), ("client", "authority"), ("other", "stranger")):
        _certificate(folder, name, authority)
    return folder


def _files(folder: Path, name: str = "server") -> list[str]:
    return ["--tls-cert", str(folder / f"{name}.pem"), "--tls-key", str(folder / f"{name}.key")]


def _ask(port: int, folder: Path, authority: str = "authority", client: str | None = None) -> int:
    """The status of one request; raises when client and server do not trust each other."""
    context = ssl.create_default_context(cafile=folder / f"{authority}.pem")
    if client:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    try:
        body = '{"rows": [{"width": 1, "count": 2}]}'
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_a_client_that_trusts_the_authority_is_answered_encrypted(serving: Serving, folder: Path) -> None:
    with serving(RIDGE, *_files(folder)) as port:
        assert _ask(port, folder) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            _ask(port, folder, "stranger")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=folder / "authority.pem")
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["http/1.1"])
            with socket.create_connection(("127.0.0.1", port)) as plain:
                with context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted:
                    assert encrypted.version() == version.name.replace("_", ".")
                    assert encrypted.selected_alpn_protocol() == "http/1.1"
        # Plain HTTP gets no answer, and the server goes on.
        with socket.create_connection(("127.0.0.1", port), 20) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in plain.recv(1000)
        assert _ask(port, folder) == 200


def test_a_client_must_show_a_certificate_where_authorities_are_given(serving: Serving, folder: Path) -> None:
    with serving(RIDGE, *_files(folder), "--tls-client-ca", str(folder / "authority.pem")) as port:
        assert _ask(port, folder, client="client") == 200
        for client in (None, "other"):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                _ask(port, folder, client=client)


def test_a_new_certificate_is_taken_and_a_broken_one_is_not(serving: Serving, folder: Path, tmp_path: Path) -> None:
    def put(name: str) -> None:
        for end in (".key", ".pem"):
            shutil.copyfile(folder / f"{name}{end}", tmp_path / f"live{end}")

    def until(authority: str) -> None:
        for _ in range(500):
            with contextlib.suppress(ssl.SSLError):
                assert _ask(port, folder, authority) == 200
                return
            time.sleep(0.02)
        raise AssertionError(f"no certificate of {authority} comes")

    put("server")
    with serving(RIDGE, *_files(tmp_path, "live"), "--watch", "20") as port:
        assert _ask(port, folder) == 200
        put("other")
        until("stranger")
        (tmp_path / "live.pem").write_text("no certificate")
        time.sleep(0.2)
        assert _ask(port, folder, "stranger") == 200
        put("server")
        until("authority")


def test_what_is_no_certificate_or_key_stops_the_start(folder: Path, tmp_path: Path) -> None:
    empty, encrypted = tmp_path / "empty.pem", tmp_path / "encrypted.key"
    empty.write_text("")
    _openssl("ec", "-in", folder / "server.key", "-aes128", "-passout", "pass:abcd", "-out", encrypted)
    broken = tmp_path / "broken.pem"
    broken.write_bytes((folder / "server.pem").read_bytes()[:300])
    long = tmp_path / "long.pem"
    long.write_bytes(b" " * (1 << 20) + b" ")
    pem, key, client = str(folder / "server.pem"), str(folder / "server.key"), "--tls-client-ca"
    cases: list[tuple[list[str], list[str]]] = [
        (["--tls-cert", pem], ["--tls-cert and --tls-key"]),
        ([client, pem], ["--tls-cert and --tls-key"]),
        (["--tls-cert", "/nowhere.pem", "--tls-key", key], ["/nowhere.pem"]),
        (["--tls-cert", str(empty), "--tls-key", key], ["empty.pem", "holds no certificate"]),
        (["--tls-cert", str(broken), "--tls-key", key], ["broken.pem", "no PEM"]),
        (["--tls-cert", str(long), "--tls-key", key], ["long.pem", "1048576"]),
        (["--tls-cert", pem, "--tls-key", str(empty)], ["empty.pem", "holds no key"]),
        (["--tls-cert", pem, "--tls-key", str(encrypted)], ["encrypted.key", "without a password"]),
        (["--tls-cert", pem, "--tls-key", str(folder / "client.key")], ["client.key", "server.pem"]),
        (["--tls-cert", pem, "--tls-key", key, client, str(empty)], ["empty.pem", "holds no certificate"]),
    ]
    for arguments, wanted in cases:
        done = subprocess.run([binary("corten-serve"), str(RIDGE), *arguments], capture_output=True, text=True)
        error = done.stderr
        assert done.returncode == 2 and len(error.splitlines()) == 1, error
        assert all(text in error for text in wanted), error


def _probe(address: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binary("corten-serve"), "--probe", address], capture_output=True, text=True, timeout=20)


def test_the_probe_asks_a_server_with_tls_too(serving: Serving, folder: Path) -> None:
    with serving(RIDGE, *_files(folder)) as port:
        done = _probe(f"https://127.0.0.1:{port}")
        assert (done.returncode, done.stderr) == (0, "")
        assert _probe(f"https://localhost:{port}").returncode == 0
        assert _probe(f"127.0.0.1:{port}").returncode == 1
    with serving(RIDGE) as port:
        assert _probe(f"127.0.0.1:{port}").returncode == 0
        assert _probe(f"http://127.0.0.1:{port}").returncode == 0
        done = _probe(f"https://127.0.0.1:{port}")
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
