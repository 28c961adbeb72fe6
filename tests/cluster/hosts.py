"""Stayds that share one clustered pool."""

import itertools
from contextlib import ExitStack

from support.servers import Stayd

PARTITIONS = 4
numbers = itertools.count()


class Hosts:
    """Stayds that share one clustered pool, each with its own data."""

    def __init__(self, engine, partitions=PARTITIONS):
        self.engine = engine
        self.partitions = partitions
        self.prefix = f"t{next(numbers)}"
        self.stack = ExitStack()
        for i in range(partitions):
            engine.create_stream(self.stream(i), [f"{self.prefix}.sessions.{i}.>"])

    def stream(self, partition):
        return f"{self.prefix}_sessions_{partition}"

    def streams(self):
        return [self.stream(i) for i in range(self.partitions)]

    def keys(self):
        return {"cluster": self.engine.url, "cluster_prefix": self.prefix,
                "cluster_partitions": self.partitions}

    def host(self, **sessions):
        """Another stayd; it runs, and has caught up."""
        return self.stack.enter_context(Stayd(sessions={**self.keys(), **sessions}))

    def add(self, **sessions):
        """Another stayd that is not started."""
        stayd = Stayd(sessions={**self.keys(), **sessions})
        self.stack.callback(stayd.close)
        return stayd

    def close(self):
        self.stack.close()
