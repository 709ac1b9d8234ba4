"""Real Prosody nodes (Debian's). Each has its own address, ports, data folder and certificate.

Prosody knows no clustering. The nodes of one group share their accounts and rosters through one
SQLite file, so that a user registered on one node can log in on any; a message reaches only users
who are on the same node. Pools for them therefore use balance = "source" where two clients chat.
"""

from lib import net

# In-band registration is on and unthrottled: the tests' clients register themselves. Encryption is
# demanded, so that a client that got through has done STARTTLS with the node itself.
CONFIG = """
pidfile = "{data}/prosody.pid"
data_path = "{data}"
certificates = "{data}"
daemonize = false
use_libevent = false
network_backend = "epoll"

modules_enabled = {{ "roster"; "saslauth"; "tls"; "disco"; "posix"; "ping"; "register"; "smacks";
  "carbons"; "pep"; "blocklist"; "private"; "vcard4" }}
modules_disabled = {{ "s2s"; "offline"; "http"; "http_files"; "bosh"; "websocket"; "admin_shell"; "admin_socket" }}

interfaces = {{ "{address}" }}
c2s_ports = {{ {c2s_port} }}
c2s_direct_tls_ports = {{ {c2s_tls_port} }}
s2s_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}

allow_registration = true
c2s_require_encryption = true
smacks_hibernation_time = 60
authentication = "internal_hashed"
storage = "sql"
sql = {{ driver = "SQLite3"; database = "{database}" }}
limits = {{ }}

log = {{ {{ levels = {{ min = "info" }}; to = "console"; timestamps = true }} }}

ssl = {{ certificate = "{certificate}"; key = "{key}" }}

VirtualHost "{domain}"
  ssl = {{ certificate = "{certificate}"; key = "{key}" }}
"""


class Prosody:
    """One node; `start` returns when it answers a stream opening on its port."""

    USER = "prosody"

    def __init__(self, workspace, authority, name, address, domain="chat.example"):
        self.workspace = workspace
        self.name = name
        self.address = address
        self.domain = domain
        self.c2s_port = net.free_port(address)
        self.c2s_tls_port = net.free_port(address)
        data = workspace.make_dir(name, user=self.USER)
        shared = workspace.make_dir("prosody-accounts", user=self.USER)
        certificate, key = authority.issue(name, [domain], user=self.USER)
        self.config = workspace.write(f"{name}/prosody.cfg.lua", CONFIG.format(
            data=data, database=f"{shared}/accounts.sqlite", address=address, domain=domain,
            c2s_port=self.c2s_port, c2s_tls_port=self.c2s_tls_port, certificate=certificate,
            key=key), user=self.USER)
        self.process = None

    @property
    def endpoint(self):
        return f"{self.address}:{self.c2s_port}"

    def start(self):
        self.process = self.workspace.start(
            self.name, ["/usr/bin/prosody", "-F", "--config", self.config], user=self.USER)
        self.workspace.wait_ready(
            self.process, lambda: net.accepts(self.address, self.c2s_port),
            f"Prosody {self.name} listens on {self.endpoint}")
        return self

    def kill(self):
        self.process.kill()

    def stop(self):
        self.process.stop()


def start_nodes(workspace, authority, count, domain="chat.example", first_host=2):
    """n1, n2, … on 127.0.0.2, 127.0.0.3, …; one after another, since the first makes the tables."""
    return [Prosody(workspace, authority, f"n{i + 1}", f"127.0.0.{first_host + i}", domain).start()
            for i in range(count)]
