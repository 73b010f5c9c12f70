"""Every setting comes from the environment (or a .env file); what has a default has one that is safe to ship.

NAME_FILE may stand for NAME: then its value is what that file holds, as orchestrators hand out secrets.

With DEBUG on, secrets that are missing get development values; without it, they are required.
"""

import ssl
import warnings
from datetime import timedelta
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from neostack import processes
from neostack.secret_files import FileAwareEnv

BASE_DIR = Path(__file__).resolve().parent.parent

env = FileAwareEnv()
if (BASE_DIR / ".env").exists():
    env.read_env(BASE_DIR / ".env")

#: What belongs to this machine and not to git: the SQLite files, directories of running deployments, logs.
LOCAL_DIR = Path(env.str("LOCAL_DIR", default=str(BASE_DIR / ".local"))).resolve()

DEBUG = env.bool("DEBUG", default=False)
IN_PRODUCTION = not DEBUG  # of its own, because a test run switches DEBUG off
#: With the demo's data comes its life: the agent's metrics, a deployment now and then.
DEMO = DEBUG and env.bool("DEMO", default=False)
DEVELOPMENT_SECRET = "development-only-not-a-secret-"  # noqa: S105  checks.py refuses it without DEBUG


def secret(name: str) -> str:
    """A secret from the environment. Only with DEBUG on may it be missing."""
    value = env.str(name, default=f"{DEVELOPMENT_SECRET}{name.lower()}" if DEBUG else "")
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set. Put a random value of 32 characters or more in the environment."
        )
    return value


# --- Site ---------------------------------------------------------------------------------------------------------

SECRET_KEY = secret("SECRET_KEY")
PORT = env.int("PORT", default=8000)
SITE_URL = env.str("SITE_URL", default=f"http://localhost:{PORT}").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[SITE_URL])
ROOT_URLCONF = "neostack.urls"
ASGI_APPLICATION = "neostack.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "accounts",  # before django.contrib.auth, whose command changepassword knows nothing of connections
    "neostack.apps.PlatformAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "axes",
    "csp",
    "rest_framework",
    "rest_framework_api_key",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "events",
    "tenants",
    "realtime",
    "deployments",
    "billing",
    "monitoring",
    "notifications",
    "portal",
    "neostack.apps.NeostackConfig",
]

MIDDLEWARE = [
    "neostack.probes.ProbesMiddleware",
    "portal.metrics.RequestMetricsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "realtime.middleware.LiveMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
    "tenants.middleware.NowhereMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.layout",
                "notifications.context.bell",
            ],
        },
    },
]

# --- Data ---------------------------------------------------------------------------------------------------------

SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
POSTGRES_OPTIONS = {
    # A network that swallows everything is noticed within these seconds; by default it takes hours.
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,  # milliseconds
    # Of the cursors of events.databases.prepared alone: Django's never prepare.
    "prepare_threshold": 5,
    "pool": {
        "min_size": 0,
        "max_size": env.int("DATABASE_POOL_SIZE", default=10),
        "timeout": 10,
        # A try to connect is given up so soon, so that the next page makes its own. By default the pauses between tries
        # double for five minutes: a database that was away for two would be away from pages for two more.
        "reconnect_timeout": 2,
    },
}

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{LOCAL_DIR / 'neostack.sqlite3'}")}
DATABASES["default"]["CONN_MAX_AGE"] = 0
DATABASES["default"]["ATOMIC_REQUESTS"] = False
# After a restart of the database every connection in the pool is dead: else as many pages would fail.
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
# What the URL says goes first: sslmode, for one.
DATABASES["default"]["OPTIONS"] = (
    SQLITE_OPTIONS if "sqlite" in DATABASES["default"]["ENGINE"] else POSTGRES_OPTIONS
) | DATABASES["default"].get("OPTIONS", {})

REDIS_URL = env.str("REDIS_URL", default="")
#: The authority that signed the certificate of REDIS_URL (rediss://), also as a broker, as a PEM file; without it
#: the machine's own authorities are asked.
REDIS_CA_FILE = env.str("REDIS_CA_FILE", default="")


