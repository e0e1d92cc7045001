from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ood.errors import InvalidError
from ood.model.document import App, to_plain
from ood.model.schema import changed_app, check_app
from ood.model.upstreams import UPSTREAMS, Upstream, parse_address, unverified
from ood.model.upstreamtls import Tls


class AddressTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Every way to write an address ends in one."""
        for text, written in {
            "http://10.0.0.5:8080": "10.0.0.5:8080",
            "http://10.0.0.5:8080/": "10.0.0.5:8080",
            "10.0.0.5:8080": "10.0.0.5:8080",
            "http://Api.Example.COM": "api.example.com:80",
            "localhost:3000": "localhost:3000",
            "[::1]:80": "[::1]:80",
            "http://[2001:DB8:0::1]": "[2001:db8::1]:80",
            "https://10.0.0.5": "https://10.0.0.5:443",
            "https://Api.Example.COM:8443/": "https://api.example.com:8443",
            "https://[2001:DB8:0::1]": "https://[2001:db8::1]:443",
            "unix:/run/x.sock": "unix:/run/x.sock",
            "unix:///run/x.sock": "unix:/run/x.sock",
        }.items():
            self.assertEqual(written, str(parse_address(text)), text)
            self.assertEqual(written, str(parse_address(written)))

    def test_refused(self) -> None:
        """What can't be connected to is refused with what is wrong."""
        for text, problem in {
            "ftp://10.0.0.5": "https://",
            "https://http://10.0.0.5": "neither",
            "https://a/path": "more than a host",
            "10.0.0.5": "no port",
            "10.0.0.5:0": "1 to 65535",
            "10.0.0.5:http": "1 to 65535",
            "http://10.0.0.5:99999": "1 to 65535",
            "http://a/path": "more than a host",
            "http://user@a": "more than a host",
            "unix:run/x.sock": "absolute",
            "unix:/" + "x" * 200: "107 bytes",
            ":80": "not a host name",
            "a b:80": "not a host name",
            "[::1": "1 to 65535",
        }.items():
            self.assertIn(problem, str(self.assertRaises(ValueError, parse_address, text)))


class UpstreamsTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A text, a list and objects say the same."""
        wanted = (Upstream("10.0.0.5:8080", 3), Upstream("unix:/x", backup=True))
        for value in (
            "10.0.0.5:8080 weight=3, unix:/x backup",
            '["10.0.0.5:8080 weight=3", {"address": "unix:/x", "backup": true}]',
            ["http://10.0.0.5:8080 weight=3", {"address": "unix:/x", "backup": True}],
        ):
            self.assertEqual(wanted, UPSTREAMS.parse(value))

    def test_refused(self) -> None:
        """Lists that make no sense are refused."""
        for value, problem in (
            (["a:1", "http://a:1"], "twice"),
            (["a:1 backup"], "backups"),
            (["a:1 weight=0"], "weight"),
            (["a:1 weight=x"], "weight"),
            (["a:1 wight=1"], "none of weight=N"),
            ([{"addr": "a:1"}], "no addr"),
            ([{}], "no address"),
            ([7], "neither"),
            ("[", "JSON"),
            (7, "list"),
            ([f"a:{port}" for port in range(1, 66)], "more than 64"),
        ):
            self.assertIn(problem, str(self.assertRaises(ValueError, UPSTREAMS.parse, value)))


class TlsTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A text and an object say the same of TLS, and nothing is written that nobody said."""
        words = "serverName=API.example caFile=/ca certFile=/cert keyFile=/key"
        plain = {
            "address": "https://10.0.0.5:443",
            "serverName": "api.example",
            "caFile": "/ca",
            "certFile": "/cert",
            "keyFile": "/key",
        }
        for value in (f"https://10.0.0.5 {words}", [plain]):
            (found,) = UPSTREAMS.parse(value)
            self.assertEqual(Tls("api.example", "/ca", "/cert", "/key"), found.tls())
            self.assertEqual(plain, to_plain(found))
        (found,) = UPSTREAMS.parse(["https://api.example verify=false"])
        self.assertEqual(Tls("api.example", verify=False), found.tls())
        self.assertEqual({"address": "https://api.example:443", "verify": False}, to_plain(found))
        self.assertEqual(("https://api.example:443",), unverified([found]))

    def test_plain(self) -> None:
        """Without https:// there is no TLS; that it would be verified does no harm."""
        (found,) = UPSTREAMS.parse([{"address": "http://a", "verify": True, "caFile": ""}])
        self.assertIsNone(found.tls())
        self.assertEqual({"address": "a:80"}, to_plain(found))

    def test_names(self) -> None:
        """The certificate has to be for the host, or for serverName, which may be an address."""
        for value, name in {
            "https://Api.example": "api.example",
            "https://[::1]:8443": "::1",
            "https://a serverName=10.0.0.5": "10.0.0.5",
            "https://10.0.0.5 serverName=B.example.": "b.example",
        }.items():
            (found,) = UPSTREAMS.parse([value])
            self.assertEqual(name, found.tls().server_name)

    def test_refused(self) -> None:
        """What makes no sense is refused with the reason."""
        for value, problem in (
            ("http://a caFile=/ca", "needs an address with https://"),
            ("a:1 verify=false", "needs an address with https://"),
            ("unix:/x serverName=a", "needs an address with https://"),
            ("https://a caFile=ca.pem", "not an absolute path"),
            ("https://a certFile=/c", "belong together"),
            ("https://a keyFile=/k", "belong together"),
            ("https://a caFile=/ca verify=false", "switches off"),
            ("https://a verify=perhaps", "neither true nor false"),
            ("https://a serverName=a/b", "not a host name"),
            ({"address": "https://a", "serverName": 7}, "not a host name"),
            ({"address": "https://a", "caFile": 7}, "caFile"),
            ({"address": "https://a", "caFile": "/" + "x" * 5000}, "caFile"),
        ):
            self.assertIn(problem, str(self.assertRaises(ValueError, UPSTREAMS.parse, [value])))


