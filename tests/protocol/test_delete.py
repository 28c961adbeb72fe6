"""delete."""

def test_a_deleted_item_is_gone(connection):
    connection.set(b"k", b"v")
    connection.ask(b"delete k\r\n", b"DELETED\r\n")
    connection.ask(b"get k\r\n", b"END\r\n")
    connection.ask(b"delete k\r\n", b"NOT_FOUND\r\n")


def test_delete_of_a_missing_key_is_not_found(connection):
    connection.ask(b"delete k\r\n", b"NOT_FOUND\r\n")


def test_delete_of_an_expired_item_is_not_found(connection):
    connection.set(b"k", b"v", expiry=-1)
    connection.ask(b"delete k\r\n", b"NOT_FOUND\r\n")


def test_delete_takes_only_its_own_key(connection):
    for number in range(200):
        connection.send(b"set k%d 0 0 1 noreply\r\nv\r\n" % number)
    connection.ask(b"delete k100\r\n", b"DELETED\r\n")
    for number in range(200):
        assert connection.get(b"k%d" % number) == (None if number == 100 else b"v")


def test_delete_takes_a_zero_for_the_sake_of_old_clients(connection):
    connection.set(b"k", b"v")
    connection.ask(b"delete k 0\r\n", b"DELETED\r\n")
