"""Certificates of a private authority, in files, as servers and addresses name them."""

from pathlib import Path

import msgspec
import trustme


class Certificates(msgspec.Struct, frozen=True):
    """Paths of files in PEM.

    Args:
        authority: the certificate of the authority that has signed the server's.
        other: that of another one, which has signed nothing.
        chain: the server's certificate, which is for ``localhost`` alone.
        key: its key.
    """

    authority: Path
    other: Path
    chain: Path
    key: Path


def issued(folder: Path) -> Certificates:
    """Make an authority, and have it sign a server's certificate."""
    authority, other = trustme.CA(), trustme.CA()
    made = Certificates(*(folder / f"{name}.pem" for name in Certificates.__struct_fields__))
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(made.authority))
    other.cert_pem.write_to_path(str(made.other))
    certificate.cert_chain_pems[0].write_to_path(str(made.chain))
    certificate.private_key_pem.write_to_path(str(made.key))
    return made
