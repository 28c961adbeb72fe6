"""The results of an entry: as data for JSON, and as tables for the terminal and for Markdown."""

import statistics
from dataclasses import asdict, dataclass, field


def ratio_digits(ratio):
    """The number of decimals of a ratio: enough to show that a small ratio is not zero."""
    return 2 if ratio >= 0.1 else 3


def ratio_text(ratio):
    """A ratio as printed; None is printed as nothing."""
    return "" if ratio is None else f"{ratio:.{ratio_digits(ratio)}f}"


@dataclass(frozen=True)
class Row:
    """One kind of work: the figures of each round for stayd and for its peer.

    `target` is compared with the ratio of the medians, as printed, or, if there is no peer, with
    stayd's median. `target` is the highest value that meets DESIGN.md section 5, or with `at_least` the
    lowest, or None. `digits` is the number of decimals. `earlier` says what an earlier version did; it
    stands in the peer's column if there is no peer.
    """

    work: str
    stayd: list
    peer: list | None
    target: float | None = None
    digits: int = 0
    at_least: bool = False
    earlier: str = ""

    @property
    def ratio(self):
        """The median divided by the peer's median; None if there is no peer, or its median is 0."""
        peer = statistics.median(self.peer) if self.peer is not None else 0
        return statistics.median(self.stayd) / peer if peer else None

    @property
    def met(self):
        """True if the target was met; None if there is no target."""
        ratio = self.ratio
        if self.target is None or (self.peer is not None and ratio is None):
            return None
        if self.peer is None:
            figure = round(statistics.median(self.stayd), self.digits)
        else:
            figure = round(ratio, ratio_digits(ratio))
        return figure >= self.target if self.at_least else figure <= self.target

    def target_text(self):
        """The target as printed."""
        if self.target is None:
            return ""
        digits = self.digits if self.peer is None else 2
        return f"{'≥' if self.at_least else '≤'} {self.target:,.{digits}f}"

    def figure_text(self):
        """The figure that is compared with the target, as printed."""
        return self._spread(self.stayd) if self.peer is None else ratio_text(self.ratio)

    def cells(self):
        """The row as strings."""
        return [
            self.work,
            self._spread(self.stayd),
            self.earlier if self.peer is None else self._spread(self.peer),
            ratio_text(self.ratio),
            self.target_text(),
            {None: "", True: "met", False: "missed"}[self.met],
        ]

    def _spread(self, values):
        digits = self.digits
        text = f"{statistics.median(values):,.{digits}f}"
        if len(values) > 1:
            text += f" ({min(values):,.{digits}f}..{max(values):,.{digits}f})"
        return text


@dataclass(frozen=True)
class Contest:
    """Several contenders at the same operations.

    `rounds` is {operation: {contender: [[p50, p99], ...]}}, with a pair for each round; a contender is
    missing if it does not have the operation. `references` are the contenders with which the others
    are compared: {heading of the column: contender}.
    """

    title: str
    unit: str
    rounds: dict
    references: dict  # heading: contender

    def figure(self, operation, contender, index):
        """The median of the rounds: index 0 is the p50, 1 the p99. None if there is none."""
        found = self.rounds[operation].get(contender)
        return statistics.median(pair[index] for pair in found) if found else None

    def ratio(self, operation, contender, reference):
        """A p50 divided by that of another contender; None if one of them is missing."""
        ours, theirs = (self.figure(operation, name, 0) for name in (contender, reference))
        return None if ours is None or theirs is None else ours / theirs

    def table(self):
        """The medians of all rounds."""
        headings = ["operation", "", "p50", "p99"]
        headings += [f"p50 against {heading}" for heading in self.references]
        lines = []
        for operation, contenders in self.rounds.items():
            for contender in contenders:
                ratios = (
                    self.ratio(operation, contender, name) for name in self.references.values()
                )
                lines.append(
                    [operation, contender]
                    + [f"{self.figure(operation, contender, index):,.1f}" for index in (0, 1)]
                    + [ratio_text(ratio) for ratio in ratios]
                )
        return Table(f"{self.title} ({self.unit})", headings, lines, text_columns=2)


@dataclass(frozen=True)
class Table:
    """Headings and lines of text; the first `text_columns` are words, the others figures."""

    title: str
    headings: list
    lines: list
    text_columns: int = 1

    def markdown(self):
        """The table as Markdown, without its title."""
        rules = ["---"] * self.text_columns
        rules += ["---:"] * (len(self.headings) - self.text_columns)
        lines = [self.headings, rules, *self.lines]
        return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)

    def print_to(self, console):
        """Prints the table with rich."""
        from rich.table import Table as RichTable

        table = RichTable(title=self.title, title_justify="left", title_style="bold")
        for number, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if number < self.text_columns else "right")
        colours = {"met": "[green]met[/]", "missed": "[red]missed[/]"}
        for line in self.lines:
            table.add_row(*[colours.get(cell, cell) for cell in line])
        console.print(table)


@dataclass
class Result:
    """The result of one entry: a table, and notes about it."""

    title: str
    unit: str
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    stayd_name: str = "stayd"
    peer_name: str = "memcached"
    contest: Contest | None = None

    def tables(self):
        """The table of the rows, and then that of the contest if there is one."""
        headings = ["work", self.stayd_name, self.peer_name, "ratio", "target", ""]
        rows = Table(
            f"{self.title} ({self.unit})", headings, [row.cells() for row in self.rows]
        )
        return [rows] if self.contest is None else [rows, self.contest.table()]

    def print_to(self, console):
        """Prints the tables and the notes."""
        for table in self.tables():
            table.print_to(console)
        for note in self.notes:
            console.print(f"  {note}", highlight=False)
        console.print()

    def markdown(self):
        """The tables and the notes as Markdown."""
        text = "".join(f"**{table.title}**\n\n{table.markdown()}\n" for table in self.tables())
        return text + "".join(f"- {note}\n" for note in self.notes)

    def to_data(self):
        """The result for JSON: the figures, and also ratios and verdicts for people who read the
        file."""
        data = asdict(self)
        for row, written in zip(self.rows, data["rows"]):
            written.update(ratio=row.ratio, met=row.met)
        return data

    @classmethod
    def from_data(cls, data):
        """The result that to_data gave."""
        derived = ("ratio", "met")
        rows = [
            Row(**{name: value for name, value in row.items() if name not in derived})
            for row in data["rows"]
        ]
        contest = data["contest"] and Contest(**data["contest"])
        return cls(**{**data, "rows": rows, "contest": contest})


def summary(results):
    """One table of all rows that have a target. `results`: {name of the entry: Result}."""
    lines = []
    for name, result in results.items():
        for row in result.rows:
            if row.met is not None:
                work, _, _, _, target, verdict = row.cells()
                lines.append([name, work, row.figure_text(), target, verdict])
    met = sum(line[-1] == "met" for line in lines)
    return Table(
        f"{met} of {len(lines)} targets met",
        ["entry", "work", "ratio, or figure", "target", ""], lines, text_columns=2,
    )
