"""mongoosedns in front of two real mongooselb: clients look SRV up, connect, and find the other one when
one is killed or drains."""

import os
import signal
import socket
import socketserver
import subprocess
import threading
import unittest

import dns_lib as lib

BALANCER = os.environ.get("MONGOOSELB",
                          os.path.join(lib.REPO, "build", "debug", "bin", "mongooselb"))
SERVICE = "_xmpp-client._tcp.example.org"


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class TwoBalancers(unittest.TestCase):
    def setUp(self):
        self.node = EchoServer(("127.0.0.1", 0), Echo)
        threading.Thread(target=self.node.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(self.node.server_close)
        self.addCleanup(self.node.shutdown)
        self.client_port, self.admin_port = lib.free_port(), lib.free_port()
        config = lib.BASE + lib.pool(
            [("lb1", "127.0.0.2", 100), ("lb2", "127.0.0.3", 100)], extra='drain = "500ms"',
            check=lib.status_check(self.admin_port))
        config += lib.ZONE.replace("xmpp-client:5222", f"xmpp-client:{self.client_port}")
        self.server = lib.Server(config, {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(self.server.stop)
        self.balancers = {name: self.start(name, address)
                          for name, address in (("lb1", "127.0.0.2"), ("lb2", "127.0.0.3"))}
        lib.wait_for(lambda: self.standings() == {"lb1": "up", "lb2": "up"}, "both are up", 30)

    def start(self, name, address):
        path = self.server.write(name + ".toml", f"""
[process]
workers = 1
ctl_socket = "{self.server.directory}/{name}.ctl"
admin_listen = "{address}:{self.admin_port}"
drain_deadline = "20s"
[listener.c2s]
bind = "{address}:{self.client_port}"
pool = "nodes"
[pool.nodes]
[[pool.nodes.node]]
name = "n1"
address = "127.0.0.1:{self.node.server_address[1]}"
""")
        log = open(os.path.join(self.server.directory, name + ".log"), "wb")
        self.addCleanup(log.close)
        process = subprocess.Popen([BALANCER, "run", path], stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def standings(self):
        return {b["name"]: b["standing"] for b in self.server.states()["pools"][0]["balancers"]}

    def find(self):
        """As a client does (RFC 6120 section 3.2): SRV, then the target's address."""
        records = list(self.server.query(SERVICE, "SRV").answer[0])
        record = records[0]
        return str(record.target), self.server.addresses(record.target)[0], record.port

    def talk(self, address, port):
        with socket.create_connection((address, port), timeout=5) as sock:
            sock.sendall(b"hello")
            return sock.recv(100)

    def targets(self):
        return sorted(str(r.target).split(".")[0] for r in self.server.query(SERVICE, "SRV").answer[0])

    def test_clients_find_balancers_by_srv_and_the_other_when_one_is_killed(self):
        seen = set()
        for _ in range(40):
            target, address, port = self.find()
            self.assertEqual(self.talk(address, port), b"hello")
            seen.add(target.split(".")[0])
        self.assertEqual(seen, {"lb1", "lb2"})
        self.balancers["lb1"].send_signal(signal.SIGKILL)
        lib.wait_for(lambda: self.targets() == ["lb2"], "lb1 is out")
        for _ in range(20):
            target, address, port = self.find()
            self.assertTrue(target.startswith("lb2."))
            self.assertEqual(self.talk(address, port), b"hello")

    def test_a_balancer_that_is_stopped_orderly_leaves_the_answers_before_its_clients(self):
        held = socket.create_connection(("127.0.0.2", self.client_port), timeout=5)
        self.addCleanup(held.close)
        held.sendall(b"before")
        self.assertEqual(held.recv(100), b"before")
        self.balancers["lb1"].send_signal(signal.SIGTERM)  # drains: our connection stays
        lib.wait_for(lambda: self.targets() == ["lb2"], "lb1 is out")
        held.sendall(b"after")
        self.assertEqual(held.recv(100), b"after")
        self.assertIsNone(self.balancers["lb1"].poll())


if __name__ == "__main__":
    unittest.main()
