"""Draws the results as SVG, with matplotlib: for each entry the ratios of its rows beside their
targets, and for a contest the times of all contenders.

    build/bench/NAME.svg
"""

import importlib.util
from statistics import median

OURS, OTHERS, MARK = "#1f6f8b", "#777777", "#c0392b"
ROW_INCHES, WIDTH_INCHES = 0.34, 8


def draw_all(folder, results):
    """Draws the results, {name: Result}. Returns None, or a sentence that says why it cannot."""
    if importlib.util.find_spec("matplotlib") is None:
        return "python3-matplotlib is not installed (`scripts/setup bench` installs it)"
    for name, result in results.items():
        _draw(folder / f"{name}.svg", result)
    return None


def _draw(path, result):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "stayd", "font.size": 8})
    contest = result.contest
    counts = [len(result.rows)] + [len(each) for each in (contest.rounds.values() if contest else ())]
    heights = [ROW_INCHES * (count + 3) for count in counts]
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), layout="constrained")
    axes = figure.subplots(len(counts), 1, squeeze=False, height_ratios=heights)[:, 0]
    _draw_rows(axes[0], result)
    if contest:
        for axis, operation in zip(axes[1:], contest.rounds):
            _draw_operation(axis, contest, operation)
    figure.suptitle(result.title, x=0.01, ha="left", fontsize=10)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _start(axis, title, labels):
    axis.set_title(title, loc="left", fontsize=9)
    axis.set_yticks(range(len(labels)), labels)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_rows(axis, result):
    """A bar is stayd's median divided by its peer's: 1 means equal. If a row has no peer, its bar
    is the figure divided by the target."""
    _start(axis, "", [row.work for row in result.rows])
    for number, row in enumerate(result.rows):
        scale = 1.0 if row.peer is not None else row.target
        ratio = row.ratio if row.peer is not None else scale and median(row.stayd) / scale
        if ratio is None:
            axis.text(0, number, f" {row.figure_text()}", va="center")
            continue
        axis.barh(number, ratio, color=OURS)
        axis.text(ratio, number, f" {row.figure_text()}", va="center")
        if row.target is not None:
            target = row.target / scale
            axis.plot([target, target], [number - 0.42, number + 0.42], color=MARK)
    axis.axvline(1, color=OTHERS, linewidth=1, zorder=0)
    axis.set_xlabel(
        f"{result.stayd_name} divided by {result.peer_name or 'the target'} (a row without a peer: by its "
        "target); red: the target"
    )
    _finish(axis, len(result.rows), 0.15)


def _draw_operation(axis, contest, operation):
    """The points are the p50; a line goes from each point to the p99. The scale is logarithmic."""
    contenders = list(contest.rounds[operation])
    _start(axis, f"{operation}, µs, from p50 to p99", contenders)
    axis.set_xscale("log")
    for number, contender in enumerate(contenders):
        p50, p99 = (contest.figure(operation, contender, index) for index in (0, 1))
        colour = OURS if contender.startswith("stayd") else OTHERS
        axis.plot([p50, p99], [number, number], color=colour, linewidth=1)
        axis.plot(p50, number, "o", color=colour)
        axis.text(p99, number, f"  {p50:,.1f} to {p99:,.1f}", va="center")
    _finish(axis, len(contenders), 0.3)


def _finish(axis, count, room):
    """Leaves room for the texts behind the bars, and shows all lines, beginning at the top."""
    axis.margins(x=room)
    axis.set_ylim(count - 0.5, -0.5)
