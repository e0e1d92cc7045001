"""What becomes of PM2's files; the entries have the forms that are found in public projects."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ood.cli.pm2 import beside, fitting_name, read, translate
from ood.cli.pm2dump import gather
from ood.errors import InvalidError
from ood.model.schema import APP_KEYS, check_app
from tests.cli.support import CliCase

BASE = Path("/srv/site")


def _find(name: str, _cwd: str) -> str | None:
    return "/bin/bash" if name == "bash" else None


class TranslateTests(SynchronousTestCase):
    """One entry at a time."""

    def test_plain(self) -> None:
        """Script, directory and number of workers."""
        entry = {
            "name": "Comic App",
            "script": "./dist/main.js",
            "exec_mode": "cluster",
            "instances": -1,
            "node_args": "--max-old-space-size=512",
            "kill_timeout": 3000,
            "interpreter": "node",
        }
        result = translate(entry, BASE, processors=4)
        self.assertEqual(result.name, "comic-app")
        self.assertEqual(
            result.values,
            {
                "script": "dist/main.js",
                "cwd": "/srv/site",
                "instances": 3,
                "nodeArgs": "--max-old-space-size=512",
                "killTimeout": 3000,
            },
        )
        self.assertEqual([note.partition(":")[0] for note in result.notes], ["name", "exec_mode"])
        check_app(result.name, {"port": 3001, **result.values})

    def test_package_script(self) -> None:
        """npm, pnpm and yarn as the script mean a script of package.json."""
        for script, args in (("npm", "run start"), ("pnpm", "start"), ("yarn", ["run", "start"])):
            entry = {"name": "web", "cwd": "./apps/web", "script": script, "args": args}
            result = translate(entry, BASE)
            self.assertEqual(
                result.values,
                {"cwd": "/srv/site/apps/web", "script": "start", "interpreter": "npm"},
            )

    def runs(self, entry: dict[str, object]) -> dict[str, object]:
        """Return what an entry runs, in /srv/site, where there is bash on the PATH."""
        result = translate(entry, BASE, find=_find)
        names = ("script", "args", "interpreter", "nodeArgs")
        return {name: result.values[name] for name in names if name in result.values}

    def test_commands(self) -> None:
        """All spellings of a command: with arguments for a script, in one text, by other keys."""
        npm = {"script": "start", "interpreter": "npm", "args": ["--port", "3"]}
        node = {"script": "x.js", "args": ["--y"], "nodeArgs": ["-r", "dotenv/config", "--z"]}
        bash = {"script": "/bin/bash", "interpreter": "none", "args": ["-c", "a; b"]}
        for entry, wanted in (
            ({"script": "npm", "args": "run start -- --port 3"}, npm),
            ({"script": "npm run start -- --port", "args": ["3"]}, npm),
            ({"command": "yarn start --port 3"}, npm),
            ({"script": "node -r dotenv/config --z x.js --y"}, node),
            ({"script": "node", "args": "./x.js --y", "node_args": node["nodeArgs"]}, node),
            ({"script": "bash", "args": ["-c", "a; b"]}, bash),
            ({"script": "./x.sh"}, {"script": "x.sh", "interpreter": "bash"}),
            ({"script": "x.py"}, {"script": "x.py", "interpreter": "python3"}),
            ({"script": "x.py", "interpreter": "pypy"}, {"script": "x.py", "interpreter": "pypy"}),
            ({"script": "x.js", "interpreter": "node@18"}, {"script": "x.js"}),
        ):
            self.assertEqual(self.runs(entry), wanted, entry)
        for odd in ("npm --prefix x start", "npm run start --silent", "a && b", "npm 'run"):
            self.assertNotIn("interpreter", self.runs({"script": odd}), odd)

    def test_other_node(self) -> None:
        """That a Node of the app's own is not used is said."""
        for name in ("node@18", "/opt/node-16/bin/node"):
            notes = translate({"script": "x.js", "interpreter": name}, BASE).notes
            self.assertEqual([note.partition(":")[0] for note in notes], ["interpreter"])

    def test_values_fit(self) -> None:
        """Values have the types of ood's settings; what has no counterpart is said."""
        entry = {"script": "x.js", "uid": 33, "gid": 33, "wait_ready": 1, "max_restarts": 0}
        result = translate(entry | {"cron": "0 4 * * *", "env": {"x.y": 1, "Z": None}}, BASE)
        values = {"user": "33", "group": "33", "waitReady": True, "cronRestart": "0 4 * * *"}
        self.assertEqual(result.values, values | {"script": "x.js", "cwd": "/srv/site"})
        told = [note.partition(":")[0] for note in result.notes]
        self.assertEqual(sorted(told), ["env", "env.Z", "max_restarts"])

    def test_environment(self) -> None:
        """The chosen environment is merged; PORT is ood's; others are named."""
        entry = {
            "script": "a.js",
            "env": {"PORT": 3000, "NODE_ENV": "development", "DEBUG": True},
            "env_production": {"NODE_ENV": "production"},
            "env_test": {},
        }
        result = translate(entry, BASE, choice="production")
        self.assertEqual(result.values["env"], {"NODE_ENV": "production", "DEBUG": "true"})
        self.assertEqual(
            [note.partition(":")[0] for note in result.notes], ["env_test", "env.PORT"]
        )

    def test_nothing_is_dropped_in_silence(self) -> None:
        """Every key is a value, a note, or needs neither."""
        entry = {"name": "x", "script": "x.js", "err_file": "e.log", "shutdown_with_message": True}
        result = translate(entry, BASE)
        noted = {note.partition(":")[0] for note in result.notes}
        self.assertEqual(noted, {"err_file", "shutdown_with_message"})

    def test_dump(self) -> None:
        """What PM2 saved: the app's own keys, without PM2's state and the shell's variables."""
        entry = {
            "name": "api",
            "pm_exec_path": "/srv/api/server.js",
            "pm_cwd": "/srv/api",
            "exec_interpreter": "node",
            "instances": 2,
            "pm_id": 0,
            "status": "online",
            "restart_time": 3,
            "env": {"HOME": "/home/dev"},
            "HOME": "/home/dev",
        }
        (entry,) = gather([entry], {})
        result = translate(entry, BASE)
        self.assertEqual(result.values, {"script": "server.js", "cwd": "/srv/api", "instances": 2})
        self.assertEqual([note.partition(":")[0] for note in result.notes], ["env"])

    def test_dump_environment(self) -> None:
        """What not every app has, and the shell does not have, is the app's own."""
        shell = {"HOME": "/home/dev", "SSH_TTY": "/dev/pts/1", "CORP_PROXY": "p", "BOTH": "1"}
        one = {"name": "one", "pm_exec_path": "/x/1.js", "env": {**shell, "A": "a", "one": "{}"}}
        two = {"name": "two", "pm_exec_path": "/x/2.js", "env": {**shell, "BOTH": "2"}}
        for entry in (one, two):
            entry["env"]["NODE_ENV"] = "production"
        first, second = gather([one, two, two], {})
        self.assertEqual(first["env"], {"A": "a", "BOTH": "1", "NODE_ENV": "production"})
        self.assertEqual(second["env"], {"BOTH": "2", "NODE_ENV": "production"})
        self.assertEqual((first.get("instances"), second["instances"]), (None, 2))
        (alone,) = gather([one], {"CORP_PROXY": "p"})
        self.assertEqual(alone["env"], {"A": "a", "BOTH": "1", "NODE_ENV": "production"})

    def test_watch(self) -> None:
        """Globs are carried over, regular expressions are named."""
        for ignore, globs, notes in (
            ("logs", ["logs"], 0),
            (["a", "[\\\\/]\\\\./", {}], ["a"], 2),
            ([], None, 0),
        ):
            entry = {"script": "x.js", "watch": ["src"], "ignore_watch": ignore}
            result = translate(entry, BASE)
            self.assertEqual(result.values["watch"], ["src"])
            self.assertEqual(result.values.get("ignoreWatch"), globs)
            self.assertEqual(len(result.notes), notes)
            check_app("x", {"port": 3001, **result.values})
        off = translate({"script": "x.js", "watch": False, "cron_restart": 0}, BASE)
        self.assertEqual(set(off.values), {"script", "cwd"})

    def test_false_is_a_value(self) -> None:
        """Only where it means "none" is it left out."""
        result = translate({"script": "x.js", "autorestart": False, "restart_delay": 0}, BASE)
        self.assertIs(result.values["autorestart"], False)
        self.assertEqual(result.values["restartDelay"], 0)

    def test_other_interpreters(self) -> None:
        """Arguments for another interpreter than node can't be carried over, and that is said."""
        entry = {"script": "x.py", "interpreter": "python3", "interpreter_args": "-u"}
        result = translate(entry, BASE)
        self.assertNotIn("nodeArgs", result.values)
        self.assertIn("only node gets some", result.notes[0])

    def test_names_fit(self) -> None:
        """Any text becomes a name that an app may have."""
        for text in ("A b", "..", "-x-", "Ünï", "", "a..b", "example.com", "x" * 200):
            name = fitting_name(text)
            check_app(name, {"cwd": "/", "port": 1})
        self.assertEqual(fitting_name("example.com"), "example.com")

    def test_targets_exist(self) -> None:
        """What a key is translated to is accepted, or is said not to exist."""
        entry = {"script": "x.js", "watch": True, "max_memory_restart": "300M"}
        result = translate(entry, BASE)
        self.assertLessEqual(set(result.values), set(APP_KEYS))


