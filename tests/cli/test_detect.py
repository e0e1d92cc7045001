"""What to run in a directory is found, or it is said what is wrong."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.cli.detect import Found, detect, sticky_package
from ood.errors import NotFoundError


class FakeFiles:
    """A directory in memory."""

    def __init__(self, *names: str, package: object = None, directories: tuple[str, ...] = ()):
        self.files = dict.fromkeys(names, "")
        self.directories = directories
        if package is not None:
            text = package if isinstance(package, str) else json.dumps(package)
            self.files["package.json"] = text

    def text(self, name: str) -> str | None:
        return self.files.get(name)

    def has(self, name: str) -> bool:
        return name in self.files

    def has_directory(self, name: str) -> bool:
        return name in self.directories


def start(command: str, *names: str, **scripts: str) -> Found:
    package = {"scripts": {"start": command, **scripts}}
    return detect(FakeFiles(*names, package=package))


class StartTests(SynchronousTestCase):
    """scripts.start comes first."""

    def test_plain(self) -> None:
        """A plain call of node is taken apart, so that npm need not stand in between."""
        for command, values in (
            ("node a.js", {"script": "a.js"}),
            ("node ./a.js", {"script": "a.js"}),
            ("node a", {"script": "a.js"}),
            ("  node   a.js --port 80 x", {"script": "a.js", "args": ["--port", "80", "x"]}),
            (
                "NODE_ENV=production node a.js",
                {"script": "a.js", "env": {"NODE_ENV": "production"}},
            ),
            (
                "node --max-old-space-size=300 -r dotenv/config a.js",
                {
                    "script": "a.js",
                    "nodeArgs": ["--max-old-space-size=300", "-r", "dotenv/config"],
                },
            ),
        ):
            found = start(command, "a.js")
            self.assertEqual(found.values(), values, command)
            self.assertEqual(found.why, "scripts.start in package.json")

    def test_npm(self) -> None:
        """Everything else is npm's, which knows how."""
        for command in (
            "next start",
            "node a.js && echo done",
            "node a.js | tee log",
            "node $FILE",
            "node 'a.js'",
            "node --inspect a.js",
            "nodemon a.js",
            "node",
            "node -r x",
        ):
            self.assertEqual(
                start(command, "a.js").values(), {"script": "start", "interpreter": "npm"}, command
            )

    def test_steps_around(self) -> None:
        """Steps before or after the start are npm's to take."""
        self.assertEqual(start("node a.js", "a.js", prestart="tsc").interpreter, "npm")

    def test_directory(self) -> None:
        """A directory is for Node to look into."""
        files = FakeFiles(package={"scripts": {"start": "node dist"}}, directories=("dist",))
        self.assertEqual(detect(files).interpreter, "npm")

    def test_not_built(self) -> None:
        """A file that is not there yet is to be built."""
        error = self.assertRaises(NotFoundError, start, "node dist/a.js", build="tsc")
        self.assertIn("dist/a.js, which does not exist", error.message)
        self.assertIn("npm run build", error.hint)

    def test_command(self) -> None:
        """What runs is shown as a person would type it."""
        self.assertEqual(start("A=1 node -r x a.js b", "a.js").command(), "A=1 node -r x a.js b")
        self.assertEqual(start("next start").command(), "npm run start")


class FallbackTests(SynchronousTestCase):
    """Without it, main and the usual names are looked at."""

    def test_main(self) -> None:
        """main is taken as Node takes it."""
        for main, file in (("a.js", "a.js"), ("./a", "a.js"), ("lib/", "lib/index.js")):
            found = detect(FakeFiles(file, "server.js", package={"main": main}))
            self.assertEqual((found.script, found.why), (file, "main in package.json"))

    def test_main_that_is_missing(self) -> None:
        """``npm init`` writes index.js there, whether it exists or not."""
        found = detect(FakeFiles("server.js", package={"main": "index.js"}))
        self.assertEqual(found.script, "server.js")

    def test_names(self) -> None:
        """The most telling name wins, in each of Node's endings."""
        names = ["server.js", "server.mjs", "server.cjs", "app.js", "app.mjs", "index.js"]
        for position, name in enumerate(names):
            self.assertEqual(detect(FakeFiles(*names[position:])).script, name)

    def test_nothing(self) -> None:
        """Nothing is nothing, and it says what was looked for."""
        error = self.assertRaises(NotFoundError, detect, FakeFiles("README.md"))
        self.assertIn("server.js, app.js, index.js", error.message)

    def test_broken_package(self) -> None:
        """A package.json that is none is said to be so."""
        error = self.assertRaises(NotFoundError, detect, FakeFiles("server.js", package="{"))
        self.assertIn("not valid JSON", error.message)

    def test_uninstalled(self) -> None:
        """Dependencies that are not installed are noticed."""
        package = {"dependencies": {"koa": "1"}}
        self.assertTrue(detect(FakeFiles("app.js", package=package)).uninstalled)
        there = FakeFiles("app.js", package=package, directories=("node_modules",))
        self.assertFalse(detect(there).uninstalled)

    def test_stickiness(self) -> None:
        """A package whose clients have to stay with one worker is named, whatever is run."""
        for names, found in ((("koa", "socket.io"), "socket.io"), (("koa",), ""), ((), "")):
            package = {"dependencies": dict.fromkeys(names, "1")}
            self.assertEqual(found, sticky_package(FakeFiles(package=package)))
        for text in ("{", "[]", '{"dependencies": ["socket.io"]}'):
            files = FakeFiles()
            files.files["package.json"] = text
            self.assertEqual("", sticky_package(files))

    _value = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["start", "main", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    )

    @given(
        st.dictionaries(
            st.sampled_from(["scripts", "main", "dependencies", "name"]), _value, max_size=4
        )
    )
    def test_strange_packages(self, package: dict[str, Any]) -> None:
        """Whatever package.json holds, something is found or the reason is given."""
        try:
            found = detect(FakeFiles("server.js", package=package))
        except NotFoundError as error:
            self.assertTrue(error.hint)
        else:
            self.assertTrue(found.script and found.why and found.command())
