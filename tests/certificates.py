"""Throw-away certificates for TLS servers on loopback."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """`server` has a certificate for 127.0.0.1 and localhost, `other_name` one for another host; `ca_file` vouches for
    both. `key_and_chain` is what `server` has, as a PEM file."""

    server: ssl.SSLContext
    other_name: ssl.SSLContext
    ca_file: str
    key_and_chain: Path


def make(folder: Path) -> Certificates:
    """A new authority and two servers' certificates, with the authority's PEM file in the folder."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    ca_file, key_and_chain = folder / "authority.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    server.private_key_and_cert_chain_pem.write_to_path(str(key_and_chain))
    return Certificates(
        server=_context(server),
        other_name=_context(authority.issue_cert("mail.example.com")),
        ca_file=str(ca_file),
        key_and_chain=key_and_chain,
    )


def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