class ReadTests(SynchronousTestCase):
    """Files, good and bad."""

    def file(self, name: str, text: str) -> Path:
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory / name
        path.write_text(text)
        return path

    def test_json(self) -> None:
        """A list, an object with apps, or one app."""
        app = {"name": "x", "script": "x.js"}
        for plain in ([app], {"apps": [app]}, {"apps": app}, app):
            path = self.file("ecosystem.json", json.dumps(plain))
            self.assertEqual(read(path, None), [app])

    def test_javascript(self) -> None:
        """Node evaluates it, whatever it prints meanwhile."""
        node = shutil.which("node")
        if node is None:
            self.skipTest("node is not installed")
        path = self.file(
            "ecosystem.config.js",
            "console.log('{}'); const n = 'x'; module.exports = {apps: [{script: n + '.js'}]};",
        )
        self.assertEqual(read(path, node), [{"script": "x.js"}])
        broken = self.file("ecosystem.config.js", "throw new TypeError('no such thing')")
        error = self.assertRaises(InvalidError, read, broken, node)
        self.assertIn("TypeError: no such thing", str(error))

    def test_like_javascript(self) -> None:
        """An object may have comments, single quotes and commas at ends, as PM2 takes it."""
        node = shutil.which("node")
        if node is None:
            self.skipTest("node is not installed")
        text = "// our site\n{ apps: [{ 'script': 'x.js', /* two */ instances: 2, },], }\n// end"
        path = self.file("ecosystem.json", text)
        self.assertEqual(read(path, node), [{"script": "x.js", "instances": 2}])
        for name, bad in (("a.json", "{"), ("a.json", "process.exit()"), ("a.config.js", "")):
            self.assertRaises(InvalidError, read, self.file(name, bad), node)
        nothing = self.file("a.config.js", "module.exports = undefined")
        self.assertIn("nothing", str(self.assertRaises(InvalidError, read, nothing, node)))

    def test_esm(self) -> None:
        """A module of either kind is read."""
        node = shutil.which("node")
        if node is None:
            self.skipTest("node is not installed")
        for text in (
            "export default {apps: [{script: 'x.js'}]}",
            "export const apps = [{script: 'x.js'}]",
            "await 1; export const apps = [{script: 'x.js'}]",
        ):
            path = self.file("ecosystem.config.mjs", text)
            self.assertEqual(read(path, node), [{"script": "x.js"}])

    def test_yaml(self) -> None:
        """YAML says the same as JSON does; what is wrong in it is said with its place."""
        text = "# ours\napps:\n  - script: x.js\n    env:\n      PORT: 3000\n"
        read_app = {"script": "x.js", "env": {"PORT": 3000}}
        self.assertEqual(read(self.file("ecosystem.yaml", text), None), [read_app])
        path = self.file("ecosystem.yml", "apps:\n  - script: [\n")
        error = self.assertRaises(InvalidError, read, path, None)
        self.assertIn("is not valid YAML", str(error))
        self.assertIn("line 3", str(error))
        tagged = self.file("a.yml", "!!python/object/apply:os.system ['true']")
        self.assertRaises(InvalidError, read, tagged, None)

    def test_beside_apps(self) -> None:
        """What a file holds beside its apps is named."""
        [deploy, other] = beside({"apps": [], "deploy": {"production": {}}, "x": 1})
        self.assertIn("ood deploy", deploy)
        self.assertIn("x: ood has no such setting", other)
        self.assertEqual(beside([{"script": "x.js"}]), [])

    def test_refused(self) -> None:
        """What can't be read is named with what would be right."""
        for text in ("{", "[]", '{"apps": [{}]}', "3", '["x"]'):
            path = self.file("dump.pm2", text)
            error = self.assertRaises(InvalidError, read, path, None)
            self.assertIn(str(path), str(error))
        self.assertRaises(InvalidError, read, Path("/no/such/file.json"), None)
        self.assertRaises(InvalidError, read, self.file("a.config.js", ""), None)


