"""Three nats-servers on free loopback ports, and a small client for them: what the cluster tests need.

scripts/nats-server builds the server once. Where it cannot be built, the tests are skipped."""

import base64
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


def find_server() -> str | None:
    """The path of a nats-server, or None."""
    for path in (os.environ.get("NATS_SERVER"), "build/nats/nats-server", "/tmp/nats/nats-server"):
        if path and Path(path).is_file():
            return str(Path(path).resolve())
    return None


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Refused(Exception):
    """An answer of JetStream with an error: `code` is its err_code, `text` its description."""

    def __init__(self, error: dict):
        super().__init__(json.dumps(error))
        self.code = error.get("err_code")
        self.text = error.get("description", "")


class Client:
    """A connection that speaks the NATS protocol: requests with headers, and one subscription."""

    def __init__(self, port: int, timeout: float = 5, connect=None):
        """`connect`: another way to a socket of the port."""
        address = ("127.0.0.1", port)
        self.socket = (
            connect(port, timeout) if connect else socket.create_connection(address, timeout)
        )
        self.file = self.socket.makefile("rb")
        self.file.readline()
        options = {
            "headers": True,
            "no_responders": True,
            "verbose": False,
            "pedantic": False,
            "name": "test",
        }
        self.socket.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        while self.file.readline().strip() != b"PONG":
            pass
        self.inbox = "_INBOX." + base64.b32encode(os.urandom(10)).decode()
        self.socket.sendall(f"SUB {self.inbox}.* 1\r\n".encode())
        self.number = 0
        self.backlog: list = []

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict | None = None
    ) -> None:
        if headers:
            head = (
                b"NATS/1.0\r\n"
                + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items())
                + b"\r\n"
            )
            line = f"HPUB {subject} {reply} {len(head)} {len(head) + len(payload)}\r\n".encode()
            self.socket.sendall(line + head + payload + b"\r\n")
        else:
            self.socket.sendall(
                f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n"
            )

    def next(self) -> tuple[str, str, bytes, bytes]:
        """The next message: subject, reply, headers, payload."""
        return self.backlog.pop(0) if self.backlog else self.receive()

    def receive(self) -> tuple[str, str, bytes, bytes]:
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("the server has closed the connection")
            words = line.decode().split()
            if words[0] == "PING":
                self.socket.sendall(b"PONG\r\n")
            elif words[0] in ("MSG", "HMSG"):
                total = int(words[-1])
                head = int(words[-2]) if words[0] == "HMSG" else 0
                data = self.file.read(total + 2)
                fixed = 5 if words[0] == "HMSG" else 4
                reply = words[3] if len(words) > fixed else ""
                return words[1], reply, data[:head], data[head:-2]

    def request(self, subject: str, payload: bytes = b"", headers: dict | None = None) -> bytes:
        self.number += 1
        mine = f"{self.inbox}.{self.number}"
        self.publish(subject, payload, mine, headers)
        while True:
            message = self.receive()
            subject_, _, head, data = message
            if subject_ != mine:
                self.backlog.append(message)
            else:
                if b" 503" in head.split(b"\r\n")[0]:
                    raise ConnectionError("no responders")
                return data

    def api(self, what: str, **arguments: object) -> dict:
        answer = json.loads(
            self.request("$JS.API." + what, json.dumps(arguments).encode() if arguments else b"")
        )
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    def store(
        self, subject: str, payload: bytes, expected: int | None = None, **headers: object
    ) -> int:
        """Publishes and returns the sequence."""
        all_headers = {k.replace("_", "-"): v for k, v in headers.items()}
        if expected is not None:
            all_headers["Nats-Expected-Last-Subject-Sequence"] = expected
        answer = json.loads(self.request(subject, payload, all_headers))
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["seq"]


class Place(NamedTuple):
    """Where a node runs: its address, what is put before its command, and how a test connects to it."""

    host: str = "127.0.0.1"
    wrap: tuple = ()
    connect: Callable | None = None


