"""Real ejabberd nodes (Debian's), alone or as one cluster, with their own epmd, cookie and folders.

Started through erl, as ejabberdctl does, but not through ejabberdctl: that one looks for other nodes
on the machine and kills their epmd.
"""

import os
import secrets
import subprocess

from lib import net
from lib.wait import wait_until

CONFIG = """
hosts: ["{domain}"]
loglevel: info
certfiles: ["{certificate}", "{key}"]
listen:
  - port: {c2s_port}
    ip: "{address}"
    module: ejabberd_c2s
    starttls_required: true
    max_stanza_size: 262144
    shaper: none
    access: c2s
  - port: {c2s_tls_port}
    ip: "{address}"
    module: ejabberd_c2s
    tls: true
    shaper: none
    access: c2s
  - port: {c2s_proxy_port}
    ip: "{address}"
    module: ejabberd_c2s
    use_proxy_protocol: true
    shaper: none
    access: c2s
auth_method: internal
auth_password_format: scram
registration_timeout: infinity
acl:
  local: {{user_regexp: ""}}
access_rules:
  c2s: {{allow: all}}
  register: {{allow: all}}
shaper: {{}}
shaper_rules: {{max_user_sessions: 20}}
modules:
  mod_disco: {{}}
  mod_ping: {{}}
  mod_register: {{access: register, welcome_message: {{subject: "", body: ""}}, ip_access: all}}
  mod_roster: {{}}
  mod_stream_mgmt: {{resend_on_timeout: if_offline, resume_timeout: 60}}
"""


class Epmd:
    """One epmd for one test, on a port of its own: the machine's is left alone."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.port = net.free_port()
        self.cookie = secrets.token_hex(16)
        self.process = None

    def start(self):
        self.process = self.workspace.start(
            "epmd", ["/usr/bin/epmd", "-port", str(self.port), "-address", "127.0.0.1"],
            user=Ejabberd.USER)
        self.workspace.wait_ready(self.process, lambda: net.accepts("127.0.0.1", self.port),
                                  "epmd listens")
        return self


class Ejabberd:
    USER = "ejabberd"

    def __init__(self, workspace, authority, epmd, name="e1", address="127.0.0.20",
                 domain="chat.example"):
        self.workspace = workspace
        self.epmd = epmd
        self.name = name
        self.address = address
        self.domain = domain
        self.c2s_port = net.free_port(address)
        self.c2s_tls_port = net.free_port(address)
        self.c2s_proxy_port = net.free_port(address)
        self.node = f"{name}@localhost"
        self.home = workspace.make_dir(name, user=self.USER)
        certificate, key = authority.issue(name, [domain], user=self.USER)
        self.config = workspace.write(f"{name}/ejabberd.yml", CONFIG.format(
            domain=domain, address=address, certificate=certificate, key=key,
            c2s_port=self.c2s_port, c2s_tls_port=self.c2s_tls_port,
            c2s_proxy_port=self.c2s_proxy_port), user=self.USER)
        # The cookie stands in a file only its owner reads, never on a command line.
        workspace.write(f"{name}/.erlang.cookie", epmd.cookie, user=self.USER, mode=0o400)
        self.process = None

    @property
    def endpoint(self):
        return f"{self.address}:{self.c2s_port}"

    def _env(self):
        return {
            "HOME": self.home, "ERL_EPMD_PORT": str(self.epmd.port),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_LIBS": "/usr/lib/x86_64-linux-gnu",
            "EJABBERD_CONFIG_PATH": self.config, "ERL_MAX_PORTS": "8000",
            "EJABBERD_LOG_PATH": os.path.join(self.home, "ejabberd.log"),
            "ERL_CRASH_DUMP": os.path.join(self.home, "erl_crash.dump"),
        }

    def start(self):
        self.process = self.workspace.start(
            self.name,
            ["/usr/bin/erl", "-noinput", "-sname", self.node, "+S", "1:1",
             "-start_epmd", "false", "-kernel", "inet_dist_use_interface", "{127,0,0,1}",
             "-mnesia", "dir", f'"{self.home}/mnesia"', "-s", "ejabberd"],
            user=self.USER, env=self._env(), cwd=self.home)
        self.workspace.wait_ready(
            self.process,
            lambda: net.accepts(self.address, self.c2s_port) and self.ctl("status")[0] == 0,
            f"ejabberd {self.name} runs and listens on {self.endpoint}", 180)
        return self

    def ctl(self, *args):
        """What `ejabberdctl ARGS` prints; (exit status, text)."""
        name = f"ctl{secrets.token_hex(4)}@localhost"
        done = subprocess.run(
            [*self._as_user(), "/usr/bin/erl", "-noinput", "-hidden", "-sname", name, "-start_epmd",
             "false", "-s", "ejabberd_ctl", "-extra", self.node, *args],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, **self._env()}, cwd=self.home)
        return done.returncode, done.stdout + done.stderr

    def join(self, other):
        """Joins the other node's cluster; returns when both say so."""
        status, text = self.ctl("join_cluster", other.node)
        if status != 0:
            raise RuntimeError(f"{self.node} could not join {other.node}: {text}")
        wait_until(lambda: all(node.node in self.ctl("list_cluster")[1] and
                               node.node in other.ctl("list_cluster")[1] for node in (self, other)),
                   f"{self.node} and {other.node} are one cluster", 180)

    def _as_user(self):
        if os.getuid() != 0:
            return []
        return ["/usr/bin/setpriv", "--reuid", self.USER, "--regid", self.USER, "--init-groups", "--"]

    def kill(self):
        self.process.kill()

    def stop(self):
        self.process.stop()


def start_cluster(workspace, authority, count, domain="chat.example", first_host=20):
    """e1, e2, … on 127.0.0.20, …, all joined to e1."""
    epmd = Epmd(workspace).start()
    nodes = [Ejabberd(workspace, authority, epmd, f"e{i + 1}", f"127.0.0.{first_host + i}",
                      domain).start() for i in range(count)]
    for node in nodes[1:]:
        node.join(nodes[0])
    return nodes
