"""Hosts of their own on one machine: a network namespace each, on one bridge, with a name and a hosts
file of its own. Needs root.

Who reaches whom is decided by the sender's neighbour table: a cut one way is a wrong hardware address,
so that packets vanish without a word, as on a broken wire."""

import os
import signal
import subprocess

from lib.balancer import Balancer
from lib.mongooseim import Mongooseim
from lib.wait import wait_until

NOWHERE = "02:00:00:00:ff:ff"


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Host:
    def __init__(self, lan, number):
        self.number = number
        self.name = f"node{number}"
        self.full_name = f"{self.name}.lan.example"
        self.netns = f"{lan.prefix}-{number}"
        self.addresses = (f"10.77.0.{number}", f"fd77::{number}")
        self.hardware = f"02:00:00:00:00:{number:02x}"
        # exec all the way: what is started is what runs.
        self.prefix = ["ip", "netns", "exec", self.netns, "unshare", "--mount", "--uts", "/bin/sh",
                       "-c", f'mount --bind "{lan.hosts}" /etc/hosts && hostname "{self.name}" && '
                             'exec "$0" "$@"']


class Lan:
    def __init__(self, workspace, count):
        self.prefix = f"mim{os.getpid()}"
        self.hosts = workspace.write("hosts", "127.0.0.1 localhost\n::1 localhost\n" + "".join(
            f"10.77.0.{i} node{i}.lan.example node{i}\nfd77::{i} node{i}.lan.example node{i}\n"
            for i in range(1, count + 1)))
        self.hub = f"{self.prefix}-hub"
        self.members = [Host(self, i) for i in range(1, count + 1)]
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.hub, "link", "set", "bridge", "up")
        for host in self.members:
            ip("netns", "add", host.netns)
            port = f"port{host.number}"
            ip("-n", self.hub, "link", "add", port, "type", "veth", "peer", "name", "eth0",
               "address", host.hardware, "netns", host.netns)
            ip("-n", self.hub, "link", "set", port, "master", "bridge", "up")
            ip("-n", host.netns, "link", "set", "lo", "up")
            ip("-n", host.netns, "link", "set", "eth0", "up")
            for address, bits in zip(host.addresses, ("24", "64")):
                ip("-n", host.netns, "address", "add", f"{address}/{bits}", "dev", "eth0",
                   *(["nodad"] if ":" in address else []))
        self.heal()

    def open_hub(self):
        """An address for who is nobody's peer: a balancer, and its clients. What to run them with."""
        ip("-n", self.hub, "link", "set", "lo", "up")
        ip("-n", self.hub, "address", "add", "10.77.0.254/24", "dev", "bridge")
        return ["ip", "netns", "exec", self.hub]

    def _point(self, host, other, hardware):
        for address in other.addresses:
            ip("-n", host.netns, "neigh", "replace", address, "lladdr", hardware, "dev", "eth0",
               "nud", "permanent")

    def cut_one_way(self, host, other):
        self._point(host, other, NOWHERE)

    def cut(self, side, rest):
        for host in side:
            for other in rest:
                self.cut_one_way(host, other)
                self.cut_one_way(other, host)

    def heal(self):
        for host in self.members:
            for other in self.members:
                if other is not host:
                    self._point(host, other, other.hardware)

    def pids(self, host):
        shown = subprocess.run(["ip", "netns", "pids", host.netns], capture_output=True, text=True,
                               check=False)
        return [int(pid) for pid in shown.stdout.split()]

    def _emptied(self, host):
        pids = self.pids(host)  # again and again: a node starts another epmd before its own turn comes
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not pids

    def close(self):
        """Ends what is left in there (an epmd each), and the namespaces with it."""
        for host in self.members:
            wait_until(lambda host=host: self._emptied(host), f"{host.netns} is empty")
            ip("netns", "delete", host.netns)
        ip("netns", "delete", self.hub)


class LanNode(Mongooseim):
    """A node on a host of its own; its programs run there."""

    def __init__(self, workspace, host, name, node_host=None, **options):
        self.host = host
        self.prefix = host.prefix
        super().__init__(workspace, None, name, host=node_host or host.name, **options)

    def get(self, page):
        done = self.run(*self.prefix, "curl", "-s", "-m", "5", "-w", "\\n%{http_code}",
                        f"http://127.0.0.1:{self.http}{page}")
        body, _, status = done.out.rpartition("\n")
        return int(status or 0), body

    def curl(self, page):
        return self.run(*self.prefix, "curl", "-s", "-m", "3", f"http://127.0.0.1:{self.http}{page}")


class HubBalancer(Balancer):
    """mongooselb in the hub; its pages are asked from there."""

    def get(self, path):
        done = subprocess.run(
            [*self.launcher, "curl", "-s", "-m", "5", "-w", "\n%{http_code}",
             f"http://127.0.0.1:{self.admin_port}{path}"],
            capture_output=True, text=True, timeout=20, check=False)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body
