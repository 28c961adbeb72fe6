"""The process that times what Django does with sessions, in `make run` and `make bench`."""

import subprocess
import sys

import pytest

import contest
import setups
from children import ChildDied, Children


@pytest.fixture(scope="module")
def stayd(tmp_path_factory):
    """A stayd with small pools."""
    children = Children()
    setup = setups.stayd(tmp_path_factory.mktemp("timing"), memory_mb=8)
    setup.daemons[0].start(children)
    yield setup
    children.stop()


def entrant(setup, **environ):
    return contest.Contender("stayd", {**setup.environ, **environ})


@pytest.fixture
def timed(tmp_path):
    """Makes contests; their processes end with the test."""
    children = Children()
    database = tmp_path / "empty"
    database.touch()

    def make(entrants, operations):
        made = contest.Contest(children, tmp_path, database, entrants, operations)
        made.start()
        return made

    yield make
    children.stop()


def test_it_answers_with_the_percentiles_of_each_operation(stayd, timed):
    operations = ("load", "save", "exists", "miss", "delete", "get_many")
    less = entrant(stayd)
    less.operations = ("load", "delete")
    made = timed([entrant(stayd), less], operations)
    for number in range(2):
        assert {contender.title for contender in made.round(number)} == {"stayd"}
    everything, some = made.entrants
    assert [set(each) for each in everything.rounds] == 2 * [set(operations)]
    assert [set(each) for each in some.rounds] == 2 * [{"load", "delete"}]
    for p50, p99 in everything.rounds[0].values():
        assert 0 < p50 <= p99
    assert made.session_bytes > 200


def test_a_wrong_result_ends_the_contest(stayd, timed):
    made = timed([entrant(stayd)], ("load",))
    url = stayd.sessions_over_tcp
    flush = f"import stayd; stayd.Client({url!r}).flush()"
    subprocess.run([sys.executable, "-c", flush], check=True)
    with pytest.raises(ChildDied, match="a wrong result of load"):
        list(made.round(0))


def test_a_store_that_is_not_there_is_told_from_its_log(stayd, timed):
    with pytest.raises(ChildDied, match="SITE_STORE is 'paper'"):
        timed([entrant(stayd, SITE_STORE="paper")], ("load",))
