"""Addresses and ports on memcached's command line, with the real daemon."""

import os
import re
import socket
import subprocess

from support import binary
from support.ports import is_listened_to
from support.raw import answers
from support.servers import free_port, stayd_binary, wait_until


def test_addresses_are_all_listened_on():
    ports = [free_port(), free_port()]
    process = subprocess.Popen(
        [stayd_binary(), "-l", f"127.0.0.1:{ports[0]},::1", "-l", f"localhost:{ports[1]}", "-p",
         str(ports[0])], stderr=subprocess.PIPE, text=True
    )
    try:
        for address in [("127.0.0.1", ports[0]), ("::1", ports[0]), ("127.0.0.1", ports[1])]:
            wait_until(lambda at=address: process.poll() is not None or answers(at),
                       what=f"{address}")
    finally:
        process.terminate()
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log


def test_any_free_port_is_written_to_the_port_file(tmp_path):
    """As memcached's tests and other scripts start it: -p -1 and MEMCACHED_PORT_FILENAME."""
    path = tmp_path / "ports"
    environment = {**os.environ, "MEMCACHED_PORT_FILENAME": str(path)}
    with subprocess.Popen([stayd_binary(), "-p", "-1", "-l", "127.0.0.1,127.0.0.2"],
                          env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(path.exists, what="the file of ports")
            lines = path.read_text().splitlines()
            ports = [int(re.fullmatch(r"TCP INET: (\d+)", line).group(1)) for line in lines]
            assert len(ports) == 2
            assert all(ports)
            for host, port in zip(["127.0.0.1", "127.0.0.2"], ports):
                with socket.create_connection((host, port)) as client:
                    client.sendall(b"mn\r\n")
                    assert client.recv(10) == b"MN\r\n"
            assert list(tmp_path.iterdir()) == [path]
        finally:
            process.terminate()
            log = process.stderr.read()
    assert f"127.0.0.1:{ports[0]}, 127.0.0.2:{ports[1]}" in log


def test_a_port_file_that_cannot_be_written_is_a_warning(tmp_path):
    environment = {**os.environ, "MEMCACHED_PORT_FILENAME": str(tmp_path / "none" / "ports")}
    with subprocess.Popen([stayd_binary(), "-p", "-1"], env=environment, stderr=subprocess.PIPE,
                          text=True) as process:
        log = ""
        try:
            while "ready" not in log:
                line = process.stderr.readline()
                assert line, log
                log += line
        finally:
            process.terminate()
    assert "warning: cannot write the ports to" in log


def test_every_address_of_a_name_is_served():
    port = free_port()
    with subprocess.Popen([stayd_binary(), "-l", f"localhost:{port}"], stderr=subprocess.PIPE,
                          text=True) as process:
        try:
            line = ""
            while "ready" not in line:
                line = process.stderr.readline()
                assert line
            for *_, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
                with socket.create_connection(address[:2]) as client:
                    client.sendall(b"mn\r\n")
                    assert client.recv(10) == b"MN\r\n"
        finally:
            process.terminate()


def test_an_address_may_have_a_protocol_of_its_own():
    """The listener of a proto[...] closes a client of the other protocol; the others serve both."""
    ports = [free_port() for _ in range(3)]
    texts = ["proto[ascii]:", "proto[binary]:", ""]
    listens = ",".join(f"{text}127.0.0.1:{port}" for text, port in zip(texts, ports))
    get = binary.request(binary.NOOP)
    with subprocess.Popen([stayd_binary(), "-l", listens], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: all(map(is_listened_to, ports)), what="the ports")
            served = []
            for port in ports:
                for request in (b"mn\r\n", get):
                    with socket.create_connection(("127.0.0.1", port)) as client:
                        client.sendall(request)
                        served.append(bool(client.recv(100)))
            assert served == [True, False, False, True, True, True]
        finally:
            process.terminate()
