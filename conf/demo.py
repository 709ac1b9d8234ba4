"""The demo behind conf/up; run it through conf/up, which installs and builds first."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error

REPO = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.join(REPO, "tests", "e2e"))

import demo_stories  # pylint: disable=wrong-import-position
from demo_cluster import ClusterDemo, ClusterFault  # pylint: disable=wrong-import-position
from lib import balancer as lb, net  # pylint: disable=wrong-import-position
from lib.certs import Authority  # pylint: disable=wrong-import-position
from lib.slix import SlixClient, exchange  # pylint: disable=wrong-import-position
from lib.workspace import Workspace, saved_processes, stop_saved  # pylint: disable=wrong-import-position

DNS_BINARY = os.environ.get("MONGOOSEDNS", os.path.join(REPO, "build", "release", "bin", "mongoosedns"))
DOMAIN = "chat.example"
ROOM = f"lobby@conference.{DOMAIN}"
SERVICE = f"_xmpp-client._tcp.{DOMAIN}"
# Where the balancers are: one port, an address each, since clients learn one port by SRV.
ADDRESSES = {"lb1": "127.0.0.1", "lb2": "127.0.0.2"}
# Pairs that chat. balance = "source" keeps an address on one node (bounded_load = 0: even when others
# hold less); the two of a pair come from different ones, so that most pairs chat across nodes.
PAIRS = [("alice", "bob"), ("carol", "dave"), ("erin", "frank"),
         ("grace", "heidi"), ("ivan", "judy"), ("mallory", "niaj")]
LATER = [("olivia", "peggy"), ("rupert", "sybil")]
SOURCES = {user: f"127.0.1.{i + 1}" for i, user in enumerate(sum(PAIRS + LATER, ()))}
# Where the running demo's folder stands: the servers' users must reach that folder, and a clone
# below /root is closed to them.
POINTER = os.path.join(REPO, "build", "demo-folder")


class Fault(Exception):
    """Something did not hold; the text says what, `remedy` what to do."""

    def __init__(self, what, remedy):
        super().__init__(what)
        self.remedy = remedy


def say(text=""):
    print(text, flush=True)


def table(rows):
    """Columns as wide as their widest cell; the first row is the head."""
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        say("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())


class Demo:
    """Servers, balancers, clients: each started by a method of its own, in this order."""

    def __init__(self, workspace, store, well_known_ports):
        self.workspace = workspace
        self.authority = Authority(workspace)
        self.well_known_ports = well_known_ports
        self.nodes = []
        self.balancers = []
        self.passwords = {}
        self.cluster = ClusterDemo(workspace, say, self.authority, DOMAIN, store)
        self.c2s_port = None
        self.dns_port = None

    def port(self, wanted):
        """The well-known port when it is free and wanted, else one of the kernel's choice."""
        if self.well_known_ports and not net.accepts("127.0.0.1", wanted):
            return wanted
        return net.free_port()

    def start_servers(self):
        self.cluster.start_nodes()
        self.nodes = list(self.cluster.nodes.values())

    def start_balancer(self, name="lb1"):
        address = ADDRESSES[name]
        port = self.c2s_port = self.c2s_port or self.port(5222)
        check = {"interval": "2s", "fast_interval": "200ms"}
        balancer = lb.Balancer(self.workspace, {
            "process": {"admin_listen": f"127.0.0.1:{self.port(8404)}"},
            "listener": {"c2s": {"bind": f"{address}:{port}", "pool": "xmpp"}},
            "pool": {"xmpp": {
                "balance": "source", "bounded_load": 0.0,
                "node": [{"name": node.alive, "address": node.endpoint} for node in self.nodes],
                "status": {"port": self.nodes[0].http, "interval": "200ms", "fall": 2},
                "check": [{"type": "tcp", **check}, {"type": "xmpp", "to": DOMAIN, **check}],
                "warmup": {"mode": "off"}}},
        }, name=name)
        balancer.c2s_port = port
        balancer.address = address
        balancer.start()
        self.balancers.append(balancer)
        say(f"  {name}: mongooselb on {address}:{port}, admin on "
            f"http://127.0.0.1:{balancer.admin_port}, pid {balancer.process.pid}")

    async def chat(self, one, other, balancer):
        """Two clients get accounts, log in, say something to each other and leave; their ports."""
        password = secrets.token_urlsafe(12)
        for user in (one, other):
            self.passwords[user] = password
            self.nodes[0].register(user, password)  # for all nodes: they share the store
        options = {"domain": DOMAIN, "password": password, "host": balancer.address,
                   "port": balancer.c2s_port, "ca_file": self.authority.ca_file}
        here = await SlixClient(one, source=SOURCES[one], **options).login()
        there = await SlixClient(other, source=SOURCES[other], **options).login()
        await exchange(here, there, f"{one} and {other} through the balancer")
        seen = [(one, here.local_port, here.tls_version), (other, there.local_port, there.tls_version)]
        await here.logout()
        await there.logout()
        return seen

    def show_clients(self):
        """All pairs chat; then the access log tells where each landed."""
        balancer = self.balancers[0]
        rows = [("client", "from", "TLS with the node", "node", "bytes in", "bytes out", "end")]
        used = set()
        across = 0
        for one, other in PAIRS:
            landed = []
            for user, port, tls in asyncio.run(self.chat(one, other, balancer)):
                client = f"{SOURCES[user]}:{port}"
                entry = balancer.access_log.wait_for(1, client=client)[-1]
                if tls is None or entry["bytes_in"] == 0 or entry["bytes_out"] == 0:
                    raise Fault(f"{user} was not served over TLS: {entry}", "look at the logs")
                landed.append(entry["node"])
                rows.append((user, client, tls, entry["node"], entry["bytes_in"],
                             entry["bytes_out"], entry["end"]))
            used.update(landed)
            across += landed[0] != landed[1]
        table(rows)
        if not used <= {node.alive for node in self.nodes}:
            raise Fault(f"clients landed on {used}", "the access log names a node that is not ours")
        if len(used) < 2 or across == 0:
            raise Fault(f"all pairs landed on {used}, {across} of them on two nodes",
                        "check with `ctl explain` which nodes are up")
        say(f"  {len(PAIRS)} pairs chatted both ways, spread over {len(used)} of {len(self.nodes)} "
            f"nodes, {across} of them across two")

    def show_status(self):
        for balancer in self.balancers:
            for path, expected in (("/livez", 200), ("/readyz", 200)):
                status, _ = balancer.get(path)
                if status != expected:
                    raise Fault(f"{balancer.name} {path} answers {status}", "see its log")
            text = balancer.ctl_ok("list")
            missing = [node.alive for node in self.nodes if node.alive not in text]
            if missing:
                raise Fault(f"`ctl list` does not name {missing}:\n{text}", "see the balancer's log")
            say("  " + text.rstrip().replace("\n", "\n  "))

    def start_dns(self):
        """mongoosedns gives out both balancers; their checks open an XMPP stream through them."""
        self.dns_port = self.port(5353)
        admin = self.port(8453)
        self.dns_ctl = self.workspace.path("dns.sock")
        balancers = "".join(f'[[pool.xmpp.balancer]]\nname = "{b.name}"\n'
                            f'addresses = ["{b.address}"]\n' for b in self.balancers)
        self.workspace.write("mongoosedns.toml", f"""[server]
listen = ["127.0.0.1:{self.dns_port}"]
workers = 1
admin_listen = "127.0.0.1:{admin}"
ctl_socket = "{self.dns_ctl}"
[pool.xmpp]
ttl_min = 1
{balancers}
[[pool.xmpp.check]]
type = "xmpp"
port = {self.c2s_port}
to = "{DOMAIN}"
interval = "1s"
fast_interval = "200ms"
[zone."{DOMAIN}"]
ns = ["ns1"]
records = ["ns1 60 IN A 127.0.0.1"]
[[zone."{DOMAIN}".pool]]
pool = "xmpp"
name = "xmpp"
services = ["xmpp-client:{self.c2s_port}"]
""")
        process = self.workspace.start(
            "dns", [DNS_BINARY, "run", self.workspace.path("mongoosedns.toml")])
        self.workspace.wait_ready(process, lambda: self.targets() == sorted(ADDRESSES),
                                  "mongoosedns gives out both balancers", 20)
        say(f"  dns: mongoosedns on 127.0.0.1:{self.dns_port}, admin on http://127.0.0.1:{admin}, "
            f"pid {process.pid}")

    def look_up(self, name, rdtype):
        """The answers' data, a list of words each, in the order of the answer."""
        done = subprocess.run(["dig", "+short", "+tries=1", "+time=3", "@127.0.0.1", "-p",
                               str(self.dns_port), name, rdtype], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=20, check=False)
        lines = done.stdout.splitlines() if done.returncode == 0 else []
        return [line.split() for line in lines if not line.startswith(";")]

    def targets(self):
        """The balancers that the SRV set names now."""
        return sorted(target.split(".", 1)[0] for *_, target in self.look_up(SERVICE, "SRV"))

    def found(self):
        """The balancer that a client finds: SRV, then its address (RFC 6120 section 3.2)."""
        _, _, port, target = self.look_up(SERVICE, "SRV")[0]
        address = self.look_up(target, "A")[0][0]
        return next(b for b in self.balancers if (b.address, b.c2s_port) == (address, int(port)))

    def wait_targets(self, expected, what):
        deadline = time.monotonic() + 20
        while self.targets() != expected:
            if time.monotonic() > deadline:
                raise Fault(f"{what}: DNS gives out {self.targets()}, not {expected}",
                            f"see {DNS_BINARY} ctl --socket {self.dns_ctl} states")
            time.sleep(0.05)

    def show_dns(self):
        """Clients find both balancers; one is killed, they find the other; it comes back."""
        seen = {self.found().name for _ in range(50)}
        if seen != set(ADDRESSES):
            raise Fault(f"50 look-ups found only {seen}", "see mongoosedns ctl states")
        asyncio.run(self.chat(*LATER[0], self.found()))
        say(f"  {SERVICE} leads to {' and '.join(sorted(seen))}; a pair found one and chatted")
        first = self.balancers[0]
        began = time.monotonic()
        first.process.kill()
        self.workspace.processes.remove(first.process)
        self.wait_targets(["lb2"], "lb1 was killed")
        say(f"  lb1 killed: out of DNS after {time.monotonic() - began:.1f} s")
        asyncio.run(self.chat(*LATER[1], self.found()))
        say("  a pair found lb2 and chatted")
        first.start()
        self.wait_targets(sorted(ADDRESSES), "lb1 came back")
        say("  lb1 came back, and into DNS")

    async def meet(self):
        """All who chatted first meet in a room, each through the balancer that it found; then one asks
        for what was said there, and for what it had said before to the other of its pair."""
        users = sum(PAIRS[:3], ())
        clients = []
        for user in users:
            balancer = self.found()
            client = SlixClient(user, source=SOURCES[user], domain=DOMAIN, host=balancer.address,
                                password=self.passwords[user], port=balancer.c2s_port,
                                ca_file=self.authority.ca_file)
            for plugin in ("xep_0045", "xep_0059", "xep_0313"):
                client.register_plugin(plugin)
            clients.append(await client.login())
        for client in clients:
            await client["xep_0045"].join_muc_wait(ROOM, client.boundjid.user, timeout=15)
            if client is clients[0]:
                await client["xep_0045"].set_room_config(
                    ROOM, client["xep_0004"].make_form(ftype="submit"))
        heard = [asyncio.get_running_loop().create_future() for _ in clients]
        for client, future in zip(clients, heard):
            client.add_event_handler(
                "groupchat_message",
                lambda message, future=future: future.done() or future.set_result(message["body"]))
        clients[0].send_message(mto=ROOM, mbody="welcome, all", mtype="groupchat")
        said = await asyncio.wait_for(asyncio.gather(*heard), 15)
        if set(said) != {"welcome, all"}:
            raise Fault(f"in the room were heard {said}", "see the nodes' logs")
        self.show_sessions(len(clients))
        archive = clients[0]["xep_0313"]
        room = [entry async for entry in archive.iterate(jid=ROOM)]
        own = [entry async for entry in archive.iterate(with_jid=f"{users[1]}@{DOMAIN}")]
        if not room or len(own) < 2:
            raise Fault(f"the archives have {len(room)} and {len(own)} messages", "see the nodes' logs")
        say(f"  {len(users)} met in {ROOM} and heard each other; its archive has {len(room)} message, "
            f"{users[0]}'s with {users[1]} {len(own)}")
        for client in clients:
            await client.logout()

    def show_sessions(self, sessions):
        """What DNS gives out, what the balancers hold, what the nodes serve."""
        rows = [("what", "where", "state")]
        for _, _, port, target in self.look_up(SERVICE, "SRV"):
            rows.append((f"SRV {SERVICE}", f"{target}{port}", "given out"))
        for balancer in self.balancers:
            listener = json.loads(balancer.ctl_ok("list", "--json"))["listeners"][0]
            rows.append((balancer.name, f"{balancer.address}:{balancer.c2s_port}",
                         f"{listener['active']} connections"))
        total = 0
        for node in self.nodes:
            status = node.status()
            total += status["sessions"]
            rows.append((node.name, node.endpoint,
                         f"{status['state']}, {status['sessions']} sessions"))
        table(rows)
        if total != sessions:
            raise Fault(f"the nodes have {total} sessions, not {sessions}", "see the nodes' logs")

    def run(self):
        say("servers (mongooseim nodes, a cluster formed by join_cluster)")
        self.start_servers()
        say("balancer")
        self.start_balancer()
        say("clients (slixmpp, STARTTLS passed through, certificates verified)")
        self.show_clients()
        say("status (mongooselb ctl list)")
        self.show_status()
        say("DNS (mongoosedns, two balancers)")
        self.start_balancer("lb2")
        self.start_dns()
        self.show_dns()
        say("room (clients that find the service by SRV, on all nodes), archives")
        asyncio.run(self.meet())
        say("cluster (the nodes' HTTP port behind a third mongooselb)")
        try:
            self.cluster.run()
        except ClusterFault as fault:
            raise Fault(str(fault), "see the nodes' logs, below log/ of their folders") from fault

    def save(self):
        """For --status and --stop."""
        self.workspace.save_processes()
        self.workspace.write("demo.json", json.dumps({
            "balancers": [{"name": b.name, "ctl": b.ctl_socket, "address": b.address,
                           "port": b.c2s_port,
                           "admin": b.admin_port, "access_log": b.access_log.path}
                          for b in self.balancers + [self.cluster.balancer]]},
            indent=1))


