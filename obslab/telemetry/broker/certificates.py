"""Certificates made here with openssl: a CA of one's own, and what it signs for a broker's hosts.

For a network of one's own, and for tests. Whoever has ``ca.key`` can pretend to be any of the brokers.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from obslab.errors import BrokerError, ConfigError

# Ten years: nobody can renew a certificate at a station during an Antarctic winter.
_DAYS = "3650"
_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_CA_CONFIG = """\
[req]
distinguished_name = name
x509_extensions = ca
prompt = no
[name]
CN = obslab test CA
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_SERVER_CONFIG = """\
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


def make_ca(folder: Path) -> None:
    """``ca.crt`` and ``ca.key`` in this folder, unless they are there. Raises BrokerError, ConfigError."""
    certificate, key = folder / "ca.crt", folder / "ca.key"
    if certificate.exists() != key.exists():
        there, missing = (certificate, key) if certificate.exists() else (key, certificate)
        raise ConfigError(f"{there} is there without {missing.name}; bring it back, or take both away")
    if certificate.exists():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "ca.cnf"
        config.write_text(_CA_CONFIG)
        made = Path(scratch) / "ca.key"
        _openssl(
            "req", "-x509", *_EC, "-days", _DAYS, "-config", config, "-keyout", made, "-out", certificate
        )
        _private(key, made.read_bytes())


def sign(ca: Path, folder: Path, hosts: Iterable[str]) -> None:
    """``server.crt`` and ``server.key`` in this folder, good for these hosts, with a copy of ``ca.crt``."""
    hosts = tuple(dict.fromkeys(hosts))
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        request, made, names = (Path(scratch) / name for name in ("server.csr", "server.key", "names"))
        names.write_text(_SERVER_CONFIG.format(names=", ".join(_name(host) for host in hosts)))
        # A common name has room for 64 characters; clients look at the names above.
        _openssl("req", *_EC, "-subj", f"/CN={hosts[0][:64]}", "-keyout", made, "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", ca / "ca.crt", "-CAkey", ca / "ca.key"),
            *("-set_serial", f"0x{os.urandom(16).hex()}", "-days", _DAYS, "-extfile", names),
            *("-out", folder / "server.crt"),
        )
        _private(folder / "server.key", made.read_bytes())
    (folder / "ca.crt").write_bytes((ca / "ca.crt").read_bytes())


def _name(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def _private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # or it would keep the mode that it has
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _openssl(*arguments: str | Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        raise BrokerError(
            "openssl is not installed; apt-get install openssl, or bring certificates of your own"
        )
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise BrokerError(f"openssl {arguments[0]} failed: {' '.join(done.stderr.split())[-300:]}")
