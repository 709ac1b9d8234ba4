"""The servers of bench/compare xmpp: ours, ejabberd and Prosody, with the same accounts, the same
modules (stream management, carbons, archive, roster, ping, rooms) and archives in SQLite.

A peer is prepared once: accounts and rosters are written into its `template` folder. Each start works
on a copy of it, so that no measurement finds what another one left.
"""

import os
import pwd
import shutil
import socket
import subprocess
import time

import compare_lib as lib
import xmpp_accounts

DOMAIN = "xmpp.test"
START_LIMIT_S = 60
FILL_LIMIT_S = 900
# c2s, and direct TLS one above it; beyond the ports that clients take.
PORTS = {"prosody": 6111, "ejabberd": 6121, "ours": 6131}


def speaks_xmpp(port):
    """Whether a stream is opened and features come."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as stream:
            stream.settimeout(5)
            stream.sendall(f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='{DOMAIN}' "
                           "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>".encode())
            received = b""
            while b"features" not in received:
                part = stream.recv(4096)
                if not part:
                    return False
                received += part
            return True
    except OSError:
        return False


def as_user(user):
    """A command's beginning that makes it run as `user`, when we are root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--"]


class Peer:
    """Started on a copy of its template, proved to speak XMPP, pinned; stopped and removed at the end
    of the block."""

    name = ""
    user = "root"

    def __init__(self, directory, accounts, certificate, key, port=None):
        self.base = os.path.join(directory, self.name)
        self.accounts = accounts
        self.certificate = certificate
        self.key = key
        self.port = port or PORTS[self.name]
        self.template = os.path.join(self.base, "template")
        self.data = os.path.join(self.base, "run")
        self.process = None
        os.makedirs(self.template)
        os.makedirs(self.data)

    # --- of each: what to write, what to run
    def prepare(self):
        """Fills the template with the accounts."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def archive_file(self):
        """The SQLite file of the archive, in the template."""
        raise NotImplementedError

    # --- of all
    def give(self, path):
        if os.geteuid() != 0 or self.user == "root":
            return
        entry = pwd.getpwnam(self.user)
        for folder, _, names in os.walk(path):
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            for name in names:
                os.chown(os.path.join(folder, name), entry.pw_uid, entry.pw_gid)

    def target(self, tls=False):
        return f"127.0.0.1:{self.port + (1 if tls else 0)}"

    def pids(self):
        self.process.check_alive()
        return self.process.all_pids()

    def renew(self):
        """A copy of the template is what it works on."""
        shutil.rmtree(self.data)
        shutil.copytree(self.template, self.data, symlinks=True)
        self.give(self.base)

    def __enter__(self):
        self.renew()
        self.launch(self.command())
        self.await_service()
        return self

    def launch(self, command):
        lib.refuse_taken_port("127.0.0.1", self.port)
        self.process = lib.Process(self.name, command, lib.cores()[0], self.base)
        self.process.__enter__()

    def await_service(self):
        try:
            deadline = time.monotonic() + START_LIMIT_S
            while not speaks_xmpp(self.port):
                self.process.check_alive()
                if time.monotonic() > deadline:
                    raise lib.Failure(f"{self.name} does not speak XMPP on port {self.port} after "
                                      f"{START_LIMIT_S} s; see {self.process.log_path}")
                time.sleep(0.2)
            self.process.check_alive()
            self.process.pin()
        except BaseException:
            self.process.__exit__()
            raise

    def __exit__(self, *_):
        self.process.__exit__()

    def first_start(self, read_archive=True):
        """Lets the server make its own files, then stops it in order and keeps them as template."""
        with self:
            if read_archive:
                self._read_archive()
            self.stop()
        self.keep()

    def stop(self):
        """In order: what it has taken in is written."""
        self.process.process.terminate()
        self.process.process.wait(60)

    def _read_archive(self):
        """Once, since some make the archive's tables at its first use."""
        done = subprocess.run(
            [lib.program("mongoosebench"), "xmpp", "archive", self.target(), "--security", "plain",
             "--users", self.accounts.jid("%d"), "--password", self.accounts.password, "-c", "1",
             "--count", "1", "-d", "20s", "-q", "--json", "-"], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False)
        if '"failures":{}' not in done.stdout:
            raise lib.Failure(f"{self.name}: the archive cannot be read: {done.stdout}{done.stderr}")

    def move_archive(self, directory):
        """Out of memory to a folder on disk, where the copies of the template find it."""
        place = os.path.join(directory, self.name)
        os.makedirs(place)
        moved = shutil.move(self.archive_file(), place)
        os.symlink(moved, self.archive_file())
        self.give(place)
        return moved

    def discard(self):
        """Frees what it takes; it cannot be started again."""
        shutil.rmtree(self.base)

    def keep(self):
        """What the last run left becomes the template."""
        shutil.rmtree(self.template)
        shutil.copytree(self.data, self.template, symlinks=True)


