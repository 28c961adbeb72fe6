"""Three nodes of the engine, once for all modules; each test has streams of its own."""

import pytest

from hosts import Hosts
from support import nats


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    if nats.find_server() is None:
        pytest.skip("there is no nats-server: scripts/nats-server builds one")
    with nats.Cluster(tmp_path_factory.mktemp("nats")) as cluster:
        yield cluster


@pytest.fixture
def hosts(engine):
    made = Hosts(engine)
    yield made
    made.close()
