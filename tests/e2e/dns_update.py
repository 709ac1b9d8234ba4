"""Dynamic updates (RFC 2136) of ACME challenges by key: nsupdate, certbot's plug-in, dnspython; and
what a reload and an upgrade do with the configuration and the sockets."""

import base64
import hmac
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update

import dns_lib as lib
import dns_tsig
from dns_tsig import SECRETS

NAME = "xmpp.example.org"
CHALLENGE = "_acme-challenge.www.example.org"


def texts(server, name=CHALLENGE):
    answer = server.query(name, "TXT")
    return sorted(r.strings[0].decode() for rrset in answer.answer for r in rrset)


def has_ended(server, pid):
    """Of one that the test started, or of a successor, whose parent may not have reaped it yet."""
    server.process.poll()
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Updates(unittest.TestCase):
    def setUp(self):
        self.server = dns_tsig.serve(
            self, 'acme_keys = ["hmac-sha256.key", "hmac-sha512.key"]\n' +
            dns_tsig.secondary(networks='["127.0.0.1"]'))

    def serial(self):
        return self.server.query("example.org", "SOA").answer[0][0].serial

    def nsupdate(self, *lines, tcp=False, key=True):
        # Without its own opinion of names: ours is what counts.
        text = (f"check-names no\nserver 127.0.0.1 {self.server.port}\nzone example.org\n" +
                "\n".join(lines))
        command = [lib.have("nsupdate"), "-t", "5"]
        if tcp:
            command.append("-v")
        if key:
            command += ["-k", dns_tsig.key_file(
                self.server.directory, "one.key",
                f'key "hmac-sha256.key" {{ algorithm hmac-sha256; secret "{SECRETS["hmac-sha256"]}"; }};')]
        return subprocess.run(command, input=text + "\nsend\nquit\n", capture_output=True, text=True,
                              timeout=30)

    def test_nsupdate_sets_and_clears_a_challenge_over_udp_and_tcp(self):
        for tcp in (False, True):
            before = self.serial()
            result = self.nsupdate(f'update add {CHALLENGE}. 60 TXT "token-one"',
                                   f'update add {CHALLENGE}. 60 TXT "token-two"', tcp=tcp)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(texts(self.server), ["token-one", "token-two"])
            self.assertGreater(self.serial(), before)
            result = self.nsupdate(f'update delete {CHALLENGE}. TXT "token-one"', tcp=tcp)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(texts(self.server), ["token-two"])
            self.nsupdate(f"update delete {CHALLENGE}. TXT", tcp=tcp)
            self.assertEqual(texts(self.server), [])

    def test_all_else_is_refused(self):
        for line in ("update add www.example.org. 60 A 192.0.2.99", "update delete www.example.org.",
                     "update add example.org. 60 TXT x", f"update add {CHALLENGE}. 60 A 192.0.2.9",
                     "update add _acme-challenge.sub.example.org. 60 TXT token",
                     "update add _acme-challenge.x.sub.example.org. 60 TXT token"):
            result = self.nsupdate(line)
            self.assertIn("REFUSED", result.stderr, line)
        self.assertIn("REFUSED", self.nsupdate(f"update add {CHALLENGE}. 60 TXT x", key=False).stderr)
        self.assertEqual(texts(self.server), [])
        ring = dns.tsigkeyring.from_text({"hmac-sha384.key.": SECRETS["hmac-sha384"]})
        update = dns.update.UpdateMessage("example.org", keyring=ring, keyalgorithm=dns.tsig.HMAC_SHA384)
        update.add(CHALLENGE + ".", 60, "TXT", "token")  # a key of ours, but not for this
        reply = dns.query.tcp(update, "127.0.0.1", port=self.server.port, timeout=5)
        self.assertEqual(reply.rcode(), dns.rcode.REFUSED)

    def test_a_recorded_update_is_not_done_again(self):
        ring = dns.tsigkeyring.from_text({"hmac-sha256.key.": SECRETS["hmac-sha256"]})
        update = dns.update.UpdateMessage("example.org", keyring=ring,
                                          keyalgorithm=dns.tsig.HMAC_SHA256)
        update.add(CHALLENGE + ".", 60, "TXT", "token")
        packet = update.to_wire()

        def send():
            with lib.tcp_connect(self.server.port) as sock:
                sock.sendall(len(packet).to_bytes(2, "big") + packet)
                return lib.tcp_message(sock)[3] & 15
        self.assertEqual(send(), 0)
        self.server.ctl("acme", "clear")
        self.assertEqual(send(), dns.rcode.NOTAUTH)
        self.assertEqual(texts(self.server), [])

    def test_certbots_plug_in_works(self):
        from certbot_dns_rfc2136._internal.dns_rfc2136 import _RFC2136Client
        client = _RFC2136Client("127.0.0.1", self.server.port, "hmac-sha512.key.",
                                SECRETS["hmac-sha512"], dns.tsig.HMAC_SHA512)
        client.add_txt_record(CHALLENGE, "from-certbot", 120)
        self.assertEqual(texts(self.server), ["from-certbot"])
        client.del_txt_record(CHALLENGE, "from-certbot")
        self.assertEqual(texts(self.server), [])


