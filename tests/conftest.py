"""For every test: certificates, and the logs of the servers of a test that failed."""

import pytest

from support import certificates, servers


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The paths of certificates and keys (support/certificates.py), made once; not to be changed."""
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the servers' logs to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in servers.running:
            log = server.log
            if log:
                report.sections.append((f"log of {server.command()[0]}", log[-3000:]))
