"""Nodes on hosts of their own: the containers' flow with short and long names and over IPv6, a balancer
that sees their splits, and rounds of what breaks: kills, pauses, cuts one way and both, blips. After each
all nodes have one view."""

import json
import os
import random
import signal
import subprocess
import time
import unittest

from lib.case import EndToEndCase
from lib.lan import HubBalancer, Lan, LanNode
from lib.wait import wait_until

ROUNDS = int(os.environ.get("MONGOOSE_LAN_ROUNDS", "10"))
PAUSE_S = int(os.environ.get("MONGOOSE_LAN_PAUSE", "0"))  # 0: now and then as long as a tick
SEED = int(os.environ.get("MONGOOSE_LAN_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
# Faster than the defaults, so that rounds are short; the proportions are theirs.
SILENCE_S = 2
TIMES = ('[cluster]\nheartbeat = "250ms"\nsilence = "2s"\nlink_grace = "250ms"\n'
         'isolate_after = "500ms"\n')
NET_TICKTIME_S = 8


class LanCase(EndToEndCase):
    hosts = 3

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lan = Lan(cls.workspace, cls.hosts)
        cls.addClassCleanup(cls.lan.close)
        cls.addClassCleanup(cls.workspace.stop)

    def make(self, host, suffix, **options):
        name = host.full_name if options.get("long_names") else host.name
        return LanNode(self.workspace, host, f"mim{suffix}{host.number}", node_host=name, **options)

    def wait_one_view(self, nodes, deadline_s=40):
        for node in nodes:
            node.wait_running(nodes, deadline_s)


class Containers(LanCase):
    def form(self, suffix, flags="", **options):
        """start; started; status; join_cluster -f; stop; live: as mongooseim-docker does it."""
        nodes = []
        for host in self.lan.members:
            node = self.make(host, suffix, **options)
            node.append("etc/vm.dist.args", flags)
            if nodes:
                for words in (("start",), ("started",), ("status",),
                              ("join_cluster", "-f", nodes[0].name), ("stop",)):
                    done = node.ctl(*words)
                    self.assertEqual(done.code, 0, done)
            nodes.append(node.live())
        self.wait_one_view(nodes)
        for node in nodes:
            self.assertEqual(node.ctl("stop").code, 0)

    def test_short_names(self):
        self.form("s")

    def test_long_names(self):
        self.form("l", long_names=True)

    def test_over_ipv6(self):
        self.form("six", flags="-proto_dist inet6_tcp\n")

    def test_a_name_without_a_host_gets_this_ones(self):
        node = self.make(self.lan.members[0], "bare")
        node.write("etc/vm.args", node.read("etc/vm.args").replace("@node1", ""))
        self.assertIn("mimbare1@node1", node.mim("check").out)


class Balanced(LanCase):
    """The balancer takes its view of the cluster from the nodes themselves."""

    def answered_by(self, count=20):
        names = set()
        for _ in range(count):
            done = subprocess.run(
                [*self.balancer.launcher, "curl", "-s", "-m", "5",
                 f"http://127.0.0.1:{self.port}/api/cluster/status"],
                capture_output=True, text=True, timeout=20, check=True)
            names.add(json.loads(done.stdout)["node"])
        return names

    def wait_state(self, host, *states):
        wait_until(lambda: self.balancer.node_states()[host.name] in states,
                   f"{host.name} is one of {states}", 20)
        row = next(row for row in self.balancer.ctl_ok("list").splitlines()
                   if host.name in row.split())
        print(row, flush=True)
        return row

    def test_who_is_split_off_gets_nobody_and_warms_up_again(self):
        hub = self.lan.open_hub()
        nodes = []
        for host in self.lan.members:
            node = self.make(host, "")
            node.http = 5280
            node.write("etc/mongooseim.toml", "[http]\nlisten = [\"0.0.0.0:5280\"]\n" + TIMES)
            nodes.append(node.live())
        for node in nodes[1:]:
            self.assertEqual(node.ctl("join_cluster", "-f", nodes[0].name).code, 0)
        self.wait_one_view(nodes)
        self.port = 5281
        self.balancer = HubBalancer(self.workspace, {
            "listener": {"http": {"bind": f"127.0.0.1:{self.port}", "pool": "nodes"}},
            "pool": {"nodes": {
                "node": [{"name": host.name, "address": f"{host.addresses[0]}:5280"}
                         for host in self.lan.members],
                "status": {"port": 5280, "interval": "200ms", "fall": 2},
                "warmup": {"duration": "2s", "start_rate": "5/s", "end_rate": "50/s"}}},
        }, launcher=hub).start()
        hosts = self.lan.members
        for host in hosts:
            self.wait_state(host, "up")
        self.assertEqual(self.answered_by(60), {node.name for node in nodes})
        self.lan.cut(hosts[:2], hosts[2:])
        self.wait_state(hosts[2], "split", "isolated", "down")
        self.assertEqual(self.answered_by(), {node.name for node in nodes[:2]})
        self.lan.heal()
        self.wait_one_view(nodes)
        self.wait_state(hosts[2], "warming", "up")
        self.wait_state(hosts[2], "up")
        self.assertEqual(self.answered_by(60), {node.name for node in nodes})


class Rounds(LanCase):
    hosts = 4

    def setUp(self):
        self.random = random.Random(SEED)
        self.nodes = []
        for host in self.lan.members:
            node = self.make(host, "")
            node.write("etc/mongooseim.toml", node.read("etc/mongooseim.toml").replace(
                "[cluster]\n", TIMES))
            node.append("etc/vm.dist.args", f"-kernel net_ticktime {NET_TICKTIME_S}\n")
            self.nodes.append(node.live())
        for node in self.nodes[1:]:
            self.assertEqual(node.ctl("join_cluster", "-f", self.nodes[0].name).code, 0)
        self.wait_one_view(self.nodes)

    def view(self, node):
        return json.loads(node.curl("/api/cluster/status").out)

    def wait_view(self, node, state, running):
        names = sorted(other.name for other in running)
        wait_until(lambda: (self.view(node)["state"], self.view(node)["running"]) == (state, names),
                   f"{node.name} is {state} and runs with {names}", 20)

    def hosts_of(self, nodes):
        return [node.host for node in nodes]

    # --- what breaks; each returns when it has been seen, or could have been
    def killed(self):
        node = self.random.choice(self.nodes)
        rest = [other for other in self.nodes if other is not node]
        node.process.kill()
        for other in rest:
            self.wait_view(other, "running", rest)
        node.live()
        return node.name

    def stopped_in_order(self):
        node = self.random.choice(self.nodes)
        self.assertEqual(node.ctl("stop").code, 0)
        node.live()
        return node.name

    def paused(self):
        """Longer than the others wait, and than the tick of the links."""
        node = self.random.choice(self.nodes)
        rest = [other for other in self.nodes if other is not node]
        node.process.signal(signal.SIGSTOP)
        try:
            for other in rest:
                self.wait_view(other, "running", rest)
            pause = PAUSE_S or self.random.choice((0, NET_TICKTIME_S))
            end = time.monotonic() + pause
            wait_until(lambda: time.monotonic() >= end, "the pause is over", pause + 5)
        finally:
            node.process.signal(signal.SIGCONT)
        return node.name

    def split(self, size):
        side = self.random.sample(self.nodes, size)
        rest = [node for node in self.nodes if node not in side]
        self.lan.cut(self.hosts_of(side), self.hosts_of(rest))
        # More than half stays in, of equal halves the one with the lowest name.
        winners, losers = (side, rest) if (
            len(side) > len(rest) or len(side) == len(rest) and self.nodes[0] in side) else (rest, side)
        for node in winners:
            self.wait_view(node, "running", winners)
        for node in losers:
            self.wait_view(node, "isolated", losers)
        return sorted(node.name for node in side)

    def one_way(self):
        """The greater of the two goes, for all of them."""
        pair = self.random.sample(self.nodes, 2)
        self.lan.cut_one_way(*self.hosts_of(pair))
        out = max(pair, key=lambda node: node.name)
        rest = [node for node in self.nodes if node is not out]
        for node in rest:
            self.wait_view(node, "running", rest)
        self.wait_view(out, "isolated", [out])
        return [node.name for node in pair]

    def blip(self):
        half = self.random.sample(self.nodes, 2)
        self.lan.cut(self.hosts_of(half),
                     self.hosts_of([node for node in self.nodes if node not in half]))
        return sorted(node.name for node in half)

    def test_rounds(self):
        print(f"MONGOOSE_LAN_SEED={SEED}", flush=True)
        kinds = [self.killed, self.stopped_in_order, self.paused, lambda: self.split(1),
                 lambda: self.split(2), self.one_way, self.blip]
        names = ("killed", "stopped_in_order", "paused", "split_1", "split_2", "one_way", "blip")
        order = list(range(len(kinds)))
        for number in range(ROUNDS):
            # Each kind comes before any comes again.
            if number % len(kinds) == 0:
                self.random.shuffle(order)
            kind = order[number % len(kinds)]
            with self.subTest(round=number, kind=names[kind], seed=SEED):
                began = time.monotonic()
                try:
                    who = kinds[kind]()
                finally:
                    self.lan.heal()
                broken = time.monotonic() - began
                self.wait_one_view(self.nodes)
                for node in self.nodes:
                    self.wait_view(node, "running", self.nodes)
                digests = {node.ctl("cluster", "digest").out for node in self.nodes}
                self.assertEqual(len(digests), 1, digests)
                print(json.dumps({"round": number, "kind": names[kind], "who": who,
                                  "broken_s": round(broken, 2),
                                  "healed_s": round(time.monotonic() - began - broken, 2)}), flush=True)


if __name__ == "__main__":
    unittest.main()
