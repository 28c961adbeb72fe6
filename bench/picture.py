"""Draws the bars of README.md: the time to load and to save a session in each store.

The picture is a small SVG that is written without a library, and takes its colours from the reader's
light or dark mode. A bar that is much longer than that of pylibmc is cut, and has a gap there.
"""

from html import escape

OPERATIONS = ("load a session", "save a session")  # of the contest of django-sessions
WIDTH, LABEL_WIDTH, BAR_WIDTH = 660, 180, 390
LINE, BAR, TOP = 22, 14, 30
CUT_AT = 4  # in bars of the reference
REFERENCE = "pylibmc"

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.head { font-weight: 600 }
.bar { fill: #b4bac2 }
.ours { fill: #1a7f9c }
.gap { stroke: #fff; stroke-width: 4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .bar { fill: #59616b }
  .ours { fill: #3fb6d3 }
  .gap { stroke: #0d1117 }
}
"""


def _bar(contender, microseconds, scale, y):
    cut = microseconds > scale
    length = BAR_WIDTH * min(1, microseconds / scale)
    kind = "ours" if contender.startswith("stayd") else "bar"
    yield f'<text x="{LABEL_WIDTH - 8}" y="{y + 11.5:g}" text-anchor="end">{escape(contender)}</text>'
    yield f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>'
    if cut:
        x = LABEL_WIDTH + BAR_WIDTH - 40
        yield f'<path class="gap" d="M{x} {y + BAR + 2}l8 -{BAR + 4}"/>'
    yield f'<text x="{LABEL_WIDTH + length + 6:.1f}" y="{y + 11.5:g}">{microseconds:,.0f} µs</text>'


def draw(contest):
    """Returns the SVG of a contest (report.Contest)."""
    parts, y = [], 0
    for operation in OPERATIONS:
        contenders = list(contest.rounds[operation])
        times = {name: contest.figure(operation, name, 0) for name in contenders}
        reference = contest.figure(operation, contest.references[REFERENCE], 0)
        scale = min(max(times.values()), CUT_AT * reference)
        y += TOP
        title = f"Django: {operation}, median"
        parts.append(f'<text class="head" x="0" y="{y - 10}">{escape(title)}</text>')
        for name, microseconds in times.items():
            parts += _bar(name, microseconds, scale, y)
            y += LINE
    body = "\n".join(parts)
    summary = "; ".join(
        f"{operation}: "
        + ", ".join(
            f"{name} {contest.figure(operation, name, 0):,.0f} µs"
            for name in contest.rounds[operation]
        )
        for operation in OPERATIONS
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 6}" '
        f'viewBox="0 0 {WIDTH} {y + 6}" role="img">\n<title>{escape(summary)}</title>\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )
