"""Centrifugo's own PostgreSQL consumer, for comparison: rows of a table that it reads, publishes and deletes.

As its documentation sets it up: one partition, and a trigger that notifies it of each row.
"""

import json

import psycopg

from benchmarks.stage import Stage
from neostack.processes import engine_config

_BELL = "centrifugo_partition_change"
_SCHEMA = f"""
    CREATE TABLE centrifugo_outbox (
        id BIGSERIAL PRIMARY KEY, method TEXT NOT NULL, payload JSONB NOT NULL, partition BIGINT NOT NULL DEFAULT 0,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now()
    );
    CREATE FUNCTION tell_centrifugo() RETURNS TRIGGER AS $$
        BEGIN PERFORM pg_notify('{_BELL}', NEW.partition::text); RETURN NEW; END;
    $$ LANGUAGE plpgsql;
    CREATE TRIGGER tell_centrifugo AFTER INSERT ON centrifugo_outbox FOR EACH ROW EXECUTE FUNCTION tell_centrifugo();
"""


def consume(stage: Stage) -> None:
    """Let this stage's Centrifugo, on this stage's PostgreSQL, consume its outbox from now on."""
    url = stage.platform.database.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_SCHEMA)
    file = engine_config(stage.platform.home)
    consumer = {"dsn": url, "outbox_table_name": "centrifugo_outbox", "partition_notification_channel": _BELL}
    wanted = {"name": "outbox", "enabled": True, "type": "postgresql", "postgresql": consumer}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"consumers": [wanted]}))
    stage.platform.stop("engine")
    stage.platform.ensure_all()
