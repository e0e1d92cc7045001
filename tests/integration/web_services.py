"""The page's view of the balancer's services, over a relay that carries connections."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

from tests.support.ports import free_ports
from tests.support.webpage import WebPageCase

if TYPE_CHECKING:
    from playwright.sync_api import Locator

CONNECTIONS = 3


class Services(WebPageCase):
    """What the command line made is seen, with what it carries."""

    def lb(self, verb: str, *more: str) -> None:
        self.service.ood("lb", verb, "-O", "127.0.0.1", "-R", str(self.l4_port), *more)

    def listener(self) -> int:
        """Return the port of a server that takes connections and says nothing."""
        (port,) = free_ports(1)
        self.addCleanup(socket.create_server(("127.0.0.1", port)).close)
        return port

    def row(self, section: Locator, text: str) -> Locator:
        return section.locator("tbody tr", has_text=text)

    def test_l4_services(self) -> None:
        """A service appears with its servers, their connections and who is down; and goes."""
        up, (down, self.l4_port) = self.listener(), free_ports(2)
        self.show("#/services")
        self.page.get_by_text("The balancer has no service").wait_for()
        check = '{"type": "tcp", "interval": 0.2, "timeout": 5, "retries": 0}'
        body = f'{{"host": "127.0.0.1", "port": {self.l4_port}, "check": {check}}}'
        self.service.ood("lb", "add-service", "-j", body)
        self.addCleanup(self.service.run, "lb", "remove-service", f"tcp-127_0_0_1-{self.l4_port}")
        section = self.page.locator("section", has_text=f"tcp-127_0_0_1-{self.l4_port}")
        section.get_by_text("It has no server").wait_for()
        section.get_by_text("scheduler wlc · tcp check each 0.2 s").wait_for()
        for port in (up, down):
            self.lb("add-server", "-o", "127.0.0.1", "-p", str(port), "-f", "m", "-w", "3")
        self.row(section, f"127.0.0.1:{down}").get_by_text("down").wait_for()
        self.row(section, f"127.0.0.1:{down}").get_by_text("the connection was refused").wait_for()
        self.row(section, f"127.0.0.1:{up}").get_by_text("online").wait_for()
        for _ in range(CONNECTIONS):
            with closing(socket.create_connection(("127.0.0.1", self.l4_port))):
                pass
        connections = self.row(section, f"127.0.0.1:{up}").locator("[data-label=Connections]")
        connections.get_by_text(str(CONNECTIONS), exact=True).wait_for()
        self.lb("remove-server", "-o", "127.0.0.1", "-p", str(down))
        self.row(section, f"127.0.0.1:{down}").wait_for(state="detached")
        self.lb("remove-service")
        section.wait_for(state="detached")
        self.page.get_by_text("The balancer has no service").wait_for()
