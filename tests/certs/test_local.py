"""Certificates for names of this machine."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from ood.certs.local import LEAF_DAYS, LocalAuthority
from ood.clock import wall_time
from ood.model.localnames import LOCAL_SUFFIXES


class LocalTests(SynchronousTestCase):
    """A small CA of ood's own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.now = wall_time()
        self.local = LocalAuthority(self.directory, lambda: self.now)

    def test_made_once(self) -> None:
        """Made on first use, kept over a restart, made anew before it ends."""
        self.assertFalse(self.directory.exists())
        made = self.local.get("shop.localhost")
        self.assertEqual((made.names, made.source), (("shop.localhost",), "self-signed"))
        again = LocalAuthority(self.directory, lambda: self.now)
        self.assertEqual(again.get("shop.localhost"), made)
        self.now += timedelta(days=LEAF_DAYS - 10)
        self.assertNotEqual(again.get("shop.localhost"), made)
        for path in self.directory.iterdir():
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)

    def test_damaged(self) -> None:
        """What a disk has spoilt is made anew."""
        made = self.local.get("localhost")
        for name in ("ca.pem", "ca.key", "localhost.pem"):
            (self.directory / name).write_bytes(b"rubbish")
            again = LocalAuthority(self.directory, lambda: self.now).get("localhost")
            self.assertEqual(again == made, name != "localhost.pem")

    def test_limited(self) -> None:
        """The CA can vouch for nothing of the Internet."""
        self.local.get("localhost")
        authority = x509.load_pem_x509_certificate(self.local.authority_file.read_bytes())
        found = authority.extensions.get_extension_for_class(x509.NameConstraints)
        self.assertTrue(found.critical)
        permitted = [one.value for one in found.value.permitted_subtrees or ()]
        self.assertEqual(permitted, list(LOCAL_SUFFIXES))

    def test_openssl_agrees(self) -> None:
        """OpenSSL trusts it for its name, by the CA, and not for another one."""
        self.local.get("shop.localhost")
        leaf = self.directory / "shop.localhost.pem"

        def verified(name: str) -> bool:
            command = ["openssl", "verify", "-x509_strict", "-CAfile"]
            files = [str(self.local.authority_file), "-verify_hostname", name, str(leaf)]
            done = subprocess.run([*command, *files], capture_output=True, check=False)
            return done.returncode == 0

        self.assertTrue(verified("shop.localhost"))
        self.assertFalse(verified("other.localhost"))
