"""The command line: commands, their options, and what help says about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ood import __version__
from ood.cli.help import OodCommand, OodGroup
from ood.cli.names import APP, KEY, KeyAndValue, invocation_of
from ood.cli.session import Invocation, Session

SHELLS = ("bash", "zsh", "fish")
"""Shells that can complete ood's commands."""

F = TypeVar("F", bound=Callable[..., Any])


def _set_home(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        invocation = invocation_of(ctx)
        invocation.home = invocation.home_there = value


def _set_host(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        invocation_of(ctx).host = value


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        invocation_of(ctx).output.json = True


def common(function: F) -> F:
    """Give a command the options that every command has, before or after its name.

    Their names are theirs alone: a command's own ``host`` must not get there, too.
    """
    home = click.option(
        "--home",
        "common_home",
        metavar="DIR",
        expose_value=False,
        callback=_set_home,
        help="Home of the service  [env: OOD_HOME]",
    )
    host = click.option(
        "--host",
        "common_host",
        metavar="USER@SERVER",
        expose_value=False,
        callback=_set_host,
        help="Steer the ood of another machine, through ssh.",
    )
    as_json = click.option(
        "--json",
        "common_json",
        is_flag=True,
        expose_value=False,
        callback=_set_json,
        help="Print JSON.",
    )
    return home(host(as_json(function)))


@click.group(
    cls=OodGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="",
    subcommand_metavar="[command]",
)
@click.version_option(__version__, message="%(version)s")
@common
@click.pass_context
def ood(ctx: click.Context) -> None:
    """Run Node.js sites and apps: install, watch and update them without an interruption."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def command(name: str, *examples: str, **options: Any) -> Callable[[F], OodCommand]:
    """Return a decorator that makes a function a command with the common options."""

    def decorate(function: F) -> OodCommand:
        made = ood.command(name, **options)(common(function))
        assert isinstance(made, OodCommand)
        made.examples = examples
        return made

    return decorate


ood_group = ood
assert isinstance(ood_group, OodGroup)
ood_group.examples = (
    "ood help status",
    "ood help config",
    "ood init example.com --cwd /var/www/example.com",
    "ood start example.com",
    "ood scale example.com 4",
    "ood status",
    "ood config --set httpPort 80",
    "ood config -a example.com -g port",
    "ood log example.com -f",
    "ood web",
)


@command(
    "init",
    "ood init example.com",
    "ood init example.com --cwd /var/www/example.com --user www-data --instances max",
    "ood init docs --static /var/www/docs",
    "ood init api --script dist/main.js --env NODE_ENV=production --domain api.example.com",
    "ood init api --upstream http://10.0.0.5:8080 --upstream 'unix:/run/api.sock backup'",
    "ood init api --upstream 'https://10.0.0.5 caFile=/etc/ssl/our-ca.pem'",
    short_help="Initialise a new app",
)
@click.argument("app")
@click.option("--static", metavar="DIR", help="Serve the files of a directory; nothing runs.")
@click.option("--cwd", metavar="DIR", help="The app's directory; this one if not given.")
@click.option("--script", metavar="FILE", help="What to run; found in the directory if not given.")
@click.option("--interpreter", metavar="X", help="node, npm, none, or a program.")
@click.option("--instances", metavar="N|max", help="How many workers run.")
@click.option("--domain", "domains", metavar="NAME", multiple=True, help="A further host name.")
@click.option("--user", metavar="U", help="The user it runs as.")
@click.option("--env", "env", metavar="K=V", multiple=True, help="An environment variable.")
@click.option("--port", metavar="N", help="Its own port on 127.0.0.1.")
@click.option("--default", "default", is_flag=True, help="Answer for hosts that no app names.")
@click.option(
    "--upstream",
    "upstreams",
    metavar="ADDRESS",
    multiple=True,
    help="A server elsewhere that answers instead of workers.",
)
@click.pass_obj
def init(invocation: Invocation, /, app: str, **options: Any) -> None:
    """Add an app: finds out what to run, and assigns a port."""
    from ood.cli.add import add

    add(invocation, app, options)


@command("start", "ood start testapp", short_help="Start an app")
@click.argument("app", type=APP)
@click.pass_obj
def start(invocation: Invocation, app: str) -> None:
    """Start an app; returns when all its workers answer."""
    from ood.cli.verbs import start

    invocation.run(lambda session: start(session, app))


@command("stop", "ood stop example.com", short_help="Stop a running app")
@click.argument("app", type=APP)
@click.pass_obj
def stop(invocation: Invocation, app: str) -> None:
    """Stop an app: it finishes what it does; returns when its processes are gone."""
    from ood.cli.verbs import stop

    invocation.run(lambda session: stop(session, app))


@command("restart", "ood restart example.com", short_help="Restart a running app")
@click.argument("app", type=APP)
@click.pass_obj
def restart(invocation: Invocation, app: str) -> None:
    """Replace an app's workers, a new one before each old one: nobody notices."""
    from ood.cli.verbs import restart

    invocation.run(lambda session: restart(session, app))


@command(
    "deploy",
    "ood deploy example.com",
    "ood deploy example.com /home/dev/site",
    "ood deploy example.com https://github.com/me/site.git --ref v2 --build",
    "ood deploy example.com site-2.0.0.tgz",
    short_help="Run a new release",
)
@click.argument("app", type=APP)
@click.argument("source", required=False)
@click.option("--ref", metavar="R", help="Branch, tag or commit of a git repository.")
@click.option("--build", is_flag=True, help="Run the package's build script.")
@click.option("--script", metavar="FILE", help="What to run from then on, if it moved.")
@click.pass_obj
def deploy(
    invocation: Invocation,
    app: str,
    source: str | None,
    *,
    ref: str | None,
    build: bool,
    script: str | None,
) -> None:
    """Make a release and run it; if it does not come up, the old one serves on.

    SOURCE is a directory, a git URL or an archive; the app's own directory if absent.
    It is copied, and what it depends on is installed, all as the app's user.
    """

    async def work(session: Session) -> None:
        from ood.cli.deploy import deploy

        await deploy(session, app, source, ref=ref, build=build, script=script)

    invocation.run(work)


@command(
    "rollback",
    "ood rollback example.com",
    "ood rollback example.com 20260102-030405-1a2b",
    "ood rollback example.com cwd",
    short_help="Run an earlier release",
)
@click.argument("app", type=APP)
@click.argument("release", required=False)
@click.pass_obj
def rollback(invocation: Invocation, app: str, release: str | None) -> None:
    """Go back to the release before, or to RELEASE; cwd is the app's own directory."""

    async def work(session: Session) -> None:
        from ood.cli.deploy import rollback

        await rollback(session, app, release)

    invocation.run(work)


@command("releases", "ood releases example.com", short_help="Show an app's releases")
@click.argument("app", type=APP)
@click.pass_obj
def releases(invocation: Invocation, app: str) -> None:
    """Show an app's releases, newest first."""

    async def work(session: Session) -> None:
        from ood.cli.deploy import releases

        await releases(session, app)

    invocation.run(work)


@command(
    "scale",
    "ood scale example.com 12",
    "ood scale example.com +2",
    "ood scale example.com -1",
    "ood scale example.com max",
    short_help="Start or stop worker instances",
    # "-1" is a number here, not an option.
    context_settings={"ignore_unknown_options": True},
)
@click.argument("app", type=APP)
@click.argument("instances")
@click.pass_obj
def scale(invocation: Invocation, app: str, instances: str) -> None:
    """Set how many workers an app has: N, N more, N less, or one for each processor."""
    from ood.cli.verbs import scale

    invocation.run(lambda session: scale(session, app, instances))


def _keys() -> dict[str, list[str]]:
    """Return what help says about the keys."""
    from ood.model.schema import APP_KEYS, SETTINGS_KEYS

    return {
        title: [f"{key:<24} {one.doc}" for key, one in table.items() if not one.internal]
        for title, table in (("Settings", SETTINGS_KEYS), ("Keys of an app", APP_KEYS))
    }


@command(
    "config",
    "ood config --get",
    "ood config --get httpPort",
    "ood config --set httpsPort 443",
    "ood config --get --app example.com",
    "ood config -a example.com -g port",
    "ood config -a testapp -s cwd /home/test/testapp",
    "ood config -a testapp -s env.NODE_ENV production -s instances 4",
    short_help="Modify or show config",
)
@click.option("-a", "--app", metavar="APP", type=APP, help="An app's configuration.")
@click.option(
    "-g",
    "--get",
    "get",
    type=KEY,
    metavar="[KEY]",
    is_flag=False,
    flag_value="",
    help="Show one key or all.",
)
@click.option(
    "-s",
    "--set",
    "changes",
    type=KeyAndValue(),
    metavar="KEY VALUE",
    multiple=True,
    help="Set a key.",
)
@click.option(
    "--unset", type=KEY, metavar="KEY", multiple=True, help="Put a key back to its default."
)
@click.pass_obj
def config(
    invocation: Invocation,
    app: str | None,
    get: str | None,
    changes: tuple[tuple[str, str], ...],
    unset: tuple[str, ...],
) -> None:
    """Show or change the settings, or an app's configuration.

    Several changes at once are made together: all, or none if one of them is wrong.
    """
    from ood.cli.verbs import get_config, set_config, set_settings

    wanted: dict[str, str | None] = {**dict(changes), **dict.fromkeys(unset)}
    if wanted and get is not None:
        raise click.UsageError("--get does not go with --set and --unset")
    if len(wanted) < len(changes) + len(unset):
        raise click.UsageError("a key is named twice")
    if wanted and app is None:
        set_settings(invocation, wanted)
    elif wanted:
        invocation.run(lambda session: set_config(session, app, wanted))
    else:
        invocation.run(lambda session: get_config(session, app, get or ""))


config.notes = _keys


@command(
    "delete",
    "ood delete testapp",
    "ood delete testapp --purge",
    short_help="Stop an app and forget it",
)
@click.argument("app", type=APP)
@click.option("--purge", is_flag=True, help="Remove its releases, too.")
@click.pass_obj
def delete(invocation: Invocation, app: str, purge: bool) -> None:
    """Stop an app and forget it; its files, releases and logs stay."""
    from ood.cli.verbs import delete

    invocation.run(lambda session: delete(session, app, purge=purge))


@command(
    "install",
    "sudo ood install",
    "sudo ood install --uninstall",
    short_help="Install and start ood system service",
)
@click.option("--uninstall", is_flag=True, help="Stop and remove the service; apps and data stay.")
@click.pass_obj
def install(invocation: Invocation, uninstall: bool) -> None:
    """Make ood a service of this machine that starts with it, and start it now."""
    from ood.cli.install import Machine, install
    from ood.cli.install import uninstall as remove

    (remove if uninstall else install)(invocation, Machine())


@command(
    "import",
    "ood import ecosystem.config.js",
    "ood import ~/.pm2/dump.pm2 --dry-run",
    short_help="Add the apps of a PM2 file",
)
@click.argument("file", type=click.Path())
@click.option("--env", "choice", metavar="NAME", help="Take env_NAME, too, such as production.")
@click.option("--dry-run", is_flag=True, help="Only show what would be added.")
@click.pass_obj
def import_apps(invocation: Invocation, file: str, choice: str | None, dry_run: bool) -> None:
    """Add the apps of PM2's ecosystem file or dump, and say what can't be carried over."""
    from ood.cli.importing import import_file

    import_file(invocation, file, choice, dry_run=dry_run)


@command("completion", 'eval "$(ood completion bash)"', short_help="Print shell completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete ood's commands, options and apps.

    bash, zsh: put the line below into ~/.bashrc or ~/.zshrc.  fish: write the
    output to ~/.config/fish/completions/ood.fish.
    """
    from ood.cli.completion import script

    click.echo(script(ood, shell))


@command("help", "ood help status", "ood help cert add", short_help="Show help")
@click.argument("command", nargs=-1)
@click.pass_context
def show_help(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Show help for a command, or what commands there are."""
    about = ctx.find_root()
    for name in command:
        group = about.command
        if not isinstance(group, OodGroup):
            raise click.UsageError(f"{about.command_path} has no commands of its own", about)
        about = click.Context(group.find(about, name), info_name=name, parent=about)
    click.echo(about.get_help())
