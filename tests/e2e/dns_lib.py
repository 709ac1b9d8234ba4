"""What the end-to-end tests of mongoosedns share: a server of their own, balancers to check, and
waiting for a condition with a deadline."""

import http.server
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.request

import dns.exception
import dns.message
import dns.query

from lib import net

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("MONGOOSEDNS", os.path.join(REPO, "build", "debug", "bin", "mongoosedns"))


def free_port():
    """A port that is free for both UDP and TCP, on every address, now."""
    return net.free_port("0.0.0.0", socket.SOCK_STREAM, socket.SOCK_DGRAM)


def wait_for(condition, what, seconds=15.0):
    """Polls until the condition gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last
        except (OSError, AssertionError, ValueError, dns.exception.DNSException) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s; last: {last}")


class Balancer:
    """A balancer's /status, as mongooselb would give it; `state` and the rest can be set."""

    def __init__(self, address="127.0.0.1", port=0):
        self.reply = {"state": "running", "warmup": 1.0, "nodes_up": 3, "nodes_total": 3,
                      "connections": 7}
        self.raw = None
        self.requests = 0
        balancer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                balancer.requests += 1
                body = balancer.raw if balancer.raw is not None else json.dumps(
                    balancer.reply).encode()
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server((address, port), Handler)
        self.address, self.port = self.server.server_address
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Server:
    """mongoosedns with a configuration of the test's."""

    def __init__(self, config, files=None, wait=True):
        self.directory = tempfile.mkdtemp(prefix="mongoosedns-")
        self.port = free_port()
        self.admin_port = free_port()
        self.tls_port = free_port()
        for name, text in (files or {}).items():
            self.write(name, text)
        self.config_path = self.write("mongoosedns.toml", self.fill(config))
        self.ctl_socket = os.path.join(self.directory, "ctl.sock")
        self.log_path = os.path.join(self.directory, "log")
        self.log = open(self.log_path, "ab")
        self.process = None
        self.taken_over_pid = None
        self.start(wait)

    def fill(self, text):
        for key, value in (("PORT", self.port), ("ADMIN", self.admin_port),
                           ("TLS", self.tls_port), ("DIR", self.directory)):
            text = text.replace(f"@{key}@", str(value))
        return text

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self, wait=True):
        self.process = subprocess.Popen([PROGRAM, "run", self.config_path], stdout=self.log,
                                        stderr=self.log)
        if wait:
            wait_for(lambda: self.process.poll() is not None or self.page("/readyz") == "ok\n",
                     "the server is ready")
            if self.process.poll() is not None:
                raise AssertionError("the server ended:\n" + self.log_text())

    def log_text(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def page(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5) as r:
            return r.read().decode()

    def states(self):
        return json.loads(self.page("/states"))

    def balancer_state(self, name):
        for pool in self.states()["pools"]:
            for balancer in pool["balancers"]:
                if balancer["name"] == name:
                    return balancer
        raise AssertionError(name + " is not there")

    def metric(self, name):
        for line in self.page("/metrics").splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        raise AssertionError(name + " is no metric")

    def ctl(self, *arguments, check=True):
        result = subprocess.run([PROGRAM, "ctl", "--socket", self.ctl_socket, "--json",
                                 *arguments], capture_output=True, text=True, timeout=60)
        if check and result.returncode != 0:
            raise AssertionError(f"ctl {arguments}: {result.returncode}: {result.stdout}"
                                 f"{result.stderr}\n{self.log_text()[-3000:]}")
        return result

    def query(self, name, rdtype="A", tcp=False, timeout=3, **options):
        query = dns.message.make_query(name, rdtype, **options)
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(query, "127.0.0.1", port=self.port, timeout=timeout)

    def addresses(self, name, rdtype="A"):
        found = []
        for rrset in self.query(name, rdtype).answer:
            found += [rdata.address for rdata in rrset if hasattr(rdata, "address")]
        return found

    def reload(self):
        return self.ctl("reload")

    def stop(self):
        if self.taken_over_pid is not None:
            try:
                os.kill(self.taken_over_pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        if self.process and self.process.poll() is None:
            self.process.terminate()
        code = None
        if self.process:
            try:
                code = self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the server does not stop:\n" + self.log_text()[-3000:])
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        return code


BASE = """
[server]
listen = ["127.0.0.1:@PORT@"]
workers = 1
admin_listen = "127.0.0.1:@ADMIN@"
ctl_socket = "@DIR@/ctl.sock"
state_file = "@DIR@/state.json"
nsid = "ns1.test"
version = "mongoosedns"
id = "ns1"
"""

ZONE_TEXT = """\
$TTL 300
@ IN SOA ns1 hostmaster 7 3600 600 86400 60
@ IN NS ns1
ns1 IN A 127.0.0.1
www IN A 192.0.2.1
www IN A 192.0.2.2
www IN AAAA 2001:db8::1
alias IN CNAME www
*.wild IN A 192.0.2.66
sub IN NS ns.sub
ns.sub IN A 192.0.2.77
@ IN MX 10 mail
mail IN A 192.0.2.25
txt IN TXT "hello world"
caa IN CAA 0 issue "ca.example.net"
_443._tcp.www IN TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
https IN HTTPS 1 . alpn=h2
ptr IN PTR www
"""


def pool(balancers, extra="", check=""):
    """A [pool.xmpp] of (name, address, weight)."""
    text = f"[pool.xmpp]\nttl_min = 1\nttl_max = 60\n{extra}\n"
    for name, address, weight in balancers:
        text += (f'[[pool.xmpp.balancer]]\nname = "{name}"\naddresses = ["{address}"]\n'
                 f"weight = {weight}\n")
    return text + check


def status_check(port, interval="100ms"):
    return (f'[[pool.xmpp.check]]\ntype = "status"\nport = {port}\ninterval = "{interval}"\n'
            f'fast_interval = "50ms"\ntimeout = "500ms"\nrise = 2\nfall = 2\n')


ZONE = """
[zone."example.org"]
file = "example.org.zone"
[[zone."example.org".pool]]
pool = "xmpp"
name = "xmpp"
services = ["xmpp-client:5222", "xmpps-client:5223", "xmpp-server:5269", "xmpps-server:5270"]
"""


def make_key(directory, zone="example.org", algorithm="ecdsa-p256"):
    """(name of the private key file, DS line, DNSKEY line)."""
    result = subprocess.run([PROGRAM, "keygen", zone, "--algorithm", algorithm, "--directory",
                             directory], capture_output=True, text=True, check=True)
    path = re.search(r"; key (\S+)", result.stdout).group(1)
    with open(path.replace(".private", ".key"), encoding="utf-8") as file:
        return path, result.stdout.splitlines()[-1], file.read().strip()


def have(program):
    if shutil.which(program) is None:
        raise AssertionError(f"{program} is missing: see conf/packages.txt")
    return program


def run(*command, timeout=60, check=True, env=None):
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env)
    if check and result.returncode != 0:
        raise AssertionError(f"{command}: {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def tcp_connect(port, address="127.0.0.1"):
    return socket.create_connection((address, port), timeout=10)


def tcp_message(sock):
    """One framed message, or None at the end of the stream."""
    header = b""
    while len(header) < 2:
        part = sock.recv(2 - len(header))
        if not part:
            return None
        header += part
    size = struct.unpack(">H", header)[0]
    body = b""
    while len(body) < size:
        part = sock.recv(size - len(body))
        if not part:
            return None
        body += part
    return body