def redis_tls(url: str) -> dict[str, object]:
    """What a Redis has to show at this address, in redis-py's words; nothing without TLS."""
    if not url.startswith("rediss://"):
        return {}
    authority = {"ssl_ca_certs": REDIS_CA_FILE} if REDIS_CA_FILE else {}
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **authority}


REDIS_TLS = redis_tls(REDIS_URL)

#: What Prometheus shows as bearer token at /metrics. Empty: /metrics answers to this machine only, not through a proxy.
METRICS_KEY = env.str("METRICS_KEY", default="")
#: Where every other process than web answers /metrics, each for itself. 0: nowhere. A web process has its own port.
METRICS_PORT = env.int("METRICS_PORT", default=0)

# --- People -------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
#: Seconds that a link to set a password works, in an invitation or after "forgotten".
PASSWORD_RESET_TIMEOUT = env.int("PASSWORD_RESET_TIMEOUT", default=3 * 86_400)
SESSION_COOKIE_AGE = env.int("SESSION_COOKIE_AGE_SECONDS", default=14 * 86_400)
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"  # noqa: S105
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = True
# Wrong passwords are counted by axes, in the database, for every process alike.
ACCOUNT_RATE_LIMITS = {"login_failed": None, "login": "300/m/ip"}

AXES_FAILURE_LIMIT = env.int("LOCKOUT_AFTER_FAILURES", default=5)
AXES_COOLOFF_TIME = timedelta(minutes=env.int("LOCKOUT_MINUTES", default=15))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_USERNAME_FORM_FIELD = "login"
AXES_USERNAME_CALLABLE = "accounts.lockout.username"
AXES_LOCKOUT_CALLABLE = "accounts.lockout.response"

#: An API key's last use is kept to this precision: one write in so many seconds at most.
API_KEY_USE_NOTED_SECONDS = env.int("API_KEY_USE_NOTED_SECONDS", default=60)
#: A tenant's admins can send somebody's invitation again after so long.
INVITATION_AGAIN_SECONDS = env.int("INVITATION_AGAIN_SECONDS", default=60)
#: A page offers to undo a removal for so long; the server takes an undo somewhat later too, from who was pressing it.
UNDO_SHOWN_SECONDS = 10
UNDO_TAKEN_SECONDS = 60

# --- The real-time engine -----------------------------------------------------------------------------------------

