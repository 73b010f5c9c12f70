import os

from celery import Celery
from kombu.transport import sqlalchemy as database_broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neostack.settings")

# Without Redis messages wait in a database, which is looked at this often. Its option of the same name is of no use:
# it reaches create_engine(), which refuses it.
database_broker.Transport.polling_interval = 0.1  # seconds

app = Celery("neostack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
