"""The output of the demo: tables that fill in live on a terminal; plain lines and tables
otherwise."""

import contextlib
import io
import os
import sys
import time

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

WIDTH = 80

# Columns set off by space, with a rule under the headings and between sections.
PLAIN_BOX = box.Box("    \n    \n -- \n    \n -- \n -- \n    \n    \n")
TERMINAL_BOX = box.Box("    \n    \n ── \n    \n ── \n ── \n    \n    \n")


class WithoutTrailingSpace:
    """A text file for rich, which removes the spaces at the ends of rich's lines."""

    def __init__(self, out):
        self.out = out

    def write(self, text):
        """Writes text, which rich hands over in whole lines."""
        self.out.write("\n".join(line.rstrip(" ") for line in text.split("\n")))

    def flush(self):
        """Passes on what the file has buffered."""
        self.out.flush()

    def isatty(self):
        """It is for files and pipes only."""
        return False


def indented(renderable):
    """Returns it with the margin that all output has."""
    return Padding(renderable, (0, 0, 0, 2), expand=False)


class LiveTable:
    """A table and a line about the current work, drawn again and again."""

    def __init__(self, make_table):
        """make_table() returns the table as it is now."""
        self.make_table = make_table
        self.spinner = Spinner("dots", style="cyan")
        self.doing = ""

    def __rich__(self):
        table = indented(self.make_table())
        if not self.doing:
            return table
        self.spinner.update(text=Text(self.doing, style="cyan"))
        return Group(table, Text(), indented(self.spinner))


class Screen:
    """Standard output: in colour and moving on a terminal, otherwise a line for each step."""

    def __init__(self, out=None):
        """out: the text file to write to, standard output by default."""
        out = out or sys.stdout
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="replace")  # a locale that lacks the characters of the lines shows "?"
        self.on_terminal = out.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        if self.on_terminal:
            self.console = Console(file=out, highlight=False)
            self.console.width = min(self.console.width, WIDTH)
        else:
            plain = WithoutTrailingSpace(out)
            self.console = Console(
                file=plain, highlight=False, width=WIDTH, color_system=None, force_terminal=False
            )
        self.begun = time.monotonic()
        self.live = None

    @property
    def elapsed_s(self):
        """Seconds since the demo began."""
        return time.monotonic() - self.begun

    def heading(self, text):
        """Shows a heading with some room around it."""
        self.console.print()
        self.console.print(Text("  " + text, style="bold"))
        if not self.on_terminal:
            self.console.print(Text("  " + "-" * len(text)))
        self.console.print()

    def paragraph(self, text, style=""):
        """Shows text, indented and wrapped."""
        self.console.print(indented(Text(text, style=style)))

    def bullet(self, mark, text):
        """Shows text, wrapped, behind a short mark."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column()
        grid.add_row(Text(mark, style="cyan"), Text(text))
        self.console.print(indented(grid))

    def blank(self):
        """Leaves a line empty."""
        self.console.print()

    def pairs(self, rows):
        """Shows a short list of (name, what it is)."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="cyan", no_wrap=True)
        grid.add_column()
        for name, about in rows:
            grid.add_row(name, about)
        self.console.print(indented(indented(grid)))

    def doing(self, text):
        """Shows the current work until the next call; an empty text shows nothing."""
        if self.live is not None:
            self.live.doing = text

    def step(self, text):
        """Announces the next work: as a line of the log, or as the moving line."""
        self.doing(text)
        if not self.on_terminal:
            self.tell(text)

    def tell(self, text):
        """Writes one line of the log, with the time since the demo began. Not for terminals."""
        if not self.on_terminal:
            self.console.print(Text(f"  {self.elapsed_s:5.1f} s  {text}"), soft_wrap=True)
            self.console.file.flush()

    @contextlib.contextmanager
    def table(self, make_table):
        """Shows the table that make_table() returns: all the time on a terminal, otherwise at the
        end."""
        if not self.on_terminal:
            yield
            self.blank()
            self.console.print(indented(make_table()))
            self.blank()
            return
        self.live = LiveTable(make_table)
        try:
            with Live(self.live, console=self.console, refresh_per_second=8):
                yield
                self.live.doing = ""
            self.blank()
        finally:
            self.live = None

    @contextlib.contextmanager
    def waiting(self, text):
        """Shows what the demo waits for."""
        if not self.on_terminal:
            self.tell(text)
            yield
            return
        with self.console.status(Text(text, style="cyan"), spinner="dots"):
            yield

    def failed(self, text):
        """Says why the demo cannot go on."""
        self.blank()
        self.console.print(Text("  " + text.replace("\n", "\n  "), style="red"), soft_wrap=True)

    def goodbye(self):
        """Says that the demo stops everything because it was interrupted."""
        self.blank()
        self.paragraph("Stopping everything that was started.")

    def new_table(self, title):
        """Returns an empty table in this screen's style."""
        return Table(
            title=Text(title, style="bold"),
            title_justify="left",
            box=TERMINAL_BOX if self.on_terminal else PLAIN_BOX,
            show_edge=False,
            header_style="bold",
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
