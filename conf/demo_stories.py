"""The stories of conf/up --scenario: clients chat through two balancers with a cluster of three nodes, all
on hosts of their own (network namespaces), while something breaks; a line a second says what happens, then
a judge says whether a message was lost, doubled or swapped, and a table what is left."""

import json
import os
import subprocess
import sys
import time

from demo_store import store_url
from lib.certs import Authority
from lib.lan import HubBalancer
from lib.story_cluster import C2S_PORT, HTTP_PORT, StoryCluster
from lib.wait import wait_until
from lib.workspace import REPO, Workspace

DNS_BINARY = os.environ.get("MONGOOSEDNS", os.path.join(REPO, "build", "release", "bin", "mongoosedns"))
DOMAIN = "chat.example"
SERVICE = f"_xmpp-client._tcp.{DOMAIN}"
# More than this, and the clients and balancers on the same machine are the limit, not the nodes.
RATE_MAX = 1000


class StoryDemo:
    def __init__(self, workspace, store, load, say):
        """`load`: the number of sessions and, where it is not the usual one, of messages a second."""
        self.say = say
        self.sessions, *rate = load
        self.rate = rate[0] if rate else min(self.sessions * 5 // 3, RATE_MAX)
        self.workspace = workspace
        self.cluster = StoryCluster(workspace, Authority(workspace), DOMAIN,
                                    store=store_url(workspace, store, say), accounts=self.sessions)
        self.balancers = []
        self.dns_port = 5353

    def close(self):
        self.cluster.close()

    # --- starting
    def start(self):
        for node in self.cluster.nodes:
            self.say(f"  {node.name}: clients on {node.endpoint}")
        for i in range(2):
            self.start_balancer(f"lb{i + 1}", f"127.0.0.{i + 1}")
        self.start_dns()

    def start_balancer(self, name, address):
        balancer = HubBalancer(self.workspace, {
            "process": {"admin_listen": f"127.0.0.1:{8404 + len(self.balancers)}"},
            "listener": {"c2s": {"bind": f"{address}:{C2S_PORT}", "pool": "xmpp"}},
            "pool": {"xmpp": {
                "node": [{"name": node.alive, "address": node.endpoint} for node in self.cluster.nodes],
                "status": {"port": HTTP_PORT, "interval": "200ms", "fall": 2},
                "check": [{"type": "tcp", "interval": "1s", "fast_interval": "200ms"}],
                "on_down": "close", "on_down_rate": "1000/s",
                "warmup": {"duration": "3s", "start_rate": "20/s", "end_rate": "500/s"}}},
        }, name=name, launcher=self.cluster.hub)
        balancer.endpoint = f"{address}:{C2S_PORT}"
        balancer.address = address
        balancer.start()
        wait_until(lambda: set(balancer.node_states().values()) == {"up"}, f"{name} has all nodes up", 30)
        self.balancers.append(balancer)
        self.say(f"  {name}: mongooselb on {balancer.endpoint}")

    def start_dns(self):
        balancers = "".join(f'[[pool.xmpp.balancer]]\nname = "{b.name}"\naddresses = ["{b.address}"]\n'
                            for b in self.balancers)
        path = self.workspace.write("mongoosedns.toml", f"""[server]
listen = ["127.0.0.1:{self.dns_port}"]
workers = 1
admin_listen = "127.0.0.1:8453"
ctl_socket = "{self.workspace.path('dns.sock')}"
[pool.xmpp]
ttl_min = 1
{balancers}
[[pool.xmpp.check]]
type = "xmpp"
port = {C2S_PORT}
to = "{DOMAIN}"
interval = "1s"
fast_interval = "200ms"
[zone."{DOMAIN}"]
ns = ["ns1"]
records = ["ns1 60 IN A 127.0.0.1"]
[[zone."{DOMAIN}".pool]]
pool = "xmpp"
name = "xmpp"
services = ["xmpp-client:{C2S_PORT}"]
""")
        process = self.workspace.start("dns", [*self.cluster.hub, DNS_BINARY, "run", path])
        self.workspace.wait_ready(process, lambda: len(self.look_up()) == 2,
                                  "mongoosedns gives out both balancers", 20)
        self.say(f"  dns: mongoosedns on 127.0.0.1:{self.dns_port}")

    def look_up(self):
        done = subprocess.run(
            [*self.cluster.hub, "dig", "+short", "+tries=1", "+time=3", "@127.0.0.1", "-p",
             str(self.dns_port), SERVICE, "SRV"], capture_output=True, text=True, timeout=20, check=False)
        return sorted(line for line in done.stdout.splitlines() if not line.startswith(";"))

    # --- the stories: what is done, and for how long clients chat
    def kill_node(self):
        node = self.cluster.nodes[1]
        return [(5, self.cluster.kill(node)), (12, self.cluster.start(node))], 25

    def drain(self):
        node = self.cluster.nodes[1]
        return [(5, self.restart(node))], 25

    def restart(self, node):
        """As an operator does it. Clients that can resume do so elsewhere, and notice nothing else."""
        rate = max(self.sessions // 10, 50)
        return " && ".join((self.cluster.ctl(node, "drain", "--rate", str(rate), "--wait"),
                            self.cluster.ctl(node, "stop"), self.cluster.start(node)))

    def netsplit(self):
        *most, one = self.cluster.nodes
        return [(5, self.cluster.cut([one], most)), (15, self.cluster.heal())], 30

    def rolling_upgrade(self):
        acts = [(5 + 15 * i, self.restart(node)) for i, node in enumerate(self.cluster.nodes)]
        return acts, 5 + 15 * len(acts)

    def storm(self):
        return [(5, f"kill -9 {self.balancers[0].process.pid}")], 20

    STORIES = {"kill-node": kill_node, "drain": drain, "netsplit": netsplit,
               "rolling-upgrade": rolling_upgrade, "storm": storm}
    NODES_GO = {"kill-node", "netsplit"}  # against their will

    def play(self, name):
        acts, duration = self.STORIES[name](self)
        page = os.path.join(REPO, "build", f"story-{name}.html")
        os.makedirs(os.path.dirname(page), exist_ok=True)
        story = self.cluster.play(acts, duration, self.sessions, self.rate,
                                  targets=[balancer.endpoint for balancer in self.balancers],
                                  quiet=False, html=page, may_repeat=name in self.NODES_GO)
        self.say(f"  plots: {page}")
        return story

    def table(self):
        rows = [("what", "state")]
        rows += [("DNS", f"{SERVICE} SRV {answer}") for answer in self.look_up()]
        for balancer in self.balancers:
            alive = balancer.process.alive()
            rows.append((balancer.name, json.dumps(balancer.node_states()) if alive else "is not there"))
        for node in self.cluster.nodes:
            status = node.status()
            rows.append((node.name, f"{status['state']}, runs with {len(status['running'])} of "
                                    f"{len(status['members'])}, {status['sessions']} sessions"))
        width = max(len(row[0]) for row in rows)
        for what, state in rows:
            self.say(f"  {what.ljust(width)}  {state}")


def play(name, store, load, say):
    """The exit status."""
    if os.geteuid() != 0:
        print("error: a story needs hosts of its own (network namespaces)\nremedy: run it as root",
              file=sys.stderr)
        return 1
    workspace = Workspace(f"story-{name}")
    demo = None
    try:
        say("three nodes, one cluster, one store; two balancers; DNS")
        demo = StoryDemo(workspace, store, load, say)
        demo.start()
        say(f"story: {name} ({demo.sessions} sessions send {demo.rate} messages a second)")
        began = time.monotonic()
        story = demo.play(name)
        demo.cluster.wait_one_view()
        say(f"afterwards ({time.monotonic() - began:.0f} s)")
        demo.table()
        return story.code
    finally:
        workspace.stop()
        if demo is not None:
            demo.close()
        workspace.remove()
