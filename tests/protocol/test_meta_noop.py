"""mn, and words that are no meta command."""


def test_mn_answers_mn(connection):
    connection.ask(b"mn\r\n", b"MN\r\n")


def test_mn_comes_after_the_replies_of_all_before_it(connection):
    connection.ask(
        b"ms k 1\r\nv\r\nmg k v\r\nmg none q\r\nmn\r\n", b"HD\r\nVA 1\r\nv\r\nMN\r\n"
    )


def test_an_unknown_meta_command_is_an_error(connection):
    for command in (b"mx k", b"mgx k", b"MG k", b"mnn"):
        connection.ask(command + b"\r\n", b"ERROR\r\n")


def test_meta_and_classic_commands_mix_on_one_connection(connection):
    connection.ask(
        b"set k 0 0 1\r\na\r\nmg k v\r\nget k\r\nms k 1\r\nb\r\nget k\r\nmd k\r\nget k\r\n",
        b"STORED\r\nVA 1\r\na\r\nVALUE k 0 1\r\na\r\nEND\r\nHD\r\n"
        b"VALUE k 0 1\r\nb\r\nEND\r\nHD\r\nEND\r\n",
    )
