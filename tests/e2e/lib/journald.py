"""A systemd-journald of our own, in a mount namespace where /run and /var/log are its alone. Needs
root and Debian's systemd."""

import json
import os
import subprocess

from lib.wait import wait_until

DAEMON = "/lib/systemd/systemd-journald"
_ALONE = ("mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal && "
          f"mount -t tmpfs tmpfs /var/log && exec {DAEMON}")


class Journald:
    def __init__(self, workspace):
        self.workspace = workspace
        self.process = workspace.start(
            "journald", ["/usr/bin/unshare", "-m", "--propagation", "private", "sh", "-c", _ALONE])
        workspace.wait_ready(self.process, lambda: self.run("test", "-S",
                                                            "/run/systemd/journal/socket") == 0,
                             "the journal's socket is there")

    @staticmethod
    def usable():
        return os.getuid() == 0 and os.path.exists(DAEMON)

    @property
    def inside(self):
        """Before a command line that is to run where this journal is the system's."""
        return ["/usr/bin/nsenter", "-m", "-t", str(self.process.pid), "--"]

    def run(self, *argv):
        return subprocess.run([*self.inside, *argv], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20,
                              check=False).returncode

    def entries(self, *matches):
        """What `journalctl FIELD=VALUE ...` shows, as dicts."""
        done = subprocess.run(
            [*self.inside, "journalctl", "--directory=/run/log/journal", "--no-pager", "-o", "json",
             *matches], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
            check=False)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def wait_entries(self, count, *matches, deadline_s=10):
        wait_until(lambda: len(self.entries(*matches)) >= count,
                   f"the journal has {count} of {' '.join(matches)}", deadline_s)
        return self.entries(*matches)
