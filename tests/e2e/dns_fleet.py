"""A whole fleet: Knot, NSD and BIND, each with a key of its own, follow a signed zone by IXFR through a
hundred changes of health, an edit, a restart, kill -9 and a key rollover, and an Unbound in front of
each validates. At no moment may a resolver see SERVFAIL, a serial go back, or an answer be of a state
that had ended longer ago than its TTL."""

import shutil
import signal
import tempfile
import threading
import time
import unittest

import dns.exception
import dns.flags
import dns.rcode
import dns.rdatatype

import dns_lib as lib
import dns_tsig
import dns_zones

NAME = "xmpp.example.org"
CHANGES = 100
# From a change to the last secondary that has it. Their own pace is a second at most.
FOLLOWED_WITHIN = 20


class NsdByDifferences(dns_tsig.Nsd):
    style = ""


KINDS = ((dns_tsig.Knot, "hmac-sha512"), (NsdByDifferences, "hmac-sha256"),
         (dns_tsig.Bind, "hmac-sha384"))


class States:
    """Which addresses the secondaries have or may have now, and when those before were last seen."""

    def __init__(self, addresses, ttl):
        self.ttl = ttl
        self.now = {frozenset(addresses)}
        self.ended = {}

    def change(self, addresses):
        """From here on some have these."""
        self.now = self.now | {frozenset(addresses)}

    def settle(self, addresses):
        """All have these, and nothing else."""
        for old in self.now - {frozenset(addresses)}:
            self.ended[old] = time.monotonic()
        self.now = {frozenset(addresses)}

    def stale(self, addresses, asked_at):
        """How long the answer to a question of that time is older than its TTL lets it be."""
        if frozenset(addresses) in self.now:
            return 0
        # A second: TTLs are whole ones, and a resolver's clock turns when it will.
        return asked_at - self.ended.get(frozenset(addresses), 0) - self.ttl - 1


class Watch:
    """Asks each secondary for its serial, and each resolver for the pool, all the time."""

    def __init__(self, secondaries, states):
        self.secondaries = secondaries
        self.states = states
        self.old_answers = 0
        self.resolvers = []
        self.keepers = []
        self.faults = []
        self.asked = 0
        self.stop_asking = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            self.ask()
        except Exception as error:  # else it would end unseen, and nothing more be watched
            self.faults.append(f"the watch itself: {error!r}")
            raise

    def ask(self):
        last = {}
        while not self.stop_asking.is_set():
            for secondary in self.secondaries:
                try:
                    serial = secondary.soa()
                except (OSError, dns.exception.DNSException, IndexError):
                    continue  # too busy, or between two states of its own; a resolver would ask again
                if serial < last.get(secondary, 0):
                    self.faults.append(f"{secondary}: serial {last[secondary]}, then {serial}")
                last[secondary] = serial
            for resolver in [*self.resolvers, *self.keepers]:
                asked_at = time.monotonic()
                try:
                    answer = resolver.ask(NAME)
                except (OSError, dns.exception.DNSException):
                    continue
                self.asked += 1
                found = [one.address for rrset in answer.answer if rrset.rdtype == dns.rdatatype.A
                         for one in rrset]
                self.old_answers += frozenset(found) not in self.states.now
                if (late := self.states.stale(found, asked_at)) > 0:
                    self.faults.append(f"{found}: stale for {late:.1f} s beyond its TTL")
                if answer.rcode() != dns.rcode.NOERROR or not answer.flags & dns.flags.AD:
                    self.faults.append(f"{answer}\n{resolver.log()}")
                    return

    def stop(self):
        self.stop_asking.set()
        self.thread.join()


