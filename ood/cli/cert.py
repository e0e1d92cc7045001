"""``ood cert``: the commands of certificates and their options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ood.cli.app import common
from ood.cli.help import OodCommand, OodGroup
from ood.cli.session import Invocation

F = TypeVar("F", bound=Callable[..., Any])


@click.group(
    cls=OodGroup,
    invoke_without_command=True,
    short_help="Show and manage certificates",
    options_metavar="",
    subcommand_metavar="[command]",
)
@common
@click.pass_context
def cert(ctx: click.Context) -> None:
    """Show certificates, renew them, serve your own ones.

    Names of the Internet get theirs by themselves, once you have accepted the terms of the
    CA: ood config --set acmeAgreeTos true
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


cert_group = cert
assert isinstance(cert_group, OodGroup)
cert_group.examples = (
    "ood cert list",
    "ood cert show example.com",
    "ood cert add /etc/ssl/example.com.pem /etc/ssl/example.com.key",
    "ood cert renew example.com",
)


def command(name: str, *examples: str) -> Callable[[F], OodCommand]:
    """Return a decorator that makes a function a command of certificates."""

    def decorate(function: F) -> OodCommand:
        made = cert.command(name)(common(click.pass_obj(function)))
        assert isinstance(made, OodCommand)
        made.examples = examples
        return made

    return decorate


@command("list", "ood cert list", "ood cert list --json")
def list_certificates(invocation: Invocation) -> None:
    """Show all certificates, and the names that have none."""
    from ood.cli.certverbs import list_all

    invocation.run(list_all)


@command("show", "ood cert show example.com")
@click.argument("name")
def show(invocation: Invocation, name: str) -> None:
    """Show the certificate that is served for NAME."""
    from ood.cli.certverbs import show

    invocation.run(lambda session: show(session, name))


@command(
    "add",
    "ood cert add fullchain.pem privkey.pem",
    "ood cert add example.com.crt example.com.key --chain ca-bundle.crt",
)
@click.argument("certificate", type=click.Path())
@click.argument("key", type=click.Path())
@click.option("--chain", metavar="FILE", help="What is between it and a root, if apart.")
def add(invocation: Invocation, certificate: str, key: str, chain: str | None) -> None:
    """Serve the certificate in a file, and read it again when the file changes."""
    from ood.cli.certverbs import add

    paths = [str(Path(path).absolute()) if path else "" for path in (certificate, key, chain)]
    invocation.run(lambda session: add(session, *paths))


@command("renew", "ood cert renew example.com")
@click.argument("name")
def renew(invocation: Invocation, name: str) -> None:
    """Get the certificate of NAME anew, now; the old one is served until then."""
    from ood.cli.certverbs import renew

    invocation.run(lambda session: renew(session, name))


@command("revoke", "ood cert revoke example.com")
@click.argument("name")
def revoke(invocation: Invocation, name: str) -> None:
    """Get a certificate with a new key, then have the CA revoke the old one."""
    from ood.cli.certverbs import revoke

    invocation.run(lambda session: revoke(session, name))


@command("remove", "ood cert remove example.com")
@click.argument("name")
def remove(invocation: Invocation, name: str) -> None:
    """Forget a certificate; the files of your own one stay."""
    from ood.cli.certverbs import remove

    invocation.run(lambda session: remove(session, name))
