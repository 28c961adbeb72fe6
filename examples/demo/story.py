"""The first half of the demo: what happens to every site, and who is still logged in after it.

Readers log in to the same bookshop on each set-up, over HTTP. In each step, the same thing happens
to every set-up. Then all readers come back with their cookies, and the demo counts the readers who
are still logged in. Readers who were logged out log in again before the next step, so that each
step counts alone.
"""

import functools
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
from collections import Counter
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text

from browser import CONNECTIONS_PER_SHOP, Reader, Seen, UnexpectedPage, Visitor, shop_connections
from children import Child

FILL = Path(__file__).resolve().with_name("fill.py")
VISITORS_OVER_HTTP = 40
BASKET_BOOKS = ["middlemarch", "persuasion", "walden", "flatland"]

STEPS = {
    1: "everyone has logged in",
    2: "the cache is cleared",
    3: "the daemon is killed and restarted",
    4: "visitors fill the sessions' memory",
    5: "the daemon is stopped and restarted",
}


@dataclass
class Shop:
    """One set-up's bookshop, its readers, and what they saw after each step."""

    setup: object
    readers: list
    connections: object
    executor: futures.ThreadPoolExecutor
    seen: dict = field(default_factory=dict)  # step -> Counter of Seen

    def logged_in(self, step):
        """How many readers were still logged in after this step, with nothing lost."""
        return self.seen[step][Seen.LOGGED_IN]


def fill_command(*arguments):
    """Returns the command line that runs fill.py."""
    return [sys.executable, "-B", FILL, *arguments]


