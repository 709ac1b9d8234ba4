"""A node of ours in a folder made by `mongooseim init`, and its mongooseimctl."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request

from lib import net
from lib.dist_probe import BIN
from lib.wait import wait_until

PROGRAM = os.path.join(BIN, "mongooseim")


class Done:
    """How a run of a program ended."""

    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    def __repr__(self):
        return f"exit {self.code}, out {self.out!r}, err {self.err!r}"


class Mongooseim:
    prefix = ()  # before what runs on the node's host

    def __init__(self, workspace, epmd, name, cookie="C", host="localhost", long_names=False,
                 folder=None, program=PROGRAM):
        self.workspace = workspace
        self.alive = name
        self.name = f"{name}@{host}"
        self.http = net.free_port()
        self.address = "127.0.0.1"  # of its pages
        self.folder = folder or workspace.path(name)
        self.env = {**os.environ, **(epmd.env if epmd else {})}
        self.process = None
        for key in ("MONGOOSEIM_DIR", "ERL_MAX_PORTS"):
            self.env.pop(key, None)
        if folder is None:
            done = self.run(program, "init", self.folder, "--name" if long_names else "--sname",
                            self.name, "--cookie", cookie, "--http", f"127.0.0.1:{self.http}")
            assert done.code == 0, done

    # --- XMPP
    def serve(self, authority, domain, address="127.0.0.1", **sections):
        """Clients of `domain` at `endpoint` (STARTTLS) and `tls_endpoint` from the next start on;
        `sections` are more keys, as in c2s={"workers": 1}."""
        self.domain = domain
        c2s = sections.pop("c2s", {})
        for key in ("listen", "listen_tls"):
            if key not in c2s:
                c2s[key] = [f"{address}:{net.free_port(address)}"]
        self.endpoint, self.tls_endpoint = ((c2s[key] or [None])[0] for key in ("listen", "listen_tls"))
        certificate, key = authority.issue(f"{self.alive}-{domain}", [domain])
        for section, keys in {"c2s": c2s, **sections}.items():
            self.set_keys(section, keys)
        self.append("etc/mongooseim.toml", f'\n[[host]]\ndomain = "{domain}"\n'
                    f'certificate = "{certificate}"\nkey = "{key}"\n')
        return self

    def set_keys(self, section, keys):
        """In mongooseim.toml, where the section is there already (its keys all comments) or new."""
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        text = self.read("etc/mongooseim.toml")
        header = re.search(rf"^\[{section}\].*\n", text, re.M)
        if header:
            self.write("etc/mongooseim.toml", text[:header.end()] + lines + text[header.end():])
        else:
            self.append("etc/mongooseim.toml", f"\n[{section}]\n{lines}")

    def register(self, user, password):
        done = self.ctl("account", "registerUser", "--domain", self.domain, "--username", user,
                        "--password", password)
        assert done.code == 0, done

    def register_many(self, users, password):
        self.write("users.csv", "".join(f"{user},{self.domain},{password}\n" for user in users))
        done = self.ctl("account", "importUsers", "--filename", self.path("users.csv"), timeout=600)
        assert done.code == 0, done
        made = json.loads(done.out)["data"]["account"]["importUsers"]
        assert len(made["created"] or []) == len(users), made

    # --- programs
    def run(self, *argv, text=None, env=None, timeout=60, cwd=None):
        return Done(subprocess.run(
            argv, input=text if text is not None else "", capture_output=True, text=True,
            timeout=timeout, check=False, env={**self.env, **(env or {})}, cwd=cwd or "/"))

    def bin(self, program):
        return os.path.join(self.folder, "bin", program)

    def mim(self, *words, **options):
        return self.run(*self.prefix, self.bin("mongooseim"), *words, **options)

    def ctl(self, *words, **options):
        return self.run(*self.prefix, self.bin("mongooseimctl"), *words, **options)

    def lines(self, *words):
        done = self.ctl(*words)
        assert done.code == 0, done
        return done.out.splitlines()

    # --- its life
    def live(self, **env):
        """In the foreground, as a child of the test; up when this returns."""
        if os.path.exists(self.path("log/status")):
            os.remove(self.path("log/status"))  # of one that was killed
        self.process = self.workspace.start(
            f"{self.alive}-live",
            [*self.prefix, self.bin("mongooseim"), "live"], env={**self.env, **env})
        self.workspace.wait_ready(self.process, lambda: self.status_file() == "started",
                                  f"{self.name} is started")
        return self

    def start(self, **env):
        """In the background, by the page's own command."""
        done = self.ctl("start", env=env)
        assert done.code == 0, done
        self.process = self.workspace.adopt(self.alive, self.pid(), self.path("log/mongooseim.log"))
        return self

    def pid(self):
        return int(self.read("data/lock"))

    # --- files
    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def append(self, name, text):
        with open(self.path(name), "a", encoding="utf-8") as file:
            file.write(text)

    def log(self):
        return self.read("log/mongooseim.log")

    def status_file(self):
        return self.read("log/status").strip()

    # --- what it says
    def get(self, page):
        try:
            with urllib.request.urlopen(f"http://{self.address}:{self.http}{page}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        return float(re.search(rf"^{name}(?:{{.*}})? (\S+)$", self.get("/metrics")[1], re.M).group(1))

    def status(self):
        return json.loads(self.get("/api/cluster/status")[1])

    def db_nodes(self, which):
        """Of `mnesia info`: running or stopped."""
        row = re.search(rf"^{which} db nodes   = \[(.*)\] ?$", self.ctl("mnesia", "info").out, re.M)
        return row[1].replace("'", "").split(", ") if row[1] else []

    def wait_running(self, nodes, deadline_s=30):
        names = sorted(node.name for node in nodes)
        wait_until(lambda: self.db_nodes("running") == names and self.db_nodes("stopped") == [],
                   f"{self.name} runs with {names}", deadline_s)