class Fleet(unittest.TestCase):
    """Orders for all DNS nodes, which are signed with a key that they share."""

    def nodes(self, keys):
        ports = [lib.free_port() for _ in keys]
        servers = []
        for i, key in enumerate(keys):
            peers = ", ".join(f'"127.0.0.1:{p}"' for j, p in enumerate(ports) if j != i)
            config = lib.BASE.replace("@ADMIN@", str(ports[i]))
            config += lib.pool([("lb1", "198.51.100.1", 100), ("lb2", "198.51.100.2", 100)])
            config += '\n[tsig]\nkey_files = "tsig.keys"\n'
            config += f'[quorum]\npeers = [{peers}]\n' + (f'key = "{key}"\n' if key else "")
            server = dns_tsig.SignedServer(config + lib.ZONE, {"example.org.zone": lib.ZONE_TEXT},
                                           wait=False)
            server.admin_port = ports[i]
            servers.append(server)
            self.addCleanup(server.stop)
        for server in servers:
            lib.wait_for(lambda s=server: s.page("/readyz") == "ok\n", "ready")
        return servers

    def test_an_order_reaches_all_nodes(self):
        servers = self.nodes(["hmac-sha256.key"] * 3)
        servers[0].ctl("down", "lb1", "--all")
        for server in servers:
            self.assertEqual(server.addresses(NAME), ["198.51.100.2"])
        servers[1].ctl("auto", "lb1", "--all")
        servers[2].ctl("acme", "set", "www.example.org", "for-all", "--all")
        for server in servers:
            self.assertEqual(len(server.addresses(NAME)), 2)
            self.assertEqual(texts(server), ["for-all"])
        servers[0].ctl("acme", "clear", "--all")
        for server in servers:
            self.assertEqual(texts(server), [])

    def test_nodes_without_the_key_obey_nobody_and_are_named(self):
        servers = self.nodes(["hmac-sha256.key", "hmac-sha256.key", "hmac-sha384.key", ""])
        answer = servers[0].ctl("down", "lb1", "--all", check=False)
        self.assertNotEqual(answer.returncode, 0)
        self.assertIn(f"127.0.0.1:{servers[2].admin_port}", answer.stdout)
        self.assertIn(f"127.0.0.1:{servers[3].admin_port}", answer.stdout)
        self.assertEqual([len(s.addresses(NAME)) for s in servers], [1, 1, 2, 2])
        none = servers[3].ctl("down", "lb1", "--all", check=False)
        self.assertIn("quorum.key", none.stdout)

    def test_nobody_votes_without_the_key(self):
        servers = self.nodes(["hmac-sha256.key", "hmac-sha256.key", "hmac-sha384.key", ""])

        def peers():
            return {p["name"]: p for p in servers[0].states()["peers"]}
        good, other, none = (f"127.0.0.1:{s.admin_port}" for s in servers[1:])
        lib.wait_for(lambda: peers()[good]["ok"] and "not signed" in peers()[other]["error"] and
                     "not signed" in peers()[none]["error"], "who votes is known")
        lib.wait_for(lambda: all(p["ok"] for p in servers[3].states()["peers"]),
                     "without a key everybody is believed")

    def test_an_open_recorded_or_changed_order_is_refused(self):
        server, other = self.nodes(["hmac-sha256.key"] * 2)

        def post(headers, body):
            request = urllib.request.Request(f"http://127.0.0.1:{server.admin_port}/order",
                                             data=body, headers=headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=5) as reply:
                    return reply.status
            except urllib.error.HTTPError as error:
                return error.code
        body = b'{"v":1,"command":"down","balancer":"lb1"}'
        self.assertEqual(post({}, body), 403)
        key = base64.b64decode(SECRETS["hmac-sha256"])

        def headers(now, nonce, of=body):
            data = b"".join(str(len(p)).encode() + b":" + p
                            for p in (b"order", str(now).encode(), nonce.encode(), of))
            return {"Mongoose-Time": str(now), "Mongoose-Nonce": nonce,
                    "Mongoose-Mac": hmac.new(key, data, "sha256").hexdigest()}
        now = int(time.time())
        self.assertEqual(post(headers(now - 600, "a"), body), 403)
        self.assertEqual(post(headers(now, "b", b"other"), body), 403)
        self.assertEqual(len(server.addresses(NAME)), 2)
        good = headers(now, "c")
        self.assertEqual(post(good, body), 200)
        self.assertEqual(server.addresses(NAME), ["198.51.100.2"])
        server.ctl("auto", "lb1")
        self.assertEqual(post(good, body), 403)  # recorded
        self.assertEqual(len(server.addresses(NAME)), 2)
        upgrade = b'{"v":1,"command":"upgrade"}'  # signed, but no order for all
        self.assertEqual(post(headers(now, "d", upgrade), upgrade), 200)
        self.assertIsNone(server.process.poll())
        other.ctl("status")


