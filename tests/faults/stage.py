"""The product as a company runs it: two nodes of Centrifugo on a Redis of their own, two relays, PostgreSQL, and a
Redis of ours; all of it started in the wrong order, and one thing after another broken while people work on it.
"""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg

from neostack import processes
from tests.faults.servers import Centrifugo, Postgres, Redis, Server
from tests.faults.wire import Wire
from tests.services import free_port
from tests.whole.people import Company, Person, found_company
from tests.whole.platform import Inside, Platform, wait_until
from tests.whole.subscriber import Subscriber

PATIENCE_SECONDS = 120
HANDLER_LEASE_SECONDS = 5
#: Parts as /readyz names them.
EVERYTHING = ("database", "redis", "engine", "relay", "runner", "worker", "beat", "pulse")
PRODUCER_PAUSE_SECONDS = 0.3
ROUNDS_LOST = 5
#: Every so often what is said is a notice, which a worker makes into notifications.
NOTICE_EACH = 4


class Stage(Platform):
    """`open()` starts every process first, and what it needs afterwards, one after the other."""

    def __init__(self, home: Path) -> None:
        self.postgres = Postgres(home)
        self.redis = Redis(home, "redis")
        self.engine_redis = Redis(home, "engine-redis")
        self.gate_port = free_port()
        self.nodes = [Centrifugo(home, name, self._write_config) for name in ("centrifugo-1", "centrifugo-2")]
        super().__init__(home, "centrifugo")
        first, second = (node.port for node in self.nodes)
        #: Between web and relays on one side and the engine's server API on the other.
        self.api = Wire(self.engine_port, [first, second])
        #: Where browsers come in: each door prefers one node, and takes the other while that is away.
        self.doors = [Wire(free_port(), [first, second]), Wire(free_port(), [second, first])]
        del self.commands["engine"]
        self.commands["relay-2"] = self.commands["relay"]
        self.commands["gate"] = processes.gate(host="127.0.0.1", port=self.gate_port)
        self.people: list[tuple[Company, Person]] = []
        self.subscribers: list[Subscriber] = []
        self.is_spoilt = False
        self.producer: Producer = None  # type: ignore[assignment]  # set by open()

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "GATE_URL": f"http://127.0.0.1:{self.gate_port}/api/realtime/connect",
            "HANDLER_LEASE_SECONDS": str(HANDLER_LEASE_SECONDS),
        }

    def _write_config(self, node: Centrifugo) -> Path:
        """What `centrifugo_config` says, on this port and this Redis."""
        config = json.loads((self.home / "engine.json").read_text())
        config["http_server"] |= {"address": "127.0.0.1", "port": node.port}
        config["engine"] = {"type": "redis", "redis": {"address": self.engine_redis.url}}
        config["node"] = {"name": node.name}
        config["client"]["proxy"]["connect"]["http"]["static_headers"]["X-Node-Name"] = node.name
        path = self.home / f"{node.name}.json"
        path.write_text(json.dumps(config))
        return path

    @property
    def servers(self) -> list[Server]:
        return [self.postgres, self.redis, self.engine_redis, *self.nodes]

    # --- Start and end ------------------------------------------------------------------------------------------------

    def open(self) -> "Stage":
        (self.home / "engine.json").write_text(self.manage("centrifugo_config"))
        for name in self.commands:
            self.start(name)
        self._give_what_they_wait_for()
        self.inside = Inside(self)
        self.inside.use_no_pool()
        self.wait_well()
        self._fill()
        return self

    def _give_what_they_wait_for(self) -> None:
        """One thing after the other. Each process has said by then that it waits for it, or this fails."""
        migrating = self._begin_to_migrate()
        using_database = [name for name in self.commands if name != "beat"]
        self.wait_said("Waiting for the database: connection failed", *using_database, "migrate")
        migrating.kill()
        migrating.wait()
        self.postgres.start()
        self.wait_said("Waiting for the database: its migrations are not all applied", *using_database)
        relays = self.logs_of("relay", "relay-2")
        assert self._begin_to_migrate().wait(PATIENCE_SECONDS) == 0
        self.wait_said("Trying again in", "worker", "beat")
        self.redis.start()
        wait_until(lambda: "Waiting. The engine can't be reached" in relays(), "a relay waits", PATIENCE_SECONDS)
        # Centrifugo does not wait: it says why and ends, and is started again until its Redis is there.
        for _ in range(2):
            self.nodes[0].begin()
            wait_until(self.nodes[0].has_ended, "Centrifugo ends without its Redis", PATIENCE_SECONDS)
        self.wait_said("error creating Redis client", self.nodes[0].name)
        self.engine_redis.start()
        for node in self.nodes:
            node.start()

    def _begin_to_migrate(self) -> subprocess.Popen[bytes]:
        """As production does it. It waits for the database, and says so in a log of its own."""
        with (self.home / "migrate.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "manage.py", "prepare"],
                stdout=log,
                stderr=subprocess.STDOUT,
                **processes.child_options(self.environ),
            )

    def _fill(self) -> None:
        """Three companies with an admin each, and the platform's admin: all of them listen, through either door."""
        for number, (company, who) in enumerate((("Acme", "Alice"), ("Globex", "Charlie"), ("Initech", "Dora"))):
            founded = found_company(self, company, company.lower())
            person = founded.hire(who, "tenant_admin")
            self.people.append((founded, person))
            channels = [founded.channel("notifications"), founded.channel("activity"), f"user:{person.id}:inbox"]
            self._subscribe(person, channels, founded.slug, self.doors[number % 2])
        made = self.inside.make_person(name="Ada", email="ada@neostack.example", is_staff=True, is_superuser=True)
        self._subscribe(Person(self, **made), ["admin:platform:events"], "", self.doors[1])
        self.producer = Producer(self)

    def _subscribe(self, person: Person, channels: list[str], tenant: str, door: Wire) -> None:
        url = f"ws://127.0.0.1:{door.port}/connection/websocket"
        one = Subscriber(person, channels, tenant=tenant, fresh_state=self.logged, url=url)
        self.subscribers.append(one.wait_subscribed(PATIENCE_SECONDS))

    def close(self) -> None:
        if self.producer:
            self.producer.close()
        if self.inside:
            self.inside.close()
        with ThreadPoolExecutor() as together:
            list(together.map(Subscriber.close, self.subscribers))
        for wire in [self.api, *self.doors]:
            wire.close()
        for process in self.processes.values():
            process.kill()
            process.wait()
        for server in self.servers:
            server.close()

    # --- What is seen of it -------------------------------------------------------------------------------------------

    def last_words(self) -> str:
        """Of what it stands on, too; and what the subscribers complained of."""
        ends = {server.name: self.logs(server.name).splitlines()[-10:] for server in self.servers}
        complaints = {one.person.name: one.refusals[-10:] for one in self.subscribers}
        more = (f"--- {name}\n" + "\n".join(lines) for name, lines in (ends | complaints).items() if lines)
        return "\n".join([super().last_words(), *more])

    def logs_of(self, *names: str) -> Callable[[], str]:
        """What these processes say from now on."""
        said = {name: len(self.logs(name)) for name in names}
        return lambda: "".join(self.logs(name)[start:] for name, start in said.items())

    def wait_said(self, words: str, *names: str) -> None:
        """Until each of these processes has said this in its log."""
        for name in names:
            wait_until(lambda: words in self.logs(name), f"{name} says {words!r}", PATIENCE_SECONDS, every=0.05)  # noqa: B023

    def listen(self) -> None:
        """`said()` gives what the relays say from now on."""
        self.said = self.logs_of("relay", "relay-2")

    # --- Done to it ---------------------------------------------------------------------------------------------------

    def stop_pushing(self) -> None:
        """Cut the wire to the engine, for what must not be mended amid a request of the relay's.

        Amid one, what had failed would be overtaken in its channel by what is then taken: a dead letter (tested with
        the push), and not what these tests are about.
        """
        relays = self.logs_of("relay", "relay-2")
        self.api.cut()
        wait_until(lambda: "can't be reached" in relays(), "the relay pushes no more", PATIENCE_SECONDS)

    def come_and_go(self) -> None:
        """Somebody loses the connection, and gets another one."""
        self.subscribers[0].go_away()
        self.subscribers[0].come_back(PATIENCE_SECONDS)

    def rewind_begins(self) -> None:
        """Centrifugo's Redis dies, and will come back without what everybody has just received; somebody is away."""
        self.engine_redis.save()
        self.producer.wait_for(ROUNDS_LOST)
        wait_until(self.received(), "everybody has received what will be lost", PATIENCE_SECONDS)
        self.subscribers[0].go_away()
        self.engine_redis.kill()

    def rewind_ends(self) -> None:
        """It is back, and as much was pushed again: offsets that somebody had seen now stand for other events."""
        self.engine_redis.start()
        self.api.mend()
        self.producer.wait_for(2 * ROUNDS_LOST)
        self.subscribers[0].come_back(PATIENCE_SECONDS)

    def kill_both_redis(self) -> None:
        """At once, as where one of them has both roles, with all that they had taken on their disks."""
        for server in (self.redis, self.engine_redis):
            server.keep_all()
        for server in (self.redis, self.engine_redis):
            server.kill()

    def start_both_redis(self) -> None:
        for server in (self.redis, self.engine_redis):
            server.start()
            server.keep_nothing()

    def kill_active_relay(self) -> None:
        """Whichever of the two holds the lease now."""
        pids = {f"pid {self.pid(name)}": name for name in ("relay", "relay-2")}
        wait_until(lambda: self._pid_in_charge() in pids, "a relay is in charge", PATIENCE_SECONDS)
        self.kill(pids[self._pid_in_charge()])

    def _pid_in_charge(self) -> str:
        owner: str = self.inside.relay_in_charge()
        return owner[owner.find("pid ") :]

    def opens(self, person: Person, path: str) -> bool:
        """Whether this person can open a page now."""
        try:
            return httpx.get(self.url + path, cookies={"sessionid": person.session}, timeout=20).status_code == 200
        except httpx.HTTPError:
            return False

    def parts(self) -> dict[str, Any]:
        """/readyz's parts; empty while web itself does not answer."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=30).json()["parts"]
        except (httpx.HTTPError, ValueError):
            return {}

    def is_well(self, *names: str) -> bool:
        parts = self.parts()
        return bool(parts) and all(parts.get(name, {}).get("status") == "ok" for name in names)

    def wait_well(self) -> None:
        """Every process runs, the same as before, and everything says that it is well."""
        ended = [name for name, process in self.processes.items() if process.poll() is not None]
        assert not ended, f"{ended} ended by themselves"
        wait_until(lambda: self.is_well(*EVERYTHING), "all is well", PATIENCE_SECONDS, every=0.2)

    # --- The log, as PostgreSQL itself has it -------------------------------------------------------------------------

    def logged(self, channel: str) -> list[str]:
        """The ids of the numbered events of a channel, in order. Raises OSError while PostgreSQL is away."""
        return self._ids(
            "SELECT e.uuid FROM events_entry n JOIN events_event e ON e.id = n.event_id"
            " WHERE e.channels @> %s ORDER BY n.seq",
            channel,
        )

    def newest_committed(self, channel: str) -> list[str]:
        """The id of a channel's last event, numbered or not; none if there was none."""
        return self._ids("SELECT uuid FROM events_event WHERE channels @> %s ORDER BY id DESC LIMIT 1", channel)

    def _ids(self, query: str, channel: str) -> list[str]:
        return [str(found) for (found,) in self._rows(query, [json.dumps([channel])])]

    def handled(self) -> Callable[[], bool]:
        """A question: has every handler passed what is numbered by now?"""
        ((newest,),) = self._rows("SELECT max(seq) FROM events_entry")
        behind = "SELECT name FROM events_cursor WHERE name LIKE 'handler:%%' AND position < %s"
        return lambda: not self._rows(behind, [newest])

    def _rows(self, query: Any, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with psycopg.connect(self.postgres.url, connect_timeout=2) as connection:
                return connection.execute(query, values).fetchall()
        except psycopg.OperationalError as error:
            raise OSError(str(error)) from error

    # --- Who has what -------------------------------------------------------------------------------------------------

    def received(self) -> Callable[[], bool]:
        """A question: has everybody received what is committed by now?"""
        wanted = [
            (subscriber, channel, event)
            for subscriber in self.subscribers
            for channel in subscriber.channels
            for event in self.newest_committed(channel)
        ]
        return lambda: all(event in subscriber.ids[channel] for subscriber, channel, event in wanted)

    def expect_what_the_log_has(self) -> None:
        """Every subscriber has, for every channel, what the log had when this was called: in order, each once."""
        for subscriber in self.subscribers:
            for channel in subscriber.channels:
                logged = self.logged(channel)
                wait_until(
                    lambda: not logged or logged[-1] in subscriber.ids[channel],  # noqa: B023
                    f"all on {channel}",
                    PATIENCE_SECONDS,
                )
                received = subscriber.ids[channel][: len(logged)]
                assert received == logged, f"{subscriber.person.name}'s {channel}: {difference(received, logged)}"

    def reloads(self) -> int:
        """How often anybody was told to reload a channel's state."""
        return sum(sum(subscriber.reloads.values()) for subscriber in self.subscribers)


class Producer:
    """Commits all the while, for several tenants, and goes on after whatever breaks. `committed`: how often it did."""

    def __init__(self, stage: Stage) -> None:
        self.committed = self.refused = 0
        self.last_error = ""
        self._people = [[company.id, person.id] for company, person in stage.people]
        self._hands = Inside(stage)
        self._hands.use_no_pool()
        self._pausing, self._resting, self._ending = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(PRODUCER_PAUSE_SECONDS):
            if self._pausing.is_set():
                self._resting.set()
                continue
            self._resting.clear()
            try:
                self._hands.speak(people=self._people, with_notice=self.committed % NOTICE_EACH == 0)
                self.committed += 1
            except AssertionError as error:
                self.refused += 1
                self.last_error = str(error)

    def wait_for(self, more: int) -> None:
        """Until it has committed so many more rounds."""
        goal = self.committed + more
        wait_until(lambda: self.committed >= goal, f"more is committed; {self.last_error}", PATIENCE_SECONDS)

    def pause(self) -> None:
        """Nothing is committed any more when this returns."""
        self._resting.clear()
        self._pausing.set()
        wait_until(self._resting.is_set, "the producer rests", PATIENCE_SECONDS)

    def go_on(self) -> None:
        self._pausing.clear()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(PATIENCE_SECONDS)
        self._hands.close()


def difference(received: list[str], logged: list[str]) -> str:
    """What is wrong with what somebody received, in the fewest words that help."""
    place = next((place for place, (one, other) in enumerate(zip(received, logged, strict=False)) if one != other), 0)
    doubled = [event for event, times in Counter(received).items() if times > 1]
    missing = [event for event in logged if event not in set(received)]
    return f"from place {place} of {len(logged)} on; doubled {doubled[:5]}, missing {missing[:5]}"