# ---- Prosody ---------------------------------------------------------------------------------------

PROSODY = """
data_path = "{data}"
pidfile = "{data}/prosody.pid"
daemonize = false
network_backend = "epoll"
modules_enabled = {{ "roster"; "saslauth"; "tls"; "disco"; "ping"; "smacks"; "carbons"; "mam"; "posix" }}
modules_disabled = {{ "s2s"; "offline"; "http"; "http_files"; "bosh"; "websocket"; "admin_shell"; "admin_socket" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {tls_port} }}
s2s_ports = {{ }}
s2s_direct_tls_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
c2s_require_encryption = false
smacks_hibernation_time = 3600
authentication = "internal_hashed"
storage = {{ archive = "sql" }}
default_storage = "internal"
sql = {{ driver = "SQLite3"; database = "{data}/archive.sqlite" }}
archive_expires_after = "never"
default_archive_policy = true
limits = {{ }}
log = {{ {{ levels = {{ min = "warn" }}; to = "console" }} }}
ssl = {{ certificate = "{certificate}"; key = "{key}" }}
VirtualHost "{domain}"
Component "conference.{domain}" "muc"
  modules_enabled = {{ "muc_mam" }}
  muc_log_by_default = true
"""


class Prosody(Peer):
    name = "prosody"
    user = "prosody"

    def command(self):
        config = os.path.join(self.base, "prosody.cfg.lua")
        with open(config, "w", encoding="ascii") as file:
            file.write(PROSODY.format(data=self.data, port=self.port, tls_port=self.port + 1,
                                      certificate=self.certificate, key=self.key, domain=DOMAIN))
        return [*as_user(self.user), "prosody", "-F", "--config", config]

    def prepare(self):
        xmpp_accounts.write_prosody(self.accounts, self.template)
        self.first_start()

    def archive_file(self):
        return os.path.join(self.template, "archive.sqlite")


# ---- ejabberd --------------------------------------------------------------------------------------

EJABBERD = """
hosts: ["{domain}"]
loglevel: error
certfiles: ["{certificate}", "{key}"]
listen:
  - {{port: {port}, ip: "127.0.0.1", module: ejabberd_c2s, starttls: true, max_stanza_size: 262144, shaper: none, access: c2s, backlog: 1024}}
  - {{port: {tls_port}, ip: "127.0.0.1", module: ejabberd_c2s, tls: true, max_stanza_size: 262144, shaper: none, access: c2s, backlog: 1024}}
auth_method: internal
auth_password_format: scram
default_db: mnesia
sql_type: sqlite
sql_database: "{data}/archive.sqlite"
sql_pool_size: 1
acl: {{local: {{user_regexp: ""}}}}
access_rules: {{c2s: {{allow: all}}}}
shaper: {{}}
shaper_rules: {{max_user_sessions: 100}}
modules:
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_mam: {{db_type: sql, default: always}}
  mod_muc:
    max_users: 5000
    default_room_options: {{max_users: 5000, mam: true}}
  mod_ping: {{}}
  mod_roster: {{}}
  mod_stream_mgmt: {{resend_on_timeout: if_offline, resume_timeout: 3600, max_resume_timeout: 3600}}
"""


