"""Whatever one client asks of the daemon, the other clients wait at most for one turn of bounded work."""

import threading

import pytest

from support import bystander
from support.gate import memory_folder
from support.servers import Stayd, wait_until

BIG = 1_000_000


def fire(connections, requests, count):
    """Sends `requests`, repeated `count` times, on each connection in parallel. Waits until all are
    answered."""
    def send(connection):
        connection.timeout = 60
        connection.send(requests * count + b"mn\r\n")
        connection.read_until(b"MN\r\n", timeout=120)

    threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def jumps_between_turns(stayd, pool, counter, attack):
    """How much a thread does for other clients between two turns of one client: the median by which
    `counter` of the pool grows between two replies to that client."""
    watcher = stayd.connect_socket(pool)
    before = int(watcher.stats()[counter])
    thread = threading.Thread(target=attack)
    thread.start()
    numbers = [before]
    while thread.is_alive():
        numbers.append(int(watcher.stats()[counter]))
    thread.join()
    jumps = sorted(after - before for before, after in zip(numbers, numbers[1:]) if after > before)
    assert jumps, "nothing was counted"
    return jumps[len(jumps) // 2]


@pytest.mark.parametrize("request_line, counter", [
    (b"touch big 2000 noreply\r\ntouch big 1000 noreply\r\n", "cmd_touch"),
    (b"append big 0 0 1 noreply\r\nx\r\n", "cmd_set"),
    (b"prepend big 0 0 1 noreply\r\nx\r\n", "cmd_set"),
    (b"incr number 1 noreply\r\n", "incr_hits"),
    (b"mg big T2000 q\r\nmg big T1000 q\r\n", "cmd_touch"),
], ids=["touch", "append", "prepend", "incr", "mg"])
def test_a_turn_ends_by_the_work_that_was_done_and_not_by_the_requests(request_line, counter):
    """Each request rewrites a value of a megabyte, or reads one to find where a number ends. A touch
    rewrites the value only if the pool has a file and the new expiry is sooner."""
    large = {"memory": "128M", "item_max": "2M",
             "persist": "yes" if counter == "cmd_touch" else "no"}
    count = 20 if counter == "cmd_touch" else 100
    with Stayd(server={"threads": 1}, pools={"large": large}) as stayd:
        hogs = [stayd.connect("large") for _ in range(4)]
        hogs[0].set(b"big", b"v" * BIG)
        hogs[0].set(b"number", b"7" + b" " * BIG)
        jump = jumps_between_turns(stayd, "large", counter,
                                   lambda: fire(hogs, request_line, count))
        assert jump < 20, f"{jump} requests of the others between two of one client"


def test_misses_and_errors_of_many_keys_in_a_line_are_turns_too():
    line = b"get " + b" ".join(b"k%d" % number for number in range(8_000)) + b"\r\n"
    with Stayd(server={"threads": 1, "requests_per_turn": 1_000_000}) as stayd:
        hogs = [stayd.connect("cache") for _ in range(4)]
        jump = jumps_between_turns(stayd, "cache", "cmd_get", lambda: fire(hogs, line, 30))
        assert jump < 50_000, f"{jump} keys of the others between two requests of one client"


@pytest.mark.parametrize("persist", ["no", "yes"], ids=["memory", "disk"])
@pytest.mark.parametrize("requests", [
    b"touch big 1000 noreply\r\n" * 40,
    b"append big 0 0 1 noreply\r\nx\r\n" * 10,
    b"get big big big big\r\n",
], ids=["touch", "append", "get"])
def test_a_client_of_another_pool_does_not_wait_for_work_on_large_values(requests, persist):
    large = {"memory": "256M", "item_max": "2M", "persist": persist}
    with Stayd(pools={"large": large}, parent=memory_folder()) as stayd:
        hogs = [stayd.connect("large") for _ in range(4)]
        hogs[0].set(b"big", b"v" * BIG)
        bystander.expect_undisturbed_by(
            lambda: fire(hogs, requests, 25), stayd.socket("sessions"))


def test_many_clients_with_heavy_requests_are_served_behind_those_with_light_ones():
    """Sixty clients ask for a megabyte each. Other clients need not wait for the turns of all sixty."""
    with Stayd(server={"threads": 1}, cache={"memory": "128M"}) as stayd:
        hogs = [stayd.connect("cache") for _ in range(60)]
        hogs[0].set(b"big", b"v" * BIG)
        watcher = stayd.connect_socket("cache")
        watcher.stats()
        requests = b"append big 0 0 1 noreply\r\nx\r\n" * 2
        jump = jumps_between_turns(stayd, "cache", "cmd_set", lambda: fire(hogs, requests, 10))
        assert jump < 20, f"{jump} heavy requests between two light ones"
        wait_until(lambda: int(watcher.stats()["cmd_set"]) == 1 + 60 * 20)