#: "embedded" mounts engine/ into this process; "process" and "centrifugo" stand at ENGINE_API_URL.
ENGINE = env.str("ENGINE", default="embedded")
#: Where we call the engine's server API. Its port and path are where the engine listens for us.
ENGINE_API_URL = env.str("ENGINE_API_URL", default=f"http://127.0.0.1:{PORT}/engine/api").rstrip("/")
ENGINE_API_KEY = secret("ENGINE_API_KEY")
#: Where the engine listens for browsers; 0: on the port of ENGINE_API_URL too. Another one keeps its server API, its
#: metrics and its health check on an internal port, where no browser comes.
ENGINE_PORT = env.int("ENGINE_PORT", default=0)
#: Where browsers connect. A path is taken relative to the page's own address.
ENGINE_CLIENT_URL = env.str("ENGINE_CLIENT_URL", default="/connection/websocket")
#: The Redis through which several Centrifugo nodes are one: addresses of single servers (channels are spread over
#: them) or of a cluster's nodes, with rediss:// over TLS. Neither: one node, which keeps everything in its memory.
ENGINE_REDIS_URL = env.list("ENGINE_REDIS_URL", default=[])
ENGINE_REDIS_CLUSTER = env.list("ENGINE_REDIS_CLUSTER", default=[])
#: Begins every key and channel of the engine in Redis: two platforms may share one.
ENGINE_REDIS_PREFIX = env.str("ENGINE_REDIS_PREFIX", default="neostack")
#: The authority that signed Redis's certificate, as a PEM file; without it the machine's own authorities are asked.
ENGINE_REDIS_CA_FILE = env.str("ENGINE_REDIS_CA_FILE", default="")
#: The name of the one node that the engine's configuration is written for. With it the gate notes who came in there, so
#: that a node can be drained before it goes. None: nothing is noted.
ENGINE_NODE_NAME = env.str("ENGINE_NODE_NAME", default="")
#: What the engine sends as X-Gate-Key when it asks the gate about a connection.
GATE_KEY = secret("GATE_KEY")
#: Where the engine finds the gate, and the public keys of subscription tokens.
GATE_URL = env.str("GATE_URL", default=f"http://127.0.0.1:{PORT}/api/realtime/connect")
JWKS_URL = env.str("JWKS_URL", default=f"http://127.0.0.1:{PORT}/.well-known/jwks.json")
ALLOWED_ORIGINS = env.list("ALLOWED_ORIGINS", default=[SITE_URL])
#: Signs connection tokens, which only our own gate reads.
CONNECTION_TOKEN_SECRET = secret("CONNECTION_TOKEN_SECRET")
#: Encrypts the private keys of subscription tokens in the database. Under another one they cannot be read again.
SIGNING_KEY_SECRET = secret("SIGNING_KEY_SECRET")
#: So long a new signing key is published before anything is signed with it. Web processes read the keys anew three
#: times in it; clocks that are further apart than a third of it are not forgiven.
SIGNING_KEY_LEAD_SECONDS = env.float("SIGNING_KEY_LEAD_SECONDS", default=30.0)
#: A person's generation is read within this, or the client is told to try again. The engine waits 1.5 s at most.
GATE_TIMEOUT_SECONDS = env.float("GATE_TIMEOUT_SECONDS", default=1.0)
#: Tokens are used again by a page that reconnects. Taking access away ends them whatever is left of these.
TOKEN_TTL_SECONDS = env.int("TOKEN_TTL_SECONDS", default=3600)
SUBSCRIPTION_TOKEN_TTL_SECONDS = env.int("SUBSCRIPTION_TOKEN_TTL_SECONDS", default=3600)
#: As many channels one page may follow, and ask tokens for in one request.
CHANNELS_PER_CONNECTION = env.int("CHANNELS_PER_CONNECTION", default=100)
#: Events that may be published over HTTP in a second, for each tenant, by kind of channel.
PUBLISHED_PER_SECOND = {
    "notifications": env.int("NOTIFICATIONS_PUBLISHED_PER_SECOND", default=5),
    "dashboard": env.int("DASHBOARD_PUBLISHED_PER_SECOND", default=10),
    "admin": env.int("ADMIN_PUBLISHED_PER_SECOND", default=100),
    "other": env.int("OTHERS_PUBLISHED_PER_SECOND", default=10),
}
#: For as long the same Idempotency-Key answers the same.
IDEMPOTENCY_KEYS_KEPT_HOURS = env.int("IDEMPOTENCY_KEYS_KEPT_HOURS", default=24)

#: A channel for which the engine takes nothing for so long, while it takes other things, holds the push up no longer:
#: what goes there is left as dead letters until the engine takes something for it again.
PUSH_STUCK_SECONDS = env.float("PUSH_STUCK_SECONDS", default=60.0)
#: The push waits this long for the engine's answer; below RELAY_LEASE_SECONDS, so that a slow engine costs no lease.
ENGINE_TIMEOUT_SECONDS = env.float("ENGINE_TIMEOUT_SECONDS", default=3.0)

# --- Events -----------------------------------------------------------------------------------------------------------

