// The charts of one pool. Each chart draws some columns of the history. Its legend shows the values at
// the mouse or, for a screen reader, at the moment that the arrow keys select.
"use strict";

const COLOURS = ["one", "two", "three", "four"]; // of the series, unless a chart has its own

// Dygraph's own legend sets style attributes, which the page's content security policy forbids.
Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin !== Dygraph.Plugins.Legend);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function formatBytes(bytes) {
  const units = ["B", "K", "M", "G", "T"];
  let unit = 0;
  while (Math.abs(bytes) >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

function formatCount(count) {
  const units = ["", "k", "M", "G"];
  let unit = 0;
  while (Math.abs(count) >= 10000 && unit < units.length - 1) {
    count /= 1000;
    unit++;
  }
  const digits = Number.isInteger(count) || Math.abs(count) >= 100 ? 0 : Math.abs(count) >= 1 ? 1 : 2;
  return count.toFixed(digits) + units[unit];
}

function formatPercent(share) {
  return `${share >= 99.95 || share < 0.05 ? Math.round(share) : share.toFixed(1)} %`;
}

function formatSeconds(seconds) {
  return `${seconds >= 10 || seconds === 0 ? Math.round(seconds) : seconds.toFixed(1)} s`;
}

function formatAge(seconds) {
  if (seconds >= 86400) {
    return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
  }
  if (seconds >= 3600) {
    return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  }
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

// `row`: the columns of one moment, by name; a column is null if its value is unknown.
const perSecond = (...names) => names.map((name) => (row) => row[name]);

const CHARTS = [
  {title: "Memory", labels: ["free", "dead", "live"], colours: ["five", "two", "one"], format: formatBytes,
    stacked: true, // the last label at the bottom
    values: [(row) => row.free_bytes, (row) => row.dead_bytes, (row) => row.live_bytes]},
  {title: "Operations per second", labels: ["reads", "stores", "deletes", "touches"], format: formatCount,
    values: perSecond("gets", "stores", "deletes", "touches")},
  {title: "Hit ratio", labels: ["hits"], format: formatPercent, range: [0, 101],
    values: [(row) => (row.gets > 0 ? Math.min(100, (100 * row.hits) / row.gets) : null)]},
  {title: "Items: live sessions", labels: ["items"], format: formatCount, whole: true, values: [(row) => row.items]},
  {title: "Expire in the next 24 hours", labels: ["in this hour"], format: formatCount, whole: true, bars: true},
  {title: "Disk behind", labels: ["sync lag"], format: formatSeconds, persistent: true,
    values: [(row) => row.sync_lag_ms / 1000]},
  {title: "Evicted, expired and refused per second", format: formatCount,
    labels: ["evicted", "of those never read", "expired", "refused: full"],
    values: perSecond("evictions", "evicted_unread", "expirations", "refused")},
  {title: "Connections", labels: ["connections"], format: formatCount, whole: true,
    values: [(row) => row.connections]},
];

// Draws each value as a bar from zero, as wide as the distance of two values.
function plotBars(event) {
  const context = event.drawingContext;
  const zero = event.dygraph.toDomYCoord(0);
  const points = event.points;
  const width = points.length > 1 ? (points[1].canvasx - points[0].canvasx) * 0.8 : 8;
  context.fillStyle = event.color;
  for (const point of points) {
    context.fillRect(point.canvasx - width / 2, point.canvasy, width, zero - point.canvasy);
  }
}

class Chart {
  constructor(about) {
    this.about = about;
    this.legend = element("div", {class: "legend"});
    this.plot = element("div", {class: "plot"});
    this.waiting = element("div", {class: "waiting"}, "Values come every few seconds.");
    this.figure = element("figure", {tabindex: "0", "aria-label": about.title},
      element("figcaption", {}, about.title), this.legend, this.waiting);
    this.figure.addEventListener("keydown", (event) => this.onKey(event));
    this.figure.addEventListener("blur", () => this.select(null));
    this.rows = [];
  }

  colour(index) {
    return (this.about.colours ?? COLOURS)[index];
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    return this.about.labels.map((_, index) => style.getPropertyValue(`--${this.colour(index)}`).trim());
  }

  options() {
    const about = this.about;
    const style = getComputedStyle(document.documentElement);
    const peak = Math.max(0, ...this.rows.flatMap((row) => row.slice(1)).filter((value) => value !== null));
    return {
      colors: this.colours(),
      gridLineColor: style.getPropertyValue("--grid").trim(),
      axisLineColor: style.getPropertyValue("--line").trim(),
      valueRange: about.range ?? (about.stacked ? [0, null] : [0, peak > 0 ? peak * 1.1 : 1]),
      dateWindow: this.window,
      file: this.rows,
    };
  }

  // `rows`: the time and the values of each moment; `window`: the first and the last time to show.
  show(rows, window) {
    this.rows = rows;
    this.window = window;
    if (rows.length < 2) {
      return;
    }
    if (!this.graph) {
      this.waiting.replaceWith(this.plot);
      const about = this.about;
      this.graph = new Dygraph(this.plot, rows, {
        ...this.options(),
        labels: ["time", ...about.labels],
        stackedGraph: about.stacked ?? false,
        fillGraph: !about.range && !about.bars,
        fillAlpha: about.stacked ? 0.55 : 0.15,
        strokeWidth: 1.6,
        ...(about.bars ? {plotter: plotBars} : {}),
        legend: "never",
        interactionModel: {},
        xRangePad: about.bars ? 12 : 2,
        highlightCircleSize: 3,
        labelsKMG2: about.format === formatBytes,
        axes: {
          x: {axisLabelFormatter: (time) => this.formatTime(new Date(time)), pixelsPerLabel: 70},
          y: {
            axisLabelFormatter: (value) => (about.whole && !Number.isInteger(value) ? "" : about.format(value)),
            axisLabelWidth: 52, pixelsPerLabel: 34,
          },
        },
        highlightCallback: (event, time, points, row) => this.tell(row),
        unhighlightCallback: () => this.tell(null),
      });
    } else {
      this.graph.updateOptions(this.options());
    }
    if (this.selected === undefined) {
      this.tell(null);
    }
  }

  formatTime(date) {
    const [from, to] = this.window;
    const seconds = to - from < 900000 ? {second: "2-digit"} : {};
    return date.toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", ...seconds, hour12: false});
  }

  // Shows the values of a row; null: of the latest row (in a chart of bars, the first).
  tell(row) {
    const values = this.rows[row ?? (this.about.bars ? 0 : this.rows.length - 1)];
    if (!values) {
      return;
    }
    const parts = this.about.labels.map((label, index) => {
      const value = values[index + 1];
      return element("span", {class: `series-${this.colour(index)}`},
        `${label} ${value === null || value === undefined ? "-" : this.about.format(value)}`);
    });
    if (this.about.stacked) {
      parts.reverse();
    }
    if (row !== null) {
      parts.unshift(element("time", {}, this.formatTime(values[0])));
    }
    this.legend.replaceChildren(...parts);
  }

  select(row) {
    this.selected = row ?? undefined;
    if (row === null) {
      this.legend.removeAttribute("aria-live");
      this.graph?.clearSelection();
    } else {
      this.legend.setAttribute("aria-live", "polite");
      this.graph.setSelection(row);
    }
    this.tell(row);
  }

  onKey(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!this.graph || !step) {
      return;
    }
    event.preventDefault();
    const last = this.rows.length - 1;
    const from = this.selected ?? (step > 0 ? -1 : last + 1);
    this.select(Math.max(0, Math.min(last, from + step)));
  }

  redraw() {
    this.graph?.updateOptions(this.options());
    this.graph?.resize();
  }
}
