"""Three mongooseim nodes on hosts of their own (lib/lan.py), one cluster with one store, and what can be
done to it while clients chat: the acts of a story (lib/story.py), as commands of a shell. Needs root."""

import os
import shlex

from lib.lan import NOWHERE, Lan, LanNode
from lib.mongooseim import PROGRAM
from lib.story import Story
from lib.wait import wait_until

C2S_PORT = 5222
HTTP_PORT = 5280
COMMANDS = "acts"  # a folder of the workspace
# Faster than the defaults, so that stories are short; the proportions are theirs.
TIMES = {"heartbeat": "250ms", "silence": "2s", "link_grace": "250ms", "isolate_after": "500ms"}


class StoryCluster:
    def __init__(self, workspace, authority, domain, store=None, count=3, accounts=0, program=PROGRAM):
        self.program = program  # of mongooseim, which the nodes are made by
        self.workspace = workspace
        self.authority = authority
        self.domain = domain
        self.lan = Lan(workspace, count)
        try:
            self._form(store, accounts)
        except BaseException:
            self.close()
            raise

    def _form(self, store, accounts):
        self.hub = self.lan.open_hub()  # before what runs there: clients, balancers
        store = store or f"sqlite:{self.workspace.path('mongooseim.db')}"
        self.nodes = [self._make(host, store) for host in self.lan.members]
        for node in self.nodes[1:]:
            done = node.ctl("join_cluster", "-f", self.nodes[0].name)
            assert done.code == 0, done
        self.wait_one_view()
        if accounts:
            self.nodes[0].register_many([f"user{i}" for i in range(accounts)], "secret")

    def _make(self, host, store):
        node = LanNode(self.workspace, host, f"mim{host.number}", program=self.program)
        node.append("etc/vm.dist.args", "-kernel net_ticktime 8\n")
        node.set_keys("cluster", TIMES)
        node.set_keys("store", {"url": store})
        node.write("etc/mongooseim.toml", node.read("etc/mongooseim.toml").replace(
            f'"127.0.0.1:{node.http}"', f'"127.0.0.1:{node.http}", "{host.addresses[0]}:{HTTP_PORT}"'))
        # Sessions that do not come back are over soon, so that a story need not wait an hour.
        node.serve(self.authority, self.domain, host.addresses[0],
                   c2s={"workers": 2, "resume_timeout": "20s",
                        "listen": [f"{host.addresses[0]}:{C2S_PORT}"], "listen_tls": []})
        self._host_command(node)
        return node.start()

    def close(self):
        self.lan.close()

    # --- looking
    def wait_one_view(self, deadline_s=60):
        for node in self.nodes:
            node.wait_running(self.nodes, deadline_s)

    def wait_at_rest(self, deadline_s=60):
        """One view, no session that is nobody's, equal digests."""
        self.wait_one_view(deadline_s)

        def sessions():
            return [node.metric("sm_total_sessions_count") for node in self.nodes]
        wait_until(lambda: not any(sessions()), f"no session is left: {sessions()}", deadline_s)

        def digests():
            return {node.ctl("cluster", "digest").out for node in self.nodes}
        wait_until(lambda: len(digests()) == 1, f"equal digests: {digests()}", deadline_s)

    def play(self, acts, duration_s, sessions, rate, targets=None, **options):
        env = self.nodes[0].env
        folder = self.workspace.path(COMMANDS)
        return Story(targets or [node.endpoint for node in self.nodes], self.domain,
                     self.authority.ca_file, sessions, rate, duration_s,
                     [(f"{at:.3f}", act) for at, act in acts],
                     env={**env, "PATH": f"{folder}:{env['PATH']}"}, prefix=self.hub,
                     **{"timeout_s": 5, **options})

    # --- acts: short commands, since a story shows them. Each is a script in a folder of its own.
    def _command(self, name, lines):
        self.workspace.write(os.path.join(COMMANDS, name), f"#!/bin/sh\n{lines}\n", mode=0o755)
        return name

    def _host_command(self, node):
        """"mim2 mongooseimctl stop" is run on its host; "mim2 kill -9" is a signal for its process."""
        lock = shlex.quote(node.path("data/lock"))
        return self._command(node.alive, f"""if [ "$1" = kill ]; then
  exec "$@" "$(cat {lock})"
fi
program=$1
shift
exec {shlex.join(node.prefix)} {shlex.quote(node.bin(''))}"$program" "$@"
""".rstrip())

    def kill(self, node):
        return f"{node.alive} kill -9"

    def pause(self, node):
        return f"{node.alive} kill -STOP"

    def resume(self, node):
        return f"{node.alive} kill -CONT"

    def start(self, node):
        return f"{node.alive} mongooseim start"

    def ctl(self, node, *words):
        return shlex.join([node.alive, "mongooseimctl", *words])

    @staticmethod
    def _point(host, other, hardware):
        return [f"ip -n {host.netns} neigh replace {address} lladdr {hardware} dev eth0 nud permanent"
                for address in other.addresses]

    def cut(self, side, rest):
        name = "cut-off-" + "-".join(node.alive for node in side)
        return self._command(name, "\n".join(word for node in side for other in rest for word in (
            self._point(node.host, other.host, NOWHERE) + self._point(other.host, node.host, NOWHERE))))

    def cut_one_way(self, node, other):
        return self._command(f"cut-{node.alive}-to-{other.alive}",
                             "\n".join(self._point(node.host, other.host, NOWHERE)))

    def heal(self):
        hosts = self.lan.members
        return self._command("heal", "\n".join(word for host in hosts for other in hosts
                                               if host is not other
                                               for word in self._point(host, other, other.hardware)))
