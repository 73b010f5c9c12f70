import django.db.models.deletion
from django.db import migrations, models

#: The days of the hours there are. The same SQL on both databases.
FILL = """
    INSERT INTO monitoring_dayrollup (tenant_id, name, day, count, sum, min, max)
    SELECT tenant_id, name, hour / 24, SUM(count), SUM(sum), MIN(min), MAX(max)
    FROM monitoring_hourrollup GROUP BY tenant_id, name, hour / 24
"""


class Migration(migrations.Migration):

    dependencies = [
        ('monitoring', '0002_hours'),
        ('tenants', '0005_suspended_reason'),
    ]

    operations = [
        migrations.AlterField('sample', 'name', models.CharField(max_length=200)),
        migrations.AlterField('minuterollup', 'name', models.CharField(max_length=200)),
        migrations.AlterField('hourrollup', 'name', models.CharField(max_length=200)),
        migrations.AddField('latestmetrics', 'uncounted', models.PositiveBigIntegerField(default=0, help_text='Samples stored since the last samples_stored.')),
        migrations.AddField('latestmetrics', 'counted_at', models.DateTimeField(blank=True, help_text='When the last samples_stored was emitted.', null=True)),
        migrations.CreateModel(
            name='DayRollup',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('count', models.PositiveBigIntegerField()),
                ('sum', models.FloatField()),
                ('min', models.FloatField()),
                ('max', models.FloatField()),
                ('day', models.PositiveBigIntegerField(db_index=True, help_text='Days since 1970 began, UTC.')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant', 'name', 'day'), name='one_rollup_per_metric_and_day'), models.CheckConstraint(condition=models.Q(('count__gte', 1)), name='day_of_something')],
            },
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
