"""Writers and readers beside the readers of the bookshop: how long a write waits, and how long until
every host has it."""

import contextlib
import threading
import time

import stayd

import cluster_setups

EVERY_S = 0.02
LOOK_EVERY_S = 0.001
KEY = "watched"


class Watch:
    """Writes on each host through the client that the sites use, and looks for the writes of the first
    on all hosts."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.longest_s = 0.0
        self.lag_s = 0.0
        self.unknown = self.written = 0
        self.begun = {}  # host's number -> when the write that is on its way began
        self.acknowledged = {}  # number -> when its write was acknowledged
        self.threads = [threading.Thread(target=self.write, args=(host,)) for host in hosts]
        self.threads += [threading.Thread(target=self.follow, args=(host,)) for host in hosts]

    def start(self):
        """Begins."""
        for thread in self.threads:
            thread.start()

    def stop(self):
        """Ends all threads."""
        self.stopping.set()
        for thread in self.threads:
            if thread.is_alive():
                thread.join()

    def take(self):
        """(longest wait of a write, longest lag) since the last call, in seconds. Waits for the writes
        that are on their way."""
        now = time.monotonic()
        while any(begun and begun < now for begun in self.begun.values()):
            time.sleep(EVERY_S)
        with self.lock:
            found = self.longest_s, self.lag_s
            self.longest_s = self.lag_s = 0.0
        return found

    def write(self, host):
        """Writes one number after the other on this host, or a neighbour while it is down."""
        others = [other for other in self.hosts if other is not host]
        client = stayd.Client(cluster_setups.pool_url(host, *others))
        key = f"{KEY}-{host.number}"
        number = 0
        while not self.stopping.wait(EVERY_S):
            number += 1
            begun = self.begun[host.number] = time.monotonic()
            try:
                client.set(key, b"%d" % number)
                if host is self.hosts[0]:
                    self.acknowledged[number] = time.monotonic()
            except stayd.Error:
                with self.lock:
                    self.unknown += 1
            with self.lock:
                self.written += 1
                self.longest_s = max(self.longest_s, time.monotonic() - begun)
            self.begun[host.number] = None

    def follow(self, host):
        """Looks for the numbers on this host."""
        client = stayd.Client(f"memcached://{host.pool}/?cluster=yes&restart_wait=0&timeout=1")
        seen = None
        while not self.stopping.wait(LOOK_EVERY_S):
            number = None
            with contextlib.suppress(stayd.Error):
                number = int(client.get(f"{KEY}-1", b"0"))
            if number is None or seen is None:  # it is down, or has just come back
                seen = number
                continue
            now = time.monotonic()
            for each in range(seen + 1, number + 1):
                since = self.acknowledged.get(each)
                if since is not None:
                    with self.lock:
                        self.lag_s = max(self.lag_s, now - since)
            seen = max(seen, number)
