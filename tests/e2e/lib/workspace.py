"""A folder for logs, data and certificates, and the processes that live in it.

Children end with us even when we are killed (setpriv --pdeathsig), and are ended by their pid. When
we are root, servers that must not run as root get their own user the same way. A detached workspace
(the demo in the background) leaves its processes running and writes them down in processes.json.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

from lib.wait import Timeout, wait_until

REPO = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def start_time(pid):
    """When the kernel started this pid, in its ticks: pid and start time name a process for good."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


class Process:
    """One child: argv, a log file that takes stdout and stderr, and an orderly end."""

    def __init__(self, name, popen, log_path):
        self.name = name
        self.popen = popen
        self.pid = popen.pid
        self.log_path = log_path

    def alive(self):
        return self.popen.poll() is None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def signal(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def kill(self):
        """SIGKILL, and gone when this returns."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self, deadline_s=10.0):
        """SIGTERM, SIGKILL at the deadline. The exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.popen.returncode

    def wait_exit(self, deadline_s):
        """The exit status, when it ends by itself."""
        try:
            return self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.name} (pid {self.pid}) did not end within {deadline_s:g} s") from None


class Adopted:
    """A process that a child of ours has started, to be ended by its pid like our own."""

    def __init__(self, name, pid, log_path):
        self.name = name
        self.pid = pid
        self.log_path = log_path
        self._start = start_time(pid)

    log = Process.log

    def alive(self):
        try:
            return start_time(self.pid) == self._start
        except FileNotFoundError:
            return False

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        wait_until(lambda: not self.alive(), f"{self.name} is gone", 10)

    def stop(self, deadline_s=10.0):
        """SIGTERM, SIGKILL at the deadline."""
        self.signal(signal.SIGTERM)
        try:
            wait_until(lambda: not self.alive(), f"{self.name} is gone", deadline_s)
        except Timeout:
            self.kill()

    def wait_exit(self, deadline_s):
        wait_until(lambda: not self.alive(), f"{self.name} (pid {self.pid}) has ended", deadline_s)


class Workspace:
    def __init__(self, name, folder=None, detached=False):
        self.name = name
        self.detached = detached
        self.processes = []
        self.kept = folder is not None
        if folder is None:
            self.folder = tempfile.mkdtemp(prefix=f"mongoose-{name}-")
        else:
            self.folder = folder
            os.makedirs(folder, exist_ok=True)
        os.chmod(self.folder, 0o755)  # servers with users of their own live below it

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def make_dir(self, *parts, user=None):
        """A folder in here, owned by that user when we are root."""
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        self.give(path, user)
        return path

    def give(self, path, user):
        if user and os.getuid() == 0:
            entry = pwd.getpwnam(user)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def write(self, relative, text, user=None, mode=0o644):
        path = self.path(relative)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        self.give(path, user)
        return path

    def start(self, name, argv, user=None, env=None, cwd=None):
        """Starts argv with its output in NAME.log, as `user` when we are root."""
        log_path = self.path(f"{name}.log")
        wrapper = ["/usr/bin/setpriv"]
        if not self.detached:
            wrapper += ["--pdeathsig", "KILL"]
        if user and os.getuid() == 0:
            wrapper += ["--reuid", user, "--regid", user, "--init-groups"]
        if len(wrapper) > 1:
            argv = wrapper + ["--"] + list(argv)
        full_env = dict(os.environ)
        full_env.update(env or {})
        with open(log_path, "ab") as log:
            popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     env=full_env, cwd=cwd or self.folder,
                                     start_new_session=self.detached)
        process = Process(name, popen, log_path)
        self.processes.append(process)
        return process

    def adopt(self, name, pid, log_path):
        """Looks after a process that one of ours has started."""
        process = Adopted(name, pid, log_path)
        self.processes.append(process)
        return process

    def wait_ready(self, process, condition, what, deadline_s=30.0):
        """wait_until, that gives up at once when the process is gone, and shows its log."""
        def check():
            if not process.alive():
                return "gone"
            return "ready" if condition() else None
        try:
            if wait_until(check, what, deadline_s, pause_s=0.05) == "ready":
                return
            fault = f"{process.name} ended with status {process.popen.returncode} before: {what}"
        except Timeout as error:
            fault = str(error)
        raise RuntimeError(f"{fault}\n--- {process.log_path}\n{process.log()[-4000:]}")

    def save_processes(self):
        """For a later run that stops or shows them: stop_saved, saved_processes."""
        rows = [{"name": p.name, "pid": p.pid, "start": start_time(p.pid)}
                for p in self.processes if p.alive()]
        self.write("processes.json", json.dumps(rows, indent=1))

    def dump_logs(self, limit=4000):
        """The ends of all logs, for a test that failed."""
        for root, _, files in os.walk(self.folder):
            for file in sorted(files):
                path = os.path.join(root, file)
                if not file.endswith((".log", ".toml", ".err")) or os.path.getsize(path) == 0:
                    continue
                with open(path, encoding="utf-8", errors="replace") as log:
                    text = log.read()
                print(f"--- {path} (last {min(limit, len(text))} of {len(text)} characters)")
                print(text[-limit:], flush=True)

    def stop(self):
        """Ends all children, the newest first."""
        for process in reversed(self.processes):
            process.signal(signal.SIGCONT)
            process.stop()
        self.processes.clear()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def saved_processes(folder):
    """The rows of processes.json whose process still lives (pid and start time agree)."""
    try:
        with open(os.path.join(folder, "processes.json"), encoding="utf-8") as file:
            rows = json.load(file)
    except FileNotFoundError:
        return []
    living = []
    for row in rows:
        try:
            if start_time(row["pid"]) == row["start"]:
                living.append(row)
        except FileNotFoundError:
            pass
    return living


def stop_saved(folder, deadline_s=15.0):
    """Ends what save_processes wrote down: SIGTERM, SIGKILL at the deadline. The names."""
    rows = saved_processes(folder)
    for row in reversed(rows):
        os.kill(row["pid"], signal.SIGTERM)
    try:
        wait_until(lambda: not saved_processes(folder), "all processes of the demo gone", deadline_s)
    except Timeout:
        for row in saved_processes(folder):
            os.kill(row["pid"], signal.SIGKILL)
        wait_until(lambda: not saved_processes(folder), "all processes of the demo gone", 5)
    return [row["name"] for row in rows]