class CommandTests(CliCase):
    """The command."""

    def write(self, *apps: dict[str, object]) -> str:
        path = Path(self.mktemp())
        path.mkdir()
        file = path / "ecosystem.json"
        file.write_text(json.dumps({"apps": apps}))
        return str(file)

    def test_import(self) -> None:
        """Apps are added, and what was not carried over is said."""
        file = self.write({"name": "one", "script": "/x/1.js", "cwd": "/x", "namespace": "n"})
        result = self.ood("import", file)
        self.assertEqual((result.status, result.err), (0, ""))
        self.assertIn("namespace: ood has no such setting", result.out)
        self.assertEqual(self.controller.document.apps["one"].script, "1.js")

    def test_path(self) -> None:
        """An app's directory is written plainly, however the file was named."""
        file = Path(self.write({"name": "one", "script": "app/1.js"}))
        (file.parent / "sub").mkdir()
        result = self.ood("import", f"{file.parent}/sub/../ecosystem.json", "--json")
        values = result.value[0]["values"]
        self.assertEqual(
            (values["cwd"], values["script"]), (str(file.parent.absolute()), "app/1.js")
        )

    def test_dry_run(self) -> None:
        """Nothing is added."""
        file = self.write({"name": "one", "script": "1.js"})
        result = self.ood("import", file, "--dry-run", "--json")
        self.assertEqual(result.value[0]["name"], "one")
        self.assertNotIn("one", self.controller.document.apps)

    def test_one_refused(self) -> None:
        """The others are added; the exit status says that not all were."""
        file = self.write(
            {"name": "one", "script": "1.js"}, {"name": "two", "script": "2.js", "instances": "x"}
        )
        result = self.ood("import", file)
        self.assertEqual(result.status, 1)
        self.assertIn("two: not added", result.out)
        self.assertIn("one", self.controller.document.apps)
