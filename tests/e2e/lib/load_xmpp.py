"""A load of people who talk to each other, and the books of what became of each message.

Of every pair one sends and the other is as the round wants it: there, there without acknowledging,
there without stream management, away. What a sender's <a/> has counted must be with the recipient,
in the recipient's archive, or waiting; or it came back: one of the two, and once.
"""

import asyncio
import collections

from lib.sm_client import Over, SmClient

KINDS = ("there", "silent", "plain", "away")


class Pair:
    def __init__(self, load, number, kind):
        self.load, self.number, self.kind = load, number, kind
        self.sender = SmClient(f"a{number}", load.domain, load.port, f"r{load.round}")
        self.recipient = SmClient(f"b{number}", load.domain, load.port, f"r{load.round}")
        self.recipient.acknowledges = kind != "silent"

    async def login(self):
        if self.kind != "away":
            await self.recipient.login(managed=self.kind != "plain")
            await self.recipient.ping()
        await self.sender.login()
        await self.sender.ping()

    async def talk(self):
        """Until it is cut off."""
        number = 0
        while not self.sender.over:
            while len(self.sender.sent) - self.sender.counted > self.load.window:
                await asyncio.sleep(0.002)
                if self.sender.over:
                    return
            self.sender.message(self.recipient.bare,
                                f"m{self.load.round}.{self.number}.{number}")
            number += 1
            await asyncio.sleep(0)


class Load:
    def __init__(self, domain, port, pairs, round_number, window=5):
        self.domain, self.port, self.round, self.window = domain, port, round_number, window
        self.pairs = [Pair(self, i, KINDS[i % len(KINDS)]) for i in range(pairs)]

    @staticmethod
    def names(pairs):
        return [f"{side}{i}" for side in "ab" for i in range(pairs)]

    async def begin(self):
        await asyncio.gather(*(pair.login() for pair in self.pairs))
        self._talks = [asyncio.ensure_future(pair.talk()) for pair in self.pairs]

    def counted(self):
        return sum(pair.sender.counted for pair in self.pairs)

    async def until(self, condition, what, deadline_s=60):
        end = asyncio.get_running_loop().time() + deadline_s
        while not condition():
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"not within {deadline_s} s: {what}")
            await asyncio.sleep(0.005)

    async def stop(self):
        """Nobody says more; those that are there stay until all that can be is counted."""
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def settle(self):
        await self.stop()

        def open_ones():
            return [pair.number for pair in self.pairs
                    if not pair.sender.over and pair.sender.counted < len(pair.sender.sent)]
        # An answer tells how it stands then: who wants to know more asks again.
        end = asyncio.get_running_loop().time() + 60
        while open_ones():
            for pair in self.pairs:
                pair.sender.say("<r xmlns='urn:xmpp:sm:3'/>")
            await asyncio.sleep(0.2)
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"not all is counted: {open_ones()}")

    def cut(self):
        for pair in self.pairs:
            pair.sender.cut()
            if pair.kind != "away":
                pair.recipient.cut()

    async def judge(self):
        """The faults of this round, as words: each recipient comes back, takes what waited, and
        reads the archive."""
        results = await asyncio.gather(*(self._judge(pair) for pair in self.pairs))
        return [fault for faults in results for fault in faults]

    async def _judge(self, pair):
        again = SmClient(pair.recipient.user, self.domain, self.port, f"judge{self.round}")
        mark = f"m{self.round}."
        for _ in range(3):
            try:
                await again.login()
                await again.ping()
                archive = [one for one in await again.archive() if (one or "").startswith(mark)]
                break
            except (Over, OSError):
                again.cut()
        else:
            return [f"pair {pair.number}: cannot log in to look"]
        await again.ping("last")
        waited = [one for one in again.bodies if one.startswith(mark)]
        await again.close()
        had = set(pair.recipient.bodies) | set(archive) | set(waited)
        back = set(pair.sender.errors)
        counted = pair.sender.counted_ids()
        faults = [f"{one} of a {pair.kind} one was counted and is lost"
                  for one in counted if one not in had and one not in back]
        faults += [f"{one} was sent back and is there" for one in back if one in had]
        for what, ids in (("archive", archive), ("delivery", waited),
                          ("session", pair.recipient.bodies), ("way back", pair.sender.errors)):
            faults += [f"{one} is twice in the {what} of a {pair.kind} one"
                       for one, times in collections.Counter(ids).items() if times > 1]
        if pair.kind == "there":
            faults += [f"{one} was with its session, and waited as well"
                       for one in waited if one in pair.recipient.bodies]
        return faults
