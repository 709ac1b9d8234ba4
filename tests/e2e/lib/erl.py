"""Stock Erlang as the witness: epmd at a port of its own, and erl processes that evaluate what they
are told. Debian 12's erl (OTP 25) runs as it is; later ones in a folder that mmdebstrap makes once
(build/erlang/SUITE) and that is kept for the next run."""

import contextlib
import fcntl
import os
import pty
import select
import shutil
import subprocess
import threading
import time

from lib import net
from lib.wait import wait_until
from lib.workspace import REPO, Process

FOLDERS = os.path.join(REPO, "build", "erlang")

# Reads expressions a line, answers each with a line that begins with "=".
LOOP = """
F = fun(F) -> case io:get_line("") of eof -> halt(0); L ->
  V = try {ok, T, _} = erl_scan:string(L), {ok, E} = erl_parse:parse_exprs(T),
      {value, X, _} = erl_eval:exprs(E, []), X
  catch C:R -> {C, R} end,
  io:format("=~0tp~n", [V]), F(F) end end, F(F)."""


def mirror():
    """Where this machine has its Debian from: the later ones are there, too."""
    sources = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)",
         "Created-By: Packages", "Codename: bookworm"],
        capture_output=True, text=True, check=True).stdout.split()
    if len(sources) < 2:
        raise RuntimeError("apt knows no source of Debian 12 (bookworm): see sources.list(5), then "
                           "apt-get update")
    return sources[1]


