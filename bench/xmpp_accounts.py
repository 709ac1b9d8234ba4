"""Accounts for a load, written where a server keeps them: registering thousands one by one would take
longer than the measurement. All share salt, iterations and password, so that the generator salts the
password once. Standard library only.

Accounts come in groups in which everybody is everybody's contact (subscription "both"): account i is
in group i // (contacts + 1). What a session sends to its contacts then reaches sessions that are
there, whichever groups are logged in.
"""

import base64
import hashlib
import hmac
import os
import pwd
import re

ITERATIONS = 4096
SALT = b"mongoose-bench-1"


class Accounts:
    """`count` accounts user0@domain, … with `contacts` contacts each."""

    def __init__(self, count, domain, password, contacts=20):
        self.count = count
        self.domain = domain
        self.password = password
        self.contacts = contacts

    def user(self, number):
        return f"user{number}"

    def jid(self, number):
        return f"{self.user(number)}@{self.domain}"

    def contacts_of(self, number):
        first = number - number % (self.contacts + 1)
        return [i for i in range(first, min(first + self.contacts + 1, self.count)) if i != number]


def scram_keys(password, digest="sha1", salt=SALT, iterations=ITERATIONS):
    """(stored key, server key) of RFC 5802."""
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations)
    client = hmac.new(salted, b"Client Key", digest).digest()
    stored = hashlib.new(digest, client).digest()
    return stored, hmac.new(salted, b"Server Key", digest).digest()


# ---- Prosody: one file an account, one a roster (util.datamanager) ---------------------------------


def prosody_name(text):
    """As datamanager escapes the names of its files."""
    return re.sub(r"[^A-Za-z0-9]", lambda match: f"%{ord(match.group()):02x}", text)


def write_prosody(accounts, data_path, owner=None):
    """Into Prosody's data folder, before it starts (authentication = "internal_hashed")."""
    stored, server = scram_keys(accounts.password)
    account = ("return {\n" + f'\t["iteration_count"] = {ITERATIONS};\n'
               f'\t["salt"] = "{SALT.decode()}";\n'
               f'\t["stored_key"] = "{stored.hex()}";\n\t["server_key"] = "{server.hex()}";\n' + "};\n")
    host = os.path.join(data_path, prosody_name(accounts.domain))
    for store in ("accounts", "roster"):
        os.makedirs(os.path.join(host, store), exist_ok=True)
    for number in range(accounts.count):
        name = prosody_name(accounts.user(number)) + ".dat"
        with open(os.path.join(host, "accounts", name), "w", encoding="ascii") as file:
            file.write(account)
        with open(os.path.join(host, "roster", name), "w", encoding="ascii") as file:
            file.write(_prosody_roster(accounts, number))
    if owner and os.geteuid() == 0:
        _give(data_path, owner)


def _prosody_roster(accounts, number):
    items = "".join(f'\t["{accounts.jid(i)}"] = {{ ["subscription"] = "both"; ["groups"] = {{}}; }};\n'
                    for i in accounts.contacts_of(number))
    return "return {\n\t[false] = { [\"version\"] = 1; [\"pending\"] = {}; };\n" + items + "};\n"


def _give(path, user):
    entry = pwd.getpwnam(user)
    for folder, _, names in os.walk(path):
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        for name in names:
            os.chown(os.path.join(folder, name), entry.pw_uid, entry.pw_gid)


# ---- ejabberd: records of mnesia, as terms that erl reads back -------------------------------------


def ejabberd_records(accounts):
    """The records as Erlang terms, each with its dot: passwd and roster of 23.01's ejabberd."""
    stored, server = scram_keys(accounts.password)
    key = (f'{{scram, <<"{_b64(stored)}">>, <<"{_b64(server)}">>, <<"{_b64(SALT)}">>, sha, '
           f"{ITERATIONS}}}")
    domain = f'<<"{accounts.domain}">>'
    for number in range(accounts.count):
        user = f'<<"{accounts.user(number)}">>'
        yield f"{{passwd, {{{user}, {domain}}}, {key}}}."
        for contact in accounts.contacts_of(number):
            jid = f'{{<<"{accounts.user(contact)}">>, {domain}, <<>>}}'
            yield (f"{{roster, {{{user}, {domain}, {jid}}}, {{{user}, {domain}}}, {jid}, <<>>, both, "
                   "none, [], <<>>, []}.")


def _b64(raw):
    return base64.b64encode(raw).decode()
