"""The meters that other parts of the platform count on, and the plans that it ships with. Later ones are made in the
Django admin, as new versions."""

from django.db import migrations
from django.utils import timezone

METERS = [
    ("deployment_minutes", "Deployment minutes", "minute"),
    ("samples_stored", "Stored samples", "sample"),
]
PLANS = [
    (
        "starter",
        "Starter",
        "To try things out: pay for what you use beyond what is included.",
        {
            "fee": "0.00",
            "meters": {
                "deployment_minutes": {"included": "100", "tiers": [{"unit": "0.02"}]},
                "samples_stored": {"included": "100000", "tiers": [{"unit": "0.00002"}]},
            },
        },
    ),
    (
        "team",
        "Team",
        "For a team that deploys every day.",
        {
            "fee": "49.00",
            "meters": {
                "deployment_minutes": {
                    "included": "1000",
                    "tiers": [{"up_to": "5000", "unit": "0.015"}, {"unit": "0.01"}],
                },
                "samples_stored": {
                    "included": "5000000",
                    "tiers": [{"up_to": "50000000", "unit": "0.00001"}, {"unit": "0.000005"}],
                },
            },
        },
    ),
    (
        "business",
        "Business",
        "For many teams, with the lowest prices.",
        {
            "fee": "299.00",
            "meters": {
                "deployment_minutes": {
                    "included": "10000",
                    "tiers": [{"up_to": "50000", "unit": "0.008"}, {"unit": "0.005"}],
                },
                "samples_stored": {
                    "included": "50000000",
                    "tiers": [{"up_to": "500000000", "unit": "0.000005"}, {"unit": "0.000002"}],
                },
            },
        },
    ),
]


def ship(apps, schema_editor):
    meter, plan = apps.get_model("billing", "Meter"), apps.get_model("billing", "Plan")
    for slug, name, unit in METERS:
        meter.objects.get_or_create(slug=slug, defaults={"name": name, "unit": unit, "aggregation": "sum"})
    for slug, name, description, prices in PLANS:
        offer = {"name": name, "description": description, "currency": "EUR", "prices": prices}
        plan.objects.get_or_create(slug=slug, version=1, defaults=offer | {"published_at": timezone.now()})


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunPython(ship, migrations.RunPython.noop)]