class Story:
    """Takes the shops through the steps and remembers the results."""

    def __init__(self, screen, children, run_dir, setups, reader_count, memory_mb):
        """setups: one memcached, two memcacheds, and stayd; all are served. memory_mb: of one
        pool."""
        self.screen = screen
        self.children = children
        self.run_dir = run_dir
        self.memory_mb = memory_mb
        self.reader_count = reader_count
        self.shops = [self.open_shop(setup) for setup in setups]
        self.one_memcached, self.two_memcacheds, self.stayd = self.shops
        self.step = 0  # the current step
        self.back_after_s = {}  # step -> seconds until stayd answered again
        self.fill_outcomes = []  # the outcome of each fill.py that filled stayd
        self.kept_when_full = {}  # set-up's key -> how many of the last visitors kept a basket
        self.sessions_evicted = 0  # by the memcached for sessions

    def open_shop(self, setup):
        """Makes the readers of one set-up."""
        connections = shop_connections()
        readers = [
            Reader(setup.url, connections, f"reader{number:03d}")
            for number in range(1, self.reader_count + 1)
        ]
        executor = futures.ThreadPoolExecutor(CONNECTIONS_PER_SHOP)
        return Shop(setup, readers, connections, executor)

    def close(self):
        """Cancels everything that still waits."""
        for shop in self.shops:
            shop.executor.shutdown(wait=False, cancel_futures=True)

    # ---- doing things side by side ---------------------------------------------------------------

    def side_by_side(self, tasks, watch=lambda: None):
        """Runs {shop's key: [function, ...]}, all shops at once; returns {key: [result, ...]}.

        watch() is called a few times a second. The first exception ends it all.
        """
        by_key = {shop.setup.key: shop for shop in self.shops}
        running = {
            key: [by_key[key].executor.submit(task) for task in own] for key, own in tasks.items()
        }
        waiting = {future for own in running.values() for future in own}
        try:
            while waiting:
                done, waiting = futures.wait(waiting, 0.1, futures.FIRST_EXCEPTION)
                for future in done:
                    future.result()
                watch()
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
        return {key: [future.result() for future in own] for key, own in running.items()}

    def everyone(self, action, doing, who=lambda shop: shop.readers):
        """Calls action(reader) for the readers of all shops; returns {key: [result, ...]}."""
        progress = Counter()
        lock = threading.Lock()

        def task(reader):
            result = action(reader)
            with lock:
                progress["done"] += 1
            return result

        tasks = {
            shop.setup.key: [functools.partial(task, reader) for reader in who(shop)]
            for shop in self.shops
        }
        total = sum(len(own) for own in tasks.values())
        return self.side_by_side(
            tasks, lambda: self.screen.doing(f"{doing}: {progress['done']:,} of {total:,}")
        )

    # ---- the steps -------------------------------------------------------------------------------

    def run(self):
        """Goes through all steps."""
        self.step = 1
        self.screen.step(f"{self.reader_count} readers log in to each shop, over HTTP")
        self.everyone(Reader.log_in, "readers log in, over HTTP")
        self.count()

        self.step = 2
        self.screen.step("in each shop, a reader presses the button that clears the cache")
        self.side_by_side({shop.setup.key: [shop.readers[0].clear_cache] for shop in self.shops})
        self.count()
        self.log_in_again()

        self.step = 3
        self.restart(signal.SIGKILL, "every daemon is killed (SIGKILL) and restarted")
        self.count()
        self.log_in_again()

        self.step = 4
        self.fill()
        self.count()
        self.log_in_again()

        self.step = 5
        self.restart(signal.SIGTERM, "every daemon is stopped (SIGTERM) and restarted")
        self.count()
        self.empty()

    def count(self):
        """Lets all readers come back, and counts what they see."""
        outcomes = self.everyone(Reader.come_back, "all readers come back with their cookies")
        for shop in self.shops:
            shop.seen[self.step] = Counter(outcomes[shop.setup.key])
        told = ", ".join(f"{shop.setup.title} {shop.logged_in(self.step)}" for shop in self.shops)
        self.screen.tell(f"  still logged in: {told}")

    def log_in_again(self):
        """Logs in the readers whom the last step has logged out."""
        out = {
            shop.setup.key: [reader for reader in shop.readers if not reader.logged_in]
            for shop in self.shops
        }
        if any(out.values()):
            self.everyone(
                Reader.log_in,
                "those who were logged out log in again",
                who=lambda shop: out[shop.setup.key],
            )

    def restart(self, signal_number, doing):
        """Ends all daemons by this signal, and starts them again."""
        self.screen.step(doing)
        for shop in self.shops:
            seconds = shop.setup.restart(self.children, signal_number)
            if shop is self.stayd:
                self.back_after_s[self.step] = seconds

    def fill(self):
        """Fills stayd's sessions pool with visitors, and sends as many to the other set-ups."""
        self.screen.step(
            f"{VISITORS_OVER_HTTP} visitors without a login fill a basket in each shop"
        )
        self.visit()
        pages = ["--pages-mb", str(self.memory_mb)]
        self.screen.step("visitors go on coming until stayd's sessions pool is full")
        helpers = [
            (self.stayd, fill_command("fill", self.keys_path(part), "--seed", str(part), *half))
            for part, half in enumerate([pages, []])
        ]
        self.fill_outcomes = self.run_helpers(helpers, "sessions in stayd")
        per_shop = f"{self.visitor_count:,}"
        self.screen.step(f"{per_shop} visitors come to each of the others as well")
        pages += ["--sessions", str(self.visitor_count)]
        helpers = [(shop, fill_command("fill", os.devnull, *pages)) for shop in self.shops[:-1]]
        self.run_helpers(helpers, f"sessions, {per_shop} for each of the others")
        self.screen.step(f"{VISITORS_OVER_HTTP} more visitors come to each shop, over HTTP")
        self.kept_when_full = {key: sum(kept) for key, kept in self.visit().items()}
        self.sessions_evicted = self.two_memcacheds.setup.daemons[-1].evictions()

    @property
    def visitor_count(self):
        """How many visitors' sessions were created in bulk, in stayd and in each of the others."""
        return sum(outcome["sessions"] for outcome in self.fill_outcomes)

    def visit(self):
        """Visitors fill a basket over HTTP; returns {key: [whether the shop kept it, ...]}."""
        tasks = {
            shop.setup.key: [
                functools.partial(Visitor(shop.setup.url, shop.connections).fill_basket, slug)
                for slug in itertools.islice(itertools.cycle(BASKET_BOOKS), VISITORS_OVER_HTTP)
            ]
            for shop in self.shops
        }
        return self.side_by_side(tasks)

    def empty(self):
        """Deletes the visitors' sessions from stayd, so that the site can be used, and tries it."""
        self.screen.step("the visitors' sessions are deleted from stayd again")
        parts = range(len(self.fill_outcomes))
        helpers = [(self.stayd, fill_command("empty", self.keys_path(part))) for part in parts]
        self.run_helpers(helpers, "sessions deleted")
        visitor = Visitor(self.stayd.setup.url, self.stayd.connections)
        if not visitor.fill_basket(BASKET_BOOKS[0]):
            what = "stayd takes no new session although room was made in its pool"
            raise UnexpectedPage(self.stayd.setup.url, what)

    def keys_path(self, part):
        """The file with the keys of the sessions that one helper created in stayd."""
        return self.run_dir / f"visitors-{part}.txt"

    def run_helpers(self, helpers, unit):
        """Runs helper processes, [(shop, command), ...], at once and follows their progress.

        Returns the last line of each, in the order given.
        """
        running = []
        for number, (shop, command) in enumerate(helpers):
            log_path = self.run_dir / f"{shop.setup.key}-helper-{number}.log"
            child = Child(f"a helper for {shop.setup.title}", command, log_path, shop.setup.environ)
            running.append((shop, self.children.start(child, stdout=subprocess.PIPE)))
        progress = Counter()

        def follow(child):
            told = {}
            for line in child.process.stdout:
                told = json.loads(line)
                progress[child] = told["sessions"]
            child.process.wait()
            if not told.get("done"):
                child.check()
            return child, told

        tasks = {}
        for shop, child in running:
            tasks.setdefault(shop.setup.key, []).append(functools.partial(follow, child))
        outcomes = self.side_by_side(
            tasks, lambda: self.screen.doing(f"{sum(progress.values()):,} {unit}")
        )
        self.children.stop([child for _, child in running])
        told_by = dict(outcome for own in outcomes.values() for outcome in own)
        return [told_by[child] for _, child in running]

    # ---- showing it ------------------------------------------------------------------------------

    def table(self):
        """Returns the table of who is still logged in, with the results so far."""
        table = self.screen.new_table(f"Readers still logged in, of {self.reader_count}")
        table.add_column("", width=1, style="cyan")
        table.add_column("after this", min_width=36)
        for shop in self.shops:
            table.add_column(shop.setup.heading, justify="right", min_width=10)
        for step, title in STEPS.items():
            cells = [self.cell(shop, step) for shop in self.shops]
            table.add_row(str(step), Text(title, style="dim" if step > self.step else ""), *cells)
        return table

    def cell(self, shop, step):
        """Returns what the table shows for a shop and a step."""
        if step not in shop.seen:
            return Text("..." if step == self.step else "", style="dim")
        count = shop.logged_in(step)
        if count == self.reader_count:
            return Text(str(count), style="green")
        return Text(str(count), style="red" if count == 0 else "yellow")

    @property
    def all_stayed(self):
        """Whether all readers stayed logged in on stayd after every step."""
        return all(self.stayd.logged_in(step) == self.reader_count for step in STEPS)

    def notes(self):
        """Returns [(mark, sentence), ...]: what happened in each step and why."""
        average_bytes = statistics.mean(each["average_bytes"] for each in self.fill_outcomes)
        turned_away = VISITORS_OVER_HTTP - self.kept_when_full[self.stayd.setup.key]
        notes = [
            (
                "2",
                "Clearing the cache empties the whole memcached: where sessions share it, they go"
                " too. stayd keeps them in a pool of their own.",
            ),
            (
                "3",
                "kill -9, as in a crash. A memcached comes back empty. stayd's sessions pool is a"
                f" file; it answered again after {self.back_after_s[3] * 1000:.0f} ms.",
            ),
            (
                "4",
                f"{self.visitor_count:,} visitors without a login came, with sessions of"
                f" {average_bytes:.0f} bytes on average, until stayd's {self.memory_mb} MB for"
                f" sessions were full ({VISITORS_OVER_HTTP} over HTTP, the rest in bulk through"
                " Django's session engine). As many came to the others, and the cache was filled"
                f" in all three. The memcached for sessions dropped {self.sessions_evicted:,}"
                " sessions to make room, no matter whose. stayd dropped none and refused"
                f" newcomers: {turned_away} of {VISITORS_OVER_HTTP} more got an error page.",
            ),
            (
                "5",
                "As in an upgrade or a reboot. stayd answered again after"
                f" {self.back_after_s[5] * 1000:.0f} ms.",
            ),
        ]
        for shop in self.shops:
            for step, seen in shop.seen.items():
                for what in (Seen.OLD_SESSION, Seen.ERROR):
                    if seen[what]:
                        sentence = f"{shop.setup.title}: {seen[what]} readers saw {what.value}."
                        notes.append((str(step), sentence))
        return notes