class Ejabberd(Peer):
    name = "ejabberd"
    user = "ejabberd"
    distribution = ()  # arguments of a node that is one of several

    def command(self, *after):
        config = os.path.join(self.base, "ejabberd.yml")
        with open(config, "w", encoding="ascii") as file:
            file.write(EJABBERD.format(data=self.data, port=self.port, tls_port=self.port + 1,
                                       certificate=self.certificate, key=self.key, domain=DOMAIN))
        # One scheduler of each kind, and none that spins while it waits.
        return [*self.environment(), "erl", "-noinput", "+S", "1:1", "+SDcpu", "1:1", "+SDio", "1",
                "+sbwt", "none", *self.distribution, "-mnesia", "dir", f'"{self.data}/mnesia"',
                "-s", "ejabberd", *after]

    def environment(self):
        """The beginning of the commands that run as the node does."""
        return [*as_user(self.user), "env", f"HOME={self.data}", "ERL_LIBS=/usr/lib/x86_64-linux-gnu",
                f"EJABBERD_CONFIG_PATH={os.path.join(self.base, 'ejabberd.yml')}",
                "ERL_MAX_PORTS=20000", f"EJABBERD_LOG_PATH={self.data}/ejabberd.log",
                f"ERL_CRASH_DUMP={self.data}/erl_crash.dump"]

    def prepare(self):
        """The node writes its records itself, then stops in order."""
        shutil.copytree(self.template, self.data, dirs_exist_ok=True)
        self.give(self.base)
        # The archive's tables are made at its first use.
        fill = (xmpp_accounts.ejabberd_fill(self.accounts) + f', {{selected, _, _}} = '
                f'ejabberd_sql:sql_query(<<"{DOMAIN}">>, [<<"select count(*) from archive">>]), '
                'init:stop().')
        command = self.command("-eval", fill.replace("\n", " "))
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=FILL_LIMIT_S, check=False, cwd=self.data)
        if done.returncode != 0:
            raise lib.Failure(f"ejabberd could not make the accounts: {done.stdout}{done.stderr}")
        self.keep()
        if not os.path.exists(self.archive_file()):
            raise lib.Failure(f"ejabberd made no archive: {done.stdout}{done.stderr}; is "
                              "erlang-p1-sqlite3 installed?")

    def archive_file(self):
        return os.path.join(self.template, "archive.sqlite")


# ---- ours ------------------------------------------------------------------------------------------

OURS = """
[[host]]
domain = "{domain}"
certificate = "{certificate}"
key = "{key}"
[c2s]
listen = "127.0.0.1:{port}"
listen_tls = "127.0.0.1:{tls_port}"
workers = 1
tls = "optional"
resume_timeout = "1h"
"""


class Ours(Peer):
    name = "ours"
    node = "bench@localhost"
    more = ""  # configuration

    def command(self):
        return [os.path.join(self.data, "bin", "mongooseim"), "live"]

    def __enter__(self):
        # Nodes register with epmd.
        self.epmd = lib.Process("epmd", ["epmd", "-address", "127.0.0.1"], lib.cores()[1], self.base)
        self.epmd.__enter__()
        try:
            return super().__enter__()
        except BaseException:
            self.epmd.__exit__()
            raise

    def __exit__(self, *error):
        super().__exit__(*error)
        self.epmd.__exit__(*error)

    def prepare(self):
        self.make()
        self.first_start(read_archive=False)
        xmpp_accounts.write_ours(self.accounts, self.archive_file())

    def make(self):
        """The node's folder."""
        done = subprocess.run(
            [lib.program("mongooseim"), "init", self.template, "--sname", self.node, "--cookie",
             "bench", "--http", f"127.0.0.1:{self.port - 1}"], capture_output=True, text=True,
            check=False)
        if done.returncode != 0:
            raise lib.Failure(f"mongooseim init: {done.stdout}{done.stderr}")
        # The others' key is open to all that they run as; ours takes none that is.
        key = shutil.copy(self.key, os.path.join(self.template, "etc/bench.key"))
        os.chmod(key, 0o600)
        path = os.path.join(self.template, "etc/mongooseim.toml")
        with open(path, encoding="utf-8") as file:
            made = file.read()
        # What is above is the node's own; the parts from there on are all comments.
        of_node = made[:made.index("\n[c2s]")]
        with open(path, "w", encoding="utf-8") as file:
            file.write(of_node + "\n" + OURS.format(
                domain=DOMAIN, certificate=self.certificate, key="etc/bench.key", port=self.port,
                tls_port=self.port + 1) + self.more)

    def archive_file(self):
        return os.path.join(self.template, "data/mongooseim.db")


KINDS = {peer.name: peer for peer in (Ours, Ejabberd, Prosody)}
