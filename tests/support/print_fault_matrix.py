"""Prints the fault matrix into docs/operations.md, between its two marks:

    build/venv/bin/python tests/support/print_fault_matrix.py
"""

import pathlib
import sys

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.fault_matrix import COLUMNS, table

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "operations.md"
BEGIN = "<!-- the fault matrix: printed by tests/support/print_fault_matrix.py -->\n"
END = "<!-- the end of the fault matrix -->\n"

HEADINGS = {"new_key": "new key", "other_pool": "other pool's read"}


def cell_text(cell):
    return cell.removeprefix("not possible: ").join(("(", ")")) if cell.startswith("not possible: ") \
        else cell


def printed():
    """The table, and what each fault is and what to do, in Markdown."""
    headings = [HEADINGS.get(column, column) for column in COLUMNS]
    lines = ["| fault | " + " | ".join(headings) + " |", "| --- " * (len(headings) + 1) + "|"]
    for name, row in table().items():
        lines.append(f"| {name} | " + " | ".join(cell_text(row[column]) for column in COLUMNS) + " |")
    lines += ["", "| fault | what it is | what to do |", "| --- | --- | --- |"]
    for name, row in table().items():
        lines.append(f"| {name} | {row['how']} | {row['do']} |")
    return "\n".join(lines) + "\n"


def page_with(matrix):
    """The whole page with this matrix in its place."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{matrix}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(printed()))
