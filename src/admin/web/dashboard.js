// Asks the daemon for its state, and shows it: warnings first, then each pool's figures and charts.
// Text from the daemon goes into text nodes only.
"use strict";

const REFRESH_MS = 5000;
const SHORTEST_S = 120;
const SPANS = {hour: 3600, day: 86400};

const byId = (id) => document.getElementById(id);
const views = new Map(); // the view of each pool, by the pool's name
const history = {span: "hour", since: 0, pools: new Map()};

class PoolView {
  constructor(pool) {
    this.state = element("span", {class: "state"});
    this.figures = element("dl", {class: "figures"});
    this.cluster = pool.cluster ? [element("details", {class: "cluster"})] : [];
    this.charts = CHARTS.filter((about) => pool.persist || !about.persistent).map((about) => new Chart(about));
    const about = [pool.evict ? "evicts when full" : "never evicts",
      pool.persist ? `on disk, fsync = ${pool.fsync}` : "in memory only"].join(", ");
    this.section = element("section", {class: "pool", id: `pool-${pool.name}`, tabindex: "-1"},
      element("h2", {}, pool.name, this.state, element("small", {class: "quiet"}, about)), this.figures, ...this.cluster,
      element("div", {class: "charts"}, ...this.charts.map((chart) => chart.figure)));
  }

  showFigures(pool) {
    const fault = pool.warnings.some((warning) => warning.level === "fault");
    this.state.className = `state state-${fault ? "fault" : pool.warnings.length > 0 ? "warning" : "ok"}`;
    this.state.textContent = pool.state;
    const later = pool.expiry.within_hours.reduce((sum, count) => sum + count, 0);
    const figures = [
      ["items", formatCount(pool.items)],
      ["hits", pool.hit_ratio === null ? "-" : formatPercent(100 * pool.hit_ratio)],
      ["live", formatBytes(pool.live_bytes), `of ${formatBytes(pool.capacity_bytes)}`],
      ["pressure", formatPercent(100 * pool.pressure)],
      ["expire in 24 h", formatCount(later)],
      ["connections", formatCount(pool.connections)],
    ];
    if (pool.evict) {
      figures.push(["evicted", formatCount(pool.counters.evictions_total)]);
    } else {
      figures.push(["full in", pool.full ? "now" : pool.full_in_s === null ? "-" : formatAge(pool.full_in_s)],
        ["refused: full", formatCount(pool.counters.store_no_memory_total)]);
    }
    if (pool.persist) {
      figures.push(["disk behind", formatSeconds(pool.sync_lag_ms / 1000)]);
    }
    if (pool.cluster) {
      figures.push(...clusterFigures(pool.cluster));
      showPartitions(this.cluster[0], pool.cluster);
    }
    this.figures.replaceChildren(...figures.map(([name, value, more]) => element("div", {},
      element("dt", {}, name), element("dd", {}, value, ...(more ? [" ", element("small", {}, more)] : [])))));
  }

  showCharts(pool, now) {
    const rows = history.pools.get(pool.name) ?? [];
    const oldest = rows.length > 0 ? rows[0].time : now; // the few values of a young daemon fill the chart
    const from = Math.max(now - SPANS[history.span], Math.min(oldest, now - SHORTEST_S));
    const window = [from * 1000, now * 1000];
    for (const chart of this.charts) {
      if (chart.about.bars) {
        const hours = pool.expiry.within_hours;
        chart.show(hours.map((count, hour) => [new Date((now + hour * 3600 + 1800) * 1000), count]),
          [now * 1000, (now + hours.length * 3600) * 1000]);
      } else {
        chart.show(rows.map((row) => [new Date(row.time * 1000), ...chart.about.values.map((value) => value(row))]),
          window);
      }
    }
  }
}

// The figures of a clustered pool.
function clusterFigures(cluster) {
  const behind = Math.max(cluster.lag_ms, cluster.silent_ms, cluster.away_ms);
  const figures = [["cluster", cluster.stage.replace("_", " "), cluster.connected ? "" : "no connection"],
    ["behind the cluster", formatSeconds(behind / 1000)],
    ["writes in flight", formatCount(cluster.in_flight)],
    ["conflicts", formatCount(cluster.conflicts)],
    ["writes failed", formatCount(cluster.failed)]];
  if (cluster.stage === "catching_up") {
    figures.push(["records read", formatCount(cluster.applied), `of ${formatCount(cluster.applied + cluster.to_read)}`]);
  }
  return figures;
}

// A table of the partitions, which is shut at first.
function showPartitions(details, cluster) {
  const state = (partition) => partition.lost ? "lost" : partition.leaderless ? "no leader" :
    partition.caught_up ? "caught up" : "catching up";
  const columns = [["partition", (partition) => partition.partition], ["leader", (partition) => partition.leader || "-"],
    ["state", state], ["replicas", (partition) => `${partition.replicas_current}/${partition.replicas}`],
    ["records", (partition) => formatCount(partition.records)], ["last", (partition) => partition.last],
    ["here", (partition) => partition.position],
    ["behind", (partition) => formatSeconds(Math.max(partition.lag_ms, partition.silent_ms) / 1000)],
    ["in flight", (partition) => partition.in_flight], ["conflicts", (partition) => formatCount(partition.conflicts)]];
  const bad = cluster.partitions.filter((partition) => partition.lost || partition.leaderless || !partition.caught_up).length;
  const head = element("tr", {}, ...columns.map(([name]) => element("th", {scope: "col"}, name)));
  const rows = cluster.partitions.map((partition) => element("tr", {},
    ...columns.map(([, value]) => element("td", {}, String(value(partition))))));
  details.replaceChildren(
    element("summary", {}, `${cluster.partitions.length} partitions${bad > 0 ? `, ${bad} of them not well` : ""}`),
    element("div", {class: "scroll"}, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))));
}

