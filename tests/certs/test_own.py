"""Certificates from files: what is taken, what is refused, and what happens when they change."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from twisted.trial.unittest import SynchronousTestCase

from ood.certs.errors import CertificateError
from ood.certs.own import OwnCertificates, Place, absolute
from ood.certs.pem import key_pem, load_signer, unsigned
from ood.clock import wall_time
from ood.errors import ConflictError, NotFoundError
from tests.certs.ca import EPOCH
from tests.certs.pki import Authority, make_pair, write_pair


class OwnCase(SynchronousTestCase):
    """A directory, and one app that answers to shop.example.com."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.files = self.directory / "files"
        self.now = EPOCH
        self.own = self.begin()

    def begin(self) -> OwnCertificates:
        def useful(names: object) -> tuple[str, ...]:
            return ("shop",) if {"shop.example.com", "*.example.com"} & set(names) else ()

        return OwnCertificates(self.directory / "own", self.moment, useful)

    def moment(self) -> datetime:
        return self.now

    def write(self, names: list[str], **options: timedelta) -> Place:
        return Place(*write_pair(self.files, names, self.now, **options))

    def add(self) -> str:
        return self.own.add(self.write(["shop.example.com", "www.example.com"]))

    def refused(self, place: Place) -> str:
        with self.assertRaises(CertificateError) as caught:
            self.own.add(place)
        self.assertEqual(self.own.certificates, {})
        return str(caught.exception)


class AddTests(OwnCase):
    """Taking a certificate."""

    def test_added(self) -> None:
        """It is there now and after a restart; the key is nowhere to be seen."""
        self.assertEqual(self.add(), "shop.example.com")
        own = self.begin().certificates["shop.example.com"]
        self.assertEqual(own.certificate.names, ("shop.example.com", "www.example.com"))
        self.assertEqual((own.trouble, own.certificate.source), ("", "file"))
        self.assertNotIn("PRIVATE", repr(own))
        for path in (self.directory / "own").iterdir():
            self.assertEqual(path.stat().st_mode & 0o077, 0)

    def test_refused(self) -> None:
        """Key and certificate that don't fit, one that has ended, other names, no PEM."""
        place = self.write(["shop.example.com"])
        _, other = make_pair(["shop.example.com"], self.now)
        Path(place.key).write_bytes(other)
        self.assertIn("key does not belong", self.refused(place))
        ended = self.write(["shop.example.com"], lifetime=timedelta(minutes=-5))
        self.assertIn("has expired on 2025-12-31", self.refused(ended))
        self.assertIn("no app answers", self.refused(self.write(["other.example.com"])))
        self.assertIn("names no host", self.refused(self.write([])))
        place = self.write(["shop.example.com"])
        for path in (place.cert, place.key):
            good = Path(path).read_bytes()
            Path(path).write_bytes(b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n")
            self.assertIn("can't be read", self.refused(place))
            Path(path).write_bytes(b"rubbish")
            self.refused(place)
            Path(path).write_bytes(good)
        gone = Place(place.cert, "/nowhere/key.pem")
        self.assertIn("/nowhere/key.pem can't be read: No such file", self.refused(gone))

    def test_not_yet(self) -> None:
        """One that begins tomorrow."""
        place = self.write(["shop.example.com"])
        self.now -= timedelta(days=1)
        self.assertIn("not valid yet", self.refused(place))

    def test_encrypted(self) -> None:
        """A key with a pass phrase is refused as what it is."""
        place = self.write(["shop.example.com"])
        key = load_signer(Path(place.key).read_bytes())
        secret = serialization.BestAvailableEncryption(b"secret")
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, secret)
        Path(place.key).write_bytes(pem)
        self.assertIn("encrypted", self.refused(place))

    def test_weak(self) -> None:
        """What OpenSSL would not show, or nobody would take, does not replace what is good."""
        for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256K1())):
            place = self.write(["shop.example.com"])
            builder = unsigned("a", "b", key, self.now, timedelta(days=9))
            alternative = x509.SubjectAlternativeName([x509.DNSName("shop.example.com")])
            signed = builder.add_extension(alternative, False).sign(key, hashes.SHA256())
            Path(place.cert).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
            Path(place.key).write_bytes(key_pem(key))
            self.assertIn("browsers would refuse it", self.refused(place))

    def test_weak_between(self) -> None:
        """The same for what stands between it and a root; the root itself does not matter."""
        place = self.write(["shop.example.com"])
        key = rsa.generate_private_key(65537, 1024)
        for issuer in ("a root", "a CA"):
            builder = unsigned("a CA", issuer, key, self.now, timedelta(days=9))
            weak = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            (self.files / "chain.pem").write_bytes(weak)
            with_chain = Place(place.cert, place.key, str(self.files / "chain.pem"))
            if issuer == "a root":
                self.assertIn("RSA key of 1024 bits", self.refused(with_chain))
            else:
                self.assertEqual(self.own.add(with_chain), "shop.example.com")

    def test_pipe(self) -> None:
        """A pipe is refused, and nobody is waited for."""
        place = self.write(["shop.example.com"])
        pipe = self.files / "pipe"
        os.mkfifo(pipe)
        self.assertIn("is not a file", self.refused(Place(str(pipe), place.key)))

    def test_chain(self) -> None:
        """Those between it and a root may come from a file of their own."""
        place = self.write(["shop.example.com"])
        between, _ = make_pair(["a CA"], self.now)
        chain = self.files / "chain.pem"
        chain.write_bytes(between)
        self.own.add(Place(place.cert, place.key, str(chain)))
        served = self.own.certificates["shop.example.com"].certificate.chain_pem
        self.assertEqual(served, Path(place.cert).read_bytes() + between)

    def test_order(self) -> None:
        """A chain is served in its order, and each of it once, however it stands in the files."""
        root = Authority("root")
        high = Authority("high", issuer=root)
        low = Authority("low", issuer=high)
        leaf, key = low.pair("shop.example.com")
        self.now = wall_time()
        place = self.write(["shop.example.com"])
        Path(place.key).write_bytes(key)
        chain = self.files / "chain.pem"
        for first, others in (
            (leaf, (low.pem, high.pem)),
            (leaf, (high.pem, low.pem)),
            (low.pem, (leaf, high.pem)),
            (leaf, (leaf, low.pem, high.pem)),
        ):
            Path(place.cert).write_bytes(first)
            chain.write_bytes(b"".join(others))
            self.own.add(Place(place.cert, place.key, str(chain)))
            served = self.own.certificates["shop.example.com"].certificate.chain_pem
            self.assertEqual(served, leaf + low.pem + high.pem)

    def test_signer_missing(self) -> None:
        """It is said that the certificate between is missing, where there must be one."""
        self.now = wall_time()
        low = Authority("low", issuer=Authority("root"))
        place = self.write(["shop.example.com"])
        for logged, chain, missing in (
            (True, b"", True),
            (True, low.pem, False),
            (False, b"", False),
        ):
            leaf, key = low.pair("shop.example.com", logged=logged)
            Path(place.cert).write_bytes(leaf + chain)
            Path(place.key).write_bytes(key)
            self.own.add(place)
            own = self.own.certificates["shop.example.com"]
            self.assertEqual("CN=low, who signed it, is missing" in own.lacking, missing)
            self.assertEqual(own.trouble, "")

    def test_relative(self) -> None:
        """Where a service stands is nobody's business."""
        self.assertRaises(ConflictError, absolute, "cert.pem", "/key.pem", "")


