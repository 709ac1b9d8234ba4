"""What mongoosedns remembers: serials that never go back, verdicts, drains, ACME tokens and the
operator's word, over health changes, edits, restarts and kill -9; and what its checks judge."""

import json
import os
import signal
import socket
import threading
import unittest

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.xfr
import dns.zone

import dns_lib as lib

NAME = "xmpp.example.org"
TRANSFER = '\ntransfer_allow = ["127.0.0.0/8"]\n'


def zone_with(lines):
    return lib.ZONE.replace('file = "example.org.zone"\n', 'file = "example.org.zone"\n' + lines)


class NotifyCounter(threading.Thread):
    """A secondary that acknowledges each NOTIFY, counts those that are new, and knows from where."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.ids = set()
        self.sources = set()
        self.start()

    def run(self):
        while True:
            try:
                packet, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            self.ids.add(packet[:2])
            self.sources.add(peer[0])
            self.socket.sendto(packet[:2] + bytes([packet[2] | 0x80]) + packet[3:], peer)


class Serials(unittest.TestCase):
    def setUp(self):
        self.balancers = [lib.Balancer("127.0.0.2")]
        self.balancers.append(lib.Balancer("127.0.0.3", self.balancers[0].port))
        self.secondary = NotifyCounter()
        self.addCleanup(self.secondary.socket.close)
        for balancer in self.balancers:
            self.addCleanup(balancer.stop)
        config = lib.BASE + lib.pool(
            [("lb1", "127.0.0.2", 100), ("lb2", "127.0.0.3", 100)],
            check=lib.status_check(self.balancers[0].port))
        config += zone_with(TRANSFER + f'notify = ["127.0.0.1:{self.secondary.port}"]\n')
        self.server = lib.Server(config, {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(self.server.stop)
        lib.wait_for(lambda: self.both_up(), "both are up")

    def both_up(self):
        return all(self.server.balancer_state(n)["standing"] == "up" for n in ("lb1", "lb2"))

    def serial(self):
        return self.server.query("example.org", "SOA").answer[0][0].serial

    def transferred(self):
        zone = dns.zone.from_xfr(dns.query.xfr("127.0.0.1", "example.org", port=self.server.port))
        soa = zone.get_rdataset("@", "SOA")[0]
        self.assertEqual(soa.serial, self.serial())
        return zone

    def kill(self):
        self.server.process.send_signal(signal.SIGKILL)
        self.server.process.wait(15)
        self.server.start()

    def change_health(self):
        """One change each way; the serial after it."""
        before = self.serial()
        state = self.balancers[0].reply["nodes_up"]
        self.balancers[0].reply["nodes_up"] = 0 if state else 3
        lib.wait_for(lambda: len(self.server.addresses(NAME)) == (1 if state else 2), "the change")
        after = self.serial()
        self.assertGreater(after, before)
        return after

    def test_a_serial_is_never_given_twice_to_different_contents(self):
        self.assertEqual(self.serial(), 7)
        for _ in range(3):
            last = self.change_health()  # an odd number: lb1 is out now
        self.kill()
        self.assertEqual(len(self.server.addresses(NAME)), 1, "the verdict outlives kill -9")
        self.assertEqual(self.serial(), last, "the same content keeps its serial")
        last = self.change_health()
        # The operator edits the zone and counts up by one, far below what was published.
        self.server.write("example.org.zone", lib.ZONE_TEXT.replace("hostmaster 7", "hostmaster 8") +
                          "edited IN A 192.0.2.200\n")
        self.server.reload()
        self.assertGreater(self.serial(), last)
        self.assertIn("edited", {str(n) for n in self.transferred().nodes})
        last = self.serial()
        # Edited while it does not run.
        self.server.process.terminate()
        self.server.process.wait(15)
        self.server.write("example.org.zone", lib.ZONE_TEXT + "other IN A 192.0.2.201\n")
        self.server.start()
        self.assertGreater(self.serial(), last)
        self.assertIn("other", {str(n) for n in self.transferred().nodes})

    def test_secondaries_are_told_of_changes_alone(self):
        def heard(count):
            lib.wait_for(lambda: len(self.secondary.ids) >= count, "NOTIFY")
            return len(self.secondary.ids)
        def acknowledged(count):
            name = 'mongoosedns_notify_total{result="acknowledged"}'
            lib.wait_for(lambda: self.server.metric(name) >= count, "the acknowledgement")
            return self.server.metric(name)
        count = heard(1)
        known = acknowledged(1)
        self.change_health()
        count = heard(count + 1)
        acknowledged(known + 1)  # what is not known to be heard is told again
        self.server.reload()  # nothing changed
        self.kill()
        self.server.reload()
        self.change_health()
        self.assertEqual(heard(count + 1), count + 1)

    def test_a_challenge_reaches_secondaries_and_outlives_the_process(self):
        before = self.serial()
        heard = len(self.secondary.ids)
        self.server.ctl("acme", "set", "example.org", "token-one")
        self.assertGreater(self.serial(), before)
        lib.wait_for(lambda: len(self.secondary.ids) > heard, "NOTIFY")
        self.assertIn("_acme-challenge", {str(n) for n in self.transferred().nodes})
        self.kill()
        answer = self.server.query("_acme-challenge.example.org", "TXT").answer[0]
        self.assertEqual(answer[0].strings, (b"token-one",))
        self.server.ctl("acme", "set", "www.example.org", "token-two")
        new = json.loads(self.server.ctl("upgrade").stdout)["pid"]
        self.server.taken_over_pid = new
        listed = json.loads(self.server.ctl("acme", "list").stdout)["challenges"]
        self.assertEqual({(c["name"], c["token"]) for c in listed},
                         {("_acme-challenge.example.org.", "token-one"),
                          ("_acme-challenge.www.example.org.", "token-two")})
        self.server.ctl("acme", "clear", "www.example.org")
        self.assertEqual(len(json.loads(self.server.ctl("acme", "list").stdout)["challenges"]), 1)
        self.server.ctl("acme", "clear")
        self.assertEqual(self.server.query("_acme-challenge.example.org", "TXT").rcode(),
                         dns.rcode.NXDOMAIN)

    def test_a_challenge_below_a_delegation_is_refused(self):
        for name in ("sub.example.org", "deep.sub.example.org"):
            refused = self.server.ctl("acme", "set", name, "token", check=False)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("below the delegation of sub.example.org.", refused.stdout)


class NotifySource(unittest.TestCase):
    """Secondaries believe a NOTIFY by its address: that which they ask, or the one that is told."""

    def heard(self, listen, extra=""):
        secondary = NotifyCounter()
        self.addCleanup(secondary.socket.close)
        server = lib.Server(
            lib.BASE.replace('["127.0.0.1:@PORT@"]', f'["{listen}:@PORT@"]') +
            lib.pool([("lb1", "198.51.100.1", 1)]) +
            zone_with(TRANSFER + extra + f'notify = ["127.0.0.1:{secondary.port}"]\n'),
            {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        lib.wait_for(lambda: secondary.sources, "NOTIFY")
        return secondary.sources

    def test_it_is_the_address_that_is_asked_or_the_one_that_is_told(self):
        self.assertEqual(self.heard("127.0.0.5"), {"127.0.0.5"})
        self.assertEqual(self.heard("127.0.0.5", 'notify_source = "127.0.0.9"\n'), {"127.0.0.9"})
        self.assertEqual(self.heard("0.0.0.0", 'notify_source = "127.0.0.9"\n'), {"127.0.0.9"})


class Judged(unittest.TestCase):
    def serve(self, balancers, check, extra=""):
        server = lib.Server(lib.BASE + lib.pool(balancers, extra=extra, check=check) + lib.ZONE,
                            {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        return server

    def test_what_the_operator_took_out_stays_out_when_all_are_down(self):
        server = self.serve([("lb1", "127.0.0.2", 100), ("lb2", "127.0.0.3", 100)],
                            f'[[pool.xmpp.check]]\ntype = "tcp"\nport = {lib.free_port()}\n'
                            'interval = "100ms"\nfast_interval = "50ms"\ntimeout = "1s"\n')
        lib.wait_for(lambda: all(server.balancer_state(n)["standing"] == "down"
                                 for n in ("lb1", "lb2")), "both are down")
        self.assertEqual(len(server.addresses(NAME)), 2)  # all_down = "all"
        server.ctl("down", "lb1")
        self.assertEqual(server.addresses(NAME), ["127.0.0.3"])

    def test_each_address_is_checked_and_a_dead_one_is_out_alone(self):
        listener = socket.create_server(("127.0.0.2", 0))
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]
        pool = lib.pool([("lb1", "127.0.0.2", 100)]).replace(
            'addresses = ["127.0.0.2"]', 'addresses = ["127.0.0.2", "::1"]')
        pool += (f'[[pool.xmpp.check]]\ntype = "tcp"\nport = {port}\ninterval = "100ms"\n'
                 'fast_interval = "50ms"\ntimeout = "1s"\n')
        server = lib.Server(lib.BASE + pool + lib.ZONE, {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)
        for name in (NAME, "lb1." + NAME):
            lib.wait_for(lambda n=name: server.addresses(n, "AAAA") == [], f"no AAAA of {name}")
            self.assertEqual(server.addresses(name), ["127.0.0.2"])
            self.assertEqual(server.query(name, "AAAA").rcode(), dns.rcode.NOERROR)
        srv = server.query("_xmpp-client._tcp.example.org", "SRV")
        self.assertEqual([dns.rdatatype.to_text(s.rdtype) for s in srv.additional], ["A"])
        state = server.balancer_state("lb1")
        self.assertEqual(state["standing"], "up")
        self.assertIn("::1 is out", state["reason"])
        self.assertEqual(state["addresses_out"], ["::1"])
        six = socket.create_server(("::1", port), family=socket.AF_INET6)
        self.addCleanup(six.close)
        lib.wait_for(lambda: server.addresses(NAME, "AAAA") == ["::1"], "::1 is back")

    def test_own_limits_take_no_balancer_out(self):
        """1,536 healthy balancers, checked four times a second each."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.addCleanup(listener.close)

        def accept():
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        for _ in range(2):
            threading.Thread(target=accept, daemon=True).start()
        port = listener.getsockname()[1]
        pools = ""
        for p in range(24):
            pools += f"[pool.p{p}]\n"
            for b in range(64):
                pools += f'[[pool.p{p}.balancer]]\nname = "lb{b}"\naddresses = ["127.0.0.1"]\n'
            pools += (f'[[pool.p{p}.check]]\ntype = "tcp"\nport = {port}\ninterval = "250ms"\n'
                      'fast_interval = "250ms"\ntimeout = "5s"\nfall = 1\n')
        server = lib.Server(lib.BASE + pools + '[zone."example.org"]\nfile = "example.org.zone"\n',
                            {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(server.stop)

        def standings():
            return [b["standing"] for p in server.states()["pools"] for b in p["balancers"]]

        lib.wait_for(lambda: all(s == "up" for s in standings()), "all are checked", 60)
        made = server.metric('mongoosedns_checks_total{result="made"}')
        lib.wait_for(lambda: server.metric('mongoosedns_checks_total{result="made"}') >
                     made + 2 * 1536, "two more rounds", 60)
        self.assertEqual({s: standings().count(s) for s in set(standings())}, {"up": 1536})

    def test_a_drain_goes_on_where_it_was_after_a_restart(self):
        server = self.serve([("lb1", "127.0.0.2", 100), ("lb2", "127.0.0.3", 100)], "",
                            extra='drain = "10m"\nsteps = 100')
        server.ctl("drain", "lb1")
        path = os.path.join(server.directory, "state.json")

        def since():
            with open(path, encoding="utf-8") as file:
                return json.load(file)["balancers"]["xmpp/lb1"]["draining_since_ms"]

        before = since()
        # As if it had begun five minutes ago.
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(15)
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        state["balancers"]["xmpp/lb1"]["draining_since_ms"] = before - 300_000
        with open(path, "w", encoding="utf-8") as file:
            json.dump(state, file)
        server.start()
        self.assertAlmostEqual(server.balancer_state("lb1")["factor"], 0.5, delta=0.06)
        self.assertEqual(server.balancer_state("lb1")["override"], "drain")


if __name__ == "__main__":
    unittest.main()
