"""What an entry measured, and how it is printed."""

import statistics
from dataclasses import dataclass, field

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One kind of work: what each round measured on stayd and on its peer.

    What is held against `target` is the ratio of the medians, as printed; where there is no peer,
    stayd's median itself. `target` is what DESIGN.md section 5 allows at most, with `at_least` at
    least, or None. `digits` are those behind the point.
    """

    work: str
    stayd: list
    peer: list | None
    target: float | None = None
    digits: int = 0
    at_least: bool = False

    @property
    def ratio(self):
        """Median over median; None where there is no peer."""
        if self.peer is None:
            return None
        return statistics.median(self.stayd) / statistics.median(self.peer)

    @property
    def met(self):
        """Whether the target was met; None where there is none."""
        if self.target is None:
            return None
        if self.peer is None:
            figure = round(statistics.median(self.stayd), self.digits)
        else:
            figure = round(self.ratio, 2)
        return figure >= self.target if self.at_least else figure <= self.target

    def target_text(self):
        """The target as printed."""
        if self.target is None:
            return ""
        digits = self.digits if self.peer is None else 2
        return f"{'≥' if self.at_least else '≤'} {self.target:,.{digits}f}"

    def figure_text(self):
        """What is held against the target, as printed."""
        return self._spread(self.stayd) if self.peer is None else f"{self.ratio:.2f}"

    def cells(self):
        """The row as strings."""
        verdict = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[self.met]
        return [
            self.work,
            self._spread(self.stayd),
            "" if self.peer is None else self._spread(self.peer),
            "" if self.peer is None else f"{self.ratio:.2f}",
            self.target_text(),
            verdict,
        ]

    def _spread(self, values):
        digits = self.digits
        text = f"{statistics.median(values):,.{digits}f}"
        if len(values) > 1:
            text += f" ({min(values):,.{digits}f}..{max(values):,.{digits}f})"
        return text


@dataclass
class Result:
    """What one entry found: a table, and the sentences that are needed to read it."""

    title: str
    unit: str
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    stayd_name: str = "stayd"
    peer_name: str = "memcached"

    def print_to(self, console):
        """Prints the table and the notes."""
        table = Table(title=f"{self.title} ({self.unit})", title_justify="left", title_style="bold")
        table.add_column("work")
        table.add_column(self.stayd_name, justify="right")
        table.add_column(self.peer_name, justify="right")
        table.add_column("ratio", justify="right")
        table.add_column("target", justify="right")
        table.add_column("")
        for row in self.rows:
            table.add_row(*row.cells())
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}", highlight=False)
        console.print()


def print_verdicts(console, results):
    """Prints which targets were met and which were missed."""
    rows = [(result.title, row) for result in results for row in result.rows if row.met is not None]
    missed = [(title, row) for title, row in rows if not row.met]
    console.print(f"{len(rows) - len(missed)} of {len(rows)} targets met", highlight=False)
    for title, row in missed:
        console.print(
            f"  [red]missed[/]: {title}: {row.work}: {row.figure_text()}, "
            f"target {row.target_text()}",
            highlight=False,
        )
