"""Every command does what it says, says what it did, and exits as it should."""

from __future__ import annotations

import json
import os
from pathlib import Path

from twisted.internet.defer import Deferred

from ood import __version__
from ood.errors import WorkerError
from tests.cli.support import CliCase


class SeedTests(CliCase):
    """The examples that ood's help has always shown."""

    def test_every_example(self) -> None:
        """Each of them is understood, and does something."""
        self.ood("init", "testapp", "--cwd", "/", "--script", "x.js")
        self.ood("init", "example.com", "--cwd", "/", "--script", "x.js")
        for line in (
            "help status",
            "help config",
            "start testapp",
            "stop example.com",
            "status",
            "config --get",
            "config --get httpPort",
            "config --set httpsPort 443",
            "config --get --app example.com",
            "config -a example.com -g port",
            "config -a testapp -s cwd /home/test/testapp",
            "scale example.com 12",
            "config --app example.com --set cwd /var/www/example.com",
            "restart testapp",
            "log",
        ):
            result = self.ood(*line.split())
            self.assertEqual((result.status, result.err), (0, ""), line)
        self.assertEqual(self.controller.document.apps["testapp"].cwd, "/home/test/testapp")
        self.assertEqual(self.controller.document.apps["example.com"].instances, 12)
        self.assertEqual(self.controller.document.settings.https_port, 443)


class VerbTests(CliCase):
    """Verbs carry out one thing each."""

    def test_start_and_stop(self) -> None:
        """What is said afterwards is what is."""
        self.assertIn("shop.example is online, 1 worker", self.ood("start", "shop.example").out)
        self.assertIn("shop.example is stopped.", self.ood("stop", "shop.example").out)

    def test_scale(self) -> None:
        """A number that begins with a sign is a number, not an option."""
        for wanted, workers in (("3", 3), ("+2", 5), ("-1", 4)):
            result = self.ood("scale", "shop.example", wanted, "--json")
            self.assertEqual(result.value["wanted"], workers)

    def test_delete(self) -> None:
        """A deleted app is gone."""
        self.assertEqual(self.ood("delete", "shop.example").status, 0)
        self.assertEqual(self.controller.document.apps, {})

    def test_json_everywhere(self) -> None:
        """Before or after the command, what comes is JSON."""
        for line in (
            "--json status",
            "status --json",
            "status shop.example --json",
            "start shop.example --json",
            "restart --json shop.example",
            "stop shop.example --json",
            "config --json",
            "config --json --get httpPort",
            "config --json -s httpPort 81",
            "init blog --cwd / --script x --json",
            "delete blog --json",
        ):
            result = self.ood(*line.split())
            self.assertEqual(result.status, 0, result.err)
            self.assertIsNotNone(result.value)

    def test_names_are_quoted(self) -> None:
        """An app's name is data, not part of a path."""
        for name in ("../settings?x=/", "..", "", "a b?c#d%2f", "ü"):
            result = self.ood("stop", name)
            self.assertEqual(result.status, 1)
            self.assertIn(f"there is no app {name}".rstrip(), result.err)
        self.assertEqual({call[0] for call in self.controller.calls}, {"stop"})


class InitTests(CliCase):
    """Init looks at the directory."""

    def app(self, **files: str) -> str:
        directory = Path(self.mktemp())
        directory.mkdir()
        for name, text in files.items():
            (directory / name.replace("_", ".")).write_text(text)
        return str(directory)

    def test_detects(self) -> None:
        """It finds out what to run, says so, and says what is next."""
        where = self.app(package_json='{"scripts": {"start": "node main.js 1"}}', main_js="")
        result = self.ood("init", "blog", "--cwd", where)
        self.assertEqual(result.status, 0, result.err)
        self.assertIn("node main.js 1  (scripts.start in package.json)", result.out)
        self.assertIn("Next: ood start blog", result.out)
        app = self.controller.document.apps["blog"]
        self.assertEqual((app.script, app.args), ("main.js", ("1",)))
        self.assertEqual(app.cwd, str(Path(where).absolute()))

    def test_current_directory(self) -> None:
        """Without options it takes the directory it is called in."""
        self.assertEqual(self.ood("init", "x").status, 1)  # this one has nothing to run
        self.assertEqual(list(self.controller.document.apps), ["shop.example"])

    def test_options(self) -> None:
        """Every option reaches the configuration."""
        line = (
            "init blog --cwd / --script run.sh --interpreter none --instances max"
            " --domain a.example --domain *.b.example"
            " --user nobody --env A=1 --env B=x=y --port 4000 --default"
        )
        self.assertEqual(self.ood(*line.split()).status, 0)
        app = self.controller.document.apps["blog"]
        self.assertEqual((app.script, app.interpreter, app.instances), ("run.sh", "none", "max"))
        self.assertEqual(app.domains, ("a.example", "*.b.example"))
        self.assertEqual((app.user, app.port, app.default), ("nobody", 4000, True))
        self.assertEqual(app.env, {"A": "1", "B": "x=y"})

    def test_nothing_found(self) -> None:
        """Where there is nothing to run, it says what to do."""
        result = self.ood("init", "blog", "--cwd", self.app())
        self.assertEqual(result.status, 1)
        self.assertIn("--script FILE", result.err)
        self.assertEqual(result.err.count("\n"), 1)

    def test_bad_directory(self) -> None:
        """A directory that is none is named."""
        result = self.ood("init", "blog", "--cwd", "/nowhere/at/all")
        self.assertEqual(result.status, 1)
        self.assertIn("/nowhere/at/all is not a directory", result.err)

    def test_usage(self) -> None:
        """What can't be meant is a usage error."""
        for line in ("--env A", "--env =x", "--interpreter python3"):
            self.assertEqual(self.ood("init", "blog", "--cwd", "/", *line.split()).status, 2, line)

    def test_dependencies(self) -> None:
        """It says when something is still to be installed."""
        where = self.app(package_json='{"dependencies": {"socket.io": "4"}}', server_js="")
        said = self.ood("init", "blog", "--cwd", where).out
        self.assertIn("npm install", said)
        self.assertIn("ood config -a blog -s sticky cookie", said)


