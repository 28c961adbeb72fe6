"""Miss ratio of a pool that evicts: a working set several times its memory, read through.

Popularity is Zipf with exponent 0.99, as YCSB has it; a read that misses is followed by a set of
the same key, as a site's cache does it. A scan asks for keys that are never asked for again, and
each of them is set too. Only reads outside the scan are counted: the scan always misses.

Both servers get the same requests from one generator; only how the four connections interleave
may differ.
"""

from report import Result, Row

WORK = (
    # name, options of stayd-load
    ("220 bytes", {"value": "220"}),
    ("220 bytes, scan", {"value": "220", "scan": 20}),
    ("50..1000 bytes, scan", {"value": "50-1000", "scan": 20}),
)
ROWS = tuple(work for work, _ in WORK)


def _miss_ratio(bench, daemon, size, seed, options):
    with daemon:
        found = bench.load(
            daemon,
            connections=4,
            pipeline=100,
            meta=True,
            get=100,
            refill=True,
            zipf=0.99,
            ttl=3600,
            seed=seed,
            **size,
            **options,
        )
        resident_mb = daemon.resident().total / 2**20
    asked = found["gets"] - found["scan_gets"]
    hits = found["hits"] - found["scan_hits"]
    return 1 - hits / asked, resident_mb, found["refused"] / found["refills"]


def run(bench):
    """Returns misses in percent of reads."""
    memory_mb, seeds, keys, reads = bench.pick(
        (64, (1, 2), 1_000_000, 3_000_000), (32, (1,), 500_000, 1_000_000), (16, (1,), 100_000, 20_000)
    )
    size = {"keys": keys, "warmup": reads, "operations": reads}
    result = Result(
        f"Reads that miss, {memory_mb} MB, {size['keys']:,} keys, Zipf 0.99, read-through",
        "percent of reads outside the scan",
    )
    largest = {"stayd": 0.0, "memcached": 0.0}
    refused = dict(largest)
    for work, options in WORK:
        misses = {"stayd": [], "memcached": []}
        for seed in seeds:
            for name in misses:
                bench.progress(f"hit-ratio: {work}, seed {seed}, {name}")
                start = bench.peer if name == "memcached" else bench.under_test
                ratio, resident_mb, share = _miss_ratio(
                    bench, start(memory_mb), size, seed, options
                )
                refused[name] = max(refused[name], share)
                misses[name].append(100 * ratio)
                largest[name] = max(largest[name], resident_mb)
        result.rows.append(Row(work, misses["stayd"], misses["memcached"], 1.0, digits=2))
    result.notes.append(
        "largest resident memory: " + ", ".join(f"{k} {v:.0f} MB" for k, v in largest.items())
    )
    result.notes += [
        f"{name} refused up to {share:.2%} of the sets of a run for want of memory"
        for name, share in refused.items()
        if share > 0
    ]
    return result