#: A relay that died is replaced after this long.
RELAY_LEASE_SECONDS = env.float("RELAY_LEASE_SECONDS", default=4.0)
#: How often the relay looks for work that nobody told it of.
RELAY_SWEEP_SECONDS = env.float("RELAY_SWEEP_SECONDS", default=0.05)
#: To be set where a pooler in transaction mode stands before PostgreSQL: its address without it. LISTEN hears nothing
#: through one; and statements are not prepared then, which the next server behind it would not know.
DATABASE_DIRECT_URL = env.str("DATABASE_DIRECT_URL", default="")
#: Each process says so often that it is alive, and counts as silent when nothing was heard of it for so long.
HEARTBEAT_SECONDS = env.float("HEARTBEAT_SECONDS", default=2.0)
HEARTBEAT_SILENT_SECONDS = env.float("HEARTBEAT_SILENT_SECONDS", default=6.0)
#: A handler that fails is called this often for one event before it becomes a dead letter; the waits double from 1 s.
HANDLER_MAX_ATTEMPTS = env.int("HANDLER_MAX_ATTEMPTS", default=8)
#: One call of a handler must end within this; a worker that died holding one is replaced after as long.
HANDLER_LEASE_SECONDS = env.float("HANDLER_LEASE_SECONDS", default=60.0)
EVENTS_KEPT_DAYS = env.int("EVENTS_KEPT_DAYS", default=400)
#: Log lines and metrics.
HIGH_VOLUME_EVENTS_KEPT_DAYS = env.int("HIGH_VOLUME_EVENTS_KEPT_DAYS", default=30)

# --- Deployments ------------------------------------------------------------------------------------------------------

#: Encrypts the values of secret parameters. Under another one, what was stored cannot be read again.
PARAMETER_SECRET = secret("PARAMETER_SECRET")
#: Deployments of a tenant that may run together, where the tenant itself is not given another number.
DEPLOYMENTS_AT_ONCE_PER_TENANT = env.int("DEPLOYMENTS_AT_ONCE_PER_TENANT", default=2)
#: Deployments of one tenant that may wait.
DEPLOYMENT_QUEUE_LIMIT = env.int("DEPLOYMENT_QUEUE_LIMIT", default=50)
#: Of a deployment's output this much is kept; the place where it was cut says so.
DEPLOYMENT_OUTPUT_LIMIT_BYTES = env.int("DEPLOYMENT_OUTPUT_LIMIT_BYTES", default=10_000_000)
#: For steps whose stack says nothing else.
STEP_TIME_LIMIT_SECONDS = env.int("STEP_TIME_LIMIT_SECONDS", default=900)
#: Between asking a step to end (SIGTERM) and ending it (SIGKILL).
STEP_STOP_GRACE_SECONDS = env.float("STEP_STOP_GRACE_SECONDS", default=5.0)
#: Where steps find programs: their PATH.
STEP_PATH = env.str("STEP_PATH", default="/usr/local/bin:/usr/bin:/bin")
#: Each deployment gets a directory of its own in here while it runs.
RUNNER_DIR = Path(env.str("RUNNER_DIR", default=str(LOCAL_DIR / "runs")))
#: Deployments one runner process executes at a time.
RUNNER_SLOTS = env.int("RUNNER_SLOTS", default=4)
#: How often a runner looks for waiting deployments and for asked cancels.
RUNNER_POLL_SECONDS = env.float("RUNNER_POLL_SECONDS", default=0.25)
#: A runner silent for this long has lost its deployments; it renews three times as often.
RUNNER_LEASE_SECONDS = env.float("RUNNER_LEASE_SECONDS", default=15.0)
#: How long a runner that is asked to end lets its deployments go on before it stops and fails them.
RUNNER_SHUTDOWN_SECONDS = env.float("RUNNER_SHUTDOWN_SECONDS", default=2.0)

# --- Metrics ----------------------------------------------------------------------------------------------------------

