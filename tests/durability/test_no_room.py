"""A real file system without room: the daemon reports the lack of room, and never gets a SIGBUS.

The file system is a small tmpfs, mounted in a mount namespace of the daemon. On most systems, any user
may create such a namespace.
"""

import subprocess

import pytest

from support.servers import Stayd, free_port, wait_until

BATCH = 1000
NO_ROOM = b"SERVER_ERROR no room for the index in run_dir"


class Confined(Stayd):
    """The daemon with a tmpfs of `room` bytes on its run_dir or its data_dir. All its starts use the same
    tmpfs."""

    def __init__(self, room, where, **sessions):
        listens = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        super().__init__(sessions={"listen": listens[0], "item_max": "64K", **sessions},
                         cache={"listen": listens[1]})
        folder = getattr(self, where)
        script = f"mount -t tmpfs -o size={room} none {folder} && echo mounted && exec cat"
        self._holder = subprocess.Popen(["unshare", "-rm", "sh", "-c", script],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"mounted\n"
        self._inside = f"/proc/{self._holder.pid}/root{folder}"

    def _discard(self):
        super()._discard()
        self._holder.communicate()

    def command(self):
        enter = ["nsenter", f"--target={self._holder.pid}", "--user", "--mount",
                 "--preserve-credentials", f"--wd={self.directory}"]
        return [*enter, *super().command()]

    def start_refused(self):
        """Starts the daemon, which must end with an error; returns what it said."""
        process = subprocess.run(self.command(), env=self.environment(), cwd=self.directory,
                                 capture_output=True, text=True, timeout=60)
        self.close()
        assert process.returncode == 1, (process.returncode, process.stderr)
        return process.stderr

    def fill(self, name="fill"):
        """Takes all the room that is left on the tmpfs."""
        subprocess.run(["dd", "if=/dev/zero", f"of={self._inside}/{name}", "bs=4k"],
                       stderr=subprocess.DEVNULL)

    def remove(self, *names):
        """Removes files from the tmpfs."""
        subprocess.run(["rm", *(f"{self._inside}/{name}" for name in names)], check=True)


def store(connection, numbers, value=b"v"):
    """Sets a key for each number; returns the replies by number."""
    numbers = list(numbers)
    replies = {}
    for begin in range(0, len(numbers), BATCH):
        batch = numbers[begin:begin + BATCH]
        connection.send(b"".join(b"set k%d 0 0 %d\r\n%b\r\n" % (number, len(value), value)
                                 for number in batch))
        for number in batch:
            replies[number] = connection.read_line()
    return replies


def count_there(connection, numbers):
    """How many of these keys exist."""
    there = 0
    for begin in range(0, len(numbers), 100):
        keys = b" ".join(b"k%d" % number for number in numbers[begin:begin + 100])
        connection.send(b"get %b\r\n" % keys)
        there += connection.read_until(b"END\r\n").count(b"VALUE ")
    return there


@pytest.fixture(autouse=True)
def namespaces():
    if subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("this system lets nobody have a mount namespace of his own")


def test_a_data_dir_without_room_is_an_error_at_the_start():
    message = Confined("8M", "data_dir", memory="16M").start_refused()
    assert "cannot reserve" in message and "sessions.pool" in message and "Free space" in message


def test_the_index_of_the_built_in_pool_has_room_in_a_small_run_dir():
    with Confined("25M", "run_dir", memory="64M", item_max="1M") as stayd:
        numbers = range(40_000)
        replies = store(stayd.connect("sessions"), numbers)
        assert set(replies.values()) == {b"STORED"}
        stayd.kill9()
        stayd.start()
        connection = stayd.connect("sessions")
        assert count_there(connection, numbers) == len(numbers)
        assert set(store(connection, range(40_000, 50_000)).values()) == {b"STORED"}
        assert "room" not in stayd.log


def test_an_index_without_room_refuses_new_keys_loudly_and_nothing_else():
    with Confined("1M", "run_dir", memory="32M") as stayd:
        connection = stayd.connect("sessions")
        assert connection.set(b"first", b"v") == b"STORED"
        stayd.fill()
        replies = store(connection, range(60_000))
        assert set(replies.values()) == {b"STORED", NO_ROOM}
        stored = [number for number, reply in replies.items() if reply == b"STORED"]
        assert len(stored) >= 5000
        assert "pool sessions: its index cannot grow" in stayd.log and "run_dir" in stayd.log
        stats = connection.stats()
        assert stats["full"] == stats["index_full"] == "yes"
        assert int(stats["store_no_memory"]) == 60_000 - len(stored)
        status, text = stayd.health()
        assert status == 503 and "index" in text and "run_dir" in text
        assert "Free space in run_dir" in stayd.page("/api/v1/stats")[1]
        # Every item that was stored is there, and can be updated and removed.
        assert count_there(connection, stored) == len(stored)
        assert set(store(connection, stored[:5000], b"w" * 20).values()) == {b"STORED"}
        assert connection.ask(b"delete k%d\r\n" % stored[0]) == b"DELETED"
        # When there is room again, new keys are accepted. A restart is not necessary.
        stayd.remove("fill")
        wait_until(lambda: stayd.health()[0] == 200, what="the health check to pass")
        assert set(store(connection, range(60_000, 70_000)).values()) == {b"STORED"}
        assert connection.stats()["index_full"] == "no"


def test_a_start_without_room_for_the_index_keeps_it_in_memory_and_loses_nothing():
    with Confined("2M", "run_dir", memory="32M") as stayd:
        numbers = range(20_000)
        assert set(store(stayd.connect("sessions"), numbers).values()) == {b"STORED"}
        stayd.fill()
        stayd.kill9()
        stayd.remove("sessions.index")  # so that the room of the killed daemon's index is taken as well
        stayd.fill("more")
        for start in range(2):
            stayd.start()
            connection = stayd.connect("sessions")
            assert count_there(connection, numbers) == len(numbers)
            assert stayd.log.count("has no room for its index") == start + 1
            stayd.terminate()
        # As soon as there is room, the index is in run_dir again.
        stayd.remove("fill", "more")
        stayd.start()
        stayd.restart()
        assert "as the last stop left them" in stayd.log


def test_a_run_dir_that_is_full_from_the_start_is_no_reason_not_to_serve():
    with Confined("64k", "run_dir", memory="16M") as stayd:
        stayd.fill()
        stayd.restart()
        connection = stayd.connect("sessions")
        assert set(store(connection, range(20_000)).values()) == {b"STORED"}
        assert "no room for its index" in stayd.log
