"""Certificates for the tests of TLS: one authority, and servers it does and does not speak for."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


class Authority:
    """A certificate authority that lives as long as a test."""

    def __init__(self, folder: Path) -> None:
        """Make its key; `folder` takes the files that `ssl` reads."""
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])
        root = self._builder(self.name, self.key, NOW + 9 * DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        certificate = root.issuer_name(self.name).sign(self.key, hashes.SHA256())
        self.trusted = folder / "authority.pem"  # the file to trust
        self.trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(
        self, *hosts: str, until: datetime.datetime = NOW + 5 * DAY, self_signed: bool = False
    ) -> ssl.SSLContext:
        """What a server that is one of `hosts` speaks TLS with."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        stated = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = self._builder(name, key, until).add_extension(stated, critical=False)
        issuer, signer = (name, key) if self_signed else (self.name, self.key)
        certificate = builder.issuer_name(issuer).sign(signer, hashes.SHA256())
        path = self.folder / f"{certificate.serial_number}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 9 * DAY)
            .not_valid_after(until)
        )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
