"""The model that has no table: `migrate` only makes its permissions."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """See stayd.django.models."""

    initial = True
    dependencies: list = []
    operations = [
        migrations.CreateModel(
            name="UserSession",
            fields=[
                ("id", models.CharField(max_length=24, primary_key=True, serialize=False)),
            ],
            options={
                "verbose_name": "session of a user",
                "verbose_name_plural": "sessions of users",
                "managed": False,
                "default_permissions": ("view", "delete"),
            },
        ),
    ]