class Reload(unittest.TestCase):
    def setUp(self):
        self.server = lib.Server(lib.BASE + lib.pool([("lb1", "198.51.100.1", 100)]) + lib.ZONE,
                                 {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(self.server.stop)
        with open(self.server.config_path, encoding="utf-8") as file:
            self.text = file.read()

    def reload(self, text):
        self.server.write("mongoosedns.toml", text)
        return self.server.ctl("reload", check=False)

    def test_a_key_that_cannot_be_applied_is_refused_with_its_line(self):
        for old, new, key, remedy in (
                ("workers = 1", "workers = 2", "server.workers", "upgrade"),
                ("ctl.sock", "other.sock", "server.ctl_socket", "upgrade"),
                (f"127.0.0.1:{self.server.admin_port}", f"127.0.0.1:{lib.free_port()}",
                 "server.admin_listen", "upgrade"),
                (f"127.0.0.1:{self.server.port}", f"127.0.0.1:{lib.free_port()}", "server.listen", "upgrade"),
                ("workers = 1", 'workers = 1\nuser = "nobody"', "server.user", "restart"),
                ("workers = 1", 'workers = 1\ngroup = "nogroup"', "server.group", "restart")):
            text = self.text.replace(old, new)
            line = next(i for i, l in enumerate(text.splitlines(), 1)
                        if l.startswith(key.split(".")[1] + " "))
            refused = self.reload(text)
            self.assertNotEqual(refused.returncode, 0, key)
            self.assertIn(f"mongoosedns.toml:{line}: {key}: ", refused.stdout)
            self.assertIn(remedy, refused.stdout)

    def test_every_other_key_is_applied(self):
        moved = os.path.join(self.server.directory, "moved.json")
        text = self.text.replace("state.json", "moved.json").replace(
            "workers = 1", 'workers = 1\npin_cpus = true\nreceive_buffer = "128KiB"')
        self.assertEqual(self.reload(text).returncode, 0)
        self.assertTrue(os.path.exists(moved))
        pid = self.server.process.pid
        cpus = set()
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
                status = dict(l.split(":", 1) for l in file.read().splitlines() if ":" in l)
            if status["Name"].strip() == "dns-udp":
                cpus.add(status["Cpus_allowed_list"].strip())
        self.assertEqual(cpus, {"0"})
        sockets = lib.run("ss", "-uanmpe", f"sport = :{self.server.port}").stdout
        self.assertIn("rb262144", sockets)  # the kernel doubles it


class Upgrade(unittest.TestCase):
    def serve(self, program=None):
        old = lib.PROGRAM
        lib.PROGRAM = program or old
        try:
            server = lib.Server(lib.BASE + lib.pool([("lb1", "198.51.100.1", 100)]) + lib.ZONE,
                                {"example.org.zone": lib.ZONE_TEXT})
        finally:
            lib.PROGRAM = old
        self.addCleanup(server.stop)
        return server

    def test_the_file_that_a_package_replaced_is_what_starts(self):
        with tempfile.TemporaryDirectory() as directory:
            program = os.path.join(directory, "mongoosedns")
            shutil.copy(lib.PROGRAM, program)
            server = self.serve(program)
            # As dpkg does it: another file under the old one's name.
            shutil.copy(lib.PROGRAM, program + ".new")
            os.rename(program + ".new", program)
            pid = json.loads(server.ctl("upgrade").stdout)["pid"]
            server.taken_over_pid = pid
            self.assertEqual(os.readlink(f"/proc/{pid}/exe"), program)
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                self.assertEqual(file.read().strip(), "mongoosedns")
            server.process.wait(15)
            self.assertEqual(server.addresses(NAME), ["198.51.100.1"])

    def test_the_new_processs_own_error_is_the_answer(self):
        server = self.serve()
        with open(server.config_path, encoding="utf-8") as file:
            text = file.read()
        server.write("mongoosedns.toml", text.replace("ttl_max", "ttl_maximum"))
        failed = server.ctl("upgrade", check=False)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("ttl_maximum", failed.stdout)
        self.assertIn("this process goes on", failed.stdout)

        def other():
            self.failed = server.ctl("upgrade", "--binary", "/no/such/program", check=False)
            return "try again in a moment" not in self.failed.stdout
        lib.wait_for(other, "the process that failed has ended")
        self.assertIn("/no/such/program", self.failed.stdout)
        self.assertEqual(server.addresses(NAME), ["198.51.100.1"])
        self.assertIsNone(server.process.poll())
        server.write("mongoosedns.toml", text)
        server.taken_over_pid = json.loads(server.ctl("upgrade").stdout)["pid"]

    def test_an_address_that_is_gone_is_closed(self):
        server = self.serve()
        extra = lib.free_port()
        with open(server.config_path, encoding="utf-8") as file:
            text = file.read()
        both = text.replace(f'["127.0.0.1:{server.port}"]',
                            f'["127.0.0.1:{server.port}", "127.0.0.1:{extra}"]')
        for config, open_then in ((both, True), (text, False)):
            server.write("mongoosedns.toml", config)
            old = json.loads(server.ctl("status").stdout)["pid"]
            server.taken_over_pid = json.loads(server.ctl("upgrade").stdout)["pid"]
            lib.wait_for(lambda: has_ended(server, old), "the old process ends")

            def listens():
                try:
                    socket.create_connection(("127.0.0.1", extra), 2).close()
                    return True
                except OSError:
                    return False
            self.assertEqual(listens(), open_then)
            sockets = lib.run("ss", "-uan", f"sport = :{extra}").stdout
            self.assertEqual(str(extra) in sockets, open_then)


if __name__ == "__main__":
    unittest.main()