@contextlib.contextmanager
def one_at_a_time(folder):
    with open(f"{folder}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_suite(suite, folder):
    part = f"{folder}.{os.getpid()}"
    origin = mirror()
    for _ in range(3):  # what a mirror did not give a moment ago, it often gives now
        made = subprocess.run(
            # A mirror that lags may have a testing release that has run out; it will do.
            ["mmdebstrap", "--variant=apt", "--include=erlang-base", "--mode=root",
             '--aptopt=Acquire::Check-Valid-Until "false"', suite, part, origin],
            capture_output=True, text=True, timeout=900, check=False)
        if made.returncode == 0:
            os.rename(part, folder)
            return
        shutil.rmtree(part, ignore_errors=True)
    raise RuntimeError(f"mmdebstrap could not make {folder}; is {origin} to be reached?\n"
                       + made.stderr[-2000:])


def erl_of(suite):
    """What to put before `erl`: nothing for Debian 12's own, else a chroot with that suite's."""
    if suite is None:
        if not shutil.which("erl"):
            raise RuntimeError("erl is missing: apt-get install erlang-base")
        return []
    folder = os.path.join(FOLDERS, suite)
    os.makedirs(FOLDERS, exist_ok=True)
    with one_at_a_time(folder):  # tests that run side by side want the same one
        if not os.path.isdir(folder):
            if os.getuid() != 0 or not shutil.which("mmdebstrap"):
                raise RuntimeError(f"{folder} is missing: as root, apt-get install mmdebstrap and "
                                   "run this test again; it takes a minute and needs Debian's "
                                   "mirror")
            make_suite(suite, folder)
        # erl asks it for localhost
        shutil.copy("/etc/hosts", os.path.join(folder, "etc", "hosts"))
    return ["chroot", folder]


class PipedProcess(Process):
    def stop(self, deadline_s=10.0):
        self.popen.stdin.close()
        return super().stop(deadline_s)


def spawn(workspace, name, argv, env=None):
    """A child with a pipe to its standard input and its output in NAME.log."""
    log_path = workspace.path(f"{name}.log")
    full_env = dict(os.environ)
    full_env.update(env or {})
    with open(log_path, "ab") as log:
        popen = subprocess.Popen(["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"] + argv,
                                 stdin=subprocess.PIPE, stdout=log, stderr=log, env=full_env,
                                 cwd="/")
    process = PipedProcess(name, popen, log_path)
    workspace.processes.append(process)
    return process


class Told:
    """A child that is told lines and whose log is read from where the last reading ended."""

    def __init__(self, process):
        self.process = process
        self._at = 0
        self._lock = threading.Lock()

    def tell(self, line):
        self.process.popen.stdin.write(line.encode() + b"\n")
        self.process.popen.stdin.flush()

    def mark(self):
        """What was said until now does not count any more."""
        self._at = len(self.process.log())

    def heard(self):
        text = self.process.log()[self._at:]
        return text[:text.rfind("\n") + 1].splitlines()

    def expect(self, begin, deadline_s=15.0):
        """The next line that begins so; what is before it is skipped."""
        def find():
            text = self.process.log()
            at = self._at
            while (end := text.find("\n", at)) >= 0:
                line = text[at:end]
                at = end + 1
                if line.startswith(begin):
                    self._at = at
                    return line
            return None
        with self._lock:
            return wait_until(find, f"{self.process.name} says {begin!r}", deadline_s)

    def ask(self, line, begin, deadline_s=15.0):
        self.mark()
        self.tell(line)
        return self.expect(begin, deadline_s)[len(begin):].strip()


class Epmd:
    """epmd in the foreground, on loopback, at a port that nobody else has."""

    def __init__(self, workspace, port=None):
        self.workspace = workspace
        self.port = port or net.free_port()
        self.env = {"ERL_EPMD_PORT": str(self.port), "HOME": workspace.folder}
        self.process = None

    def start(self):
        self.process = self.workspace.start(
            "epmd", ["epmd", "-port", str(self.port), "-address", "127.0.0.1"])
        self.workspace.wait_ready(self.process, lambda: net.accepts("127.0.0.1", self.port),
                                  f"epmd listens on {self.port}")
        return self

    def names(self):
        """{name: port}, as `epmd -names` prints them."""
        shown = subprocess.run(["epmd", "-port", str(self.port), "-names"], capture_output=True,
                               text=True, timeout=20, check=False).stdout
        return {line.split()[1]: int(line.split()[-1])
                for line in shown.splitlines() if line.startswith("name ")}


class Erl(Told):
    """An erl node; asks are expressions, answers what ~0tp prints."""

    def __init__(self, workspace, epmd, name, cookie="C", suite=None, flags=(), named=True,
                 host="localhost", interface="{127,0,0,1}"):
        self.node = f"{name}@{host}"
        naming = ["-sname", self.node] if named else ["-sname", "undefined"]
        argv = erl_of(suite) + [
            "/usr/bin/env", "ERL_CRASH_DUMP=/dev/null", "HOME=/tmp", "erl", "-noshell",
            "-setcookie", cookie, "-kernel", "inet_dist_use_interface", interface,
            *naming, *flags, "-eval", LOOP]
        super().__init__(spawn(workspace, f"erl-{name}", argv, epmd.env))
        self.eval("1 + 1", 60)

    def eval(self, expression, deadline_s=20.0):
        return self.ask(expression.rstrip(".") + ".", "=", deadline_s)


class RemoteShell:
    """`erl -remsh NODE` at a terminal."""

    def __init__(self, epmd, node, suite=None):
        self.screen = b""
        self.terminal, end = pty.openpty()
        self.popen = subprocess.Popen(
            ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"] + erl_of(suite)
            + ["/usr/bin/env", "HOME=/tmp", "TERM=vt100", "erl", "-sname", "undefined",
               "-setcookie", "C", "-remsh", node],
            stdin=end, stdout=end, stderr=end, env={**os.environ, **epmd.env}, cwd="/")
        os.close(end)

    def expect(self, text, deadline_s=30.0):
        def shown():
            if select.select([self.terminal], [], [], 0)[0]:
                self.screen += os.read(self.terminal, 4096)
            return text in " ".join(self.screen.decode(errors="replace").split())
        wait_until(shown, f"the terminal shows {text!r}; it shows {self.screen[-2000:]!r}", deadline_s)

    def close(self):
        self.popen.kill()
        self.popen.wait()
        os.close(self.terminal)


def hold(condition, seconds):
    """That something stays true for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not condition():
            return False
        time.sleep(0.1)
    return True
