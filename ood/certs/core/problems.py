"""What a CA or a network answered, in words that say what to do."""

from __future__ import annotations

from collections.abc import Mapping

MEANINGS: Mapping[str, str] = {
    "dns": "the CA can't look the name up",
    "connection": "the CA can't reach this host under the name",
    "tls": "the CA got no right answer on port 443",
    "unauthorized": "something else answers under the name",
    "account": "the CA does not accept the account",
    "incorrectResponse": "something else answers under the name",
    "caa": "a CAA record of the domain forbids this CA",
    "rateLimited": "the CA's limit is reached for now",
    "rejectedIdentifier": "the CA does not sign this name",
    "unsupportedIdentifier": "the CA does not sign this name",
    "externalAccountRequired": "the CA wants an account of its own: set acmeEabKid, acmeEabKeyFile",
    "userActionRequired": "the CA wants its terms to be accepted anew",
    "invalidContact": "the CA does not accept acmeEmail",
    "unsupportedContact": "the CA does not accept acmeEmail",
    "invalidProfile": "the CA has no such acmeProfile",
    "serverInternal": "the CA has trouble of its own",
    "badNonce": "the CA refused every nonce",
}
"""What the error types of RFC 8555 mean for who runs a site."""
DETAIL_CHARACTERS = 300
"""As much of a CA's own words as a person reads."""


def in_words(kind: str, detail: str) -> str:
    """Return an error of a CA in plain words, its own words after ours."""
    said = " ".join("".join(one if one.isprintable() else " " for one in detail).split())
    said = said if len(said) <= DETAIL_CHARACTERS else said[: DETAIL_CHARACTERS - 3] + "..."
    meaning = MEANINGS.get(kind, "")
    if not meaning:
        return f"the CA says: {said}" if said else f"the CA says: {kind}"
    return f"{meaning}: {said}" if said else meaning