class Node:
    """Without routes (HOST:PORT of all nodes), it is alone. `more` is put at the end of its configuration,
    `more_routes` at the end of its `cluster`."""

    def __init__(
        self,
        name: str,
        port: int,
        route: int,
        routes: list[str],
        folder: Path,
        server: str,
        host: str = "127.0.0.1",
        more: str = "",
        domain: str = "",
        place: Place | None = None,
        more_routes: str = "",
    ):
        self.place = place or Place(host)
        host = self.place.host
        self.name, self.port, self.server, self.host = name, port, server, host
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "nats.conf"
        peers = ", ".join(f'"nats://{r}"' for r in routes)
        routes_text = (
            f'cluster {{ name: test, listen: "{host}:{route}", '
            f"routes: [{peers}], {more_routes} }}\n"
        )
        routes_text = routes_text if routes else ""
        domain_text = f"domain: {domain}, " if domain else ""
        self.config.write_text(
            f'server_name: {name}\nlisten: "{host}:{port}"\npid_file: "{self.folder}/pid"\n'
            f'jetstream {{ {domain_text}store_dir: "{self.folder}/data", '
            f'max_mem: 64M, max_file: 2G, sync_interval: "always" }}\n'
            f'{routes_text}max_payload: 8MB\nlog_file: "{self.folder}/log"\n{more}\n'
        )
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Node":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self.place.wrap, self.server, "-c", str(self.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


def single(folder: Path, more: str = "", host: str = "127.0.0.1", domain: str = "") -> Node:
    """A node that is alone. `with single(folder) as node`: it runs, or will in a moment."""
    server = find_server()
    assert server
    return Node("single", free_ports(1)[0], 0, [], folder, server, host, more, domain)


class Cluster:
    """Three nodes. `with Cluster(folder) as cluster`: they run, and have a leader."""

    def __init__(
        self,
        folder: Path,
        nodes: int = 3,
        places: list[Place] | None = None,
        link: Callable | None = None,
    ):
        """`link`: takes a port and returns another one that leads there; hosts and nodes use these."""
        server = find_server()
        assert server
        ports = free_ports(2 * nodes)
        places = places or [Place()] * nodes
        outer = [link(port) if link else port for port in ports]
        routes = [f"{place.host}:{port}" for place, port in zip(places, outer[nodes:])]
        self.outer = outer[:nodes]
        self.nodes = [
            Node(
                f"n{i}",
                ports[i],
                ports[nodes + i],
                routes,
                folder,
                server,
                place=places[i],
                more_routes=f'advertise: "{routes[i]}", no_advertise: true' if link else "",
            )
            for i in range(nodes)
        ]

    def __enter__(self) -> "Cluster":
        for node in self.nodes:
            node.start()
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()

    @property
    def url(self) -> str:
        return ",".join(
            f"nats://{node.place.host}:{port}" for node, port in zip(self.nodes, self.outer)
        )

    def client(self, node: int | None = None, timeout: float = 5) -> Client:
        for n in self.nodes if node is None else [self.nodes[node]]:
            try:
                return Client(n.port, timeout, n.place.connect)
            except OSError:
                continue
        raise ConnectionError("no node answers")

    def wait_ready(self, seconds: float = 60) -> None:
        """Waits until JetStream has a leader for its own data."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self.client() as client:
                    client.api("INFO")
                    client.api("STREAM.NAMES")
                    return
            except (OSError, Refused, ValueError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def leader(self, stream: str) -> Node:
        with self.client() as client:
            name = client.api("STREAM.INFO." + stream)["cluster"]["leader"]
        return next(node for node in self.nodes if node.name == name)

    def create_stream(self, name: str, subjects: list[str], **more: object) -> dict:
        config = dict(
            name=name,
            subjects=subjects,
            num_replicas=len(self.nodes) if len(self.nodes) > 1 else 1,
            storage="file",
            retention="limits",
            discard="new",
            max_msgs_per_subject=1,
            allow_msg_ttl=True,
            allow_direct=False,
            duplicate_window=1000000000,
        )
        config.update(more)
        deadline = time.monotonic() + 60
        while True:
            try:
                with self.client() as client:
                    return client.api("STREAM.CREATE." + name, **config)
            except (OSError, Refused) as error:
                if time.monotonic() > deadline or (
                    isinstance(error, Refused) and error.code == 10052
                ):
                    raise
                time.sleep(0.2)


def background(function, *arguments) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
