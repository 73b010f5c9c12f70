"""What beat sends, a worker knows."""

import pytest
from django.conf import settings

from neostack.celery import app

pytestmark = pytest.mark.once


def test_every_scheduled_task_exists():
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert scheduled <= set(app.tasks)


@pytest.mark.parametrize("name", settings.CELERY_BEAT_SCHEDULE)
def test_no_wake_up_outlives_the_next(name):
    """Where no worker runs, they would pile up."""
    entry = settings.CELERY_BEAT_SCHEDULE[name]
    assert entry["options"]["expires"] <= entry["schedule"]
