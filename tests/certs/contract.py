"""What the client may expect of a CA: the one in memory and a real one are held to it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from ood.certs.errors import AcmeError
from ood.certs.pem import load_pair, new_key

NAMES = ("shop.ood-test.com", "www.ood-test.com")


class CaContract:
    """Tests over ``http``, what answers http-01, and two methods.

    ``client()`` returns a client with an account of its own, ``spoil(name)`` lets a name
    never validate.
    """

    def test_issue(self: Any) -> Deferred[None]:
        """Names lead to a certificate for them and for the key; nothing is left."""

        async def work() -> None:
            key = new_key()
            chain = await self.client().issue(NAMES, key, [self.http])
            certificate, leaf = load_pair(key, b"".join(chain), "acme")
            self.assertEqual(set(certificate.names), set(NAMES))
            self.assertTrue(leaf.ari_id)
            self.assertEqual(self.http._answers, {})

        return Deferred.fromCoroutine(work())

    def test_refused(self: Any) -> Deferred[None]:
        """A name that something else answers for is refused, in words."""

        async def work() -> None:
            self.spoil(NAMES[0])
            with self.assertRaises(AcmeError) as caught:
                await self.client().issue(NAMES[:1], new_key(), [self.http])
            self.assertEqual(caught.exception.kind, "unauthorized")
            self.assertIn("something else answers", caught.exception.message)
            self.assertEqual(self.http._answers, {})

        return Deferred.fromCoroutine(work())

    def test_resumed(self: Any) -> Deferred[None]:
        """An order of an earlier run is gone on with, and one that is gone is begun anew."""

        async def work() -> None:
            client, key, names = self.client(), new_key(), NAMES[:1]
            orders: list[str] = []
            first = await client.issue(names, key, [self.http], began=orders.append)
            again = await client.issue(names, key, [self.http], order=orders[0])
            self.assertEqual(first, again)
            gone = orders[0] + "x"
            await client.issue(names, key, [self.http], order=gone, began=orders.append)
            self.assertEqual(len(orders), 2)

        return Deferred.fromCoroutine(work())
