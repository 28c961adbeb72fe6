"""For every test: a failed test shows the log of each server that it had running."""

import pytest

from support import servers


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