def running_folder():
    """The folder of the demo that conf/up left running, or None."""
    try:
        with open(POINTER, encoding="utf-8") as file:
            folder = file.read().strip()
    except FileNotFoundError:
        return None
    return folder if saved_processes(folder) else None


def up(store):
    if folder := running_folder():
        say(f"the demo runs already (logs in {folder}); conf/up --status, conf/up --stop")
        return 0
    workspace = Workspace("demo", detached=True)
    demo = Demo(workspace, store, well_known_ports=True)
    try:
        demo.run()
    except BaseException:
        workspace.stop()
        raise
    demo.save()
    os.makedirs(os.path.dirname(POINTER), exist_ok=True)
    with open(POINTER, "w", encoding="utf-8") as file:
        file.write(workspace.folder + "\n")
    balancer = demo.balancers[0]
    say(f"""
It runs on. What to try:
  {lb.BINARY} ctl --socket {balancer.ctl_socket} top
  {lb.BINARY} ctl --socket {balancer.ctl_socket} drain mongooseim2
  {DNS_BINARY} ctl --socket {demo.dns_ctl} explain {SERVICE} --if-down lb1
  dig @127.0.0.1 -p {demo.dns_port} {SERVICE} SRV
  curl -s http://127.0.0.1:{balancer.admin_port}/status
  {demo.cluster.nodes["mongooseim1"].folder}/bin/mongooseimctl mnesia info | grep "db nodes"
  openssl s_client -connect 127.0.0.1:{balancer.c2s_port} -starttls xmpp -xmpphost {DOMAIN} -CAfile {demo.authority.ca_file}
Logs, certificates, configuration: {workspace.folder}
  conf/up --status    conf/up --stop""")
    return 0