class ConfigTests(CliCase):
    """Configuration is shown and changed."""

    def test_get(self) -> None:
        """All keys, or the one that is asked for and nothing else."""
        self.assertRegex(self.ood("config").out, r"(?m)^httpPort +8080$")
        self.assertEqual(self.ood("config", "-g", "httpPort").out, "8080\n")
        self.assertEqual(self.ood("config", "-a", "shop.example", "-g", "cwd").out, "/srv/shop\n")
        self.assertEqual(self.ood("config", "-a", "shop.example", "-g", "args").out, "[]\n")
        self.assertEqual(self.ood("config", "-a", "shop.example", "-g", "user").out, "\n")

    def test_set_and_unset(self) -> None:
        """Several keys are changed at once, a variable among them."""
        line = "-a shop.example -s instances 2 -s env.MODE a=b --unset user -s nodeArgs --inspect"
        result = self.ood("config", *line.split())
        self.assertEqual(result.status, 0, result.err)
        app = self.controller.document.apps["shop.example"]
        self.assertEqual((app.instances, app.env), (2, {"MODE": "a=b"}))
        self.assertEqual(app.node_args, ("--inspect",))
        self.assertEqual(self.ood("config", "-a", "shop.example", "-g", "env.MODE").out, "a=b\n")
        self.ood("config", "-a", "shop.example", "--unset", "env.MODE", "--unset", "instances")
        app = self.controller.document.apps["shop.example"]
        self.assertEqual((app.instances, app.env), (1, {}))

    def test_all_or_nothing(self) -> None:
        """One wrong value, and nothing is changed; every fault is named, on one line."""
        line = "-a shop.example -s instances 2 -s port many -s colour red"
        result = self.ood("config", *line.split())
        self.assertEqual(result.status, 1)
        self.assertEqual(result.err.count("\n"), 1)
        self.assertIn("port", result.err)
        self.assertIn("colour", result.err)
        self.assertEqual(self.controller.document.apps["shop.example"].instances, 1)

    def test_unknown_key(self) -> None:
        """A mistyped key is guessed at, read or written."""
        for option in (("-g", "htpPort"), ("-s", "htpPort", "1")):
            result = self.ood("config", *option)
            self.assertEqual(result.status, 1)
            self.assertIn("did you mean httpPort?", result.err)

    def test_usage(self) -> None:
        """What can't be meant is refused before anything is asked."""
        for line in ("-g a -s b c", "-s a", "-s a 1 -s a 2", "-s a 1 --unset a", "--unset"):
            self.assertEqual(self.ood("config", *line.split()).status, 2, line)
        self.assertEqual(self.controller.calls, [])


