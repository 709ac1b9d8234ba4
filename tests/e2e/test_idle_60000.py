"""60,000 idle proxied connections (120,000 sockets) in one process that may open 20,000 files."""

import os
import subprocess
import sys
import unittest

from lib import net
from lib.balancer import Balancer
from lib.case import EndToEndCase
from lib.node import node_tables, start_sinks
from lib.wait import wait_until

CONNECTIONS = 60_000
HOLDERS = 4
LIMIT = 20_000


class Idle60000(EndToEndCase):
    def start_holders(self, port):
        holders = []
        for i in range(HOLDERS):
            with open(self.workspace.path(f"holder{i}.log"), "wb") as errors:
                holders.append(subprocess.Popen(
                    ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", sys.executable,
                     os.path.join(os.path.dirname(__file__), "lib", "holder.py"), "127.0.0.1",
                     str(port), str(CONNECTIONS // HOLDERS), f"127.0.3.{i + 1}"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True))
        self.addCleanup(lambda: [(holder.kill(), holder.wait(), holder.stdin.close(),
                                  holder.stdout.close()) for holder in holders])
        return holders

    @staticmethod
    def ask(holders, question):
        """The sum of what they answer to one word ("" = their first line)."""
        if question:
            for holder in holders:
                holder.stdin.write(question + "\n")
                holder.stdin.flush()
        return sum(int(holder.stdout.readline().split()[1]) for holder in holders)

    def test_sixty_thousand_idle_connections_under_a_limit_of_twenty_thousand_files(self):
        nodes = start_sinks(self.workspace, HOLDERS)
        port = net.free_port()
        balancer = Balancer(self.workspace, {
            "process": {"workers": 8, "connections_max": 70_000},
            "listener": {"c2s": {"bind": f"127.0.0.1:{port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "leastconn", "node": node_tables(nodes),
                              "source_addresses": ["127.0.4.1", "127.0.4.2", "127.0.4.3"],
                              "warmup": {"mode": "off"}, "keepalive_idle": "10m"}},
        }, launcher=["/usr/bin/prlimit", f"--nofile={LIMIT}:{LIMIT}", "--"]).start()
        with open(f"/proc/{balancer.process.pid}/limits", encoding="ascii") as limits:
            row = next(line for line in limits if line.startswith("Max open files"))
        self.assertEqual(row.split()[3:5], [str(LIMIT), str(LIMIT)])

        before = balancer.rss_bytes()
        holders = self.start_holders(port)
        self.assertEqual(self.ask(holders, ""), CONNECTIONS, "each was greeted by a node")
        wait_until(lambda: balancer.open_connections() == CONNECTIONS, "the balancer counts them")
        idle = balancer.rss_bytes()
        cpu = balancer.cpu_seconds()
        self.assertEqual(self.ask(holders, "check"), CONNECTIONS)
        per_connection = (idle - before) / CONNECTIONS
        files = len(os.listdir(f"/proc/{balancer.process.pid}/fd"))
        print(f"{CONNECTIONS} idle connections: {per_connection:.0f} bytes of RSS each, "
              f"{files} files of {LIMIT}, {cpu:.1f} s CPU so far", flush=True)
        self.assertLess(per_connection, 2048)
        self.assertLess(files, LIMIT)
        self.assertEqual(self.ask(holders, "echo"), CONNECTIONS, "all carry bytes both ways")


if __name__ == "__main__":
    unittest.main()
