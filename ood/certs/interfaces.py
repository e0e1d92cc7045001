"""txacme's interfaces, by the same names, so that who knows it is at home here.

:class:`IResponder` is a plugin, too: what provides it and
:class:`~twisted.plugin.IPlugin` in a module of ``ood.plugins`` takes part by its
``name``, and is asked for with the setting ``acmeChallenges``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface


class IResponder(Interface):
    """Answers one type of challenge."""

    challenge_type: str = Attribute("The type, such as ``http-01``.")

    def start_responding(server_name: str, challenge: Any, response: Any) -> Deferred[None] | None:
        """Answer from now on; what is returned fires when a CA may ask.

        :param server_name: the name that is validated.
        :param challenge: a :class:`~ood.certs.client.Challenge`, for which
            ``challenge.encode("token")`` is the token.
        :param response: the same object; ``response.key_authorization`` is the answer.
        """

    def stop_responding(server_name: str, challenge: Any, response: Any) -> Deferred[None] | None:
        """Answer no more."""


class ICertificateStore(Interface):
    """Keeps certificates."""

    def get(server_name: str) -> Deferred[list[Any]]:
        """Fire with the PEM objects of a name: key, leaf, chain; KeyError if there is none."""

    def store(server_name: str, pem_objects: list[Any]) -> Deferred[None]:
        """Keep the PEM objects of a name; fire when they are safe on the disk."""

    def as_dict() -> Deferred[dict[str, list[Any]]]:
        """Fire with all PEM objects by name."""


def _also_txacme() -> None:
    """Make these txacme's interfaces, too, where ``ood[txacme]`` is installed."""
    try:
        from txacme import interfaces as theirs  # noqa: PLC0415 - it may not be there
    except ImportError:
        return
    IResponder.__bases__ = (theirs.IResponder,)
    ICertificateStore.__bases__ = (theirs.ICertificateStore,)


_also_txacme()
