"""`manage.py create_readers 200`: makes reader001 to reader200, each with its name as password.

With --migrate, it makes the tables first, as `manage.py migrate` does: one process instead of two.
"""

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Creates readers of the bookshop. Readers that exist already stay as they are."""

    help = "Creates readers to try the site with: reader001, reader002, ... Password = name."

    def add_arguments(self, parser):
        parser.add_argument("count", type=int, help="how many readers to create")
        parser.add_argument("--migrate", action="store_true", help="make the tables first")

    def handle(self, *args, **options):
        if options["migrate"]:
            call_command("migrate", verbosity=0)
        users = get_user_model().objects
        names = [f"reader{number:03d}" for number in range(1, options["count"] + 1)]
        taken = set(users.values_list("username", flat=True))
        users.bulk_create(
            users.model(username=name, password=make_password(name))
            for name in names
            if name not in taken
        )
        self.stdout.write(f"{len(set(names) - taken)} readers created")