#: Raw samples; charts of up to a quarter of an hour are made of them.
METRIC_SAMPLES_KEPT_HOURS = env.int("METRIC_SAMPLES_KEPT_HOURS", default=24)
#: Roll-ups of minutes and hours; charts of up to a month are made of these.
METRIC_ROLLUPS_KEPT_DAYS = env.int("METRIC_ROLLUPS_KEPT_DAYS", default=30)
#: Roll-ups of days; charts of up to a year are made of these.
METRIC_DAYS_KEPT_DAYS = env.int("METRIC_DAYS_KEPT_DAYS", default=400)
#: Older samples are refused. Below METRIC_SAMPLES_KEPT_HOURS, or one sent again would be counted again.
METRICS_ACCEPTED_AGE_SECONDS = env.int("METRICS_ACCEPTED_AGE_SECONDS", default=12 * 3600)
#: What is further ahead of our clock is refused: it would stand as the newest for too long.
METRICS_ACCEPTED_AHEAD_SECONDS = env.int("METRICS_ACCEPTED_AHEAD_SECONDS", default=60)
#: Samples in one request.
METRICS_BATCH_LIMIT = env.int("METRICS_BATCH_LIMIT", default=500)
#: Requests with samples in a second, for each tenant.
METRICS_POSTED_PER_SECOND = env.int("METRICS_POSTED_PER_SECOND", default=20)
#: Different series of one tenant: names with labels. One without a sample for METRIC_ROLLUPS_KEPT_DAYS makes room.
METRIC_SERIES_PER_TENANT = env.int("METRIC_SERIES_PER_TENANT", default=500)
#: Where the demo's agent finds its API key. Only its owner may read the file.
AGENT_KEY_FILE = processes.agent_key(LOCAL_DIR)

# --- Alerts -----------------------------------------------------------------------------------------------------------

#: So often every rule is looked at, and what time does to alerts is done.
ALERTS_LOOKED_AT_SECONDS = env.float("ALERTS_LOOKED_AT_SECONDS", default=5.0)
ALERT_RULES_PER_TENANT = env.int("ALERT_RULES_PER_TENANT", default=200)
ESCALATION_POLICIES_PER_TENANT = env.int("ESCALATION_POLICIES_PER_TENANT", default=20)
#: Open alerts of one tenant; a source that raises more is refused.
ALERTS_OPEN_PER_TENANT = env.int("ALERTS_OPEN_PER_TENANT", default=1000)
SILENCES_PER_TENANT = env.int("SILENCES_PER_TENANT", default=200)
SILENCE_MAX_DAYS = env.int("SILENCE_MAX_DAYS", default=90)
#: Alerts and silences whose time is up, taken in one look; the rest in the next.
ALERTS_SWEPT_AT_ONCE = env.int("ALERTS_SWEPT_AT_ONCE", default=500)
#: A part of the platform has to be unwell for so long before it is an alert.
PLATFORM_ALERT_AFTER_SECONDS = env.float("PLATFORM_ALERT_AFTER_SECONDS", default=10.0)
#: Requests with alerts in a second, for each tenant, and alerts in one request.
ALERTS_POSTED_PER_SECOND = env.int("ALERTS_POSTED_PER_SECOND", default=20)
ALERTS_BATCH_LIMIT = env.int("ALERTS_BATCH_LIMIT", default=500)
#: Resolved alerts and ended silences.
ALERTS_KEPT_DAYS = env.int("ALERTS_KEPT_DAYS", default=400)

# --- Billing ----------------------------------------------------------------------------------------------------------

#: The offer that every tenant begins with.
FIRST_PLAN = env.str("FIRST_PLAN", default="starter")
#: Usage that lies further ahead of the platform's clock is refused.
USAGE_ACCEPTED_AHEAD_SECONDS = env.int("USAGE_ACCEPTED_AHEAD_SECONDS", default=60)
#: Records of usage in one request.
USAGE_BATCH_LIMIT = env.int("USAGE_BATCH_LIMIT", default=500)
#: Requests with usage in a second, for each tenant.
USAGE_POSTED_PER_SECOND = env.int("USAGE_POSTED_PER_SECOND", default=50)
#: A tenant's own, beside the platform's 50, 80 and 100 %.
USAGE_THRESHOLDS_PER_TENANT = env.int("USAGE_THRESHOLDS_PER_TENANT", default=50)
#: So long after its end a period is closed: what was used in its last minutes has been reported by then.
BILLING_GRACE_SECONDS = env.int("BILLING_GRACE_SECONDS", default=3600)
INVOICE_DUE_DAYS = env.int("INVOICE_DUE_DAYS", default=14)

