"""A node whose memory is limited by a cgroup, and clients that send and never read: it sheds them, goes
on for the others, says so, and is as before behind it. The kernel never kills it."""

import base64
import re
import selectors
import socket
import threading
import time
import unittest

from lib import net, proxy_header
from lib.case import EndToEndCase
from lib.certs import Authority
from lib.erl import Epmd
from lib.memory_group import MemoryGroup
from lib.mongooseim import Mongooseim
from lib.raw_xmpp import STREAM, RawXmpp
from lib.sm_client import OVER_TLS
from lib.wait import wait_until

DOMAIN = "chat.example"
LIMIT = 128 << 20
FLOODERS = 300
SESSIONS = 10  # of an account
FLOOD_S = 20


class Flooder:
    """Logs in as a balancer announces it, then says what it is given and reads nothing."""

    def __init__(self, port, user, resource, managed):
        self.socket = socket.socket()
        # What the kernel holds for it is little: the rest waits in the node.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        self.full = f"{user}@{DOMAIN}/{resource}"
        self.heard = ""
        self.left = b""
        plain = base64.b64encode(f"\0{user}\0secret".encode()).decode()
        self.socket.sendall(proxy_header.v2("192.0.2.1", 1234, tlvs=OVER_TLS))
        self._ask(STREAM.format(DOMAIN), "</stream:features>")
        self._ask(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>",
                  "<success")
        self._ask(STREAM.format(DOMAIN), "</stream:features>")
        self._ask("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                  f"<resource>{resource}</resource></bind></iq>", "</iq>")
        if managed:
            self._ask("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", "<enabled ")
        self.socket.sendall(b"<presence/>")
        self.socket.setblocking(False)

    def _ask(self, text, word):
        self.socket.sendall(text.encode())
        while word not in self.heard:
            piece = self.socket.recv(4096)
            if not piece:
                raise ConnectionError(self.heard)
            self.heard += piece.decode()
        self.heard = ""


class Flood:
    """They send each other messages, each as fast as the node takes them, for so long."""

    def __init__(self, port, count):
        self.flooders = [Flooder(port, f"flood{number // SESSIONS}", f"f{number}", number % 2 == 0)
                         for number in range(count)]
        self.ended = 0
        self.bytes = 0

    def run(self, seconds):
        body = "x" * 8000
        selector = selectors.DefaultSelector()
        for number, flooder in enumerate(self.flooders):
            other = self.flooders[(number * 7 + 1) % len(self.flooders)].full
            flooder.message = (f"<message to='{other}' type='chat'><body>{body}</body>"
                               "</message>").encode()
            selector.register(flooder.socket, selectors.EVENT_WRITE, flooder)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and selector.get_map():
            for key, _ in selector.select(0.1):
                flooder = key.data
                try:
                    sent = flooder.socket.send(flooder.left or flooder.message)
                    flooder.left = (flooder.left or flooder.message)[sent:]
                    self.bytes += sent
                except BlockingIOError:
                    continue
                except OSError:
                    self.ended += 1
                    selector.unregister(flooder.socket)
        selector.close()

    def close(self):
        for flooder in self.flooders:
            flooder.socket.close()


class Chat(threading.Thread):
    """Two that answer each other all the time. What is sent back for want of memory is said again, as
    its error asks for."""

    def __init__(self, one, other):
        super().__init__(daemon=True)
        self.pair = (one, other)
        self.rounds = 0
        self.refused = 0
        self.longest = 0.0
        self.failure = None
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                began = time.monotonic()
                for speaker, hearer in (self.pair, self.pair[::-1]):
                    self.say(speaker, hearer, f"r{self.rounds}")
                self.rounds += 1
                self.longest = max(self.longest, time.monotonic() - began)
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"after {self.rounds} rounds: {error!r}"

    def say(self, speaker, hearer, body):
        word = f"<body>{body}</body>"
        speaker.message(hearer.full, body)
        while True:
            readable = self._wait(speaker, hearer)
            if hearer in readable and word in self._hear(hearer):
                hearer.until(word)
                hearer.until("</message>")
                self.acknowledge(hearer)
                return
            if speaker in readable and "</message>" in self._hear(speaker):
                said = speaker.until("</message>")
                self.acknowledge(speaker)
                if "type='error'" in said:
                    assert "<resource-constraint" in said and "type='wait'" in said, said
                    self.refused += 1
                    self.stopping.wait(0.05)
                    speaker.message(hearer.full, body)

    @staticmethod
    def acknowledge(client):
        client.handled += 1
        client.acknowledge(client.handled)

    @staticmethod
    def _wait(*clients):
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client.socket, selectors.EVENT_READ, client)
            ready = [client for client in clients if client.socket.pending()]
            ready = ready or [key.data for key, _ in selector.select(20)]
            if not ready:
                raise TimeoutError("neither was told anything for 20 s")
            return ready

    @staticmethod
    def _hear(client):
        client._read()  # pylint: disable=protected-access
        return client.heard

    def stop(self):
        self.stopping.set()
        self.join(30)


