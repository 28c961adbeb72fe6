"""Replies of memcached 1.6.45 that Debian 12's 1.6.18, which the other tests compare with, does not give.

One row is one case: the requests, and the reply to all of them. The replies are those of memcached
1.6.45, built from its tag and asked over a socket. 1.6.45 reads nothing behind a dump, and refuses a
dump that is not the first command of a pipeline.
"""

import pytest

from support.servers import Stayd

BAD_LINE = b"CLIENT_ERROR bad command line format\r\n"
BAD_TOKEN = b"CLIENT_ERROR bad token in command line format\r\n"

EXTSTORE = [b"item_size", b"item_age", b"low_ttl", b"recache_rate", b"compact_under", b"drop_under",
            b"max_sleep", b"max_frag", b"drop_unread"]

ROWS = [
    # md x drops the value and keeps the item. As in memcached, flags and expiry stay as well if F and T
    # do not set them
    (b"ms k 2 F5 T100 E7\r\nab\r\nmd k x\r\nmg k v f t c\r\n",
     b"HD\r\nHD\r\nVA 0 f0 t-1 c7\r\n\r\n"),
    (b"ms k 2 E7\r\nab\r\nmd k x I T100 F9 E8\r\nmg k s t f c\r\n",
     b"HD\r\nHD\r\nHD s0 t100 f9 c8 X W\r\n"),
    (b"ms k 2 E7\r\nab\r\nmd k x C6\r\nmd k x C7\r\nmg k s\r\n", b"HD\r\nEX\r\nHD\r\nHD s0\r\n"),
    (b"md k x\r\nmd k x q\r\nmg k\r\n", b"NF\r\nNF\r\nEN\r\n"),
    (b"ms k 1 E7\r\na\r\nmd k x E9 q\r\nmg k c\r\n", b"HD\r\nHD c9\r\n"),
    # the other commands ignore x
    (b"ms k 2 x\r\n12\r\nmg k x v\r\nma k x v\r\n", b"HD\r\nVA 2\r\n12\r\nVA 2\r\n13\r\n"),
    # mg C: no value for a client whose CAS number shows that it has the value
    (b"ms k 2 E7\r\nab\r\nmg k C7 v\r\nmg k v C8\r\nmg k v s C7\r\n",
     b"HD\r\nHD\r\nVA 2\r\nab\r\nHD s2\r\n"),
    # ms s: the size of the item, or of the request's value if nothing is stored
    (b"ms k 5 s\r\nabcde\r\nms k 2 MA s\r\nfg\r\n", b"HD s5\r\nHD s7\r\n"),
    (b"ms k 3 MR s k\r\nabc\r\n", b"NS s3 kk\r\n"),
    (b"ms k 1 E7\r\na\r\nms k 4 C6 s\r\nabcd\r\n", b"HD\r\nEX s4\r\n"),
    # flags of more than 32 bits are refused, not cut off
    (b"ms k 2 F4294967296\r\nab\r\nmg k\r\n", BAD_LINE + b"EN\r\n"),
    (b"ms k 2 F4294967295\r\nab\r\nmg k f\r\n", b"HD\r\nHD f4294967295\r\n"),
    # q hides a creation too
    (b"ma miss N30 q\r\nmg miss v\r\n", b"VA 1\r\n0\r\n"),
    # M: the first letter
    (b"ms k 2 MSS\r\nab\r\nma k MDx v\r\n", b"HD\r\nCLIENT_ERROR cannot increment or decrement "
     b"non-numeric value\r\n"),
    (b"ms n 1 MEE\r\n5\r\nma n MDx v\r\n", b"HD\r\nVA 1\r\n4\r\n"),
    (b"ms k 1 M\r\na\r\nma n M\r\nmg k M\r\n", b"CLIENT_ERROR invalid mode for ms M token\r\n"
     b"CLIENT_ERROR invalid mode for ma M token\r\nEN\r\n"),
    # md names the fault in its flags
    (b"md k z\r\n", b"CLIENT_ERROR invalid flag\r\n"),
    (b"md k C\r\nmd k Cx\r\nmd k Tx\r\n", BAD_TOKEN * 3),
    (b"md k k k\r\n", b"CLIENT_ERROR duplicate flag\r\n"),
    # dumps begin with OK, also empty ones
    (b"lru_crawler metadump all\r\n", b"OK\r\nEND\r\n"),
    (b"lru_crawler mgdump all\r\n", b"OK\r\nEN\r\n"),
    (b"set k 0 0 1\r\nv\r\nlru_crawler mgdump all\r\n", b"STORED\r\nOK\r\nmg k\r\nEN\r\n"),
    # lines that are too short for a command, and commands that lack a word
    (b"\r\n\n \r\nx\r\n", BAD_LINE * 4),
    (b"get\r\nget \r\ngets  \r\ngat\r\ngats\r\ngat 0\r\ngats 5\r\n", BAD_LINE * 7),
    (b"set k 0 0 1\r\nvw\r\nset k 0 0 1\r\nvwx\r\nset k 0 0 2\r\na\r\nmn\r\n",
     (b"CLIENT_ERROR bad data chunk\r\n" + BAD_LINE) * 3),
    (b"mg\r\nmg \r\nmd\r\nma\r\nme\r\n", BAD_LINE * 5),
    (b"delete\r\ndelete  \r\ntouch\r\ntouch k\r\nincr\r\nincr k\r\ndecr k\r\n", BAD_LINE * 7),
    (b"verbosity\r\n", BAD_LINE),
    (b"gat x\r\ngats x \r\ngat x k\r\n",
     BAD_LINE * 2 + b"CLIENT_ERROR invalid exptime argument\r\n"),
    (b"set noreply 0 0 1\r\na\r\ndelete noreply\r\nget noreply\r\n", b"STORED\r\nEND\r\n"),
    # a word too many is ignored, because old clients send a delay with delete
    (b"set k 0 0 1\r\na\r\ndelete k 1\r\nget k\r\n", b"STORED\r\nDELETED\r\nEND\r\n"),
    (b"set k 0 0 1\r\na\r\ndelete k 1 noreply\r\nget k\r\n", b"STORED\r\nEND\r\n"),
    (b"set k 0 0 1\r\na\r\ndelete k 0 noreply x\r\nget k\r\n", b"STORED\r\nDELETED\r\nEND\r\n"),
    (b"set n 0 0 1\r\n5\r\nincr n 1 2 3\r\nincr n 1 2 noreply\r\ndecr n 0\r\n",
     b"STORED\r\n6\r\n7\r\n"),
    (b"touch k 0 1 2\r\ntouch k 0 1 noreply\r\n", b"NOT_FOUND\r\n"),
    (b"flush_all 0 noreply x\r\nflush_all 0 1 2 3\r\nflush_all noreply\r\n", b"OK\r\nOK\r\n"),
    (b"flush_all x\r\nflush_all noreply x\r\n", b"CLIENT_ERROR invalid exptime argument\r\n" * 2),
    (b"verbosity 0 foo bar\r\nverbosity 0 1 noreply\r\n", b"OK\r\n"),
    (b"cache_memlimit 64 2 3\r\n", b"OK\r\n"),
    # noreply is obeyed behind every word
    (b"foo noreply\r\nfoo\r\nshutdown noreply\r\nslabs reassign 1 2 noreply\r\n", b"ERROR\r\n"),
    # no command begins with a blank; bget is gone
    (b" get k\r\n version\r\n mn\r\n  \r\nbget k\r\nbget\r\n", b"ERROR\r\n" * 6),
    (b"shutdown\r\nshutdown graceful\r\nshutdown foo\r\n",
     b"SERVER_ERROR: shutdown not enabled\r\n" * 3),
    # commands that stayd accepts without having the feature
    (b"slabs automove freeratio 0.01\r\nslabs automove window 10\r\n", b"OK\r\n" * 2),
    (b"slabs automove freeratio\r\nslabs automove freeratio x\r\n", b"ERROR\r\n" * 2),
    (b"slabs automove window\r\nslabs automove window x\r\nslabs automove\r\n",
     BAD_LINE * 2 + b"ERROR\r\n"),
    (b"slabs automove window 2\r\nslabs automove window 1801\r\n",
     b"CLIENT_ERROR automove window too low or too high\r\n" * 2),
    (b"".join(b"extstore %b 1\r\n" % name for name in EXTSTORE), b"OK\r\n" * len(EXTSTORE)),
    (b"extstore free_memchunks 1 10\r\nextstore item_size 1 noreply\r\nextstore item_size 1 2\r\n",
     b"OK\r\n" * 2),
    (b"extstore\r\nextstore foo 1\r\nextstore item_size\r\nextstore item_size x\r\n"
     b"extstore free_memchunks 1\r\nextstore free_memchunks 100 1\r\nextstore max_frag x\r\n",
     b"ERROR\r\n" * 7),
    (b"stats extstore\r\n", b"END\r\n"),
    (b"version\r\nversion x\r\n", b"VERSION 1.6.45\r\n" * 2),
]


@pytest.mark.parametrize("requests, replies", ROWS, ids=repr)
def test_a_row_of_the_table(stayd_connection, requests, replies):
    stayd_connection.send(requests + b"mn\r\n")
    assert stayd_connection.read_until(b"MN\r\n") == replies + b"MN\r\n"


@pytest.mark.parametrize("request_line, reason", [(b"quit", b"normal"), (b"GET / HTTP/1.1", b"error")])
def test_the_connection_of_a_client_that_quits_is_closed_at_once(request_line, reason):
    """The server closes the connection, although the client keeps its socket open. Watchers see the
    reason."""
    with Stayd() as stayd:
        watcher = stayd.connect("cache")
        watcher.ask(b"watch connevents\r\n", b"OK\r\n")
        client = stayd.connect("cache")
        client.send(b"set k 0 0 1\r\nv\r\n" + request_line + b"\r\n")
        assert client.read_to_end() == b"STORED\r\n"
        lines = watcher.read_until(b"conn_close") + watcher.read_until(b"\n", timeout=1)
        port = client.socket.getsockname()[1]
        assert b" rport=%d " % port in lines
        assert b" reason=" + reason + b" " in lines
