"""Numbers in a process of its own, with the database that its environment names.

    python -m tests.faults.numbering_apart '["tables", [1, 2], "number"]'

One after the other: "tables" makes the log's, a list commits events with these ids, "number" numbers what there is.
Prints the log as JSON: [seq, event id] each.
"""

import json
import sys

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from events import numbering  # noqa: E402
from events.ids import new_id  # noqa: E402
from events.models import Entry  # noqa: E402


def commit(event_ids: list[int]) -> None:
    with connection.cursor() as cursor:
        for event_id in event_ids:
            cursor.execute(
                "INSERT INTO events_event (id, uuid, type, occurred_at, actor_kind, actor_name, summary, payload,"
                " channels, revokes) VALUES (%s, %s, 'measured', now(), '', '', '', '{}', '[]', '[]')",
                [event_id, new_id()],
            )


def do(what: str | list[int]) -> None:
    if what == "tables":
        call_command("migrate", "events", verbosity=0)
    elif what == "number":
        while numbering.number().is_due:
            pass
    else:
        assert not isinstance(what, str), what
        commit(what)


for each in json.loads(sys.argv[1]):
    do(each)
json.dump(list(Entry.objects.order_by("seq").values_list("seq", "event_id")), sys.stdout)
