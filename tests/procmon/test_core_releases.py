"""Releases, the pure part: names, sources, commands, reasons."""

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.procmon.core import releases
from ood.procmon.core.releases import Archive, Directory, Git

moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1))
chances = st.integers(0, 1 << 40)


class NameTests(SynchronousTestCase):
    """Names sort by time, and are never paths."""

    @given(st.lists(st.tuples(moments, chances)))
    def test_sorted(self, made):
        """The release that is made later has the greater name, whatever the clock says."""
        names = []
        for moment, chance in made:
            names.append(releases.release_id(moment, chance, names))
        self.assertTrue(all(map(releases.is_release_id, names)))
        self.assertEqual(names, sorted(set(names)))

    def test_same_second(self):
        """Within a second the number counts on, and then the second."""
        moment = datetime(2026, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
        one = releases.release_id(moment, 0xFFFE, ())
        two = releases.release_id(moment, 3, (one,))
        three = releases.release_id(moment, 4, (one, two))
        self.assertEqual((two, three), ("20261231-235959-ffff", "20270101-000000-0000"))

    def test_no_names(self):
        """What could lead elsewhere is no name."""
        name = releases.release_id(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc), 0x1A2B, ())
        self.assertEqual(name, "20260102-030405-1a2b")
        for text in (
            "..",
            "",
            f"{name}/..",
            f"{name}.json",
            f"{name}\n",
            "cwd",
            "\u0662" + name[1:],
        ):
            self.assertFalse(releases.is_release_id(text), text)

    @given(st.sets(st.builds(releases.release_id, moments, chances, st.just(()))), st.data())
    def test_superfluous(self, names, data):
        """The newest five stay, the current one among them, however old."""
        current = data.draw(st.sampled_from(sorted(names))) if names else None
        gone = set(releases.superfluous({*names, "x.json"}, current))
        kept = names - gone
        self.assertEqual(len(kept), min(len(names), releases.RELEASES_KEPT))
        self.assertTrue(current is None or current in kept)
        others = kept - {current}
        self.assertTrue(all(one < other for one in gone for other in others))


class SourceTests(SynchronousTestCase):
    """What a source is told by its look."""

    def test_kinds(self):
        """URLs, archives, repositories by ref or name, directories."""
        for text, ref, source in (
            ("/srv/site", None, Directory("/srv/site")),
            ("/srv/site", "v1", Git("/srv/site", "v1")),
            ("/srv/site.git", None, Git("/srv/site.git", None)),
            ("https://example.com/a.tgz.git", "main", Git("https://example.com/a.tgz.git", "main")),
            ("git+ssh://git@example.com/x", None, Git("ssh://git@example.com/x", None)),
            ("git@example.com:me/x", "a/b", Git("git@example.com:me/x", "a/b")),
            ("/srv/site.tgz", None, Archive("/srv/site.tgz", "--gzip")),
            ("/srv/site.tar.zst", None, Archive("/srv/site.tar.zst", "--zstd")),
            ("/srv/site.tar", None, Archive("/srv/site.tar", "")),
        ):
            self.assertEqual(releases.parse_source(text, ref), source)

    def test_refused(self):
        """What could be an option, a command or nothing at all."""
        for text, ref in (
            ("site", None), ("", None), ("ext::sh -c x", None), ("--upload-pack=x", None),
            ("/srv/x", "--upload-pack=x"), ("/srv/x", ""), ("/srv/x\n", None), ("/a.tgz", "v1"),
            ("-oProxyCommand=x@host:x", None),
        ):  # fmt: skip
            self.assertRaises(ValueError, releases.parse_source, text, ref)

    @given(st.text(), st.none() | st.text(max_size=9))
    def test_anything(self, text, ref):
        """Anything gives a source or a reason, and no argument that git takes for an option."""
        try:
            source = releases.parse_source(text, ref)
        except ValueError:
            return
        if isinstance(source, Git):
            fetch = releases.fetch_commands(source, "/t")[1]
            end = fetch.index("--")
            self.assertEqual(fetch[end + 1], source.url)
            self.assertFalse(fetch[end + 2].startswith("-"))

    def test_secret(self):
        """A password in a URL is not written down."""
        for text, shown in (
            ("https://me:secret@example.com/x", "https://me:***@example.com/x"),
            ("https://:secret@example.com/x", "https://:***@example.com/x"),
            ("https://example.com:8443/x@y", "https://example.com:8443/x@y"),
        ):
            self.assertEqual(releases.without_secret(text), shown)


class InstallTests(SynchronousTestCase):
    """How dependencies are installed."""

    def test_choice(self):
        """By lock file; without package.json not at all; for a build with everything."""
        for files, build, wanted in (
            (["server.js"], False, None),
            (["package.json"], False, "npm install --no-audit --no-fund --omit=dev"),
            (
                ["package.json", "package-lock.json"],
                False,
                "npm ci --no-audit --no-fund --omit=dev",
            ),
            (
                ["package.json", "package-lock.json"],
                True,
                "npm ci --no-audit --no-fund --include=dev",
            ),
            (["package.json", "pnpm-lock.yaml"], False, "pnpm install --frozen-lockfile --prod"),
            (
                ["package.json", "yarn.lock"],
                True,
                "yarn install --frozen-lockfile --production=false",
            ),
        ):
            install = releases.choose_install(files, build=build)
            text = install and " ".join((install.program, *install.arguments))
            self.assertEqual(text, wanted)

    def test_environment(self):
        """The app's own variables count, those of a worker do not."""
        worker = {"NODE_OPTIONS": "--require x", "PORT": "1", "NPM_TOKEN": "t", "CI": "0"}
        env = releases.build_environment(worker, "/cache")
        self.assertEqual((env["NPM_TOKEN"], env["CI"]), ("t", "0"))
        self.assertEqual(env["npm_config_cache"], "/cache/npm")
        self.assertFalse({"NODE_OPTIONS", "PORT"} & set(env))
