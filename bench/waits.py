"""How long bystanders of the tests (tests/support/bystander.py) wait while something is done to the
daemon, less how long they wait while nothing is."""

from dataclasses import dataclass, field

from support.bystander import longest_idle_wait, longest_wait_while


@dataclass
class Waits:
    """Measures, and keeps the idle runs' longest waits, which are the standard of comparison."""

    idle_seconds: float
    idle_s: list = field(default_factory=list)
    overslept_s: float = 0.0  # the longest by which the machine delayed a bystander, not the daemon
    refused: int = 0  # requests that the bystanders had to repeat

    def idle(self, bystanders):
        """The longest wait of an idle run, in seconds."""
        self.idle_s.append(longest_idle_wait(bystanders, self.idle_seconds))
        return self.idle_s[-1]

    def during(self, work, bystanders, idle_s=None):
        """The longest wait while `work()` runs, less that of an idle run, in milliseconds. The idle
        run is made now, unless its longest wait is given."""
        if idle_s is None:
            idle_s = self.idle(bystanders)
        longest_s = longest_wait_while(work, bystanders)
        self.overslept_s = max(self.overslept_s, *(each.overslept for each in bystanders))
        self.refused += sum(each.refused for each in bystanders)
        return 1000 * (longest_s - idle_s)


def expect(condition, what):
    """Ends the benchmark unless the daemon did what is measured."""
    if not condition:
        raise RuntimeError(f"stayd did not do this: {what}")
