"""The settings under test: the product's own, with development secrets, cheap password hashes, mail in memory."""

import os

os.environ.setdefault("DEBUG", "1")

from neostack.settings import *  # noqa: F403
from neostack.settings import DATABASES, LOCAL_DIR

LOCAL_DIR.mkdir(exist_ok=True)
if "sqlite" in DATABASES["default"]["ENGINE"]:
    # A file, as in the product: an in-memory database has no second writer to wait for.
    DATABASES["default"]["TEST"] = {"NAME": str(LOCAL_DIR / f"test-{os.getpid()}.sqlite3")}
AGENT_KEY_FILE = LOCAL_DIR / f"test-{os.getpid()}-agent-key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True  # as with DEBUG: there is no collected directory to look for
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CELERY_BROKER_URL = "memory://"
ENGINE_API_URL = "http://127.0.0.1:9/engine/api"  # nothing listens on the discard port: the engine is away
SIGNING_KEY_LEAD_SECONDS = (
    3600.0  # read once a run: when they are read again must not decide how many queries a page has
)
