"""Operating mongoosedns: health, drain, warm-up, overrides, reload, upgrade, several DNS nodes, ACME,
explain, and wrong configurations. Each waits for conditions, never for time."""

import base64
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
import unittest.mock

import dns.message
import dns.query
import dns.rcode

import dns_lib as lib
from lib.notify import NotifySocket

NAME = "xmpp.example.org"


def two_balancers():
    first = lib.Balancer("127.0.0.2")
    second = lib.Balancer("127.0.0.3", first.port)
    return first, second


class Health(unittest.TestCase):
    def setUp(self):
        self.first, self.second = two_balancers()
        self.addCleanup(self.second.stop)
        self.first_stopped = False
        config = lib.BASE + lib.pool(
            [("lb1", "127.0.0.2", 100), ("lb2", "127.0.0.3", 100)],
            extra='drain = "1s"\nwarmup = "0s"\nsteps = 4', check=lib.status_check(self.first.port))
        self.server = lib.Server(config + lib.ZONE, {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(self.server.stop)
        lib.wait_for(lambda: all(self.server.balancer_state(n)["standing"] == "up"
                                 for n in ("lb1", "lb2")), "both are up")

    def stop_first(self):
        self.first.stop()
        self.addCleanup(lambda: None)

    def srv_targets(self):
        answer = self.server.query("_xmpp-client._tcp.example.org", "SRV").answer[0]
        return sorted(str(rdata.target).split(".")[0] for rdata in answer)

    def test_a_dead_balancer_leaves_a_and_srv_and_comes_back(self):
        self.assertEqual(sorted(self.server.addresses(NAME)), ["127.0.0.2", "127.0.0.3"])
        port = self.first.port
        self.first.stop()
        lib.wait_for(lambda: self.server.addresses(NAME) == ["127.0.0.3"], "lb1 is out")
        self.assertEqual(self.srv_targets(), ["lb2"])
        state = self.server.balancer_state("lb1")
        self.assertEqual(state["standing"], "down")
        self.assertIn("refused", state["reason"])
        back = lib.Balancer("127.0.0.2", port)
        self.addCleanup(back.stop)
        lib.wait_for(lambda: len(self.server.addresses(NAME)) == 2, "lb1 is back")

    def test_what_the_status_says_decides(self):
        self.first.reply["nodes_up"] = 0
        lib.wait_for(lambda: self.server.addresses(NAME) == ["127.0.0.3"], "no node behind lb1")
        self.assertIn("0 of 3 nodes", self.server.balancer_state("lb1")["reason"])
        self.first.reply["nodes_up"] = 1
        lib.wait_for(lambda: len(self.server.addresses(NAME)) == 2, "a node is back")
        for raw, why in ((b"not json", "not a JSON object"), (b"[]", "not a JSON object"),
                         (b'{"state":"sideways"}', "unknown state"), (b"{" * 100_000, "")):
            self.first.raw = raw
            lib.wait_for(lambda: self.server.balancer_state("lb1")["standing"] == "down",
                         f"down for {raw[:20]}")
            lib.wait_for(lambda: why in self.server.balancer_state("lb1")["reason"], why)
            self.first.raw = None
            lib.wait_for(lambda: self.server.balancer_state("lb1")["standing"] == "up", "up again")

    def test_a_draining_balancer_is_stepped_out_before_it_stops(self):
        self.first.reply["state"] = "draining"
        shares = []

        def drained():
            state = self.server.balancer_state("lb1")
            shares.append(round(state["share"], 3))
            return state["standing"] == "drained"

        lib.wait_for(drained, "lb1 is drained")
        lib.wait_for(lambda: self.server.addresses(NAME) == ["127.0.0.3"], "lb1 is out")
        self.assertTrue(any(0 < share < 0.5 for share in shares), shares)
        self.assertEqual(shares, sorted(shares, reverse=True))

    def test_warm_up_of_the_balancer_scales_its_share(self):
        self.first.reply["warmup"] = 0.25
        lib.wait_for(lambda: self.server.balancer_state("lb1")["standing"] == "warming", "warming")
        self.assertAlmostEqual(self.server.balancer_state("lb1")["share"], 0.2)
        self.first.reply["warmup"] = 1.0
        lib.wait_for(lambda: self.server.balancer_state("lb1")["share"] == 0.5, "warm")

    def test_overrides_are_obeyed_and_survive_a_restart(self):
        self.server.ctl("down", "lb1")
        self.assertEqual(self.server.addresses(NAME), ["127.0.0.3"])
        self.assertEqual(self.server.balancer_state("lb1")["standing"], "forced_down")
        self.server.process.terminate()
        self.assertEqual(self.server.process.wait(15), 0)
        self.server.start()
        self.assertEqual(self.server.addresses(NAME), ["127.0.0.3"])
        self.server.ctl("auto", "lb1")
        lib.wait_for(lambda: len(self.server.addresses(NAME)) == 2, "lb1 is checked again")
        self.server.ctl("drain", "lb2")
        lib.wait_for(lambda: self.server.addresses(NAME) == ["127.0.0.2"], "lb2 is drained")
        refused = self.server.ctl("down", "lb9", check=False)
        self.assertEqual(refused.returncode, 3)
        self.assertIn("no balancer 'lb9'", refused.stdout)

    def test_when_all_are_down_all_are_given_out_and_it_is_said(self):
        self.first.reply["state"] = self.second.reply["state"] = "starting"
        lib.wait_for(lambda: self.server.states()["pools"][0]["all_down"], "all are down")
        self.assertEqual(len(self.server.addresses(NAME)), 2)
        self.assertFalse([b for b in self.server.states()["pools"][0]["balancers"]
                          if b["standing"] != "down"])

    def test_explain_tells_shares_and_what_if(self):
        explained = json.loads(self.server.ctl("explain", NAME, "--if-down", "lb1").stdout)
        now, then = explained["sets"][0], explained["sets_then"][0]
        self.assertEqual({r["balancer"]: r["share"] for r in now["records"]},
                         {"lb1": 0.5, "lb2": 0.5})
        self.assertEqual([r["balancer"] for r in then["records"]], ["lb2"])
        refused = self.server.ctl("explain", "nowhere.example.org", check=False)
        self.assertEqual(refused.returncode, 3)
        mistyped = self.server.ctl("staets", check=False)
        self.assertEqual(mistyped.returncode, 2)
        self.assertIn("did you mean 'states'?", json.loads(mistyped.stdout)["error"])

    def test_explain_knows_names_that_no_record_stands_at(self):
        made = json.loads(self.server.ctl("explain", "a.b.wild.example.org").stdout)
        self.assertEqual((made["kind"], made["source"]), ("from wildcard", "*.wild.example.org."))
        self.assertIn("192.0.2.66", made["sets"][0]["records"][0]["record"])
        empty = json.loads(self.server.ctl("explain", "_tcp.example.org").stdout)
        self.assertEqual((empty["kind"], empty["sets"]), ("empty non-terminal", []))
        self.assertEqual(self.server.query("_tcp.example.org", "A").rcode(), dns.rcode.NOERROR)
        below = json.loads(self.server.ctl("explain", "x.sub.example.org").stdout)
        self.assertEqual((below["kind"], below["source"]), ("delegated", "sub.example.org."))
        self.server.ctl("acme", "set", "example.org", "token")
        challenge = json.loads(self.server.ctl("explain", "_acme-challenge.example.org").stdout)
        self.assertEqual(challenge["sets"][0]["challenge"], "token")

    def test_metrics_have_one_series_a_state(self):
        text = self.server.page("/metrics")
        self.assertIn('mongoosedns_balancer_state{pool="xmpp",balancer="lb1",state="up"} 1', text)
        self.assertIn('mongoosedns_balancer_state{pool="xmpp",balancer="lb1",state="down"} 0', text)
        self.assertIn('mongoosedns_queries_total{transport="udp"}', text)
        stats = json.loads(self.server.ctl("stats").stdout)
        self.assertIn("queries", stats)
        top = self.server.ctl("top", "--rounds", "2").stdout.splitlines()
        self.assertEqual(len(top), 2)


class Talker:
    """A server that answers each connection with what it is told, TLS or not."""

    def __init__(self, greeting, tls=None):
        self.greeting = greeting
        self.listener = socket.create_server(("127.0.0.2", 0))
        self.port = self.listener.getsockname()[1]
        self.tls = tls
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    def talk(self, client):
        try:
            client.settimeout(5)
            if self.tls:
                client = self.tls.wrap_socket(client, server_side=True)
            client.recv(4096)
            greeting = self.greeting
            for i in range(0, len(greeting), 50):  # in pieces
                client.sendall(greeting[i:i + 50])
            client.recv(4096)
            client.close()
        except OSError:
            pass


FEATURES = (b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' version='1.0' "
            b"xmlns:stream='http://etherx.jabber.org/streams'><stream:features><starttls "
            b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
STREAM_ERROR = (b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'><stream:error>"
                b"<system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")


class Checks(unittest.TestCase):
    def serve(self, check):
        config = lib.BASE + lib.pool([("lb1", "127.0.0.2", 100), ("lb2", "127.0.0.2", 100)],
                                     check=check + 'interval = "100ms"\nfast_interval = "50ms"\n'
                                     'timeout = "500ms"\nrise = 1\nfall = 2\n')
        server = lib.Server(config + lib.ZONE, {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        return server

    def standing(self, server, standing):
        lib.wait_for(lambda: server.balancer_state("lb1")["standing"] == standing, standing)
        return server.balancer_state("lb1")["reason"]

    def test_xmpp_checks_want_stream_features(self):
        talker = Talker(FEATURES)
        self.addCleanup(talker.listener.close)
        server = self.serve(f'[[pool.xmpp.check]]\ntype = "xmpp"\nport = {talker.port}\n'
                            'to = "example.org"\n')
        self.assertIn("stream features", self.standing(server, "up"))
        for greeting, why in ((STREAM_ERROR, "stream error"), (b"SSH-2.0-x\r\n", "no XMPP stream"),
                              (b"<?xml version='1.0'?>" + b" " * 100_000, "")):
            talker.greeting = greeting
            self.assertIn(why, self.standing(server, "down"))
            talker.greeting = FEATURES
            self.standing(server, "up")

    def test_direct_tls_and_https_checks_handshake_first(self):
        directory = tempfile.mkdtemp(prefix="mongoosedns-tls-")
        self.addCleanup(shutil.rmtree, directory)
        lib.run(lib.have("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=lb", "-keyout",
                directory + "/key", "-out", directory + "/cert")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory + "/cert", directory + "/key")
        xmpps = Talker(FEATURES, context)
        self.addCleanup(xmpps.listener.close)
        server = self.serve(f'[[pool.xmpp.check]]\ntype = "xmpp"\nport = {xmpps.port}\n'
                            'to = "example.org"\ntls = true\n')
        self.assertIn("stream features", self.standing(server, "up"))
        https = Talker(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", context)
        self.addCleanup(https.listener.close)
        server = self.serve(f'[[pool.xmpp.check]]\ntype = "https"\nport = {https.port}\n')
        self.assertIn("HTTP status 200", self.standing(server, "up"))
        https.greeting = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
        self.assertIn("HTTP status 503", self.standing(server, "down"))

    def test_a_balancer_that_accepts_and_says_nothing_is_down(self):
        silent = Talker(b"")
        self.addCleanup(silent.listener.close)
        server = self.serve(f'[[pool.xmpp.check]]\ntype = "status"\nport = {silent.port}\n')
        self.assertIn("no answer within", self.standing(server, "down"))

    def test_a_check_of_one_service_takes_out_its_srv_records_alone(self):
        talker = Talker(STREAM_ERROR)
        self.addCleanup(talker.listener.close)
        server = self.serve(f'[[pool.xmpp.check]]\ntype = "xmpp"\nport = {talker.port}\n'
                            'to = "example.org"\nservices = ["xmpp-server"]\n')
        lib.wait_for(lambda: server.balancer_state("lb1")["checks"][0]["verdict"] == "down", "down")
        self.assertEqual(server.balancer_state("lb1")["standing"], "up")
        def all_down(service):
            explained = json.loads(server.ctl("explain", f"_xmpp-{service}._tcp.example.org").stdout)
            return explained["sets"][0]["all_down"]
        # What is answered follows the verdict in the loop's next turns.
        lib.wait_for(lambda: all_down("server"), "no server record is of one that is up")
        self.assertFalse(all_down("client"))


class Addresses(unittest.TestCase):
    def test_wildcards_answer_from_the_address_that_was_asked_and_ipv6_works(self):
        config = lib.BASE.replace('["127.0.0.1:@PORT@"]', '["0.0.0.0:@PORT@", "[::]:@PORT@"]')
        for engine in ("recvmmsg", "io_uring"):
            with self.subTest(engine=engine):
                server = lib.Server(config.replace("workers = 1", f'workers = 1\nudp_engine = "{engine}"') +
                                    lib.pool([("lb1", "198.51.100.1", 1)]) + lib.ZONE,
                                    {"example.org.zone": lib.ZONE_TEXT})
                self.addCleanup(server.stop)
                query = dns.message.make_query(NAME, "A")
                for address in ("127.0.0.1", "127.0.0.5", "127.9.9.9", "::1"):
                    for ask in (dns.query.udp, dns.query.tcp):  # they check where answers come from
                        answer = ask(query, address, port=server.port, timeout=5)
                        self.assertEqual(answer.answer[0][0].address, "198.51.100.1")
                self.assertNotIn("recvmmsg instead", server.log_text())

    INSIDE = "MONGOOSE_TWO_WAYS"
    # Two wires to the client, and an address of its own behind them: its queries come over one, the
    # route back to it is the other.
    TWO_WAYS = """
ip netns add client
ip link set lo up
ip -n client link set lo up
for n in 1 2; do
  ip link add s$n type veth peer name c$n netns client
  ip link set s$n up
  ip -n client link set c$n up
  ip address add 10.$n.0.1/24 dev s$n
  ip -n client address add 10.$n.0.2/24 dev c$n
  ip address add 2001:db8:$n::1/64 dev s$n nodad
  ip -n client address add 2001:db8:$n::2/64 dev c$n nodad
done
ip -n client address add 10.9.0.1/32 dev lo
ip -n client address add 2001:db8:9::1/128 dev lo
ip route add 10.9.0.1 via 10.2.0.2
ip route add 2001:db8:9::1 via 2001:db8:2::2
for name in all default s1 s2; do echo 0 > /proc/sys/net/ipv4/conf/$name/rp_filter; done
ip netns exec client sh -c '
for name in all default c1 c2; do echo 0 > /proc/sys/net/ipv4/conf/$name/rp_filter; done
echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore
echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce'
"""

    def test_answers_leave_by_the_route_to_the_client_whatever_way_its_query_came(self):
        if os.environ.get(self.INSIDE) != "1":
            script = ("mount -t tmpfs none /run && set -e\n" + self.TWO_WAYS +
                      "exec /usr/bin/python3 -B -m unittest dns_operations.Addresses."
                      "test_answers_leave_by_the_route_to_the_client_whatever_way_its_query_came")
            result = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", script],
                                    cwd=os.path.dirname(os.path.abspath(__file__)),
                                    env={**os.environ, self.INSIDE: "1"}, capture_output=True,
                                    text=True, timeout=100)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            return
        config = lib.BASE.replace('["127.0.0.1:@PORT@"]', '["0.0.0.0:@PORT@", "[::]:@PORT@"]')
        for engine in ("recvmmsg", "io_uring"):
            server = lib.Server(config.replace("workers = 1", f'workers = 1\nudp_engine = "{engine}"') +
                                lib.pool([("lb1", "198.51.100.1", 1)]) + lib.ZONE,
                                {"example.org.zone": lib.ZONE_TEXT})
            self.addCleanup(server.stop)
            for source, asked in (("10.9.0.1", "10.1.0.1"), ("2001:db8:9::1", "2001:db8:1::1")):
                with self.subTest(engine=engine, asked=asked):
                    done = subprocess.run(
                        ["ip", "netns", "exec", "client", "dig", "+short", "+tries=3", "+time=2",
                         "-b", source, f"@{asked}", "-p", str(server.port), NAME, "A"],
                        capture_output=True, text=True, timeout=30, check=False)
                    self.assertEqual(done.stdout.split()[-1:], ["198.51.100.1"], done.stdout)


class Acme(unittest.TestCase):
    def test_a_challenge_is_there_for_its_time(self):
        server = lib.Server(lib.BASE + lib.pool([("lb1", "198.51.100.1", 1)]) + lib.ZONE,
                            {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        self.assertEqual(server.query("_acme-challenge.example.org", "TXT").rcode(),
                         dns.rcode.NXDOMAIN)
        server.ctl("acme", "set", "example.org", "token-one", "--seconds", "2")
        server.ctl("acme", "set", "example.org", "token-two", "--seconds", "600")
        answer = server.query("_acme-challenge.example.org", "TXT").answer[0]
        self.assertEqual({r.strings[0] for r in answer}, {b"token-one", b"token-two"})
        lib.wait_for(lambda: len(server.query("_acme-challenge.example.org", "TXT").answer[0]) == 1,
                     "the first one is gone")
        refused = server.ctl("acme", "set", "example.com", "token", check=False)
        self.assertEqual(refused.returncode, 1)


class Asker(threading.Thread):
    """Asks without pause and counts queries that got no answer in time."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.asked = 0
        self.lost = 0
        self.ending = False
        self.start()

    def run(self):
        query = dns.message.make_query(NAME, "A")
        while not self.ending:
            self.asked += 1
            try:
                answer = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=5)
                if not answer.answer:
                    self.lost += 1
            except Exception:  # a timeout, or an ICMP error while no socket is there
                self.lost += 1

    def end(self):
        self.ending = True
        self.join(10)


class ServiceManager(unittest.TestCase):
    def test_systemd_hears_ready_watchdog_reload_and_stop(self):
        with tempfile.TemporaryDirectory() as directory:
            notify = NotifySocket(os.path.join(directory, "notify"))
            self.addCleanup(notify.close)
            with unittest.mock.patch.dict(os.environ, {"NOTIFY_SOCKET": notify.path,
                                                       "WATCHDOG_USEC": "1000000"}):
                server = lib.Server(lib.BASE + lib.pool([("lb1", "198.51.100.1", 1)]) + lib.ZONE,
                                    {"example.org.zone": lib.ZONE_TEXT})
            self.addCleanup(server.stop)
            notify.wait_for("READY", value="1")
            notify.wait_for("STATUS")
            notify.wait_for("WATCHDOG")
            before = len(notify.messages)
            notify.wait_for("WATCHDOG", after=before)  # it goes on
            server.process.send_signal(signal.SIGHUP)
            notify.wait_for("RELOADING", after=before)
            notify.wait_for("READY", after=before)
            server.process.terminate()
            notify.wait_for("STOPPING", after=before)


class ReloadAndUpgrade(unittest.TestCase):
    def setUp(self):
        self.server = lib.Server(lib.BASE + lib.pool([("lb1", "198.51.100.1", 100)]) + lib.ZONE +
                                 '\n[rate_limit]\nresponses = "0"\n',
                                 {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(self.server.stop)

    def rewrite(self, old, new):
        with open(self.server.config_path, encoding="utf-8") as file:
            text = file.read()
        self.assertIn(old, text)
        with open(self.server.config_path, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))

    def test_reload_applies_whole_or_not_at_all_and_loses_no_query(self):
        askers = [Asker(self.server.port) for _ in range(2)]
        self.rewrite("198.51.100.1", "198.51.100.2")
        self.server.reload()
        self.assertEqual(self.server.addresses(NAME), ["198.51.100.2"])
        self.rewrite("198.51.100.2", "198.51.100.3")
        self.rewrite("ttl_max = 60", "ttl_maximum = 60")
        refused = self.server.ctl("reload", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("ttl_max", refused.stdout)
        self.assertEqual(self.server.addresses(NAME), ["198.51.100.2"])
        self.rewrite("ttl_maximum = 60", "ttl_max = 60")
        self.rewrite('nsid = "ns1.test"', 'nsid = "other"')  # this one starts the workers anew
        for _ in range(5):
            self.server.reload()
        self.assertEqual(self.server.addresses(NAME), ["198.51.100.3"])
        self.server.process.send_signal(1)  # SIGHUP
        lib.wait_for(lambda: 'mongoosedns_reloads_total{result="applied"} 7' in
                     self.server.page("/metrics"), "SIGHUP reloads, too")
        for asker in askers:
            asker.end()
            self.assertGreater(asker.asked, 10)
            self.assertEqual(asker.lost, 0)

    def test_upgrade_takes_the_sockets_over_and_loses_no_query(self):
        askers = [Asker(self.server.port) for _ in range(2)]
        before = self.server.metric('mongoosedns_queries_total{transport="udp"}')
        for _ in range(3):
            old = json.loads(self.server.ctl("status").stdout)["pid"]
            new = json.loads(self.server.ctl("upgrade").stdout)["pid"]
            self.server.taken_over_pid = new
            self.assertNotEqual(old, new)
            lib.wait_for(lambda: not os.path.exists(f"/proc/{old}") or
                         self.server.process.poll() is not None, "the old process ends")
        for asker in askers:
            asker.end()
            self.assertGreater(asker.asked, 10)
            self.assertEqual(asker.lost, 0)
        after = lib.wait_for(lambda: self.server.metric(
            'mongoosedns_queries_total{transport="udp"}'), "metrics")
        self.assertGreater(after, before)


class Majority(unittest.TestCase):
    """Three DNS nodes; one sees a balancer that the others do not, and the other way round."""

    def test_the_majority_decides_who_is_down(self):
        balancer = lib.Balancer("127.0.0.2")
        self.addCleanup(balancer.stop)
        servers = []
        # Each node checks through a port of its own, so that a test can blind one of them.
        eyes = [lib.Balancer("127.0.0.2") for _ in range(3)]
        ports = [lib.free_port() for _ in range(3)]
        for i in range(3):
            peers = ", ".join(f'"127.0.0.1:{p}"' for j, p in enumerate(ports) if j != i)
            config = lib.BASE.replace("@ADMIN@", str(ports[i])) + lib.pool(
                [("lb1", "127.0.0.2", 100), ("lb2", "127.0.0.3", 100)],
                check=lib.status_check(eyes[i].port).replace('rise = 2', 'rise = 1'))
            config += f'[quorum]\npeers = [{peers}]\ninterval = "100ms"\n' + lib.ZONE
            server = lib.Server(config, {"example.org.zone": lib.ZONE_TEXT}, wait=False)
            server.admin_port = ports[i]
            servers.append(server)
            self.addCleanup(server.stop)
        for server in servers:
            lib.wait_for(lambda s=server: s.page("/readyz") == "ok\n", "ready")
            lib.wait_for(lambda s=server: s.balancer_state("lb1")["standing"] == "up", "lb1 is up")
        eyes[0].stop()  # node 0 is blind: two others outvote it
        lib.wait_for(lambda: "1 of 3 DNS nodes" in servers[0].balancer_state("lb1")["reason"],
                     "node 0 is outvoted")
        self.assertEqual(servers[0].balancer_state("lb1")["standing"], "up")
        eyes[1].stop()  # now two of three see it down
        for server in servers:
            lib.wait_for(lambda s=server: s.balancer_state("lb1")["standing"] == "down",
                         "the majority sees lb1 down")
        self.assertIn("2 of 3 DNS nodes", servers[2].balancer_state("lb1")["reason"])
        eyes[2].stop()


class Rights(unittest.TestCase):
    def test_root_is_given_up_and_what_is_served_goes_on(self):
        state = tempfile.mkdtemp(prefix="mongoosedns-state-")
        self.addCleanup(shutil.rmtree, state)
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(state, nobody, -1)
        config = lib.BASE.replace("workers = 1", 'workers = 2\nuser = "nobody"')
        config = config.replace("@DIR@/state.json", f"{state}/state.json")
        server = lib.Server(config + lib.pool([("lb1", "198.51.100.1", 1)]) + lib.ZONE,
                            {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        self.assertEqual(server.addresses(NAME), ["198.51.100.1"])
        server.ctl("acme", "set", "example.org", "token")  # writes the state file
        self.assertEqual(os.stat(f"{state}/state.json").st_uid, nobody)
        tasks = os.listdir(f"/proc/{server.process.pid}/task")
        self.assertGreaterEqual(len(tasks), 3)
        for task in tasks:
            with open(f"/proc/{server.process.pid}/task/{task}/status", encoding="utf-8") as file:
                status = dict(l.split(":", 1) for l in file.read().splitlines() if ":" in l)
            self.assertEqual(set(status["Uid"].split()), {str(nobody)}, status["Name"])
            # At most CAP_NET_BIND_SERVICE, for reloads.
            self.assertIn(int(status["CapEff"], 16), (0, 1 << 10), status["Name"])

    def test_no_copy_of_a_key_is_left_where_memory_was_freed(self):
        keys = tempfile.mkdtemp(prefix="mongoosedns-keys-")
        self.addCleanup(shutil.rmtree, keys)
        path, _, dnskey = lib.make_key(keys)
        with open(path, encoding="utf-8") as file:
            text = re.search(r"^PrivateKey: (\S+)", file.read(), re.MULTILINE)[1].encode()
        server = lib.Server(lib.BASE + lib.pool([("lb1", "198.51.100.1", 1)]) +
                            lib.ZONE.replace("file =", f'keys = ["{path}"]\nfile ='),
                            {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        self.assertTrue(server.query(NAME, "A", want_dnssec=True).answer)
        server.reload()
        # OpenSSL keeps the number in the machine's order: what stands in the file's is a copy.
        secrets = {"as text": text, "as bytes": base64.b64decode(text)}
        memory = self.memory(server)
        self.assertIn(base64.b64decode(dnskey.split()[-1]), memory, "the public key is there to be seen")
        found = [what for what, secret in secrets.items() if secret in memory]
        self.assertEqual(found, [])

    @staticmethod
    def memory(server):
        """All that the process may write to."""
        pid = server.process.pid
        parts = []
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
            for line in maps:
                area, rights, *_ = line.split()
                if not rights.startswith("rw") or "[v" in line:
                    continue
                begin, end = (int(edge, 16) for edge in area.split("-"))
                mem.seek(begin)
                try:
                    parts.append(mem.read(end - begin))
                except OSError:
                    pass  # a guard, or gone
        return b"\0".join(parts)


class Text(unittest.TestCase):
    def test_what_people_read_has_its_quotes_and_white_space(self):
        server = lib.Server(lib.BASE + lib.pool([("lb1", "198.51.100.1", 1)]) + lib.ZONE,
                            {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)

        def said(*words):
            done = subprocess.run([lib.PROGRAM, "ctl", "--socket", server.ctl_socket, *words],
                                  capture_output=True, text=True, timeout=20, check=False)
            return done.stdout + done.stderr

        server.write("example.org.zone", lib.ZONE_TEXT + 'bad TXT "open\n')
        for text in (said("down", 'l"b'), said("explain", "xmpp.example.org"), said("states"),
                     said("stats"), said("keys"), said("reload")):
            self.assertNotIn('\\"', text)
            self.assertNotIn("\\t", text)
            self.assertNotIn("\\n", text)
        self.assertIn('l"b', said("down", 'l"b'))
        self.assertIn("example.org.zone:", said("reload"))


class BadConfiguration(unittest.TestCase):
    def check(self, config, *expected):
        server = lib.Server.__new__(lib.Server)
        with tempfile.TemporaryDirectory() as directory:
            server.directory, server.port, server.admin_port, server.tls_port = directory, 1, 2, 3
            server.write("example.org.zone", lib.ZONE_TEXT)
            path = server.write("c.toml", server.fill(config))
            result = subprocess.run([lib.PROGRAM, "check", path], capture_output=True, text=True,
                                    timeout=20)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        for text in expected:
            self.assertIn(text, result.stderr)

    def test_mistakes_are_named_with_file_line_key_and_remedy(self):
        good_pool = lib.pool([("lb1", "198.51.100.1", 100)])
        self.check(lib.BASE.replace("workers", "wrokers") + good_pool + lib.ZONE,
                   "c.toml:4: server.wrokers", "workers")
        self.check(lib.BASE + good_pool + lib.ZONE.replace('pool = "xmpp"', 'pool = "xmmp"'),
                   "did you mean 'xmpp'")
        self.check(lib.BASE + lib.pool([("lb1", "198.51.100.1.9.9.9", 100)]) + lib.ZONE,
                   "not an IP address")
        self.check(lib.BASE + good_pool + lib.ZONE.replace("xmpp-client:5222", "xmpp:99999"),
                   "write SERVICE:PORT")
        self.check(lib.BASE + good_pool + lib.ZONE.replace("example.org.zone", "missing.zone"),
                   "cannot be opened")
        self.check(lib.BASE + good_pool + '[zone."example.org"]\nns = ["ns1"]\n'
                   'records = ["www A 192.0.2.300"]\n', "www A 192.0.2.300")
        self.check("[server]\n", "server.listen: is missing")

    def test_a_port_in_use_is_an_error_at_start(self):
        server = lib.Server(lib.BASE + lib.pool([("lb1", "198.51.100.1", 1)]) + lib.ZONE,
                            {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        config = server.config_path
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with open(config, encoding="utf-8") as file:
            text = file.read().replace(f":{server.port}\"", f":{port}\"")
        other = server.write("other.toml", text)
        result = subprocess.run([lib.PROGRAM, "run", other], capture_output=True, text=True,
                                timeout=20)
        self.assertEqual(result.returncode, 1)
        self.assertIn("is another DNS server running there?", result.stderr)


if __name__ == "__main__":
    unittest.main()