class StatusTests(CliCase):
    """What runs is shown."""

    def test_plain(self) -> None:
        """Piped, every row stands for itself and can be cut by columns."""
        self.ood("scale", "shop.example", "2")
        self.ood("start", "shop.example")
        head, *rows = self.ood("status").out.splitlines()
        self.assertEqual(head.split()[:5], ["name", "version", "instance", "pid", "state"])
        self.assertEqual(len(rows), 2)
        first = rows[0].split()
        self.assertEqual(first[:5], ["shop.example", "1.2.3", "0", "4001", "online"])
        self.assertEqual(rows[1].split()[0], "shop.example")

    def test_stopped(self) -> None:
        """An app without workers has a row, too."""
        [_, row] = self.ood("status").out.splitlines()
        self.assertEqual(row.split()[:5], ["shop.example", "1.2.3", "-", "-", "stopped"])

    def test_one(self) -> None:
        """One app is shown in depth."""
        self.ood("start", "shop.example")
        out = self.ood("status", "shop.example").out
        for text in ("/srv/shop", "http://127.0.0.1:3001/", "4001", "guard"):
            self.assertIn(text, out)

    def test_none(self) -> None:
        """Without apps it says how to add one."""
        self.ood("delete", "shop.example")
        self.assertIn("ood init NAME", self.ood("status").out)

    def test_terminal(self) -> None:
        """Colours are for terminals, and for those who want them."""
        self.ood("start", "shop.example")
        self.assertIn("\x1b[", self.ood("status", terminal=True).out)
        self.assertNotIn("\x1b[", self.ood("status").out)
        self.patch_environment("NO_COLOR", "1")
        self.assertNotIn("\x1b[3", self.ood("status", terminal=True).out)

    def test_narrow_terminal(self) -> None:
        """On a narrow terminal whole columns go, none is cut."""
        self.ood("start", "shop.example")
        self.patch_environment("COLUMNS", "60")
        out = self.ood("status", terminal=True).out
        self.assertIn("shop.example", out)
        self.assertIn("online", out)
        self.assertNotIn("version", out)
        self.assertNotIn("…", out)

    def patch_environment(self, name: str, value: str) -> None:
        before = os.environ.get(name)
        os.environ[name] = value
        if before is None:
            self.addCleanup(os.environ.pop, name)
        else:
            self.addCleanup(os.environ.__setitem__, name, before)


class LogTests(CliCase):
    """Logs are shown."""

    def setUp(self) -> None:
        super().setUp()
        self.successResultOf(self.controller.init("blog", {"cwd": "/srv/blog"}))
        for number in range(4):
            self.controller.log("shop.example", f"shop {number}", "err" if number % 2 else "out")
            self.controller.log("blog", f"blog {number}")

    def test_all(self) -> None:
        """Without a name all apps' lines come together, in the order of time."""
        lines = self.ood("log", "-n", "3").out.splitlines()
        self.assertEqual(
            [line.split(maxsplit=4)[1:] for line in lines],
            [
                ["shop.example", "0", "out", "shop 2"],
                ["blog", "0", "out", "blog 3"],
                ["shop.example", "0", "err", "shop 3"],
            ],
        )

    def test_one(self) -> None:
        """With a name, that app's, of the stream that is asked for."""
        lines = self.ood("log", "shop.example", "--err").out.splitlines()
        self.assertEqual(
            lines,
            ["2026-01-02T03:04:01.000Z 0 err shop 1", "2026-01-02T03:04:03.000Z 0 err shop 3"],
        )

    def test_json(self) -> None:
        """One object a line, with the app's name."""
        lines = self.ood("log", "shop.example", "-n", "1", "--json").out.splitlines()
        self.assertEqual(
            [json.loads(line)["app"] + " " + json.loads(line)["text"] for line in lines],
            ["shop.example shop 3"],
        )

    def test_control_characters(self) -> None:
        """What an app writes can't do anything to a terminal, or look like another line."""
        self.controller.log("blog", "\x1b]0;title\x07\x9b2J\r\x1b[31mred\x1b[0m\nfake\u202e")
        for terminal in (False, True):
            out = self.ood("log", "blog", "-n", "1", terminal=terminal).out
            self.assertEqual(out.count("\n"), 1)
            self.assertIn("\\x1b]0;title\\x07\\x9b2J\\x0dred\\x0afake\\u202e", out)
            self.assertFalse({"\x1b", "\x07", "\x9b", "\r"} & set(out), out)

    def test_lines(self) -> None:
        """How many is bounded, and none is none."""
        self.assertEqual(self.ood("log", "-n", "0").out, "")
        for wrong in ("-1", "10001", "x"):
            self.assertEqual(self.ood("log", "-n", wrong).status, 2)


