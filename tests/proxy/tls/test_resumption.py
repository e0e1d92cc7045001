"""TLS sessions are resumed, and only where the same certificate would be shown."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing

from ood.testing.certificates import make_certificate
from tests.proxy.support import LOOPBACK
from tests.proxy.tls.support import SECONDS, SITE, HttpsTestCase, read_all, request, trusting


class ResumptionTests(HttpsTestCase):
    async def asked(
        self, settings: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> tuple[ssl.SSLSession, bool]:
        """Ask once; return the session that came of it, and whether it was resumed."""

        def run() -> tuple[ssl.SSLSession, bool]:
            raw = socket.create_connection((LOOPBACK, self.tls_port), SECONDS)
            wire = settings.wrap_socket(raw, server_hostname="site.localhost", session=session)
            with closing(wire):
                wire.sendall(request("/"))
                assert b" 200 " in read_all(wire)
                assert wire.session is not None
                return wire.session, bool(wire.session_reused)

        return await self.blocking(run)

    async def test_versions(self) -> None:
        """With TLS 1.2 and with 1.3; who brings nothing gets a session of his own."""
        for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            settings = trusting(newest=newest)
            session, reused = await self.asked(settings)
            self.assertFalse(reused)
            session, reused = await self.asked(settings, session)
            self.assertTrue(reused, newest)
            self.assertTrue((await self.asked(settings, session))[1])

    async def test_another_certificate(self) -> None:
        """After a certificate was renewed its new one is shown."""
        renewed = make_certificate("site.localhost")
        for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            settings = trusting(newest=newest)
            # Both have the same name, and OpenSSL would check each by the first that is trusted.
            settings.check_hostname, settings.verify_mode = False, ssl.CERT_NONE
            self.certificates.put(SITE)
            session, _ = await self.asked(settings)
            self.certificates.put(renewed)
            self.assertFalse((await self.asked(settings, session))[1])
