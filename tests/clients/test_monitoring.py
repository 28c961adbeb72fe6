"""What operators point at memcached: memcached-tool, munin's plugin and collectd's plugin, all from
Debian.

Each tool first runs on memcached, which shows that the test expects what the tool reports.
scripts/setup unpacks the tools. Debian 12 has all of them, so a tool that is missing there is a
failure.
"""

import os
import pathlib
import platform
import subprocess

import pytest

from support.servers import wait_until

PEERS = pathlib.Path(__file__).parents[2] / "build" / "peers" / "usr"
TOOL = PEERS / "share" / "memcached" / "scripts" / "memcached-tool"
MUNIN = PEERS / "share" / "munin" / "plugins" / "memcached_"
COLLECTD = PEERS / "sbin" / "collectd"

COLLECTED = {
    "command-flush", "command-get", "command-set", "command-touch", "connections-current",
    "items-current", "ops-decr_hits", "ops-decr_misses", "ops-delete_hits", "ops-delete_misses",
    "ops-evictions", "ops-hits", "ops-incr_hits", "ops-incr_misses", "ops-misses",
}
"""Some of the series that collectd 5.12 makes of memcached 1.6.45."""


def needs(tool):
    """Skips a test where this system may not have the tool."""
    release = platform.freedesktop_os_release()
    has_all = (release["ID"], release.get("VERSION_ID")) == ("debian", "12")
    return pytest.mark.skipif(not tool.exists() and not has_all,
                              reason=f"{tool.name} is not unpacked in build/peers")


@pytest.fixture(autouse=True)
def an_item(server):
    """A server with an item, a read that finds it, and a read that finds nothing."""
    with server[0].connect(server[1]) as connection:
        connection.set(b"k", b"v", expiry=1000)
        connection.ask(b"get k none\r\n", b"VALUE k 0 1\r\nv\r\nEND\r\n")


@needs(TOOL)
@pytest.mark.parametrize("mode, shown", [
    ("display", "  #  Item_Size  Max_age   Pages   Count"), ("stats", " curr_items "),
    ("settings", " maxbytes "), ("sizes", " sizes_status "), ("dump", "add k 0 "),
])
def test_memcached_tool_shows_what_it_is_asked_for(server, mode, shown):
    if mode == "dump" and server[1] is None:
        pytest.skip("with Debian's memcached 1.6.18 this mode of its own tool hangs")
    done = subprocess.run(["perl", str(TOOL), server[0].address(server[1]), mode],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert "uninitialized" not in done.stderr


@needs(MUNIN)
@pytest.mark.parametrize("graph", ["bytes", "counters", "rates"])
def test_munins_plugin_finds_a_value_for_every_line(server, graph, tmp_path):
    plugin = tmp_path / f"memcached_{graph}"
    plugin.symlink_to(MUNIN)
    host, port = server[0].address(server[1]).split(":")
    done = subprocess.run(["perl", str(plugin)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "host": host, "port": port})
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    assert done.returncode == 0 and lines, done.stderr
    assert all(name.endswith(".value") and value.isdigit() for name, value in lines), done.stdout


@needs(COLLECTD)
def test_collectd_makes_its_series(server, tmp_path):
    host, port = server[0].address(server[1]).split(":")
    (tmp_path / "collectd.conf").write_text(f"""
        Hostname "here"
        FQDNLookup false
        Interval 1
        TypesDB "{PEERS}/share/collectd/types.db"
        PluginDir "{PEERS}/lib/collectd"
        PIDFile "{tmp_path}/pid"
        BaseDir "{tmp_path}"
        LoadPlugin csv
        <Plugin csv>
            DataDir "{tmp_path}/csv"
        </Plugin>
        LoadPlugin memcached
        <Plugin memcached>
            <Instance "one">
                Address "{host}"
                Port "{port}"
            </Instance>
        </Plugin>
    """)

    def series():
        files = (tmp_path / "csv").glob("here/memcached-one/*")
        return {file.name.rsplit("-", 3)[0].removeprefix("memcached_") for file in files}

    with subprocess.Popen([str(COLLECTD), "-f", "-C", str(tmp_path / "collectd.conf")]) as collectd:
        try:
            wait_until(lambda: series() >= COLLECTED)
        finally:
            collectd.terminate()