class FollowTests(CliCase):
    """Logs are followed."""

    def meanwhile(self, done: Deferred[None]) -> None:
        for number in range(3):
            self.controller.log("shop.example", f"new {number}")
            self.stub.flush()
        self.api.stop()
        for _ in range(10):
            self.stub.flush()

    def test_follow(self) -> None:
        """Past and new lines come until the service ends, and that is said."""
        self.controller.log("shop.example", "old")
        result = self.ood("log", "shop.example", "-f")
        texts = [line.split(maxsplit=3)[3] for line in result.out.splitlines()]
        self.assertEqual(texts, ["old", "new 0", "new 1", "new 2"])
        self.assertEqual(result.status, 1)
        self.assertIn("the log has ended", result.err)

    def test_follow_all(self) -> None:
        """All apps are followed at once."""
        self.successResultOf(self.controller.init("blog", {"cwd": "/srv/blog"}))
        self.controller.log("blog", "old")
        out = self.ood("log", "-f").out
        self.assertIn(" blog 0 out old\n", out)
        self.assertIn(" shop.example 0 out new 2\n", out)

    def test_unknown(self) -> None:
        """An app that is not there is said at once."""
        result = self.ood("log", "nobody", "-f")
        self.assertEqual(result.status, 1)
        self.assertIn("there is no app nobody", result.err)


class WaitTests(CliCase):
    """While a command waits, a terminal shows it."""

    def meanwhile(self, done: Deferred[None]) -> None:
        for _ in range(12):
            self.clock.advance(0.1)
        assert self.controller.held
        self.controller.held[0].callback(None)
        for _ in range(10):
            self.stub.flush()

    def test_progress(self) -> None:
        """What is waited for and how long already; nothing of it remains."""
        self.controller.held = []
        result = self.ood("start", "shop.example", terminal=True)
        self.assertIn("starting shop.example … 1 s", result.err)
        self.assertTrue(result.err.endswith("\r\x1b[K"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_terminal(self) -> None:
        """Where nobody looks, nothing is shown."""
        self.controller.held = []
        self.assertEqual(self.ood("start", "shop.example").err, "")


class ErrorTests(CliCase):
    """What goes wrong is said in one line, with status 1; misuse with status 2."""

    def test_refused(self) -> None:
        """The API's reason and hint reach the person."""
        result = self.ood("start", "nobody")
        self.assertEqual((result.status, result.out), (1, ""))
        self.assertEqual(result.err, "ood: there is no app nobody (apps: shop.example)\n")

    def test_json(self) -> None:
        """Programs get the error as JSON, whole."""
        result = self.ood("start", "nobody", "--json")
        self.assertEqual(json.loads(result.err)["error"]["code"], "not_found")
        result = self.ood("config", "-s", "httpPort", "x", "--json")
        self.assertEqual(json.loads(result.err)["error"]["faults"][0]["key"], "httpPort")

    def test_worker_error(self) -> None:
        """An app's last words come before the reason, harmless."""
        self.controller.failure = WorkerError("it died", "mend it", ("Syntax\x1b[2JError",))
        result = self.ood("start", "shop.example")
        self.assertEqual(result.err, "  | Syntax\\x1b[2JError\nood: it died (mend it)\n")
        self.assertEqual(result.status, 1)

    def test_wrong_home(self) -> None:
        """A token that the service refuses belongs to another home."""
        self.token = "another"
        result = self.ood("status")
        self.assertEqual(result.status, 1)
        self.assertIn("is not the one of /home/of/ood", result.err)

    def test_mistyped(self) -> None:
        """A mistyped command is guessed at."""
        result = self.ood("sttus")
        self.assertEqual(result.status, 2)
        self.assertIn("did you mean: ood status", result.err)
        self.assertIn("did you mean: ood config", self.ood("help", "confg").err)
        self.assertEqual(self.ood("frobnicate").status, 2)
        self.assertEqual(self.ood("status", "--colour").status, 2)
        self.assertEqual(self.ood("start").status, 2)

    def test_fault(self) -> None:
        """A fault of the service is one line, too."""
        self.controller.failure = RuntimeError("x")
        result = self.ood("start", "shop.example")
        self.assertEqual(result.status, 1)
        self.assertIn("ood failed", result.err)
        self.flushLoggedErrors(RuntimeError)


class HelpTests(CliCase):
    """Help is there."""

    def test_overview(self) -> None:
        """Every command of old is listed, in the order of its use."""
        names = ["init", "start", "stop", "restart", "scale", "status", "config", "log"]
        for line in ((), ("help",), ("--help",)):
            out = self.ood(*line).out
            positions = [out.index(f"\n  {name} ") for name in (*names, "install", "help")]
            self.assertEqual(positions, sorted(positions))

    def test_command(self) -> None:
        """``ood help X`` is ``ood X --help``, with examples."""
        out = self.ood("help", "config").out
        self.assertEqual(out, self.ood("config", "--help").out)
        self.assertIn("ood config -a testapp -s cwd /home/test/testapp", out)
        self.assertIn("killTimeout", out)

    def test_version(self) -> None:
        """The version is told."""
        self.assertEqual(self.ood("--version").out, f"{__version__}\n")