function showWarnings(stats) {
  const found = stats.pools.flatMap((pool) => pool.warnings.map((warning) => ({pool: pool.name, ...warning})));
  found.sort((one, other) => (one.level === "fault" ? 0 : 1) - (other.level === "fault" ? 0 : 1));
  const shown = found.map((warning) => element("p", {class: warning.level === "fault" ? "fault" : "warning"},
    element("b", {}, `Pool ${warning.pool} ${warning.what}.`), warning.remedy));
  if (shown.length === 0) {
    shown.push(element("p", {class: "well"}, "✓ All pools serve all requests."));
  }
  const texts = (nodes) => [...nodes].map((node) => node.textContent).join("\n");
  if (texts(shown) !== texts(byId("warnings").children)) { // a screen reader reads changes aloud
    byId("warnings").replaceChildren(...shown);
  }
}

function showStats(stats) {
  const faults = stats.pools.flatMap((pool) => pool.warnings).filter((warning) => warning.level === "fault");
  document.title = faults.length > 0 ? `(${faults.length}) stayd` : "stayd";
  byId("about").textContent = `${stats.version}, up ${formatAge(stats.uptime_s)}, ` +
    `${stats.connections} of ${stats.connections_max} connections, ${stats.threads} threads`;
  showWarnings(stats);
  for (const pool of stats.pools) {
    if (!views.has(pool.name)) {
      const view = new PoolView(pool);
      views.set(pool.name, view);
      byId("pools").append(view.section);
      byId("pools-nav").append(element("a", {href: `#pool-${pool.name}`}, pool.name));
    }
    views.get(pool.name).showFigures(pool);
    views.get(pool.name).showCharts(pool, stats.now);
  }
  byId("updated").textContent = `as of ${new Date(stats.now * 1000).toLocaleTimeString([], {hour12: false})}`;
}

function showOutage(error) {
  document.title = "(!) stayd";
  const text = error.isRefusal ? "stayd refuses the login." : "stayd does not answer.";
  const remedy = error.isRefusal ? "Load the page again to log in." : "Look at systemctl status stayd and at journalctl -u stayd.";
  if (byId("warnings").firstChild?.firstChild?.textContent !== text) {
    byId("warnings").replaceChildren(element("p", {class: "fault"}, element("b", {}, text),
      `${remedy} The figures below are old.`));
  }
}

// Adds what has come since the last time, and drops what is too old to be shown.
function addHistory(answer) {
  if (history.since > answer.now) { // the clock was set back: start over with the next answer
    Object.assign(history, {since: 0, pools: new Map()});
    return;
  }
  for (const pool of answer.pools) {
    const rows = history.pools.get(pool.name) ?? [];
    pool.time.forEach((time, index) => {
      const row = {time};
      for (const [name, column] of Object.entries(pool)) {
        if (Array.isArray(column)) {
          row[name] = column[index];
        }
      }
      rows.push(row);
      history.since = Math.max(history.since, time);
    });
    history.pools.set(pool.name, rows.filter((row) => row.time > answer.now - SPANS[answer.span]));
  }
}

async function ask(path) {
  // Not as the page's own address has it, which may contain a password: fetch refuses that.
  const answer = await fetch(new URL(path, location.origin + location.pathname), {cache: "no-store", signal: AbortSignal.timeout(10000)});
  if (!answer.ok) {
    throw Object.assign(new Error(`${path}: ${answer.status}`), {isRefusal: answer.status === 401 || answer.status === 429});
  }
  return answer.json();
}

let refreshing = false;

async function refresh() {
  if (refreshing || document.hidden) {
    return;
  }
  refreshing = true;
  const span = history.span;
  let outage = null;
  const answers = await Promise.all([ask(`api/v1/history?span=${span}&since=${history.since}`), ask("api/v1/stats")])
    .catch((error) => {
      console.info(error);
      outage = error;
    });
  refreshing = false;
  if (span !== history.span) {
    refresh(); // the other span was chosen meanwhile
  } else if (answers) {
    addHistory(answers[0]);
    showStats(answers[1]);
  } else {
    showOutage(outage);
  }
}

function setSpan(span) {
  if (span === history.span) {
    return;
  }
  Object.assign(history, {span, since: 0, pools: new Map()});
  document.querySelector(`input[name=span][value=${span}]`).checked = true;
  refresh();
}

function moveToPool(step) {
  const sections = [...document.querySelectorAll(".pool")];
  const from = sections.findIndex((section) => section.contains(document.activeElement));
  const to = sections[Math.max(0, Math.min(sections.length - 1, from < 0 ? 0 : from + step))];
  to?.focus();
  to?.scrollIntoView({block: "start"});
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  const actions = {h: () => setSpan("hour"), d: () => setSpan("day"), n: () => moveToPool(1), p: () => moveToPool(-1)};
  actions[event.key]?.();
});
byId("span").addEventListener("change", (event) => setSpan(event.target.value));
document.addEventListener("visibilitychange", refresh);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const view of views.values()) {
    view.charts.forEach((chart) => chart.redraw());
  }
});
setInterval(refresh, REFRESH_MS);
refresh();