def check(store):
    workspace = Workspace("demo-check")
    try:
        Demo(workspace, store, well_known_ports=False).run()
        if not all(process.alive() for process in workspace.processes):
            raise Fault("a server ended on its own", "see the logs above")
    except BaseException:
        workspace.dump_logs(3000)
        raise
    finally:
        workspace.stop()
        workspace.remove()
    say("check passed")
    return 0


def status(_store):
    folder = running_folder()
    if folder is None:
        say("the demo does not run; start it with conf/up")
        return 1
    table([("process", "pid")] + [(row["name"], row["pid"]) for row in saved_processes(folder)])
    with open(os.path.join(folder, "demo.json"), encoding="utf-8") as file:
        state = json.load(file)
    for row in state["balancers"]:
        say(f"{row['name']} on {row['address']}:{row['port']}, admin on http://127.0.0.1:{row['admin']}")
        done = lb.ctl(row["ctl"], "list")
        say(done.stdout + done.stderr)
        if done.returncode != 0:
            return 1
    return 0


def stop(_store):
    folder = running_folder()
    if folder is None:
        say("the demo does not run")
        return 0
    names = stop_saved(folder)
    os.remove(POINTER)
    say(f"stopped {', '.join(names)}; logs are kept in {folder}")
    return 0


def main():
    """demo.py STORE [--check | --status | --stop | --scenario STORY SESSIONS [RATE]]"""
    store, *words = sys.argv[1:]
    if words[:1] == ["--scenario"]:
        return demo_stories.play(words[1], store, [int(word) for word in words[2:]], say)
    action = {"": up, "--check": check, "--status": status, "--stop": stop}[words[0] if words else ""]
    try:
        return action(store)
    except Fault as fault:
        print(f"error: {fault}\nremedy: {fault.remedy}", file=sys.stderr)
    except (RuntimeError, AssertionError, OSError, urllib.error.URLError, asyncio.TimeoutError) as error:
        print(f"error: {type(error).__name__}: {error}\n"
              "remedy: see the logs above; conf/up --check runs it again from the start",
              file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
