"""profanity (Debian's) in a terminal of tmux: keys in, screen out."""

import os
import subprocess

from lib.wait import wait_until


class Profanity:
    """One profanity with a home of its own, and a tmux server of its own (socket in its folder)."""

    def __init__(self, workspace, name, ca_file):
        self.folder = workspace.make_dir(f"profanity-{name}")
        self.tmux_socket = os.path.join(self.folder, "tmux")
        config = os.path.join(self.folder, "config", "profanity")
        os.makedirs(config, exist_ok=True)
        trust = os.path.join(self.folder, "trust")
        os.makedirs(trust, exist_ok=True)
        self._run(["openssl", "x509", "-in", ca_file, "-out", os.path.join(trust, "ca.pem")])
        self._run(["openssl", "rehash", trust])
        with open(os.path.join(config, "profrc"), "w", encoding="utf-8") as file:
            file.write(f"[connection]\ntls.certpath={trust}\n[ui]\nsplash=false\n"
                       "[notifications]\nmessage=false\n[logging]\nchlog=false\n")
        environment = ["env", f"XDG_CONFIG_HOME={self.folder}/config",
                       f"XDG_DATA_HOME={self.folder}/data", "LC_ALL=C.UTF-8", "TERM=screen-256color"]
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "40", "-s", "p",
                   *environment, "/usr/bin/profanity", "-l", "DEBUG")
        self.wait_for("Profanity", "profanity has started")

    def screen(self):
        return self._tmux("capture-pane", "-p", "-t", "p")

    def type(self, line):
        self._tmux("send-keys", "-t", "p", "-l", line)
        self._tmux("send-keys", "-t", "p", "Enter")

    def wait_for(self, text, what, deadline_s=20.0):
        try:
            wait_until(lambda: text in self.screen(), what, deadline_s, pause_s=0.1)
        except Exception as error:
            raise AssertionError(f"{error}\nscreen:\n{self.screen().rstrip()}") from None

    def login(self, user, domain, password, host, port, tls="starttls"):
        """`tls force`: without STARTTLS there is no login. `tls legacy` is its word for direct TLS."""
        policy = "legacy" if tls == "direct" else "force"
        self.type(f"/connect {user}@{domain} server {host} port {port} tls {policy}")
        self.wait_for("password", "profanity asks for the password")
        self.type(password)
        self.wait_for("logged in successfully", "profanity is logged in")

    def say(self, to, text):
        self.type(f"/msg {to} {text}")

    def close(self):
        subprocess.run(["tmux", "-S", self.tmux_socket, "kill-server"], capture_output=True,
                       check=False)

    def _tmux(self, *args):
        return self._run(["tmux", "-S", self.tmux_socket, *args])

    @staticmethod
    def _run(argv):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=20, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{argv[0]}: {done.stderr.strip()}")
        return done.stdout