class TypeTests(SynchronousTestCase):
    def faults(self, **values: object) -> list[str]:
        error = self.assertRaises(InvalidError, check_app, "x", {"port": 3001, **values})
        return [f"{fault.key}: {fault.problem}" for fault in error.faults]

    def test_proxy(self) -> None:
        """An app whose servers are elsewhere needs them, and no directory."""
        app = check_app("x", {"port": 3001, "type": "proxy", "upstreams": "a:1, b:2"})
        self.assertEqual(("a:1", "b:2"), tuple(one.address for one in app.upstreams))
        self.assertEqual(app, check_app("x", to_plain(app)))
        (fault,) = self.faults(type="proxy")
        self.assertIn("upstreams: is missing", fault)

    def test_no_program(self) -> None:
        """Keys that say how a program is run are refused; what a server is asked for is not."""
        there = {"type": "proxy", "upstreams": ["a:1"]}
        values = {
            "script": "x.js", "instances": 4, "env": {"A": "1"}, "handoff": "never", "watch": True,
            "user": "www", "fallback": "index.html",
        }  # fmt: skip
        faults = self.faults(**there, **values)
        self.assertEqual(sorted(values), sorted(fault.split(":")[0] for fault in faults))
        self.assertIn("no meaning for an app of type proxy", faults[0])
        asked = {"healthPath": "/ok", "healthTimeout": "2s", "sticky": "ip", "dependsOn": ["y"]}
        check_app("x", {"port": 3001, **there, **asked})

    def test_node(self) -> None:
        """A program needs a directory, and has no upstreams."""
        self.assertEqual(["cwd: is missing"], self.faults())
        self.assertEqual(["cwd: is missing"], self.faults(type="node", script="x.js"))
        (fault,) = self.faults(cwd="/srv", upstreams=["a:1"])
        self.assertIn("no meaning", fault)

    def test_a_change_of_the_type(self) -> None:
        """It takes both keys at once."""
        app = App(cwd="/srv", port=3001)
        self.assertRaises(InvalidError, changed_app, "x", app, {"type": "proxy"})
        changed = changed_app("x", app, {"type": "proxy", "upstreams": "a:1"})
        self.assertRaises(InvalidError, changed_app, "x", changed, {"type": None})
        back = changed_app("x", changed, {"type": None, "upstreams": None})
        self.assertEqual(app, back)
