"""libstrophe (Debian's) as a client: tests/e2e/strophe/strophe_chat.cc, driven by lines."""

import os
import queue
import subprocess
import threading

PROGRAM = os.path.join(os.environ.get("MONGOOSE_TESTS", ""), "e2e", "strophe", "strophe_chat")


class Strophe:
    def __init__(self, jid, password, host, port, ca_file, tls="starttls"):
        self.popen = subprocess.Popen(
            [PROGRAM, jid, password, host, str(port), ca_file, tls], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
        self.lines = queue.Queue()
        self.heard = []  # texts, of all time
        self._errors = []
        self._readers = [threading.Thread(target=self._read, daemon=True),
                         threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self._readers:
            reader.start()

    def say(self, to, text):
        self.order(f"say {to} {text}")

    def order(self, line):
        self.popen.stdin.write(line + "\n")

    def wait_for(self, beginning, deadline_s=20.0):
        """The next line that begins so; those before are dropped."""
        while True:
            try:
                line = self.lines.get(timeout=deadline_s)
            except queue.Empty:
                raise AssertionError(f"no {beginning!r}; {self._errors}") from None
            if line is None:
                raise AssertionError(f"it ended with {self.popen.wait(5)} before {beginning!r}; {self._errors}")
            if line.startswith(beginning):
                return line

    def close(self):
        if self.popen.poll() is None:
            self.popen.stdin.close()
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for reader in self._readers:
            reader.join(5)
        self.popen.stdout.close()
        self.popen.stderr.close()

    def _read(self):
        for line in self.popen.stdout:
            line = line.rstrip("\n")
            if line.startswith("heard "):
                self.heard.append(line.split(" ", 2)[2])
            self.lines.put(line)
        self.lines.put(None)

    def _read_errors(self):
        for line in self.popen.stderr:
            self._errors.append(line.rstrip())
