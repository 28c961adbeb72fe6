#!/usr/bin/env python3
"""Writes which server pymemcache chooses for each key: servers-pymemcache.txt.

    /usr/bin/python3 rendezvous.py > servers-pymemcache.txt       (Debian's python3-pymemcache)
"""

from pymemcache.client.hash import HashClient

GROUPS = [
    [("10.0.0.1", 11211), ("10.0.0.2", 11211), ("10.0.0.3", 11211)],
    [("cache1.example", 11211), ("cache2.example", 11212)],
    [("localhost", 11211 + i) for i in range(5)],
    [("10.0.0.1", 11211), "/run/stayd/cache.sock"],
    [("::1", 11211), ("::1", 11212)],
]
KEYS = ["k", "ab", "abc", "session:1", ":1:django.contrib.sessions.cache", "a-b_c.d/e",
        *(f"key:{i * i * 7919}" for i in range(150))]


def url(server):
    if isinstance(server, str):
        return f"unix://{server}"
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


for servers in GROUPS:
    client = HashClient(servers)
    names = [client._make_client_key(server) for server in servers]
    print("= rendezvous", *map(url, servers))
    for key in KEYS:
        print(key, names.index(client.hasher.get_node(key)))
