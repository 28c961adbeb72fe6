"""What an entry measured, and how it is printed."""

import statistics
from dataclasses import dataclass, field

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One kind of work: what each round measured on stayd and on its peer, smaller being better.

    `target` is the ratio that DESIGN.md section 5 allows at most, or None; it is held against the
    ratio as printed. `digits` are those behind the point.
    """

    work: str
    stayd: list
    peer: list
    target: float | None = None
    digits: int = 0

    @property
    def ratio(self):
        """Median over median."""
        return statistics.median(self.stayd) / statistics.median(self.peer)

    def cells(self):
        """The row as strings."""
        if self.target is None:
            verdict = ""
        else:
            verdict = "[green]met[/]" if round(self.ratio, 2) <= self.target else "[red]missed[/]"
        target = "" if self.target is None else f"{self.target:.2f}"
        return [
            self.work,
            self._spread(self.stayd),
            self._spread(self.peer),
            f"{self.ratio:.2f}",
            target,
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
        table.add_column("at most", justify="right")
        table.add_column("")
        for row in self.rows:
            table.add_row(*row.cells())
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}", highlight=False)
        console.print()
