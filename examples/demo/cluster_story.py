"""What happens to a cluster, and who is still logged in after it.

Readers log in at the one address. In each step something dies or comes back. Then all readers come
back: at the address, and on each host that runs.
"""

import functools
import threading
from collections import Counter
from concurrent import futures
from dataclasses import dataclass, field

from requests.adapters import HTTPAdapter
from rich.text import Text

import cluster_setups
from browser import Reader, Seen

CONNECTIONS = 6

STEPS = {
    1: "all have logged in",
    2: "a node is killed",
    3: "the leader is killed",
    4: "stayd 1 is killed",
    5: "stayd 1 is back",
    6: "host 2 is killed",
    7: "host 2 is back",
}
STILL_IN = (Seen.LOGGED_IN, Seen.OLD_SESSION)


@dataclass
class Outcome:
    """What was found after a step."""

    at_address: int
    on_hosts: list = field(default_factory=list)  # None: it is down
    longest_s: float = 0.0
    lag_s: float = 0.0


class ClusterStory:
    """Takes the cluster through the steps and remembers the results."""

    def __init__(self, screen, children, nodes, hosts, url, watch, reader_count):
        self.screen = screen
        self.children = children
        self.nodes = nodes
        self.hosts = hosts
        self.watch = watch
        self.reader_count = reader_count
        self.connections = HTTPAdapter(pool_connections=8, pool_maxsize=CONNECTIONS, pool_block=True)
        self.url = url
        self.readers = [
            Reader(url, self.connections, f"reader{number:03d}")
            for number in range(1, reader_count + 1)
        ]
        self.executor = futures.ThreadPoolExecutor(CONNECTIONS)
        self.step = 0
        self.outcomes = {}  # step -> Outcome
        self.seen = Counter()  # of Seen
        self.back_after_s = {}  # step -> seconds until a killed stayd answered
        self.leaders = {}  # step -> how many partitions the killed node led

    def close(self):
        """Cancels everything that still waits."""
        self.executor.shutdown(wait=False, cancel_futures=True)

    def everyone(self, action, doing):
        """Calls action(reader) for all readers; returns the results."""
        done = Counter()
        lock = threading.Lock()

        def task(reader):
            result = action(reader)
            with lock:
                done["readers"] += 1
            return result

        running = [self.executor.submit(functools.partial(task, reader)) for reader in self.readers]
        waiting = set(running)
        while waiting:
            finished, waiting = futures.wait(waiting, 0.1, futures.FIRST_EXCEPTION)
            for future in finished:
                future.result()
            self.screen.doing(f"{doing}: {done['readers']:,} of {self.reader_count:,}")
        return [future.result() for future in running]

    def begin(self, doing):
        """The next step."""
        self.step += 1
        self.screen.step(doing)

    def run(self):
        """Goes through all steps."""
        self.begin(f"{self.reader_count} readers log in, over HTTP, at one address")
        self.watch.start()
        self.everyone(Reader.log_in, "readers log in")
        self.count()

        self.begin("an engine node is killed (SIGKILL)")
        follower = self.node_by_leaderships(least=True)
        follower.kill()
        self.count()

        self.bring_back(follower)
        self.begin("the node that leads most partitions is killed (SIGKILL)")
        leader = self.node_by_leaderships(least=False)
        leader.kill()
        self.count()

        self.bring_back(leader)
        self.begin("the stayd of host 1 is killed (SIGKILL); its site runs on")
        self.hosts[0].kill_stayd()
        self.count()

        self.begin("it is started again")
        self.back_after_s[self.step] = self.hosts[0].start(self.children)
        self.count()

        self.begin("all of host 2 is killed (SIGKILL): stayd and site")
        self.hosts[1].kill()
        self.count()

        self.begin("it is started again")
        self.back_after_s[self.step] = self.hosts[1].start(self.children)
        self.count()

    def node_by_leaderships(self, least):
        """The node that leads the fewest or the most partitions."""
        leading = Counter(leader for leader, _ in cluster_setups.partitions(self.hosts[0]))
        choose = min if least else max
        node = choose(self.nodes, key=lambda node: leading[node.name])
        self.leaders[self.step] = leading[node.name]
        return node

    def bring_back(self, node):
        """Starts an engine node and waits until it has all records."""
        self.screen.step(f"the engine's {node.name} is started again")
        node.start(self.children)
        cluster_setups.wait_for_replicas(self.nodes, self.hosts[0])

    def count(self):
        """Lets all readers come back, at the address and on each host, and counts what they see."""
        at_address = self.come_back(self.url, "all readers come back")
        outcome = Outcome(at_address)
        for host in self.hosts:
            found = None
            if host.serves:
                found = self.come_back(host.setup.url, f"all readers come back, on host {host.number}")
            outcome.on_hosts.append(found)
        self.screen.doing("writes that are on their way end")
        outcome.longest_s, outcome.lag_s = self.watch.take()
        self.outcomes[self.step] = outcome
        on_hosts = ", ".join("down" if each is None else str(each) for each in outcome.on_hosts)
        self.screen.tell(
            f"  still logged in: {at_address}; on the hosts: {on_hosts}; longest write"
            f" {shown(outcome.longest_s)}, lag {shown(outcome.lag_s)}"
        )

    def come_back(self, url, doing):
        """How many readers are still logged in at this URL."""

        def visit(reader):
            reader.url = url
            return reader.come_back()

        seen = Counter(self.everyone(visit, doing))
        self.seen += seen
        return sum(seen[each] for each in STILL_IN)

    # ---- showing it ------------------------------------------------------------------------------

    def table(self):
        """Returns the table, with the results so far."""
        table = self.screen.new_table(f"Readers still logged in, of {self.reader_count}")
        table.add_column("", width=1, style="cyan")
        table.add_column("after this", min_width=20)
        for heading in ("at the\naddress", "on\nhost 1", "on\nhost 2", "on\nhost 3", "longest\nwrite",
                        "longest\nlag"):
            table.add_column(heading, justify="right", no_wrap=True)
        for step, title in STEPS.items():
            style = "dim" if step > self.step else ""
            table.add_row(str(step), Text(title, style=style), *self.cells(step))
        return table

    def cells(self, step):
        """Returns what the table shows for a step."""
        outcome = self.outcomes.get(step)
        if outcome is None:
            return [Text("..." if step == self.step else "", style="dim")] * 6
        counts = [self.cell(count) for count in (outcome.at_address, *outcome.on_hosts)]
        return [*counts, shown(outcome.longest_s), shown(outcome.lag_s)]

    def cell(self, count):
        """Returns what the table shows for a number of readers."""
        if count is None:
            return Text("down", style="dim")
        if count == self.reader_count:
            return Text(str(count), style="green")
        return Text(str(count), style="red" if count == 0 else "yellow")

    @property
    def all_stayed(self):
        """Whether all readers stayed logged in after every step, everywhere."""
        return all(
            count in (None, self.reader_count)
            for outcome in self.outcomes.values()
            for count in (outcome.at_address, *outcome.on_hosts)
        ) and set(self.outcomes) == set(STEPS)

    def notes(self):
        """Returns [(mark, sentence), ...]: what happened in each step."""
        partitions = cluster_setups.PARTITIONS
        notes = [
            ("2", f"It led {self.leaders[2]} of the {partitions} partitions of the log. Each write is"
                  " on the disks of two of three nodes before stayd acknowledges it. A host that read"
                  " the log through this node reads on through another, some seconds later; a login"
                  " that a host does not have yet is looked up in the log."),
            ("3", "The other node is back and has all records. This one led"
                  f" {self.leaders[3]} of {partitions}. Writes there wait until the others have elected"
                  " a new leader, some 4 to 9 s; reads do not wait."),
            ("4", "The site of host 1 goes over to the stayd of a neighbour, and back later."),
            ("5", f"It caught up and answered after {self.back_after_s[5] * 1000:.0f} ms."),
            ("6", "Stayd and site at once. The address sends everybody to the two others."),
            ("7", f"Its stayd caught up and answered after {self.back_after_s[7] * 1000:.0f} ms."),
        ]
        if self.seen[Seen.OLD_SESSION]:
            notes.append(("", f"{self.seen[Seen.OLD_SESSION]} visits saw a session that was some"
                              " milliseconds old: all hosts have every change a moment later."))
        if self.watch.unknown:
            notes.append(("", f"{self.watch.unknown} of the {self.watch.written:,} timed writes were not"
                              " confirmed: they were on their way when a leader or their stayd was"
                              " killed."))
        if self.seen[Seen.ERROR]:
            notes.append(("", f"{self.seen[Seen.ERROR]} visits saw {Seen.ERROR.value}."))
        return notes


def shown(seconds):
    """A time as the table shows it."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
