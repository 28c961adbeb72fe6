"""Requests that fill a pool, update a full pool, and empty a pool, in great numbers."""

FULL = b"SERVER_ERROR out of memory storing object"


def store_many(connection, count, prefix=b"k"):
    """Stores so many items of one byte."""
    for start in range(0, count, 1000):
        connection.send(b"".join(b"set %b%d 0 0 1 noreply\r\nv\r\n" % (prefix, n)
                                 for n in range(start, min(start + 1000, count))))
    connection.expect_in_step()


def fill(connection, size, share=1.0):
    """Stores new keys until one is refused, then deletes the last of them. Returns how many remain."""
    count = 0
    while True:
        batch = range(count, count + 100)
        connection.send(b"".join(b"set k%d 0 0 %d\r\n%b\r\n" % (n, size, b"x" * size) for n in batch))
        replies = [connection.read_line() for _ in batch]
        if FULL in replies:
            count += replies.index(FULL)
            break
        count += len(replies)
    kept = int(count * share)
    for number in range(kept, count + 100):
        connection.send(b"delete k%d noreply\r\n" % number)
    connection.expect_in_step()
    return kept


def update_round(connection, count, size):
    """Sends an update of each item, and does not wait for the replies."""
    connection.send(b"".join(b"set k%d 0 0 %d\r\n%b\r\n" % (n, size, b"y" * size)
                             for n in range(count)))


def update_all(connections, count, size):
    """Sends an update of each item on each connection; returns all replies."""
    for connection in connections:
        update_round(connection, count, size)
    return [connection.read_line(timeout=60) for connection in connections for _ in range(count)]


def flush_often(connection, times):
    """Flushes the pool so often, a hundred times in one packet."""
    for _ in range(times // 100):
        connection.ask(b"flush_all\r\n" * 100, b"OK\r\n" * 100)
