"""PROXY protocol headers, byte by byte, as HAProxy's specification has them."""

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v1(source, source_port, destination="127.0.0.1", destination_port=5222):
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {source_port} {destination_port}\r\n".encode()


def v2(source, source_port, destination="127.0.0.1", destination_port=5222, tlvs=b"", command=1):
    """command 1 = PROXY, 0 = LOCAL."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    family = 0x21 if ":" in source else 0x11
    body = addresses + struct.pack("!HH", source_port, destination_port) + tlvs
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


def local():
    return SIGNATURE + bytes([0x20, 0x00, 0x00, 0x00])


def tlv(kind, value, length=None):
    return bytes([kind]) + struct.pack("!H", len(value) if length is None else length) + value


def crc32c(data):
    """Castagnoli, bit by bit: slow and obvious."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