class Memory(EndToEndCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.group = MemoryGroup("memory", LIMIT)
        cls.addClassCleanup(cls.group.remove)
        cls.addClassCleanup(cls.workspace.stop)  # before that
        cls.authority = Authority(cls.workspace)
        cls.epmd = Epmd(cls.workspace).start()
        cls.node = Mongooseim(cls.workspace, cls.epmd, "n1")
        cls.node.write("etc/mongooseim.toml", f'[http]\nlisten = ["127.0.0.1:{cls.node.http}"]\n')
        cls.proxy = net.free_port()
        cls.node.serve(cls.authority, DOMAIN,
                       c2s={"workers": 2, "listen_proxy": [f"127.0.0.1:{cls.proxy}"],
                            "proxy_from": ["127.0.0.0/8"]},
                       auth={"failures_per_address": "0"})
        cls.node.prefix = cls.group.prefix
        cls.node.live()
        cls.node.prefix = ()
        users = ["good1", "good2", "late", *(f"flood{n}" for n in range(FLOODERS // SESSIONS))]
        cls.workspace.write("users.csv", "".join(f"{user},{DOMAIN},secret\n" for user in users))
        done = cls.node.ctl("account", "importUsers", "--filename", cls.workspace.path("users.csv"))
        assert done.code == 0, done

    def client(self, user, resource="x"):
        client = RawXmpp(self.node.tls_endpoint, DOMAIN, self.authority.ca_file).login(
            user, "secret", resource)
        self.addCleanup(client.cut)
        return client

    def shed(self, reason):
        found = re.search(rf'^mongooseim_memory_shed_total{{reason="{reason}"}} (\S+)$',
                          self.node.get("/metrics")[1], re.M)
        return int(found[1])

    def alive(self):
        return self.node.process.alive() and self.group.kills() == 0

    def peak(self):
        """Of what it had resident, without its program, which is none of the group's."""
        with open(f"/proc/{self.node.pid()}/status", encoding="ascii") as file:
            kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", file.read(), re.M))
        return (int(kilobytes["VmHWM"]) - int(kilobytes["RssFile"])) << 10

    def test_clients_that_never_read_are_shed_and_the_others_go_on(self):
        self.assertEqual(self.node.get("/readyz")[0], 200)
        chat = Chat(self.client("good1"), self.client("good2"))
        for one in chat.pair:
            one.manage()
            one.handled = 0
        flood = Flood(self.proxy, FLOODERS)
        self.addCleanup(flood.close)
        chat.start()
        self.addCleanup(chat.stop)
        flooding = threading.Thread(target=flood.run, args=(FLOOD_S,), daemon=True)
        flooding.start()
        self.addCleanup(flooding.join)
        # Balancers hear of it while it lasts.
        wait_until(lambda: not self.alive() or self.node.get("/readyz")[0] == 503,
                   "the node is short of memory", 60)
        self.assertTrue(self.alive(), "the node was killed for want of memory")
        when_short = chat.rounds
        wait_until(lambda: not self.alive() or self.shed("heavy_session") > 0,
                   "those that wait with the most go", 30)
        flooding.join()
        self.assertTrue(self.alive(), "the node was killed for want of memory")
        self.assertIsNone(chat.failure)
        meanwhile = chat.rounds - when_short
        self.assertGreater(meanwhile, 0, "the others go on while it lasts")

        # Behind it all is as it was.
        flood.close()
        wait_until(lambda: self.node.get("/readyz")[0] == 200, "the node is ready again", 40)
        chat.stop()
        self.assertIsNone(chat.failure)
        self.client("late")
        self.assertEqual(self.group.kills(), 0)
        self.assertLess(self.peak(), LIMIT)
        log = self.node.process.log()
        self.assertIn("memory runs short", log)
        self.assertIn("there is memory again", log)
        memory = self.node.ctl("memory")
        self.assertEqual(memory.code, 0, memory)
        for category in ("bound", "cgroupBound", "resident", "unacknowledged", "outgoing"):
            self.assertRegex(memory.out, rf"\b{category}\b")
        print(f"rounds {chat.rounds}, {meanwhile} while it was short, longest {chat.longest:.2f} s, refused {chat.refused}; "
              f"{flood.bytes >> 20} MiB by {FLOODERS}, {flood.ended} ended; shed "
              f"{self.shed('heavy_session')}, stanzas {self.shed('stanza')}; "
              f"peak {self.peak() >> 20} MiB of {LIMIT >> 20}", flush=True)


if __name__ == "__main__":
    unittest.main()
