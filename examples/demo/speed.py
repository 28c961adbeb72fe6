"""The second half of the demo: how long Django takes to load and to save a session."""

from rich.text import Text

import contest

MEMORY_MB = 64
ROUNDS_A_LINE = 4  # of the log


class Speed:
    """Measures all stores in turns, and shows the results."""

    def __init__(self, screen, children, run_dir, database):
        """database: a SQLite file with the site's tables, which is copied."""
        self.screen = screen
        self.children = children
        self.run_dir = run_dir
        self.database = database
        self.session_bytes = 0
        self.contenders = []

    def run(self, rounds):
        """Measures, this many rounds."""
        self.screen.step("sessions are made in each store")
        folder = self.run_dir / "timing"
        folder.mkdir()
        daemons = contest.start_daemons(self.children, folder, MEMORY_MB)
        self.contenders = contest.contenders(*daemons)
        timed = contest.Contest(
            self.children, folder, self.database, self.contenders, ("load", "save")
        )
        timed.start()
        self.session_bytes = timed.session_bytes
        for number in range(1, rounds + 1):
            if number % ROUNDS_A_LINE == 1:
                self.screen.tell(f"round {number} of {rounds}")
            for contender in timed.round(number):
                self.screen.doing(f"round {number} of {rounds}: {contender.title}")
        timed.stop()
        self.children.stop([process for setup in daemons for process in setup.processes])

    def table(self):
        """Returns the table of times, with the results so far."""
        table = self.screen.new_table("One session in Django, in microseconds")
        table.add_column("", min_width=26, no_wrap=True)
        for heading in ("\np50", "\np99", "p50 against\npylibmc", "p50 against\nSQLite"):
            table.add_column(heading, justify="right", min_width=9)
        for operation, title in (("load", "Loading it"), ("save", "Saving it")):
            table.add_row(Text(title, style="cyan"))
            for contender in self.contenders:
                style = "bold" if contender.title.startswith("stayd") else ""
                cells = self.cells(contender, operation) if contender.rounds else []
                table.add_row("  " + contender.title, *cells, style=style)
            if operation == "load":
                table.add_section()
        return table

    def cells(self, contender, operation):
        """Returns a contender's figures, and its p50 divided by the p50 of pylibmc and of
        SQLite."""
        p50 = contender.figure(operation, 0)
        cells = [f"{p50:,.0f}", f"{contender.figure(operation, 1):,.0f}"]
        by_title = {each.title: each for each in self.contenders}
        for reference in (by_title[contest.PYLIBMC], by_title[contest.DATABASE]):
            ratio = f"{p50 / reference.figure(operation, 0):.2f}" if reference.rounds else ""
            cells.append(ratio)
        return cells

    def note(self):
        """Says how the figures were measured."""
        rounds = len(self.contenders[0].rounds)
        return (
            f"SessionStore.load() and .save() of {self.session_bytes} bytes of JSON, the session"
            " of a reader who is logged in. Each store has its own process and an open connection;"
            f" they measured in turns, {rounds} rounds; each figure is the median of its rounds."
            ' "Against" is a p50 divided by the other\'s: 0.50 is half the time. The memcached rows'
            " use two memcacheds over TCP. SQLite has a save on the disk before it goes on, stayd"
            " within a second, memcached never."
        )