# --- Notifications ----------------------------------------------------------------------------------------------------

#: For so long what a person removed can be brought back.
REMOVED_NOTIFICATIONS_KEPT_DAYS = env.int("REMOVED_NOTIFICATIONS_KEPT_DAYS", default=7)
READ_NOTIFICATIONS_KEPT_DAYS = env.int("READ_NOTIFICATIONS_KEPT_DAYS", default=90)
#: A sender that took a mail and died is replaced after so long: more than the mail server may take, see EMAIL_TIMEOUT.
MAIL_LEASE_SECONDS = env.float("MAIL_LEASE_SECONDS", default=120.0)
#: Between two tries of a mail that could not be sent; it doubles each time, up to MAIL_RETRY_MAX_SECONDS.
MAIL_RETRY_SECONDS = env.float("MAIL_RETRY_SECONDS", default=30.0)
MAIL_RETRY_MAX_SECONDS = env.float("MAIL_RETRY_MAX_SECONDS", default=3600.0)
#: So long after it was due a mail is given up on.
MAIL_TRIED_HOURS = env.float("MAIL_TRIED_HOURS", default=72.0)

# --- Payments ---------------------------------------------------------------------------------------------------------

#: Who collects: "stripe"; "local", a gateway for tests, which moves no money; "" for nobody, then staff write down what
#: was paid.
PAYMENT_GATEWAY = env.str("PAYMENT_GATEWAY", default="local" if DEBUG else "")
#: Signs what the local gateway calls to say.
LOCAL_GATEWAY_SECRET = env.str(
    "LOCAL_GATEWAY_SECRET", default=f"{DEVELOPMENT_SECRET}local_gateway_secret" if DEBUG else ""
)
#: Stripe's secret key, sk_... or rk_..., and the secret of the webhook at /api/billing/webhooks/stripe, whsec_...
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="")
STRIPE_WEBHOOK_SECRET = env.str("STRIPE_WEBHOOK_SECRET", default="")
#: Where Stripe's API is, if not at Stripe: for tests.
STRIPE_API_ADDRESS = env.str("STRIPE_API_ADDRESS", default="")
#: A gateway answers within this, or is asked again later under the same key.
GATEWAY_TIMEOUT_SECONDS = env.float("GATEWAY_TIMEOUT_SECONDS", default=10.0)
#: One run of the schedule asks gateways for so long; what is left waits for the next run.
ASKING_AT_MOST_SECONDS = env.float("ASKING_AT_MOST_SECONDS", default=10.0)
#: A gateway's call that was signed longer ago is not believed.
CALLBACK_TOLERANCE_SECONDS = env.int("CALLBACK_TOLERANCE_SECONDS", default=300)
#: After so long a gateway is asked for what it has not decided; then twice as long each time, up to an hour.
PAYMENT_ASKED_AGAIN_SECONDS = env.int("PAYMENT_ASKED_AGAIN_SECONDS", default=60)
#: Tries to pay that the people of one tenant may make in a second.
PAYMENTS_PER_SECOND = env.int("PAYMENTS_PER_SECOND", default=5)
#: An invoice is collected when it is due; one that could not be, again so many days after each failure.
DUNNING_RETRY_DAYS = env.list("DUNNING_RETRY_DAYS", cast=int, default=[1, 3, 7])
#: A tenant whose invoice is overdue for so long, and was tried for the last time, is suspended until it has paid.
UNPAID_SUSPENDED_AFTER_DAYS = env.int("UNPAID_SUSPENDED_AFTER_DAYS", default=14)

