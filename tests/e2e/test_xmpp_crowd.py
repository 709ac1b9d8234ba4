"""A crowd at one node: thousands of TLS sessions that a balancer serves and that rest, what each
costs, and how soon all have a message.

XMPP_CROWD=20000 for the whole crowd; by default as many as a small machine has the time for.
"""

import asyncio
import os
import re
import subprocess
import time
import unittest

from lib import net
from lib.accounts import add_to_sqlite
from lib.balancer import Balancer
from lib.bench import BENCH
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.sm_client import SmClient
from lib.wait import wait_until

DOMAIN = "chat.example"
CROWD = int(os.environ.get("XMPP_CROWD", "2000"))
HELD_BY_ONE = 10_000   # sessions of a generator: its descriptors
SESSION_BYTES = 16_384  # at most, of the node and of the balancer
WITHIN_S = 2.0


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", file.read(), re.M)[1]) * 1024


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Crowd(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        cls.node = Mongooseim(cls.workspace, cls.epmd, "mim")
        cls.proxied, front = net.free_port(), net.free_port()
        cls.front = f"127.0.0.1:{front}"
        cls.node.serve(cls.authority, DOMAIN, c2s={
            "listen_proxy": [f"127.0.0.1:{cls.proxied}"], "proxy_from": ["127.0.0.0/8"],
            "workers": 2}, store={"url": "sqlite:store.db"})
        cls.node.live(ERL_MAX_PORTS=str(CROWD + 4096))
        cls.users = [f"user{i}" for i in range(CROWD)]
        add_to_sqlite(cls.node.path("store.db"), [*cls.users, "admin"], DOMAIN)
        chain, key = cls.authority.issue("front", [DOMAIN])
        cls.balancer = Balancer(cls.workspace, {
            # Each worker has the descriptors of the limit for itself.
            "process": {"connections_max": CROWD + 4096, "workers": 1 + CROWD // 6000},
            "listener": {"front": {"bind": cls.front, "pool": "nodes", "mode": "tls",
                                   "certificates": [{"chain": chain, "key": key}]}},
            # More connections to one address than one address of ours has ports for.
            "pool": {"nodes": {"node": [{"name": "n1", "address": f"127.0.0.1:{cls.proxied}"}],
                               "source_addresses": ["127.0.4.1", "127.0.4.2"],
                               "warmup": {"mode": "off"}, "send_proxy": "v2",
                               "send_proxy_tlvs": ["ssl"],
                               "check": [{"type": "tcp", "interval": "1s"}]}},
        }).start()
        wait_until(lambda: cls.balancer.node_states().get("n1") == "up", "the node is up")

    def crowd(self):
        """Generators that hold the sessions, each within its descriptors; their pids."""
        pids = []
        for first in range(0, CROWD, HELD_BY_ONE):
            number = min(HELD_BY_ONE, CROWD - first)
            with open(self.workspace.path(f"crowd{first}.log"), "wb") as log:
                one = subprocess.Popen(
                    ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", BENCH, "xmpp", "idle",
                     self.front, "--users", f"user%d@{DOMAIN}", "--first", str(first),
                     "--password", "secret", "--security", "tls", "--ca", self.authority.ca_file,
                     "-c", str(number), "--source",
                     f"127.0.5.{1 + first // HELD_BY_ONE}", "--timeout", "60s",
                     "--hold", "stdin", "--cut"], stdin=subprocess.PIPE, stdout=log, stderr=log)
            self.addCleanup(lambda one=one: (one.kill(), one.wait(), one.stdin.close()))
            pids.append(one.pid)
        return pids

    async def tell_all(self):
        """A message to each; the seconds until each of them is counted (XEP-0198): it is not kept
        anywhere, so that it counts when its receiver has acknowledged it, and not before."""
        admin = await SmClient("admin", DOMAIN, self.proxied, "tell").login()
        await admin.ping()
        messages = "".join(
            f"<message to='{user}@{DOMAIN}' type='chat' id='m{number}'><body>hi</body>"
            "<no-store xmlns='urn:xmpp:hints'/></message>"
            for number, user in enumerate(self.users)) + "<r xmlns='urn:xmpp:sm:3'/>"
        before = len(admin.sent)  # with the ping
        admin.sent += [f"m{number}" for number in range(CROWD)]
        began = time.monotonic()
        admin.say(messages)
        end = began + 30
        while admin.counted < len(admin.sent) and time.monotonic() < end:
            await asyncio.sleep(0.02)
            admin.say("<r xmlns='urn:xmpp:sm:3'/>")
        took = time.monotonic() - began
        self.assertEqual(admin.errors, [])
        self.assertEqual(admin.counted - before, CROWD)
        await admin.close()
        return took

    def test_each_of_a_crowd_that_rests_has_a_message_within_two_seconds(self):
        programs = self.node.pid(), self.balancer.process.pid
        before = [resident(pid) for pid in programs]
        generators = self.crowd()
        began = time.monotonic()
        wait_until(lambda: self.node.metric("sm_node_sessions_count") == CROWD, "all are there",
                   30 + CROWD / 100)
        print(f"{CROWD} TLS sessions came in {time.monotonic() - began:.1f} s", flush=True)
        costs = [(resident(pid) - was) / CROWD for pid, was in zip(programs, before)]
        self.assertEqual(self.balancer.open_connections(), CROWD)
        used = [cpu_seconds(pid) for pid in (*programs, *generators)]
        own = time.process_time()
        took = asyncio.run(self.tell_all())
        own = time.process_time() - own
        used = [cpu_seconds(pid) - was for pid, was in zip((*programs, *generators), used)]
        print(f"at rest {costs[0]:.0f} bytes of the node and {costs[1]:.0f} of the balancer each; "
              f"a message to each, acknowledged by all, in {took:.2f} s "
              f"(CPU seconds: node {used[0]:.2f}, balancer {used[1]:.2f}, their clients "
              f"{sum(used[2:]):.2f}, the sender {own:.2f}; load {os.getloadavg()[0]:.1f})", flush=True)
        self.assertEqual(self.node.metric("sm_node_sessions_count"), CROWD)
        self.assertLess(took, WITHIN_S)
        for cost in costs:
            self.assertLess(cost, SESSION_BYTES)


if __name__ == "__main__":
    unittest.main()
