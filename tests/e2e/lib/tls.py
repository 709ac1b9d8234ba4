"""TLS clients made of Python's ssl, and the listener keys that TLS needs."""

import socket
import ssl


def client_context(ca_file, alpn=None, version=None):
    context = ssl.create_default_context(cafile=ca_file)
    if alpn:
        context.set_alpn_protocols(alpn)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def connect(port, context, name="chat.example", session=None):
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    return context.wrap_socket(raw, server_hostname=name, session=session)


def read_until(sock, what, limit=65536):
    data = b""
    while what not in data and len(data) < limit:
        more = sock.recv(65536)
        if not more:
            break
        data += more
    return data


def read_all(sock):
    data = b""
    try:
        while more := sock.recv(65536):
            data += more
    except OSError:
        pass
    return data


def certificates(*pairs):
    return [{"chain": chain, "key": key} for chain, key in pairs]
