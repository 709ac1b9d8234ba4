"""@xmpp/client (npm) in node: chat.mjs logs in over TLS, listens and speaks by lines of JSON."""

import json
import os
import queue
import subprocess
import threading

from lib.workspace import REPO

FOLDER = os.path.join(REPO, "build", "e2e-js")


class XmppJs:
    """One client. Its events: {"event": "online"|"message"|"error"|"offline", …}."""

    def __init__(self, user, domain, password, host, port, ca_file, resource="js",
                 tls="starttls"):
        script = os.path.join(REPO, "tests", "e2e", "js", "chat.mjs")
        if not os.path.isdir(os.path.join(FOLDER, "node_modules", "@xmpp", "client")):
            raise RuntimeError(f"no @xmpp/client in {FOLDER}; remedy: run tests/run or conf/up once")
        # Over direct TLS it verifies the name in its service's address: `hosts` is its DNS.
        service = f"xmpps://{domain}:{port}" if tls == "direct" else f"xmpp://{host}:{port}"
        options = {"service": service, "domain": domain, "username": user, "password": password,
                   "resource": resource, "hosts": {domain: host}}
        # Certificates are checked: node trusts the test's authority and its own list.
        self.popen = subprocess.Popen(
            ["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, bufsize=1, cwd=FOLDER,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": ca_file, "MONGOOSE_E2E_JS": FOLDER})
        self.events = queue.Queue()
        self._errors = []
        self._readers = [threading.Thread(target=self._read, daemon=True),
                         threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self._readers:
            reader.start()
        self._send(options)

    def wait_for(self, event, deadline_s=30.0):
        """The next event of this kind; an error in between is raised."""
        while True:
            try:
                found = self.events.get(timeout=deadline_s)
            except queue.Empty:
                raise AssertionError(f"no {event} within {deadline_s:g} s; stderr: {self._errors}") from None
            if found["event"] == event:
                return found
            if found["event"] in ("error", "end"):
                raise AssertionError(f"waiting for {event}: {found}; stderr: {self._errors}")

    def say(self, to, text):
        self._send({"to": to, "body": text})

    def heard(self, deadline_s=15.0):
        message = self.wait_for("message", deadline_s)
        return message["from"].split("/")[0], message["body"]

    def close(self):
        if self.popen.poll() is None:
            self.popen.stdin.close()  # chat.mjs says good-bye and ends
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for reader in self._readers:
            reader.join(5)
        self.popen.stdout.close()
        self.popen.stderr.close()

    def _send(self, value):
        self.popen.stdin.write(json.dumps(value) + "\n")
        self.popen.stdin.flush()

    def _read(self):
        for line in self.popen.stdout:
            self.events.put(json.loads(line))
        self.events.put({"event": "end"})

    def _read_errors(self):
        for line in self.popen.stderr:
            self._errors.append(line.rstrip())
