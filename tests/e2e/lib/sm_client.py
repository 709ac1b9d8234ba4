"""A client by hand that counts (XEP-0198): what its server says that it has of what was sent, and what
came, message by message. It comes as a balancer announces it (PROXY v2 over TLS), so that logging in
costs little; many of them in one thread."""

import asyncio
import base64
import re
import struct
import xml.etree.ElementTree as ET

from lib import proxy_header

CLIENT = "{jabber:client}"
SM = "urn:xmpp:sm:3"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
MAM = "urn:xmpp:mam:2"
# PP2_TYPE_SSL: the client came over TLS and showed no certificate.
OVER_TLS = proxy_header.tlv(0x20, struct.pack("!BI", 1, 1))


class Over(Exception):
    """The stream or its connection has ended."""


class SmClient:
    """`user` at `domain`; resources are new ones unless told. Everything that came is kept."""

    def __init__(self, user, domain, port, resource, password="secret"):
        self.user, self.domain, self.port, self.resource = user, domain, port, resource
        self.password = password
        self.sent = []        # ids of messages, None for other stanzas: what h counts
        self.counted = 0      # the last h
        self.received = 0     # stanzas
        self.bodies = []      # ids of messages with a body, in order
        self.errors = []      # ids of messages that were sent back
        self.results = []     # ids of messages in the archive, of all pages
        self.acknowledges = True
        self.over = False
        self.resumption = None
        self.managed = False
        self.bound = False
        self._elements = None
        self._task = None

    @property
    def bare(self):
        return f"{self.user}@{self.domain}"

    def counted_ids(self):
        return [one for one in self.sent[:self.counted] if one is not None]

    async def connect(self):
        """Up to the features behind the login."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.over = False
        self._elements = asyncio.Queue()
        self._writer.write(proxy_header.v2("192.0.2.1", 1234, tlvs=OVER_TLS))
        self._open()
        self._task = asyncio.ensure_future(self._read())
        await self._until("features")
        plain = base64.b64encode(f"\0{self.user}\0{self.password}".encode()).decode()
        self.say(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{plain}</auth>")
        answer = await self._until("success", "failure")
        if answer.endswith("failure"):
            raise Over(f"{self.bare} is refused")
        self._open()
        await self._until("features")

    async def login(self, presence="<presence/>", managed=True):
        await self.connect()
        self.say(f"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                 f"<resource>{self.resource}</resource></bind></iq>")
        await self._until("iq")
        self.managed = managed
        if managed:
            self.say(f"<enable xmlns='{SM}' resume='true'/>")
            await self._until("enabled")
        self.bound = True
        if presence:
            self.say(presence)
            self.sent.append(None)
        return self

    async def resume(self):
        """Whether it was; the numbers go on then."""
        await self.connect()
        self.say(f"<resume xmlns='{SM}' previd='{self.resumption}' h='{self.received}'/>")
        return (await self._until("resumed", "failed")).endswith("resumed")

    def message(self, to, number, kind="chat"):
        """Counted by its id, which is its body as well."""
        self.sent.append(number)
        self.say(f"<message to='{to}' type='{kind}' id='{number}'><body>{number}</body></message>"
                 f"<r xmlns='{SM}'/>")

    def say(self, text):
        if not self.over:
            self._writer.write(text.encode())

    async def archive(self, pages=1000):
        """All of its own archive: ids of messages, in order."""
        found, after = [], ""
        for page in range(pages):
            self.results = []
            paging = f"<after>{after}</after>" if after else ""
            self.sent.append(None)
            self.say(f"<iq type='set' id='mam{page}'><query xmlns='{MAM}'>"
                     f"<set xmlns='http://jabber.org/protocol/rsm'><max>100</max>{paging}</set>"
                     f"</query></iq>")
            fin = await self.answer(f"mam{page}")
            if fin.get("type") != "result":
                raise AssertionError(ET.tostring(fin))
            found += self.results
            fin = fin.find(f"{{{MAM}}}fin")
            last = fin.find(".//{http://jabber.org/protocol/rsm}last")
            if fin.get("complete") == "true" or last is None:
                return found
            after = last.text
        raise AssertionError("an archive without an end")

    async def request(self, kind, payload, number, to=None):
        """An IQ and its answer."""
        address = f" to='{to}'" if to else ""
        self.sent.append(None)
        self.say(f"<iq type='{kind}' id='{number}'{address}>{payload}</iq>")
        return await self.answer(number)

    async def answer(self, number, deadline_s=60):
        async def find():
            while True:
                element = await self._elements.get()
                if element is None:
                    raise Over(f"{self.bare}: over before {number}")
                if element.tag == f"{CLIENT}iq" and element.get("id") == number:
                    return element
        return await asyncio.wait_for(find(), deadline_s)

    async def ping(self, number="ping"):
        return await self.request("get", "<ping xmlns='urn:xmpp:ping'/>", number)

    def cut(self):
        """Without a word."""
        self._task.cancel()
        if self._writer.transport is not None:
            self._writer.transport.abort()
        self.over = True

    async def close(self):
        if not self.over:
            if self.acknowledges:
                self.acknowledge()
            self.say("</stream:stream>")
            try:
                await asyncio.wait_for(self._task, 10)
            except (asyncio.TimeoutError, asyncio.CancelledError):
                pass
        self.cut()

    def acknowledge(self):
        if self.managed:
            self.say(f"<a xmlns='{SM}' h='{self.received}'/>")

    # --- inside

    def _open(self):
        self._parser = ET.XMLPullParser(["start", "end"])
        self._depth = 0
        self._writer.write(
            f"<?xml version='1.0'?><stream:stream to='{self.domain}' xmlns='jabber:client' "
            f"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>".encode())

    async def _read(self):
        try:
            while True:
                data = await self._reader.read(65536)
                if not data:
                    break
                self._parser.feed(data)
                for event, element in self._parser.read_events():
                    self._depth += 1 if event == "start" else -1
                    if event == "start" and self._depth == 1:
                        self._root = element
                    if event == "end" and self._depth == 1:
                        self._take(element)
                        self._root.remove(element)
                    if event == "end" and self._depth == 0:
                        return
        except (ConnectionError, ET.ParseError):
            pass
        finally:
            self.over = True
            self._elements.put_nowait(None)

    def _take(self, element):
        if element.tag == f"{{{SM}}}a":
            self.counted = int(element.get("h"))
        elif element.tag == f"{{{SM}}}r":
            if self.acknowledges:
                self.acknowledge()
        elif element.tag in (f"{{{SM}}}enabled", f"{{{SM}}}resumed"):
            if element.get("id"):
                self.resumption = element.get("id")
            if element.get("h"):
                self.counted = int(element.get("h"))
        elif self.bound and element.tag.startswith(CLIENT):
            self.received += 1
        if element.tag == f"{CLIENT}message":
            self._take_message(element)
        else:
            self._elements.put_nowait(element)

    def _take_message(self, element):
        result = element.find(f"{{{MAM}}}result")
        if result is not None:
            body = result.find(f".//{CLIENT}body")
            self.results.append(body.text if body is not None else None)
        elif element.get("type") == "error":
            self.errors.append(element.get("id"))
        elif element.find(f"{CLIENT}body") is not None:
            self.bodies.append(element.find(f"{CLIENT}body").text)

    async def _until(self, *names, deadline_s=60):
        async def find():
            while True:
                element = await self._elements.get()
                if element is None:
                    raise Over(f"{self.bare}: over before {names}")
                if re.sub(r"^\{.*\}", "", element.tag) in names:
                    return element.tag
        return await asyncio.wait_for(find(), deadline_s)
