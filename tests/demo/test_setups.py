"""The set-ups work from any folder."""

import setups


def test_stayds_sockets_have_room_for_their_path_in_a_deep_directory(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    setup = setups.stayd(deep, memory_mb=2)
    socket_path = setup.environ["SITE_SESSION_CACHE"].removeprefix("unix://")
    assert len(socket_path) < 108
    assert (
        f"run_dir  = {socket_path.removesuffix('/sessions.sock')}\n"
        in (deep / "stayd" / "stayd.conf").read_text()
    )


def test_free_ports_are_all_different():
    assert len(set(setups.free_ports(20))) == 20
