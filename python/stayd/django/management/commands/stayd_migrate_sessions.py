"""manage.py stayd_migrate_sessions: copies the sessions of another back end into stayd.

It can be interrupted, run again, and run while the site works: docs/migrating.md.
"""

import signal
import threading
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from stayd.django import session_cache
from stayd.django.progress import Progress
from stayd.django.session_copying import BackendTarget, Counts, PoolTarget
from stayd.django.session_sources import Source, named
from stayd.errors import Error, OutOfMemory

INTERRUPTED = 130


class Command(BaseCommand):
    """See above. Exit status: 0 if the target has every session; 1 after an error, or if some sessions
    could not be read or were refused; 130 if interrupted."""

    help = "Copies the sessions of another back end into stayd."
    requires_system_checks: list = []  # the command works even if other settings have errors

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = "db, cached_db, file, cache:ALIAS, or the dotted name of an engine made from one of them"
        parser.add_argument(
            "--from", dest="source", metavar="BACKEND",
            help=f"where the sessions are: {what} (default: SESSION_CACHE_MIGRATE_FROM)",
        )
        parser.add_argument(
            "--to", dest="target", metavar="BACKEND", default="stayd",
            help="where they go: stayd (the default), or a back end as for --from",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="count what would be copied, and copy nothing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dry = options["dry_run"]
        migrates_from = getattr(settings, "SESSION_CACHE_MIGRATE_FROM", None)
        name = options["source"] or migrates_from
        counts = Counts()
        began = time.monotonic()
        try:
            source, target = self._places(name, options["target"], migrates_from, dry)
            step = target.count if dry else target.copy
            self._run(source, step, counts)
        except KeyboardInterrupt:
            self._print(counts, began, dry)
            raise CommandError(
                "Interrupted. Run the command again: it passes over the sessions that are there.",
                returncode=INTERRUPTED,
            ) from None
        except OutOfMemory as error:
            self._print(counts, began, dry)
            raise CommandError(
                f"The pool is full: raise its memory, and run the command again. ({error})"
            ) from error
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        except (Error, DatabaseError, OSError) as error:
            self._print(counts, began, dry)
            raise CommandError(
                f"{error} Then run the command again: it passes over the sessions that are there."
            ) from error
        self._print(counts, began, dry)
        if counts.unreadable or counts.refused:
            raise CommandError(f"Not copied: {counts.unreadable + counts.refused:,} (see above).")

    def _places(self, name, target, migrates_from, dry):
        """(the Source, the target); ImproperlyConfigured if the command must not run."""
        if not name:
            raise ImproperlyConfigured("Say where the sessions are: --from db, for example.")
        if name == "stayd":
            raise ImproperlyConfigured(
                "stayd keeps digests of the session keys, so no command can move its sessions: they move "
                'when they are used, with SESSION_ENGINE = "stayd.django.session_leaving".'
            )
        source: Source = named(name)
        if target == name:
            raise ImproperlyConfigured(f"--from and --to are both {name}.")
        if target != "stayd":
            return source, BackendTarget(named(target))
        if migrates_from != name and not dry:
            raise ImproperlyConfigured(
                f"Set SESSION_CACHE_MIGRATE_FROM = {name!r} first, in the settings of the whole site: "
                f"without it, a session that ends on stayd is still in {name}, and would be copied again."
            )
        from stayd.django.session_backend import SessionStore

        return source, PoolTarget(session_cache.client(), SessionStore())

    def _run(self, source, step, counts):
        """Copies chunk by chunk. SIGTERM counts as an interruption."""
        before = None
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with Progress(source.count(), "sessions", self.stderr) as progress:
                for keys in source.keys():
                    done = counts.total
                    step(source, keys, counts)
                    progress.advance(counts.total - done)
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    def _print(self, counts, began, dry):
        if dry:
            self.stdout.write("A dry run: nothing is copied. There would be")
        for line in counts.lines():
            self.stdout.write(line)
        self.stdout.write(f"{counts.total:>10,} sessions in {time.monotonic() - began:.1f} s")

