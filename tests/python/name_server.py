"""Runs a command where this program is the only name server, and the only network.

    unshare -r -n -m python3 name_server.py COMMAND...

In a network and a mount namespace of its own: all addresses below are this machine's, port 80 of each says which it
is, and names below `.test` resolve as NAMES says, each question getting the next answer, and the last for ever.
"""

import ctypes
import fcntl
import itertools
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

PUBLIC, METADATA, INSIDE = "93.184.216.34", "169.254.169.254", "10.0.0.5"
NAMES = {
    "honest.test": [[PUBLIC]],
    "rebinds.test": [[PUBLIC], [METADATA]],
    "inside.test": [[INSIDE]],
    "loops.test": [["127.0.0.1"]],
    "both.test": [[METADATA, PUBLIC, INSIDE]],
}
A, AAAA = 1, 28
MAPPED = {"mapped.test": socket.inet_pton(socket.AF_INET6, f"::ffff:{METADATA}")}

SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8914, 0x8916, 0x1
MS_BIND = 4096


def give_addresses():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        for number, address in enumerate([PUBLIC, METADATA, INSIDE]):
            name = f"lo:{number}".encode()
            request = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, SIOCSIFADDR, request)


def be_the_name_server():
    mount = ctypes.CDLL(None, use_errno=True).mount
    for path, text in [("/etc/resolv.conf", "nameserver 127.0.0.1\noptions attempts:1\n"), ("/etc/hosts", "")]:
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(text)
        if mount(file.name.encode(), path.encode(), None, MS_BIND, None) != 0:
            raise OSError(ctypes.get_errno(), f"cannot mount {path}")
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    answers = {name: itertools.chain(lists, itertools.repeat(lists[-1])) for name, lists in NAMES.items()}
    threading.Thread(target=answer, args=(server, answers), daemon=True).start()


def answer(server, answers):
    while True:
        question, client = server.recvfrom(512)
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]])
            at += 1 + question[at]
        name = b".".join(labels).decode().lower()
        kind = struct.unpack(">H", question[at + 1 : at + 3])[0]
        records = []
        if kind == A and name in answers:
            records = [socket.inet_aton(address) for address in next(answers[name])]
        elif kind == AAAA and name in MAPPED:
            records = [MAPPED[name]]
        known = name in answers or name in MAPPED
        head = question[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(records), 0, 0)
        body = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(data)) + data for data in records)
        server.sendto(head + question[12 : at + 5] + body, client)


def serve():
    listener = socket.create_server(("0.0.0.0", 80))
    while True:
        stream, _ = listener.accept()
        stream.recv(4096)
        body = f"this is {stream.getsockname()[0]}".encode()
        head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        stream.sendall(head.encode() + body)
        stream.close()


give_addresses()
be_the_name_server()
threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:], env=os.environ).returncode)
