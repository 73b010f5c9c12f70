"""What answers on our port: Django; the gate, a bare callable beside it; and, with ENGINE=embedded, the engine."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neostack.settings")

application = get_asgi_application()

from neostack.checks import refuse_unsafe_production  # noqa: E402  needs the apps to be ready

refuse_unsafe_production()