class ChangeTests(OwnCase):
    """Files that change while they are served."""

    def test_renewed(self) -> None:
        """A new pair is taken at the next look."""
        name = self.add()
        before = self.own.certificates[name].certificate
        self.assertEqual(self.own.look(), [])
        self.now += timedelta(days=60)
        self.write(["shop.example.com"])
        self.assertEqual(self.own.look(), [name])
        after = self.own.certificates[name]
        self.assertNotEqual(after.certificate.fingerprint, before.fingerprint)
        self.assertGreater(after.certificate.not_after, before.not_after)

    def test_half(self) -> None:
        """While only one of the two is written, the old pair is served, and then the new one."""
        name = self.add()
        before = self.own.certificates[name].certificate
        cert, key = make_pair(["shop.example.com"], self.now)
        Path(self.own.certificates[name].place.cert).write_bytes(cert)
        self.assertEqual(self.own.look(), [name])
        self.assertIn("key does not belong", self.own.certificates[name].trouble)
        self.assertEqual(self.own.certificates[name].certificate, before)
        Path(self.own.certificates[name].place.key).write_bytes(key)
        self.assertEqual(self.own.look(), [name])
        self.assertEqual(self.own.certificates[name].trouble, "")
        self.assertNotEqual(self.own.certificates[name].certificate, before)

    def test_refused_for_a_while(self) -> None:
        """What was refused is taken once it is in order, though no file changes then."""
        name = self.add()
        before = self.own.certificates[name].certificate
        self.now += timedelta(days=2)
        self.write(["shop.example.com"])
        self.now -= timedelta(days=1)
        self.assertEqual(self.own.look(), [name])
        self.assertIn("not valid yet", self.own.certificates[name].trouble)
        self.assertEqual(self.own.look(), [])
        self.assertEqual(self.begin().look(), [])
        self.now += timedelta(days=1)
        self.assertEqual(self.own.look(), [name])
        self.assertEqual(self.own.certificates[name].trouble, "")
        self.assertNotEqual(self.own.certificates[name].certificate, before)
        self.assertEqual(self.own.look(), [])

    def test_no_copy(self) -> None:
        """A new pair is served even if no copy of it can be kept."""
        name = self.add()
        before = self.own.certificates[name].certificate
        copy = self.directory / "own" / f"{name}.pem"
        copy.unlink()
        copy.mkdir()
        self.write(["shop.example.com"])
        self.own.look()
        self.assertNotEqual(self.own.certificates[name].certificate, before)

    def test_lost_files(self) -> None:
        """Files that are gone lose nothing, not even over a restart."""
        name = self.add()
        before = self.own.certificates[name].certificate
        Path(self.own.certificates[name].place.cert).unlink()
        self.own.look()
        again = self.begin().certificates[name]
        self.assertEqual(again.certificate, before)
        self.assertIn("can't be read", again.trouble)
        self.write(["shop.example.com"])
        own = self.begin()
        self.assertEqual(own.certificates[name].trouble, "")

    def test_removed(self) -> None:
        """What is removed is gone; the files stay."""
        name = self.add()
        place = self.own.certificates[name].place
        self.own.remove(name)
        self.assertEqual(self.begin().certificates, {})
        self.assertTrue(Path(place.cert).exists())
        self.assertRaises(NotFoundError, self.own.remove, name)
