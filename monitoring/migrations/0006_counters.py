from django.db import migrations, models

#: Of a roll-up only the greatest value is left: its increase is over the one before. The same SQL on both databases.
FILL = """
    UPDATE {table} SET increase = found.increase FROM (
        SELECT id, CASE WHEN earlier IS NULL THEN 0 WHEN now >= earlier THEN now - earlier ELSE now END AS increase
        FROM (
            SELECT id, {value} AS now, LAG({value}) OVER (PARTITION BY name ORDER BY {order}) AS earlier
            FROM {table} WHERE tenant_id = %s AND name IN ({names})
        ) AS steps
    ) AS found WHERE {table}.id = found.id
"""
TABLES = [
    ("monitoring_sample", "value", "at, value"),
    ("monitoring_minuterollup", "max", "minute"),
    ("monitoring_hourrollup", "max", "hour"),
    ("monitoring_dayrollup", "max", "day"),
]
INCREASE = {"null": True, "blank": True}


def fill(apps, schema_editor):
    """What counters rose so far, as charts showed it until now."""
    connection = schema_editor.connection
    LatestMetrics = apps.get_model("monitoring", "LatestMetrics")
    with connection.cursor() as cursor:
        for latest in LatestMetrics.objects.iterator():
            names = [name for name, one in latest.metrics.items() if one.get("kind") == "counter"]
            tenant = latest._meta.pk.get_db_prep_value(latest.pk, connection)
            for table, value, order in TABLES if names else ():
                marks = ", ".join(["%s"] * len(names))
                sql = FILL.format(table=table, value=value, order=order, names=marks)
                cursor.execute(sql, [tenant, *names])


class Migration(migrations.Migration):

    dependencies = [
        ('monitoring', '0005_called_by_id'),
    ]

    operations = [
        migrations.AddField('sample', 'increase', models.FloatField(**INCREASE, help_text='Of a counter: over the sample before.')),
        migrations.AddField('minuterollup', 'increase', models.FloatField(**INCREASE, help_text='How much a counter rose. See `counters`.')),
        migrations.AddField('hourrollup', 'increase', models.FloatField(**INCREASE, help_text='How much a counter rose. See `counters`.')),
        migrations.AddField('dayrollup', 'increase', models.FloatField(**INCREASE, help_text='How much a counter rose. See `counters`.')),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