class Fleet(unittest.TestCase):
    set_times = dns_zones.Rollover.set_times

    def setUp(self):
        self.keys = tempfile.mkdtemp(prefix="mongoosedns-keys-")
        self.addCleanup(shutil.rmtree, self.keys)
        self.old, _, self.old_key = lib.make_key(self.keys)
        self.new, _, self.new_key = lib.make_key(self.keys)
        self.set_times(self.new, Publish=86400, Activate=2 * 86400)
        balancers = [lib.Balancer("127.0.0.2")]
        balancers.append(lib.Balancer("127.0.0.3", balancers[0].port))
        for balancer in balancers:
            self.addCleanup(balancer.stop)
        self.balancer = balancers[0]
        self.secondaries = [kind(self, algorithm) for kind, algorithm in KINDS]
        entries = "".join(
            dns_tsig.secondary(key=f'"{other.algorithm}.key"', notify=f'"127.0.0.1:{other.port}"',
                               networks='["127.0.0.1"]') for other in self.secondaries)
        pool = lib.pool([("lb1", "127.0.0.2", 100), ("lb2", "127.0.0.3", 100)],
                        check=lib.status_check(balancers[0].port, "50ms"))
        config = (lib.BASE + pool + '\n[tsig]\nkey_files = "tsig.keys"\n' +
                  '[rate_limit]\nresponses = "0"\n' +
                  lib.ZONE.replace("file =", f'keys = ["{self.old}", "{self.new}"]\n'
                                   "dnskey_ttl = 1\nfile =") + entries)
        self.server = dns_tsig.SignedServer(config, {"example.org.zone": lib.ZONE_TEXT})
        self.addCleanup(self.server.stop)
        lib.wait_for(lambda: len(self.server.addresses(NAME)) == 2 and
                     self.server.balancer_state("lb1")["standing"] == "up", "both are up")
        for other in self.secondaries:
            other.start(self.server)
        self.last = 0
        self.slowest = 0.0
        self.in_step("the first transfer")
        self.resolvers = [dns_zones.Unbound(self, other.port, [self.old_key]) for other in self.secondaries]
        first = self.server.query(NAME).answer[0]
        self.states = States([one.address for one in first], first.ttl)
        self.watch = Watch(self.secondaries, self.states)
        self.addCleanup(self.watch.stop)
        self.watch.resolvers = self.resolvers
        # Others keep what they have for as long as it may be kept.
        self.watch.keepers = [dns_zones.Unbound(self, other.port, [self.old_key], cache_max_ttl=86400)
                              for other in self.secondaries]

    def serial(self):
        return self.server.query("example.org", "SOA").answer[0][0].serial

    def in_step(self, what, names=()):
        """All have what the primary has, and each resolver validates it."""
        began = time.monotonic()
        for other in self.secondaries:
            lib.wait_for(lambda: other.soa() == self.serial() and
                         other.addresses() == sorted(self.server.addresses(NAME)),
                         f"{type(other).__name__}: {what}", FOLLOWED_WITHIN)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.assertGreaterEqual(self.serial(), self.last, what)
        self.last = self.serial()
        for resolver in getattr(self, "resolvers", ()):
            for name in (NAME, *names):
                answer = resolver.ask(name)
                self.assertNotEqual(answer.rcode(), dns.rcode.SERVFAIL, f"{what}\n{resolver.log()}")
                self.assertTrue(answer.flags & dns.flags.AD, f"{what}: {name}\n{resolver.log()}")
        self.check_watch()

    def check_watch(self):
        if hasattr(self, "watch"):
            self.assertEqual(self.watch.faults, [])

    def change(self, down, what):
        self.states.ttl = max(self.states.ttl, self.server.query(NAME).answer[0].ttl)
        addresses = ["127.0.0.3"] if down else ["127.0.0.2", "127.0.0.3"]
        self.states.change(addresses)
        self.balancer.reply["nodes_up"] = 0 if down else 3
        lib.wait_for(lambda: sorted(self.server.addresses(NAME)) == addresses, what)
        self.in_step(what)
        self.states.settle(addresses)

    ALL = ("www.example.org", "missing.example.org", "a.wild.example.org", "lb1." + NAME)

    def test_three_kinds_of_secondaries_follow_everything_and_no_resolver_ever_fails(self):
        self.in_step("the beginning", self.ALL)
        for i in range(CHANGES):
            self.change(i % 2 == 0, f"change {i}")
        differences = self.server.metric("mongoosedns_transfers_incremental_total")
        self.assertGreaterEqual(differences, CHANGES, "they take differences")
        self.in_step("a hundred changes", self.ALL)

        self.server.write("example.org.zone", lib.ZONE_TEXT + "edited IN A 192.0.2.200\n")
        self.server.reload()
        self.in_step("an edit", ("edited.example.org", *self.ALL))

        self.server.process.terminate()
        self.assertEqual(self.server.process.wait(15), 0)
        for resolver in self.resolvers:
            self.assertTrue(resolver.ask(NAME).flags & dns.flags.AD, "without the primary")
        self.server.start()
        self.in_step("a restart", self.ALL)
        self.change(True, "a change after the restart")
        self.server.process.send_signal(signal.SIGKILL)
        self.server.process.wait(15)
        self.server.start()
        self.in_step("kill -9", self.ALL)
        self.change(False, "a change after kill -9")
        self.rollover()
        self.change(True, "a change after the rollover")
        self.check_watch()
        self.assertGreater(self.watch.asked, 100)
        self.assertGreater(self.watch.old_answers, 0, "caches hold what was, until its TTL")
        print(f"\nTTL {self.states.ttl} s, {self.watch.old_answers} answers from caches that were older, "
              f"slowest step {self.slowest:.2f} s, {self.watch.asked} answers of resolvers watched, "
              f"{int(self.server.metric('mongoosedns_transfers_incremental_total'))} IXFR since the "
              "last start")

    def rollover(self):
        day, past = 86400, -86400
        steps = ((dict(Publish=past, Activate=day, SyncPublish=day), {}),  # published
                 (dict(Publish=past, Activate=past, SyncPublish=past),     # both sign
                  dict(Inactive=day, SyncDelete=past)),
                 (dict(Publish=past, Activate=past, SyncPublish=past),     # the new one signs
                  dict(Inactive=past, SyncDelete=past)),
                 (dict(Publish=past, Activate=past, SyncPublish=past),     # the old one is gone
                  dict(Inactive=past, SyncDelete=past, Delete=past)))
        for i, (new_times, old_times) in enumerate(steps):
            if i == 3:  # the parent's DS of the old key has timed out everywhere
                self.watch.keepers = []
                self.resolvers = self.resolvers[3:]
                self.watch.resolvers = self.resolvers
            self.set_times(self.new, **new_times)
            self.set_times(self.old, **old_times)
            before = self.serial()
            self.server.reload()
            self.assertGreater(self.serial(), before, f"step {i}")
            self.in_step(f"step {i} of the rollover", self.ALL)
            if i == 0:  # resolvers that the parent has told of the new key
                self.resolvers = self.resolvers + [dns_zones.Unbound(self, other.port, [self.new_key])
                                                   for other in self.secondaries]
                self.watch.resolvers = self.resolvers
                self.in_step("resolvers that know the new key", self.ALL)


if __name__ == "__main__":
    unittest.main()
