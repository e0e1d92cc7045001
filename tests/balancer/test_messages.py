"""Netlink and IPVS messages: what is written is read back, and junk is refused."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.balancer.core import ipvs
from ood.balancer.core.netlink import (
    ERROR,
    NetlinkError,
    acknowledgement,
    attribute,
    attributes,
    messages,
    request,
)
from ood.balancer.core.state import (
    Counts,
    ServerKey,
    ServerSettings,
    Traffic,
    VirtualKey,
    VirtualSettings,
)
from ood.model.services import SCHEDULERS

ports = st.integers(1, 65535)
u32 = st.integers(0, 2**32 - 1)
addresses = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@st.composite
def virtual_keys(draw):
    address = draw(addresses)
    family = 4 if len(address) == 4 else 6
    if draw(st.booleans()):
        return VirtualKey(family, 0, b"", 0, draw(st.integers(1, 2**32 - 1)))
    return VirtualKey(family, draw(st.sampled_from((6, 17))), address, draw(ports))


virtual_settings = st.builds(
    VirtualSettings,
    st.sampled_from(SCHEDULERS),
    st.integers(0, 31).map(lambda flags: flags & ipvs.OUR_FLAGS),
    u32,
    u32,
)
server_keys = st.builds(ServerKey, addresses, ports)
server_settings = st.builds(ServerSettings, st.sampled_from((0, 2, 3)), u32, u32, u32)


class FramingTests(SynchronousTestCase):
    @given(st.lists(st.tuples(st.integers(4, 60000), st.binary(max_size=50)), max_size=5))
    def test_many_in_a_datagram(self, sent):
        """Requests that share a datagram are told apart."""

        def padded(number, kind, body):
            one = request(kind, 7, 4, number, body)
            return one + bytes(-len(one) % 4)

        data = b"".join(padded(number, *one) for number, one in enumerate(sent))
        found = [(message.type, message.payload) for message in messages(data)]
        self.assertEqual(found, sent)

    def test_acknowledgements(self):
        """An errno comes back as it was."""
        (message,) = messages(acknowledgement(9, 17))
        self.assertEqual((message.type, message.sequence, message.error), (ERROR, 9, 17))

    @given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=20)))
    def test_attributes(self, values):
        """Attributes of any length, padded or not, come back."""
        data = b"".join(attribute(kind, value) for kind, value in values.items())
        self.assertEqual(attributes(data), values)

    @given(st.binary(max_size=200))
    def test_junk(self, data):
        """Bytes that are no messages raise the one error that says so."""
        with contextlib.suppress(NetlinkError):
            list(messages(data))
        with contextlib.suppress(NetlinkError):
            attributes(data)


class IpvsTests(SynchronousTestCase):
    @given(virtual_keys(), virtual_settings)
    def test_services(self, key, settings):
        """A service is read as it was written."""
        record = ipvs.read_service(ipvs.service_fields(key, settings))
        self.assertEqual((record.key, record.settings), (key, settings))

    @given(server_keys, server_settings, st.builds(Counts, u32, u32, u32))
    def test_servers(self, key, settings, counts):
        """A server, its connections and its statistics are read as they were written."""
        traffic = Traffic(*range(2**40, 2**40 + 10))
        body = ipvs.server_fields(key, settings)[4:]
        for kind, value in zip((7, 8, 9), counts, strict=True):
            body += attribute(kind, value.to_bytes(4, "little"))
        body += ipvs.traffic_fields(ipvs.DEST_STATS64, traffic)
        record = ipvs.read_server(attribute(ipvs.DEST, body), 4)
        self.assertEqual(record.key, key)
        self.assertEqual(record.server, (settings, counts, traffic))

    def test_a_server_by_the_byte(self):
        """The packed form is the one that attributes make one by one."""
        key = ServerKey(bytes([10, 0, 0, 1]), 0x1F90)
        settings = ServerSettings(3, 5, 9, 4)
        numbers = [(3, 3), (4, 5), (5, 9), (6, 4)]
        by_one = (
            attribute(1, key.address + bytes(12))
            + attribute(2, b"\x1f\x90")
            + b"".join(attribute(kind, value.to_bytes(4, "little")) for kind, value in numbers)
            + attribute(11, (2).to_bytes(2, "little"))
        )
        self.assertEqual(ipvs.server_fields(key, settings), attribute(2, by_one))

    def test_narrow_statistics(self):
        """Kernels without 64-bit counters have 32-bit ones."""
        narrow = b"".join(
            attribute(kind, (kind * 7).to_bytes(4, "little")) for kind in range(1, 11)
        )
        traffic = ipvs.read_traffic({10: narrow}, 12, 10)
        self.assertEqual(traffic, Traffic(*(kind * 7 for kind in range(1, 11))))

    def test_timeouts_and_info(self):
        """Time-outs and version are read as they were written."""
        timeouts = ipvs.Timeouts(900, 120, 300)
        self.assertEqual(ipvs.read_timeouts(ipvs.timeout_fields(timeouts)), timeouts)
        info = ipvs.Info((1, 2, 1), 4096)
        self.assertEqual(ipvs.read_info(ipvs.info_fields(info)), info)
