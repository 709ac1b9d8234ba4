"""Real clients reach a real ejabberd cluster through the balancer, on whichever node they land."""

import asyncio
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.client_cases import ClientCases
from lib.ejabberd import start_cluster
from lib.node import node_tables
from lib.slix import SlixClient, exchange
from lib.wait import wait_until


class ClientsOfEjabberd(ClientCases, EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.domain = "chat.example"
        cls.authority = Authority(cls.workspace)
        cls.nodes = start_cluster(cls.workspace, cls.authority, 2, cls.domain)
        cls.node_names = [node.name for node in cls.nodes]
        cls.lb_port = net.free_port()
        cls.balancer = Balancer(cls.workspace, {
            "listener": {"c2s": {"bind": f"127.0.0.1:{cls.lb_port}", "pool": "xmpp"}},
            # Nobody comes in here: what its checks say is looked at.
            "pool": {"proxied": {
                "send_proxy": "v2",
                "node": [{"name": node.name, "address": f"{node.address}:{node.c2s_proxy_port}"}
                         for node in cls.nodes],
                "check": [{"type": "xmpp", "to": cls.domain, "interval": "1s", "start": "down",
                           "fast_interval": "200ms"}]},
                     "xmpp": {"balance": "roundrobin", "node": node_tables(cls.nodes),
                              "check": [{"type": "xmpp", "to": cls.domain, "interval": "1s",
                                         "fast_interval": "200ms"}]}},
        }).start()

    def test_two_clients_on_different_nodes_chat_through_the_balancer(self):
        async def scene():
            here = await SlixClient("here", register=True, **self.options()).login()
            there = await SlixClient("there", register=True, **self.options()).login()
            await exchange(here, there, "from node to node")
            ports = here.local_port, there.local_port
            await here.logout()
            await there.logout()
            return ports
        nodes = [self.balancer.access_log.node_of(port) for port in asyncio.run(scene())]
        self.assertEqual(sorted(nodes), sorted(self.node_names), "round robin over two nodes")

    def test_checks_with_a_local_proxy_header_pass(self):
        def up():
            pool = next(p for p in self.balancer.status()["pools"] if p["name"] == "proxied")
            return [node["name"] for node in pool["nodes"] if node["state"] in ("up", "warming")]
        wait_until(lambda: up() == self.node_names, "checks that begin with LOCAL pass")


if __name__ == "__main__":
    unittest.main()
