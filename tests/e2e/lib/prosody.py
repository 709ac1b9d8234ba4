"""Real Prosody nodes (Debian's). Each has its own address, ports, data folder and certificate.

Prosody knows no clustering. The nodes of one group share their accounts and rosters through one
SQLite file, so that a user registered on one node can log in on any; a message reaches only users
who are on the same node. Pools for them therefore use balance = "source" where two clients chat.

Nodes keep to themselves, unless they are told where the servers of other domains are: then they speak
to these, by dialback where the other side shows no certificate of its own.
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
  "carbons"; "pep"; "blocklist"; "private"; "vcard4"{s2s_modules}{modules} }}
modules_disabled = {{ "offline"; "http"; "http_files"; "bosh"; "websocket"; "admin_shell"; "admin_socket"{no_s2s_modules} }}

interfaces = {{ "{address}" }}
c2s_ports = {{ {c2s_port} }}
c2s_direct_tls_ports = {{ {c2s_tls_port} }}
s2s_ports = {{ {s2s_port} }}
s2s_direct_tls_ports = {{ {s2s_tls_port} }}
plugin_paths = {{ "{plugins}" }}
e2e_routes = {{ {routes} }}
http_ports = {{ }}
https_ports = {{ }}

allow_registration = true
c2s_require_encryption = true
smacks_hibernation_time = 60
authentication = "internal_hashed"
storage = "{storage}"
sql = {{ driver = "SQLite3"; database = "{database}" }}
limits = {{ }}

log = {{ {{ levels = {{ min = "info" }}; to = "console"; timestamps = true }} }}

ssl = {{ certificate = "{certificate}"; key = "{key}" }}

VirtualHost "{domain}"
  ssl = {{ certificate = "{certificate}"; key = "{key}" }}
{components}"""

# In place of DNS: a domain of e2e_routes has this one address for this one service, and none else.
ROUTES_MODULE = """
local manual = require "net.resolvers.manual";
local service = require "net.resolvers.service";
local dns = service.new;
local routes = module:get_option("e2e_routes");

module:set_global();

function service.new(hostname, name, conn_type, extra)
  local route = routes[hostname];
  if route == nil then return dns(hostname, name, conn_type, extra); end
  local targets = {};
  if route.service == name then targets[1] = { "tcp4", route.address, route.port, extra }; end
  return manual.new(targets, conn_type, extra);
end

function module.unload()
  service.new = dns;
end
"""


class Prosody:
    """One node; `start` returns when it answers a stream opening on its port. `routes` are other
    domains: {domain: (service, address, port)}, the service as in SRV ("xmpp-server" and, for direct
    TLS, "xmpps-server")."""

    USER = "prosody"

    def __init__(self, workspace, authority, name, address, domain="chat.example",
                 routes=None, storage="sql", modules=(), rooms=False):
        self.workspace = workspace
        self.name = name
        self.address = address
        self.domain = domain
        self.c2s_port = net.free_port(address)
        self.c2s_tls_port = net.free_port(address)
        self.s2s_port = net.free_port(address)
        self.s2s_tls_port = net.free_port(address)
        plugins = workspace.make_dir("prosody-plugins")
        workspace.write("prosody-plugins/mod_e2e_routes.lua", ROUTES_MODULE)
        data = self.data = workspace.make_dir(name, user=self.USER)
        shared = workspace.make_dir("prosody-accounts", user=self.USER)
        certificate, key = authority.issue(name, [domain], user=self.USER)
        self.config = workspace.write(f"{name}/prosody.cfg.lua", CONFIG.format(
            data=data, database=f"{shared}/accounts.sqlite", address=address, domain=domain,
            c2s_port=self.c2s_port, c2s_tls_port=self.c2s_tls_port, certificate=certificate,
            key=key, plugins=plugins, storage=storage,
            modules="".join(f'; "{module}"' for module in modules),
            components=f'Component "conference.{domain}" "muc"\n' if rooms else "", **self._s2s(routes or {})), user=self.USER)
        self.process = None

    def _s2s(self, routes):
        if not routes:
            return {"s2s_modules": "", "no_s2s_modules": '; "s2s"', "s2s_port": "",
                    "s2s_tls_port": "", "routes": ""}
        rows = (f'["{domain}"] = {{ service = "{service}"; address = "{address}"; port = {port} }};'
                for domain, (service, address, port) in routes.items())
        return {"s2s_modules": '; "s2s"; "dialback"; "e2e_routes"', "no_s2s_modules": "",
                "s2s_port": self.s2s_port, "s2s_tls_port": self.s2s_tls_port,
                "routes": " ".join(rows)}

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
