"""The clusters of bench/compare cluster: two nodes of ours and two of Debian's ejabberd, each a cluster by
its own join_cluster, with the modules of bench/compare xmpp (xmpp_peers.py). Both nodes are on the
server's core; epmd is the caller's.

A cluster is prepared once; each start works on copies of what its nodes were then."""

import os
import subprocess
import time

import compare_lib as lib
import xmpp_accounts
import xmpp_peers

JOIN_LIMIT_S = 120
COOKIE = "bench"


class Cluster:
    """Two nodes, started for the `with` block. `nodes` are peers of xmpp_peers."""

    name = ""

    def __init__(self, nodes):
        self.nodes = nodes

    def prepare(self):
        """Makes the nodes, joins them, fills in the accounts."""
        raise NotImplementedError

    def sees_all(self, node):
        """Whether `node` says that both nodes run."""
        raise NotImplementedError

    def __enter__(self):
        self.start(self.await_one_cluster)
        return self

    def start(self, then):
        for node in self.nodes:
            node.renew()
        try:
            for node in self.nodes:
                node.launch(node.command())
            for node in self.nodes:
                node.await_service()
            then()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        for node in self.nodes:
            if node.process is not None:
                node.process.__exit__()

    def await_one_cluster(self):
        deadline = time.monotonic() + JOIN_LIMIT_S
        while not all(self.sees_all(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise lib.Failure(f"the nodes of {self.name} are no cluster after {JOIN_LIMIT_S} s")
            time.sleep(0.3)

    def join(self):
        """The second node to the first, both of which run; then both stop in order and are kept."""
        status, text = self.nodes[1].ctl(*self.join_words(), self.nodes[0].node)
        if status != 0:
            raise lib.Failure(f"{self.name}: join_cluster: {text}")
        self.await_one_cluster()
        for node in reversed(self.nodes):
            node.stop()
            node.keep()

    def join_words(self):
        return ["join_cluster"]

    def targets(self):
        return [node.target() for node in self.nodes]

    def pids(self):
        return [pid for node in self.nodes for pid in node.pids()]


class Node:
    """What nodes of clusters add to a peer that stands alone."""

    def ctl(self, *words):
        done = subprocess.run(self.ctl_command(*words), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=JOIN_LIMIT_S, check=False, cwd=self.data)
        return done.returncode, done.stdout + done.stderr

    def kill_command(self):
        return "kill -9 " + " ".join(map(str, self.pids()))


# ---- ours ------------------------------------------------------------------------------------------


class OurNode(Node, xmpp_peers.Ours):
    def __init__(self, number, store, *made):
        self.name = f"ours{number}"
        self.node = f"{self.name}@localhost"
        self.more = f'[store]\nurl = "sqlite:{store}"\n'
        super().__init__(*made, port=6140 + 10 * number)

    def ctl_command(self, *words):
        return [os.path.join(self.data, "bin", "mongooseimctl"), *words]


class OurCluster(Cluster):
    name = "ours"

    def __init__(self, directory, *made):
        # One store for both, as the nodes of one machine have it.
        store = os.path.join(directory, "ours1", "run", "data", "mongooseim.db")
        super().__init__([OurNode(number, store, directory, *made) for number in (1, 2)])

    def prepare(self):
        for node in self.nodes:
            node.make()
        self.start(self.join)
        xmpp_accounts.write_ours(self.nodes[0].accounts, self.nodes[0].archive_file())

    def sees_all(self, node):
        status, text = node.ctl("mnesia", "running_db_nodes")
        return status == 0 and all(one.node in text for one in self.nodes)

    def join_words(self):
        return ["join_cluster", "-f"]


# ---- ejabberd --------------------------------------------------------------------------------------


class EjabberdNode(Node, xmpp_peers.Ejabberd):
    def __init__(self, number, *made):
        self.name = f"ejabberd{number}"
        self.node = f"{self.name}@localhost"
        self.distribution = ["-sname", self.node, "-setcookie", COOKIE, "-start_epmd", "false",
                             "-kernel", "inet_dist_use_interface", "{127,0,0,1}"]
        super().__init__(*made, port=6160 + 10 * number)

    def ctl_command(self, *words):
        return [*self.environment(), "erl", "-noinput", "-hidden", "-sname", f"ctl{os.getpid()}@localhost",
                "-setcookie", COOKIE, "-start_epmd", "false", "-s", "ejabberd_ctl", "-extra",
                self.node, *words]


class EjabberdCluster(Cluster):
    name = "ejabberd"

    def __init__(self, directory, *made):
        super().__init__([EjabberdNode(number, directory, *made) for number in (1, 2)])

    def prepare(self):
        self.nodes[0].prepare()
        self.start(self.join)

    def sees_all(self, node):
        status, text = node.ctl("list_cluster")
        return status == 0 and all(one.node in text for one in self.nodes)


KINDS = {cluster.name: cluster for cluster in (OurCluster, EjabberdCluster)}
