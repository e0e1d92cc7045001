"""Certificates that change and workers that are replaced, under HTTPS load: nobody notices."""

from __future__ import annotations

import hashlib
import shutil
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ood.clock import wall_time
from tests.certs.pki import write_pair
from tests.integration.certs.test_edge import PATIENCE_SECONDS, SHOP, EdgeCase
from tests.support.load import SERVER, Load
from tests.support.ood import wait_until

KEPT, SHORT, HTTP2 = 24, 4, 6
CHANGES = 2


class UnderLoadTests(EdgeCase):
    """Connections that are kept, HTTP/2 ones, and one for each request, each checked as TLS is."""

    def setUp(self) -> None:
        super().setUp()
        (self.site / "server.js").write_text(SERVER)
        self.service.add("shop", self.site, "--domain", SHOP, "--instances", "2")

    def load(self, root: str | None = None) -> Load:
        """Begin to ask; certificates must be signed by ``root``, if one is given."""
        plain, http2 = (ssl.create_default_context(cadata=root) for _ in range(2))
        if root is None:
            for context in (plain, http2):
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        http2.set_alpn_protocols(["h2"])
        load = Load(self.service.https_port, KEPT, SHORT, plain, SHOP, HTTP2, http2)
        load.start()
        return load

    def nobody_noticed(self, load: Load, certificates: list[str]) -> None:
        """Look that all was answered, on connections that stayed, by just these certificates."""
        self.assertEqual((load.failures[:5], load.closes), ([], 0), load.requests)
        self.assertEqual(load.seen, set(certificates))
        self.assertGreater(load.requests, (KEPT + SHORT + HTTP2) * len(certificates))

    def shown(self, load: Load, certificate: str) -> None:
        """Wait until a new connection is shown ``certificate``."""
        wait_until(lambda: load.failures or certificate in load.seen, "a new one", PATIENCE_SECONDS)

    def current(self) -> str:
        return str(self.state(SHOP)["fingerprint"])

    def test_renewals(self) -> None:
        """The CA's certificates are renewed by themselves and while workers are replaced."""
        self.agree()
        self.until_valid(SHOP)
        certificates = [self.current()]
        load = self.load(self.ca.root())
        try:
            self.shown(load, certificates[-1])
            for _ in range(CHANGES):
                self.service.ood("cert", "renew", SHOP)
                certificates.append(self.current())
                self.shown(load, certificates[-1])
                with ThreadPoolExecutor() as beside:
                    restarted = beside.submit(self.service.ood, "restart", "shop")
                    self.service.ood("cert", "renew", SHOP)
                    restarted.result()
                certificates.append(self.current())
                self.shown(load, certificates[-1])
        finally:
            load.stop()
        self.assertEqual(len(set(certificates)), 1 + 2 * CHANGES)
        self.nobody_noticed(load, certificates)

    def test_own_files(self) -> None:
        """Own certificates are swapped as their files change; workers are replaced meanwhile."""
        made = [
            write_pair(self.service.directory / f"tls{number}", [SHOP], wall_time())
            for number in range(1 + CHANGES)
        ]
        files = self.service.directory / "tls"
        shutil.copytree(self.service.directory / "tls0", files)
        cert, key = (str(files / Path(one).name) for one in made[0])
        self.service.ood("cert", "add", cert, key)
        certificates = [fingerprint(one) for one, _ in made]
        load = self.load()
        try:
            self.shown(load, certificates[0])
            for number in range(1, 1 + CHANGES):
                for source, target in zip(made[number], (cert, key), strict=True):
                    shutil.copy(source, target)
                self.service.ood("restart", "shop")
                self.shown(load, certificates[number])
        finally:
            load.stop()
        self.nobody_noticed(load, certificates)


def fingerprint(path: str) -> str:
    """Return the SHA-256 of a certificate in a PEM file."""
    der = ssl.PEM_cert_to_DER_cert(Path(path).read_text())
    return hashlib.sha256(der).hexdigest()
