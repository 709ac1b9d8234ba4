"""A name server for discovery tests: answers from a table that the test changes."""

import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsServer:
    """`records` maps (name, type) to a list of texts: ("xmpp.example.", "A") → ["127.0.0.2"]. Names
    that stand nowhere do not exist; `silent` swallows queries; `broken` answers garbage."""

    def __init__(self, address="127.0.0.1"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.endpoint = f"{address}:{self.socket.getsockname()[1]}"
        self.records = {}
        self.ttl = 1
        self.silent = False
        self.broken = False
        self.queries = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                wire, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            self.queries += 1
            if self.silent:
                continue
            if self.broken:
                self.socket.sendto(wire[:2] + b"\xff" * 40, peer)
                continue
            query = dns.message.from_wire(wire)
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.AA | dns.flags.RA
            question = query.question[0]
            name = question.name.to_text().lower()
            texts = self.records.get((name, dns.rdatatype.to_text(question.rdtype)))
            if texts:
                answer.answer.append(dns.rrset.from_text(
                    question.name, self.ttl, "IN", dns.rdatatype.to_text(question.rdtype), *texts))
            elif not any(known == name for known, _ in self.records):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self.socket.sendto(answer.to_wire(max_size=4096), peer)
