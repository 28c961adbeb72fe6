"""Machines of a network that a test can cut: network namespaces, joined by a bridge in one more. Linux,
root, ip(8) and iptables(8) are needed; `why_not()` says what is missing.

    with Network(3) as network:
        network.machines[0].wrap          before a command: it runs on this machine
        network.cut(0)                    its cable is out
        network.deafen(0, 1)              it hears nothing from the other one, which hears it
        network.heal()

Also slow lines, which need nothing: `SlowLinks` forwards connections, each byte some time later. (The
kernel's netem would be nearer to a real line; it is often not there.)"""

import asyncio
import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import threading

from support.nats import Place

CLONE_NEWNET = 0x40000000
numbers = itertools.count()


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)


def why_not():
    """None, or why there can be no network of namespaces here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "iptables"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    try:
        with Network(1) as network:
            network.deafen(0, 0)
    except (subprocess.SubprocessError, OSError) as fault:
        return f"network namespaces cannot be made here: {fault} {getattr(fault, 'stderr', '')}".strip()
    return None


def connect_inside(name, address, timeout):
    """A connection that was made in another namespace; the socket stays in it."""
    result = []

    def work():
        with open(f"/run/netns/{name}", "rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                result.append(OSError(ctypes.get_errno(), "setns"))
                return
        try:
            result.append(socket.create_connection(address, timeout))
        except OSError as fault:
            result.append(fault)

    thread = threading.Thread(target=work)  # a thread of its own is in its own namespace
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


class Machine:
    def __init__(self, network, number):
        self.number = number
        self.name = f"{network.name}-{number}"
        self.address = f"10.213.0.{number + 1}"
        self.wrap = ("ip", "netns", "exec", self.name)

    def place(self):
        return Place(
            self.address,
            self.wrap,
            lambda port, timeout: connect_inside(self.name, (self.address, port), timeout),
        )

    def run(self, *command):
        run(*self.wrap, *command)


class Network:
    def __init__(self, count):
        self.name = f"stayd{os.getpid()}x{next(numbers)}"
        self.machines = [Machine(self, number) for number in range(count)]

    def __enter__(self):
        try:
            run("ip", "netns", "add", self.name)
            self.hub("link", "add", "hub", "type", "bridge")
            self.hub("link", "set", "hub", "up")
            for machine in self.machines:
                run("ip", "netns", "add", machine.name)
                self.hub(
                    "link",
                    "add",
                    f"p{machine.number}",
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "eth0",
                    "netns",
                    machine.name,
                )
                self.hub("link", "set", f"p{machine.number}", "master", "hub", "up")
                machine.run("ip", "addr", "add", machine.address + "/24", "dev", "eth0")
                machine.run("ip", "link", "set", "eth0", "up")
                machine.run("ip", "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in [machine.name for machine in self.machines] + [self.name]:
            with contextlib.suppress(subprocess.SubprocessError):
                run("ip", "netns", "del", name)

    def hub(self, *words):
        run("ip", "-n", self.name, *words)

    def cut(self, number):
        self.hub("link", "set", f"p{number}", "down")

    def deafen(self, number, other, share=None):
        """Packets from the other machine are lost, all or a share of them."""
        some = ["-m", "statistic", "--mode", "random", "--probability", str(share)] if share else []
        self.machines[number].run(
            "iptables", "-A", "INPUT", "-s", self.machines[other].address, *some, "-j", "DROP"
        )

    def heal(self):
        for machine in self.machines:
            self.hub("link", "set", f"p{machine.number}", "up")
            machine.run("iptables", "-F", "INPUT")


class SlowLinks:
    """`link(port)`: another port of this machine that leads there, by a slow line."""

    def __init__(self, delay):
        self.delay = delay
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        async def end():
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def link(self, port):
        async def serve():
            server = await asyncio.start_server(
                lambda reader, writer: self.join(port, reader, writer), "127.0.0.1", 0
            )
            return server.sockets[0].getsockname()[1]

        return asyncio.run_coroutine_threadsafe(serve(), self.loop).result(10)

    async def join(self, port, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.forward(reader, far_writer), self.forward(far_reader, writer))

    async def forward(self, reader, writer):
        while True:
            try:
                data = await reader.read(1 << 16)
            except OSError:
                data = b""
            self.loop.call_later(
                self.delay, writer.write if data else writer.close, *([data] if data else [])
            )
            if not data:
                return
