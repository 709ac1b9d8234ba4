"""`mongoosebench scenario` over a cluster, and what it found."""

import json
import subprocess

from lib.bench import BENCH


class Story:
    """One run; `acts` are (seconds, command of a shell). `prefix` is put before the program."""

    def __init__(self, targets, domain, ca_file, sessions, rate, duration_s, acts=(), settle_s=60,
                 password="secret", env=None, prefix=(), html=None, quiet=True, stderr=None, seed=1,
                 users="user%d", timeout_s=10, may_repeat=False):
        command = [*prefix, BENCH, "scenario", *targets, "--users", f"{users}@{domain}",
                   "--password", password, "--ca", ca_file, "-c", str(sessions), "--rate", str(rate),
                   "-d", f"{duration_s}s", "--settle", f"{settle_s}s", "--seed", str(seed),
                   "--timeout", f"{timeout_s}s", "--json", "-"]
        for at, act in acts:
            command += ["--do", f"{at}s:{act}"]
        if html:
            command += ["--html", html]
        if may_repeat:
            command.append("--may-repeat")
        if quiet:
            command.append("-q")
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=stderr, text=True, env=env, check=False,
                              timeout=duration_s + settle_s + 120)
        self.code = done.returncode
        lines = done.stdout.splitlines()
        if not lines:
            raise AssertionError(f"mongoosebench scenario ended with {self.code} and said nothing")
        self.found = json.loads(lines[-1])
        self.verdict = self.found["verdict"]

    def count(self, what):
        return sum(second[what] for second in self.found["seconds"])

    def faults(self, of_loss_alone=False):
        """What is wrong, in words; [] when nothing is. `of_loss_alone`: doubles and swaps are not
        looked at."""
        names = ("lost", "both", "invented") + (() if of_loss_alone else ("doubled", "swapped"))
        wrong = list(self.found["invalid"])
        wrong += [f"{self.verdict[name]} {name}" for name in names if self.verdict[name]]
        return wrong + (self.verdict["examples"] if wrong else [])