# --- Celery: wake-ups and schedules, never the work itself -----------------------------------------------------------

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default=REDIS_URL or f"sqla+sqlite:///{LOCAL_DIR / 'celery.sqlite3'}")
# By itself Celery would take any certificate.
CELERY_BROKER_USE_SSL = redis_tls(CELERY_BROKER_URL) or None
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for as long as it takes
#: What a full Redis answers is trouble too, from which a worker is to come back: without this it would end.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_DB_REUSE_MAX = 1000
CELERY_BEAT_SCHEDULE_FILENAME = str(LOCAL_DIR / "celerybeat-schedule")
#: Seconds between two wake-ups. Each expires before the next, so that none pile up where no worker runs.
WAKE_UP_SECONDS = 5.0
CELERY_BEAT_SCHEDULE = {
    "publish_pending": {"task": "events.tasks.publish_pending", "schedule": WAKE_UP_SECONDS, "options": {"expires": 5}},
    "wake_handlers": {"task": "events.tasks.wake_handlers", "schedule": WAKE_UP_SECONDS, "options": {"expires": 5}},
    "prune": {"task": "events.tasks.prune", "schedule": 86_400.0, "options": {"expires": 86_400}},
    "begin_billing": {"task": "billing.tasks.begin_billing", "schedule": 60.0, "options": {"expires": 60}},
    "close_periods": {"task": "billing.tasks.close_periods", "schedule": 300.0, "options": {"expires": 300}},
    "prune_metrics": {"task": "monitoring.tasks.prune", "schedule": 600.0, "options": {"expires": 600}},
    "forget_old_alerts": {
        "task": "monitoring.tasks.forget_old_alerts",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "collect": {"task": "billing.tasks.collect", "schedule": 60.0, "options": {"expires": 60}},
    "ask_gateways": {"task": "billing.tasks.ask_gateways", "schedule": 20.0, "options": {"expires": 20}},
    "forget_old_callbacks": {
        "task": "billing.tasks.forget_old_callbacks",
        "schedule": 86_400.0,
        "options": {"expires": 86_400},
    },
    "mark_lost": {"task": "deployments.tasks.mark_lost", "schedule": 5.0, "options": {"expires": 5}},
    "forget_old_idempotency_keys": {
        "task": "realtime.tasks.forget_old_idempotency_keys",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "forget_ended_signing_keys": {
        "task": "realtime.tasks.forget_ended_signing_keys",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "send_mails": {"task": "notifications.tasks.send_mails", "schedule": WAKE_UP_SECONDS, "options": {"expires": 5}},
    "forget_old_notifications": {
        "task": "notifications.tasks.forget_old_notifications",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
}

if DEMO:
    CELERY_BEAT_SCHEDULE["live_demo"] = {
        "task": "deployments.tasks.live_demo",
        "schedule": 15.0,
        "options": {"expires": 15},
    }

# --- HTTP API -------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["neostack.parsing.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "tenants.schema.Schema",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
}
DRF_STANDARDIZED_ERRORS = {"EXCEPTION_HANDLER_CLASS": "neostack.api_errors.ErrorHandler"}
SPECTACULAR_SETTINGS = {
    "TITLE": "NEO_STACK",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",  # what pydantic describes is JSON Schema, with its null
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        "MetricKindEnum": ["gauge", "counter"],
        "AlertRuleKindEnum": ["threshold", "absence", "change"],
        "AlertmanagerStatusEnum": ["firing", "resolved"],
    },
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "tenants.examples.put_together"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- Pages ----------------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = DEBUG
# WhiteNoise reads files, and files are small: under ASGI Django would say so at each one.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
EMAIL_TIMEOUT = env.int("EMAIL_TIMEOUT_SECONDS", default=10)
EMAIL_BACKEND = env.str("EMAIL_BACKEND", default="django.core.mail.backends.console.EmailBackend")
#: For django.core.mail.backends.smtp.EmailBackend. EMAIL_USE_TLS means STARTTLS.
EMAIL_HOST = env.str("EMAIL_HOST", default="localhost")
EMAIL_PORT = env.int("EMAIL_PORT", default=587)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", default=True)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="NEO_STACK <no-reply@neostack.example>")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'", *([ENGINE_CLIENT_URL] if "://" in ENGINE_CLIENT_URL else [])],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "manifest-src": ["'self'"],
    }
}
PERMISSIONS_POLICY: dict[str, list[str]] = {"camera": [], "microphone": [], "geolocation": []}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if not DEBUG:
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("SECURE_COOKIES", default=True)
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
