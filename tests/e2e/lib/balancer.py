"""mongooselb under test: a configuration from a dict, started, asked, stopped, upgraded."""

import copy
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

from lib import net, toml
from lib.access_log import AccessLog
from lib.workspace import REPO

BINARY = os.environ.get("MONGOOSELB", os.path.join(REPO, "build", "release", "bin", "mongooselb"))


def merged(base, extra):
    """`extra` over `base`, table by table."""
    result = copy.deepcopy(base)
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def check_config(path):
    """`mongooselb check FILE`: the finished process (returncode, stdout, stderr)."""
    return subprocess.run([BINARY, "check", path], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=20, check=False)


def ctl(socket_path, *args, timeout_s=60):
    """The finished `mongooselb ctl` command (returncode, stdout, stderr)."""
    return subprocess.run([BINARY, "ctl", "--socket", socket_path, *args],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout_s, check=False)


class CtlError(AssertionError):
    """A ctl command that had to succeed did not."""


class Balancer:
    """`config` holds listeners and pools as in mongooselb.toml; control socket, admin address, log
    and access log are added. `launcher` goes before the command line (prlimit, taskset); `binary` is
    another path to start."""

    def __init__(self, workspace, config, name="lb", launcher=(), binary=BINARY):
        self.binary = binary
        self.workspace = workspace
        self.name = name
        self.launcher = list(launcher)
        self.ctl_socket = workspace.path(f"{name}.sock")
        self.access_log = AccessLog(workspace.path(f"{name}.access.jsonl"))
        self.config = merged({
            "process": {"workers": 1, "connections_max": 8000, "ctl_socket": self.ctl_socket,
                        "admin_listen": f"127.0.0.1:{net.free_port()}"},
            "log": {"level": "info", "access": self.access_log.path, "access_format": "json"},
        }, config)
        self.admin_port = int(self.config["process"]["admin_listen"].rpartition(":")[2])
        self.config_path = workspace.path(f"{name}.toml")
        self.process = None
        self.write_config()

    def write_config(self, extra=None):
        """Changes the file only; `reload` makes the balancer read it."""
        if extra:
            self.config = merged(self.config, extra)
        self.workspace.write(os.path.basename(self.config_path), toml.dumps(self.config))

    def launch(self):
        """Starts the process and does not wait for it."""
        self.process = self.workspace.start(
            self.name, self.launcher + [self.binary, "run", self.config_path])
        return self

    def start(self):
        self.launch()
        # With nodes or without: scenes begin with dead ones, too.
        self.workspace.wait_ready(self.process,
                                  lambda: "the balancer is" not in self.get("/readyz")[1],
                                  f"{self.name} runs", 20)
        return self

    def stop(self, deadline_s=15.0):
        return self.process.stop(deadline_s)

    # --- asking ---

    def get(self, path):
        """(status, body) of the admin listener."""
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self):
        return json.loads(self.get("/status")[1])

    def metrics(self):
        """{'name{labels}': value} of /metrics."""
        rows = {}
        for line in self.get("/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                rows[name] = float(value)
        return rows

    def metric(self, name, **labels):
        """The sum of this metric's series that carry these labels."""
        total = None
        for series, value in self.metrics().items():
            base, _, rest = series.partition("{")
            if base == name and all(f'{k}="{v}"' in rest for k, v in labels.items()):
                total = (total or 0.0) + value
        if total is None:
            raise KeyError(f"no metric {name} {labels}")
        return total

    def open_connections(self):
        """Proxied connections that are open now."""
        return int(self.metric("mongooselb_connections_active"))

    def node_states(self):
        """{node: state}, from the 0/1 series, one a state."""
        states = {}
        for series, value in self.metrics().items():
            match = re.match(r'mongooselb_node_state\{.*node="([^"]*)".*state="([^"]*)"', series)
            if match and value == 1:
                states[match[1]] = match[2]
        return states

    def ctl(self, *args, timeout_s=60):
        return ctl(self.ctl_socket, *args, timeout_s=timeout_s)

    def ctl_ok(self, *args, timeout_s=60):
        """Its output; it had to exit with 0."""
        done = self.ctl(*args, timeout_s=timeout_s)
        if done.returncode != 0:
            raise CtlError(f"ctl {' '.join(args)} exited with {done.returncode}\n"
                           f"{done.stdout}{done.stderr}")
        return done.stdout

    def ctl_json(self, *args, timeout_s=60):
        """The last of its objects, one a line: those before it tell of progress."""
        return json.loads(self.ctl_ok("--json", *args, timeout_s=timeout_s).splitlines()[-1])

    # --- resources ---

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # --- changing ---

    def reload(self, extra=None):
        self.write_config(extra)
        return self.ctl_ok("reload")

    def upgrade(self):
        """A new process of the same binary takes over. Returns the old one, which finishes."""
        old = self.process
        self.ctl_ok("upgrade")
        pid = self.status()["pid"]
        if pid == old.pid:
            raise CtlError(f"ctl upgrade succeeded, but pid {pid} still answers")
        self.process = self.workspace.adopt(f"{self.name}-{pid}", pid, old.log_path)
        return old

    def sighup(self):
        self.process.signal(signal.SIGHUP)
