"""The same questions to mongoosedns, Knot and NSD, which have its zone by transfer: random names, made
of the labels of the zone and of others, with the types and flags that clients use. What differs must
be what we mean to differ in, and nothing else."""

import os
import random
import unittest

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

import dns_lib as lib
import dns_tsig

QUESTIONS = int(os.environ.get("MONGOOSE_QUESTIONS", "2000"))

# Cuts, with and without glue, names below them; aliases in chains, out of the zone, to nowhere, to
# wildcards; wildcards of several depths, one that a name blocks; a DNAME; empty non-terminals.
ZONE_TEXT = lib.ZONE_TEXT + """\
deep.a.b IN A 192.0.2.10
chain1 IN CNAME chain2
chain2 IN CNAME www
out IN CNAME www.example.net.
gone IN CNAME nothing
towild IN CNAME x.wild
intocut IN CNAME host.sub
*.walias IN CNAME www
one.wild IN TXT "stands in the way of a wildcard"
*.b.wild IN A 192.0.2.67
old IN DNAME www
away IN DNAME example.net.
other IN NS ns.example.net.
other IN NS ns.other
ns.other IN A 192.0.2.54
ns.other IN AAAA 2001:db8::54
many IN MX 10 mail
many IN MX 20 mail.example.net.
mail IN A 192.0.2.25
many IN TXT "one" "two"
many IN CAA 0 issue "ca.example.net"
_sip._udp IN SRV 1 2 5060 www
big IN TXT "%s"
""" % ('" "'.join("x" * 250 for _ in range(3)))

LABELS = ("www", "alias", "wild", "a", "b", "x", "sub", "ns", "host", "deep", "chain1", "chain2", "out", "gone",
          "towild", "intocut", "walias", "one", "old", "away", "other", "many", "mail", "big", "ns1", "*",
          "_sip", "_udp", "_tcp", "nothing", "zz")
ASKED_ON = (".wild.example.org.", ".walias.example.org.", ".sub.example.org.")
TYPES = ("A", "AAAA", "NS", "SOA", "MX", "TXT", "CNAME", "DNAME", "SRV", "CAA", "DS", "PTR", "TYPE65280", "HTTPS")


def records(section):
    return {(rrset.name.to_text().lower(), rrset.rdtype, rdata.to_text().lower())
            for rrset in section for rdata in rrset}


class Answer:
    """What of a response clients act upon."""

    def __init__(self, response):
        self.rcode = dns.rcode.to_text(response.rcode())
        self.aa = bool(response.flags & dns.flags.AA)
        self.tc = bool(response.flags & dns.flags.TC)
        self.answer = records(response.answer)
        self.authority = records(response.authority)
        self.additional = records(response.additional)

    def is_referral(self):
        return not self.aa and not self.answer and any(r[1] == dns.rdatatype.NS for r in self.authority)

    def is_negative(self):
        return any(r[1] == dns.rdatatype.SOA for r in self.authority)

    def asks_on(self):
        """Aliases alone, the last of which leads to what a wildcard or a DNAME makes, or below a cut:
        here the asker asks on, others go on themselves."""
        targets = {r[0]: r[2] for r in self.answer if r[1] == dns.rdatatype.CNAME}
        if not targets or self.rcode != "NOERROR" or self.is_negative():
            return False
        if any(r[1] not in (dns.rdatatype.CNAME, dns.rdatatype.DNAME) for r in self.answer):
            return False
        last = [target for target in targets.values() if target not in targets]
        made = any(r[1] == dns.rdatatype.DNAME for r in self.answer)
        return made or all(target.endswith(ASKED_ON) for target in last)

    def __repr__(self):
        return f"{self.rcode} aa={self.aa} tc={self.tc} {self.answer} / {self.authority}"


def difference(ours, theirs):
    """In words; None where there is none, or one that is meant."""
    if ours.tc or theirs.tc:
        return None if ours.tc == theirs.tc else "truncation"
    if ours.asks_on() and ours.answer <= theirs.answer:
        return None
    if ours.answer != theirs.answer:
        return "the answer"
    if ours.answer and not ours.is_negative() and not theirs.is_negative():
        return None if ours.rcode == theirs.rcode and ours.aa == theirs.aa else "its flags"
    if (ours.rcode, ours.aa) != (theirs.rcode, theirs.aa):
        return "its flags"
    if ours.is_referral():
        glue = {r for r in theirs.additional if r[1] in (dns.rdatatype.A, dns.rdatatype.AAAA)}
        if not glue <= ours.additional:
            return "glue"
    return None if ours.authority == theirs.authority else "the authority"


class Differential(unittest.TestCase):
    def setUp(self):
        self.others = [dns_tsig.Knot(self, "hmac-sha256"), dns_tsig.Nsd(self, "hmac-sha256")]
        entries = "".join(
            dns_tsig.secondary(key='"hmac-sha256.key"', notify=f'"127.0.0.1:{other.port}"',
                               networks='["127.0.0.1"]') for other in self.others)
        self.server = dns_tsig.SignedServer(
            lib.BASE + '\n[tsig]\nkey_files = "tsig.keys"\n[rate_limit]\nresponses = "0"\n' +
            '[zone."example.org"]\nfile = "@DIR@/example.org.zone"\n' + entries,
            {"example.org.zone": ZONE_TEXT})
        self.addCleanup(self.server.stop)
        for other in self.others:
            other.start(self.server)
            lib.wait_for(lambda o=other: o.soa() == 7, "it has the zone", 30)

    def test_knot_and_nsd_answer_as_we_do(self):
        seed = int(os.environ.get("MONGOOSE_SEED", "53"))
        draw = random.Random(seed)
        kinds = {}
        for _ in range(QUESTIONS):
            labels = [draw.choice(LABELS) for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3, 4)))]
            if draw.random() < 0.03:
                labels[:] = ["www", "example", "net"]
                name = ".".join(labels) + "."
            else:
                name = ".".join([*labels, "example.org."])
            name = "".join(draw.choice((c.upper(), c)) for c in name)
            options = draw.choice(({}, {"use_edns": 0, "payload": 1232}, {"want_dnssec": True}))
            query = dns.message.make_query(name, draw.choice(TYPES), **options)
            query.flags ^= draw.choice((0, dns.flags.RD))
            ours = Answer(self.ask(query, self.server.port))
            for other in self.others:
                theirs = Answer(self.ask(query, other.port))
                if (what := difference(ours, theirs)) is not None:
                    kinds.setdefault((type(other).__name__, what), []).append(
                        f"{query.question[0]} {options}\n  ours   {ours}\n  theirs {theirs}")
        shown = "\n".join(f"{len(found)} of {kind}, as {found[0]}" for kind, found in kinds.items())
        self.assertEqual(kinds, {}, f"seed {seed}:\n{shown}")

    def ask(self, query, port):
        return dns.query.udp(query, "127.0.0.1", port=port, timeout=5)


if __name__ == "__main__":
    unittest.main()
