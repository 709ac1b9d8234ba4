"""What operators see: health endpoints, status, metrics, control socket, access log, systemd."""

import json
import os
import pty
import re
import select
import socket
import ssl
import stat
import subprocess
import time
import unittest

from lib import net
from lib.balancer import BINARY, Balancer
from lib.case import FreshCase
from lib.certs import Authority
from lib.load import Load
from lib.node import node_tables, start_sinks
from lib.notify import NotifySocket
from lib.recorder import Recorder
from lib.tls import certificates, client_context, connect
from lib.wait import wait_until


class Admin(FreshCase):
    def start(self, log=None, process=None, launcher=(), warmup=None):
        self.nodes = start_sinks(self.workspace, 2)
        self.port = net.free_port()
        self.balancer = Balancer(self.workspace, {
            "process": process or {}, "log": log or {}, "warmup": warmup or {},
            "listener": {"c2s": {"bind": f"127.0.0.1:{self.port}", "pool": "xmpp"}},
            "pool": {"xmpp": {"balance": "roundrobin", "node": node_tables(self.nodes),
                              "warmup": {"mode": "off"},
                              "check": [{"type": "tcp", "interval": "500ms",
                                         "fast_interval": "100ms", "fall": 2}]}},
        }, launcher=launcher).start()

    def test_livez_and_readyz_and_an_unknown_path(self):
        self.start()
        self.assertEqual(self.balancer.get("/livez")[0], 200)
        self.assertEqual(self.balancer.get("/readyz")[0], 200)
        self.assertEqual(self.balancer.get("/nothing")[0], 404)

    def test_readyz_is_503_while_the_balancer_drains_and_livez_stays_200(self):
        self.start(process={"drain_deadline": "60s"})
        with Load("127.0.0.1", self.port) as load:
            load.hold(3)
            self.balancer.process.signal(15)
            wait_until(lambda: self.balancer.get("/readyz")[0] == 503, "not ready while draining")
            self.assertEqual(self.balancer.get("/livez")[0], 200)
            self.assertEqual(load.echo_all(), [])

    def test_readyz_is_503_while_no_node_is_up(self):
        self.start()
        for node in self.nodes:
            node.stop()
        wait_until(lambda: self.balancer.get("/readyz") == (503, "not ready: no node is up\n"),
                   "not ready without nodes")
        self.assertEqual(self.balancer.get("/livez")[0], 200)

    def test_why_counts_as_no_arrival(self):
        self.start()
        for _ in range(20):
            self.balancer.ctl_ok("why", "192.0.2.1")
        self.assertEqual(self.balancer.metric("mongooselb_node_arrivals_total"), 0)

    def test_every_ctl_error_is_json_with_json(self):
        self.start()
        for words, status in ((("lsit",), 2), (("drain", "n1", "--deadline", "30"), 2),
                              (("drain", "n9"), 3)):
            done = self.balancer.ctl("--json", *words)
            self.assertEqual(done.returncode, status, words)
            reply = json.loads(done.stdout)
            self.assertEqual((reply["ok"], reply["exit"]), (False, status))
            self.assertTrue(reply["error"])
        self.assertIn("did you mean 'list'?", self.balancer.ctl("lsit").stderr)
        self.assertIn("as in 30s", self.balancer.ctl("drain", "n1", "--deadline", "30").stderr)

    def test_the_access_log_goes_to_syslog(self):
        path = self.workspace.path("syslog")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.bind(path)
            daemon.settimeout(10)
            self.start(log={"access": f"syslog:{path}"})
            with Load("127.0.0.1", self.port) as load:
                load.hold(1)
            line = daemon.recv(4096).decode()
        self.assertRegex(line, r'^<134>mongooselb\[\d+\]: \{"t":"20.*"listener":"c2s".*\}$')

    def test_sources_are_denied_and_allowed(self):
        self.start()
        self.balancer.reload({"listener": {"c2s": {"source_deny": ["127.0.0.8/32"]}}})

        def served(source):
            with socket.create_connection(("127.0.0.1", self.port), timeout=10,
                                          source_address=(source, 0)) as sock:
                try:
                    return sock.recv(1) == b"n"
                except ConnectionError:
                    return False
        self.assertTrue(served("127.0.0.7"))
        self.assertFalse(served("127.0.0.8"))
        self.balancer.reload({"listener": {"c2s": {"source_deny": [],
                                                   "source_allow": ["127.0.0.8/32"]}}})
        self.assertFalse(served("127.0.0.7"))
        self.assertTrue(served("127.0.0.8"))
        self.assertEqual(self.balancer.metric("mongooselb_listener_refused_total", limit="denied"),
                         2)

    def test_status_is_json_that_names_nodes(self):
        self.start()
        text = json.dumps(self.balancer.status())
        for name in ("n1", "n2", "xmpp", "c2s"):
            self.assertIn(f'"{name}"', text)

    def test_metrics_are_well_formed_and_count_connections(self):
        self.start()
        with Load("127.0.0.1", self.port) as load:
            load.hold(10)
            wait_until(lambda: self.balancer.open_connections() == 10, "ten are open")
            text = self.balancer.get("/metrics")[1]
        typed, seen = {}, set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, typed, "one TYPE line a metric")
                typed[name] = kind
            elif line and not line.startswith("#"):
                match = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(\{.*\})? (\S+)', line)
                self.assertIsNotNone(match, line)
                float(match[3])
                self.assertNotIn(match[1] + (match[2] or ""), seen, "no series twice")
                seen.add(match[1] + (match[2] or ""))
                base = re.sub("_(bucket|sum|count)$", "", match[1])
                self.assertTrue(match[1] in typed or base in typed, f"{line} has no TYPE")
                self.assertNotIn("127.0.0.1:", line, "no client's address is a label")
        self.assertIn("mongooselb_build_info", " ".join(seen))

    def test_the_control_socket_is_for_its_owner_only(self):
        self.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.balancer.ctl_socket).st_mode), 0o600)

    def test_each_command_answers_in_json_and_for_people(self):
        self.start()
        for command in (["list"], ["explain"], ["stats"], ["why", "127.0.0.1"]):
            with self.subTest(command=command):
                self.assertTrue(self.balancer.ctl_ok(*command).strip())
                self.assertIsInstance(self.balancer.ctl_json(*command), dict)

    def test_top_is_a_live_table_on_a_terminal_and_one_frame_elsewhere(self):
        self.start()
        frame = self.balancer.ctl_ok("top")
        self.assertRegex(frame, "n1")
        self.assertNotIn("\x1b", frame)
        master, slave = pty.openpty()
        with subprocess.Popen([BINARY, "ctl", "--socket", self.balancer.ctl_socket, "top"],
                              stdin=slave, stdout=slave, stderr=slave) as top:
            os.close(slave)
            seen = b""
            def read():
                """What there is now. False: nothing is left and nobody writes any more."""
                nonlocal seen
                while select.select([master], [], [], 0)[0]:
                    try:
                        part = os.read(master, 65536)
                    except OSError:  # a terminal's way to say that its last other end is closed
                        return False
                    if not part:
                        return False
                    seen += part
                return True
            wait_until(lambda: read() and seen.count(b"n1") >= 2, "a second frame", 15)
            os.write(master, b"q")
            # Its last bytes may stand in the terminal when it has ended.
            wait_until(lambda: not read(), "q leaves", 10)
            self.assertEqual(top.wait(10), 0)
        os.close(master)
        self.assertIn(b"\x1b[?1049h", seen, "the other screen")
        self.assertTrue(seen.rstrip().endswith(b"\x1b[?1049l"), "and back")

    def test_prewarm_lifts_the_balancers_own_warm_up(self):
        self.start(warmup={"enabled": True, "initial_rate": "20/s", "growth": 0.1,
                           "interval": "1h"})
        bound = "mongooselb_warmup_accepts_per_second_max"
        self.assertEqual(self.balancer.metric(bound), 20)
        with Load("127.0.0.1", self.port) as crowd:
            begin = time.monotonic()
            crowd.hold(80)
            self.assertGreater(time.monotonic() - begin, 1.0, "20 a second, after the first burst")
        self.assertIn("500", self.balancer.ctl_ok("prewarm", "500/s"))
        self.assertEqual(self.balancer.metric(bound), 500)
        self.balancer.ctl_ok("prewarm")
        self.assertEqual(self.balancer.metric(bound), 0)
        self.assertEqual(self.balancer.metric("mongooselb_warmup_ratio"), 1)
        self.assertIn("warm already", self.balancer.ctl_ok("prewarm"))

    def test_an_unknown_command_or_node_fails_and_says_what_there_is(self):
        self.start()
        unknown = self.balancer.ctl("drain", "n9")
        self.assertNotEqual(unknown.returncode, 0)
        self.assertRegex(unknown.stdout + unknown.stderr, "n9")
        self.assertNotEqual(self.balancer.ctl("explode").returncode, 0)
        done = subprocess.run([BINARY, "ctl", "--socket", self.workspace.path("nobody.sock"), "list"],
                              capture_output=True, text=True, timeout=10, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("nobody.sock", done.stdout + done.stderr)

    def test_every_transition_is_logged_with_its_reason(self):
        self.start()
        self.nodes[1].kill()
        wait_until(lambda: self.balancer.node_states().get("n2") == "down", "n2 is down")
        self.assertRegex(self.balancer.process.log(), r"node is down .*node=n2 .*why=\"Connection refused\"")
        self.nodes[1].start()
        wait_until(lambda: self.balancer.node_states().get("n2") == "up", "n2 is up")

    def test_the_access_log_has_one_complete_line_a_connection(self):
        self.start()
        with Load("127.0.0.1", self.port) as load:
            held = load.hold(20)
            self.assertEqual(load.echo_all(), [])
            ports = {h.local_port for h in held}
            load.close_held(held)
            lines = self.balancer.access_log.wait_for(20)
        self.assertEqual({int(e["client"].rpartition(":")[2]) for e in lines}, ports)
        self.assertEqual(len({entry["id"] for entry in lines}), 20)
        for entry in lines:
            self.assertEqual((entry["listener"], entry["pool"], entry["end"]),
                             ("c2s", "xmpp", "client_closed"))
            self.assertGreaterEqual(entry["bytes_in"], len("ping 0\n"))
            self.assertEqual(entry["bytes_out"], entry["bytes_in"] + len("n1\n"))
            for key in ("queue_ms", "connect_ms", "duration_ms", "retries"):
                self.assertGreaterEqual(entry[key], 0)
        self.assertEqual(sum(e["node"] == "n1" for e in lines), 10)

    def test_the_access_log_in_text_has_the_same_fields(self):
        self.start(log={"access_format": "text"})
        with Load("127.0.0.1", self.port) as load:
            load.close_held(load.hold(1))
            def line():
                with open(self.balancer.access_log.path, encoding="utf-8") as file:
                    return file.read()
            text = wait_until(line, "a line in the access log")
        for key in ("t", "listener", "pool", "node", "client", "queue_ms", "connect_ms",
                    "duration_ms", "bytes_in", "bytes_out", "retries", "end", "tls", "sni", "id"):
            self.assertRegex(text, rf"(^| ){key}=\S+")

    def test_a_line_names_the_tls_version_the_name_and_the_id_that_the_node_was_told(self):
        authority = Authority(self.workspace)
        node = Recorder(answer=b"n\n")
        self.addCleanup(node.close)
        ports = {mode: net.free_port() for mode in ("tls", "sni", "tcp")}
        front = certificates(authority.issue("front", ["chat.example"]))
        self.balancer = Balancer(self.workspace, {
            "listener": {mode: {"bind": f"127.0.0.1:{port}", "pool": "xmpp", "mode": mode,
                                **({"certificates": front} if mode == "tls" else {})}
                         for mode, port in ports.items()},
            "pool": {"xmpp": {"node": node_tables([node]), "send_proxy": "v2"}},
        }).start()
        log = self.balancer.access_log
        for index, version in enumerate((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)):
            with connect(ports["tls"], client_context(authority.ca_file, version=version)) as sock:
                sock.sendall(b"words")
                self.assertEqual(sock.recv(2), b"n\n")
            line = log.wait_for(index + 1)[index]
            self.assertEqual((line["tls"], line["sni"]),
                             (version.name.replace("_", "."), "chat.example"))
            header = node.wait_for(index, 16)
            told = b"\x05" + len(line["id"]).to_bytes(2, "big") + line["id"].encode()
            self.assertIn(told, header, "the TLV of the unique id")
        with socket.create_connection(("127.0.0.1", ports["tcp"]), timeout=10) as sock:
            sock.sendall(b"words")
            self.assertEqual(sock.recv(2), b"n\n")
        line = log.wait_for(1, listener="tcp")[0]
        self.assertEqual((line["tls"], line["sni"]), ("", ""))
        with socket.create_connection(("127.0.0.1", ports["sni"]), timeout=10) as sock:
            said = ssl.MemoryBIO()
            tls = client_context(authority.ca_file).wrap_bio(ssl.MemoryBIO(), said,
                                                             server_hostname="chat.example")
            with self.assertRaises(ssl.SSLWantReadError):
                tls.do_handshake()
            sock.sendall(said.read())
            self.assertEqual(sock.recv(2), b"n\n")
        line = log.wait_for(1, listener="sni")[0]  # the version that was offered: no more is seen
        self.assertEqual((line["tls"], line["sni"]), ("TLSv1.3", "chat.example"))

    def test_probes_that_say_nothing_leave_no_line_where_the_file_says_so(self):
        self.start(log={"access_silent": False})
        for speaks in (False, True, False):
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                self.assertTrue(sock.recv(16))
                if speaks:
                    sock.sendall(b"x")
                    self.assertTrue(sock.recv(16))
        wait_until(lambda: self.balancer.metric("mongooselb_ended_total",
                                                reason="client_closed") == 3, "three have ended")
        self.assertEqual(len(self.balancer.access_log.wait_for(1)), 1)

    def test_systemd_is_told_that_it_is_ready_what_it_does_and_that_it_lives(self):
        notify = NotifySocket(self.workspace.path("notify.sock"))
        self.addCleanup(notify.close)
        self.start(launcher=["/usr/bin/env", f"NOTIFY_SOCKET={notify.path}",
                             "WATCHDOG_USEC=2000000"])
        notify.wait_for("READY", value="1")
        notify.wait_for("WATCHDOG", value="1")
        notify.wait_for("STATUS")
        before = len(notify.messages)
        self.balancer.reload({"pool": {"xmpp": {"idle_timeout": "5h"}}})
        reloading = notify.wait_for("RELOADING", after=before, value="1")
        self.assertIn("MONOTONIC_USEC", reloading)
        notify.wait_for("READY", after=before, value="1")
        self.balancer.process.signal(15)
        notify.wait_for("STOPPING", value="1")

    def test_version_and_help(self):
        for option in ("--version", "--help"):
            done = subprocess.run([BINARY, option], capture_output=True, text=True, timeout=10,
                                  check=False)
            self.assertEqual(done.returncode, 0, option)
            self.assertIn("mongooselb" if option == "--help" else ".", done.stdout)


if __name__ == "__main__":
    unittest.main()
