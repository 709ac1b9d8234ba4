"""The cluster of conf/up: three mongooseim nodes formed by join_cluster. For its story a balancer of
its own has their HTTP port behind it and asks each for its view of the cluster: so a client learns
which node answered."""

import json
import time
import urllib.request
from collections import Counter

from demo_store import store_url
from lib import balancer as lb, net
from lib.erl import Epmd
from lib.mongooseim import Mongooseim
from lib.wait import Timeout, wait_until

NODES = ("mongooseim1", "mongooseim2", "mongooseim3")
CLIENTS = 60
WARMUP_S = 3


class ClusterFault(Exception):
    """Something did not hold."""


class ClusterDemo:
    def __init__(self, workspace, say, authority, domain, store="sqlite"):
        self.workspace = workspace
        self.authority = authority
        self.domain = domain
        self.store = store
        self.say = say
        self.nodes = {}
        self.balancer = None
        self.port = None

    # --- starting
    def start_nodes(self):
        store = store_url(self.workspace, self.store, self.say)
        epmd = Epmd(self.workspace).start()
        http = net.free_port("127.0.0.21")
        for i, name in enumerate(NODES):
            node = Mongooseim(self.workspace, epmd, name, cookie="demo")
            node.http, node.address = http, f"127.0.0.{21 + i}"
            node.write("etc/mongooseim.toml",
                       f'[http]\nlisten = ["{node.address}:{http}"]\n')
            # So that the folder's programs find epmd when people call them.
            node.append("etc/vm.args", f"-env ERL_EPMD_PORT {epmd.port}\n-env ERL_MAX_PORTS 10000\n")
            node.append("etc/vm.dist.args", "-kernel inet_dist_use_interface {127,0,0,1}\n")
            node.serve(self.authority, self.domain, node.address, c2s={"workers": 1},
                       store={"url": store})
            self.nodes[name] = node.live()
            self.say(f"  {node.name}: clients on {node.endpoint}, pages on "
                     f"http://{node.address}:{http}, pid {node.process.pid}, folder {node.folder}")
        for name in NODES[1:]:
            self.join(name)
        self.running(NODES)

    def join(self, name):
        done = self.nodes[name].ctl("join_cluster", "-f", self.nodes[NODES[0]].name)
        self.say(f"  {name}$ mongooseimctl join_cluster -f {self.nodes[NODES[0]].name}\n"
                 f"  {done.out.strip()}")
        self.hold(done.code == 0, f"{name} joined: {done}")

    def start_balancer(self):
        address, self.port = "127.0.0.1", net.free_port()
        http = self.nodes[NODES[0]].http
        self.balancer = lb.Balancer(self.workspace, {
            "listener": {"http": {"bind": f"{address}:{self.port}", "pool": "nodes"}},
            "pool": {"nodes": {
                "node": [{"name": name, "address": f"{node.address}:{http}"}
                         for name, node in self.nodes.items()],
                "status": {"port": http, "interval": "200ms", "fall": 2},
                "check": [{"type": "http", "path": "/livez", "interval": "1s",
                           "fast_interval": "200ms", "port": http}],
                "warmup": {"duration": f"{WARMUP_S}s", "start_rate": "2/s", "end_rate": "50/s"}}},
        }, name="lb-cluster")
        self.balancer.address, self.balancer.c2s_port = address, self.port
        self.balancer.start()
        self.say(f"  lb-cluster: mongooselb on {address}:{self.port}, pid {self.balancer.process.pid}")

    # --- looking
    def hold(self, truth, what):
        if not truth:
            raise ClusterFault(what)

    def wait(self, condition, what, deadline_s=30):
        try:
            return wait_until(condition, what, deadline_s)
        except Timeout as timeout:
            raise ClusterFault(f"{timeout}; states: {self.balancer.node_states()}") from timeout

    def answered_by(self):
        """Which node a client that comes through the balancer gets."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/cluster/status",
                                    timeout=10) as answer:
            return json.loads(answer.read())["node"].partition("@")[0]

    def show(self, names):
        """Clients come, and every one of them lands on one of these."""
        landed = Counter(self.answered_by() for _ in range(CLIENTS))
        self.say(f"  {CLIENTS} clients: " + ", ".join(
            f"{name} answered {count}" for name, count in sorted(landed.items())))
        self.hold(set(landed) == set(names), f"{sorted(landed)} answered, not {sorted(names)}")

    def line(self, name):
        """The node table's line."""
        rows = self.balancer.ctl_ok("list").splitlines()
        head = next(row for row in rows if "STATE" in row.upper())
        self.say("  " + head)
        self.say("  " + next(row for row in rows if name in row.split()))

    def state(self, name, *states):
        return self.wait(lambda: self.balancer.node_states()[name] in states,
                         f"{name} is {' or '.join(states)} at the balancer")

    def running(self, names):
        wanted = [self.nodes[name] for name in names]
        for node in wanted:
            self.wait(lambda node=node: node.db_nodes("running") == [n.name for n in wanted],
                      f"{node.name} runs with {names}")

    # --- the story
    def killed(self, name):
        others = [other for other in NODES if other != name]
        began = time.monotonic()
        self.nodes[name].process.kill()
        self.workspace.processes.remove(self.nodes[name].process)
        self.running(others)
        self.say(f"  {name} killed: the others run without it after {time.monotonic() - began:.1f} s")
        self.wait(lambda: self.balancer.node_states()[name] not in ("up", "warming"),
                  f"the balancer takes {name} out")
        self.line(name)
        self.show(others)

    def back(self, name):
        self.nodes[name].live()
        self.running(NODES)
        self.state(name, "warming")
        self.say(f"  {name} is back, and warms up for {WARMUP_S} s")
        self.line(name)
        self.state(name, "up")
        self.line(name)
        self.show(NODES)

    def removed(self, name):
        others = [other for other in NODES if other != name]
        done = self.nodes[others[0]].ctl("remove_from_cluster", "-f", self.nodes[name].name)
        self.say(f"  {others[0]}$ mongooseimctl remove_from_cluster -f {self.nodes[name].name}\n"
                 f"  {done.out.strip()}")
        self.hold(done.code == 0, f"{name} was removed: {done}")
        self.running(others)
        self.running([name])
        self.wait(lambda: self.balancer.node_states()[name] not in ("up", "warming"),
                  f"the balancer takes {name} out, which stands alone")
        self.line(name)
        self.show(others)

    def run(self):
        self.start_balancer()
        for name in NODES:
            self.state(name, "up")
        self.show(NODES)
        self.killed(NODES[1])
        self.back(NODES[1])
        self.removed(NODES[2])
        self.join(NODES[2])
        self.running(NODES)
        self.state(NODES[2], "up")
