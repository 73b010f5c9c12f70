import django.utils.timezone
from django.db import migrations, models

#: The types of log lines and metrics when this was written: their entries stay out of the indexes.
HIGH_VOLUME = ["deployment_log", "metrics_update"]

#: Understood by both databases.
FILL = """
    UPDATE events_entry SET
        type = (SELECT type FROM events_event WHERE id = events_entry.event_id),
        tenant_id = (SELECT tenant_id FROM events_event WHERE id = events_entry.event_id),
        actor_id = (SELECT actor_id FROM events_event WHERE id = events_entry.event_id),
        occurred_at = (SELECT occurred_at FROM events_event WHERE id = events_entry.event_id)
"""
MARK = "UPDATE events_entry SET is_activity = (type NOT IN (%s, %s))"


def fill(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(FILL)
        cursor.execute(MARK, HIGH_VOLUME)


class Migration(migrations.Migration):

    dependencies = [
        ("events", "0002_heartbeats"),
    ]

    operations = [
        # What events were searched by until now: entries are, from here on.
        migrations.RemoveIndex(model_name="event", name="events_even_tenant__3504b2_idx"),
        migrations.RemoveIndex(model_name="event", name="events_even_actor_i_bb5b0c_idx"),
        migrations.AddField(
            model_name="entry",
            name="type",
            field=models.CharField(default="", max_length=64),
            preserve_default=False,
        ),
        migrations.AddField(model_name="entry", name="tenant_id", field=models.UUIDField(null=True)),
        migrations.AddField(model_name="entry", name="actor_id", field=models.UUIDField(null=True)),
        migrations.AddField(
            model_name="entry",
            name="occurred_at",
            field=models.DateTimeField(default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="entry",
            name="is_activity",
            field=models.BooleanField(
                default=True, help_text="False for log lines and metrics, as on the platform's own channel."
            ),
            preserve_default=False,
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(condition=models.Q(is_activity=True), fields=["seq"], name="entry_activity"),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(condition=models.Q(is_activity=True), fields=["type", "seq"], name="entry_type"),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(condition=models.Q(is_activity=True), fields=["tenant_id", "seq"], name="entry_tenant"),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(condition=models.Q(is_activity=True), fields=["occurred_at", "seq"], name="entry_day"),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(actor_id__isnull=False, is_activity=True), fields=["tenant_id", "seq"], name="entry_tenant_acts"
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(condition=models.Q(actor_id__isnull=False, is_activity=True), fields=["actor_id", "seq"], name="entry_actor"),
        ),
    ]
