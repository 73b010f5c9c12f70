"""Steps of the demo's static site: `static_site.py prepare | build | check | pack`, in the deployment's directory."""

import hashlib
import html
import os
import sys
import tarfile
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

SITE = Path("site")
TOPICS = ["Welcome", "About", "Team", "Prices", "News", "Support", "Terms", "Privacy", "Careers", "Press"]
COLOURS = {"light": ("#ffffff", "#1b1f24"), "dark": ("#1b1f24", "#f3f4f6")}
#: A person should be able to follow.
PACE_SECONDS = 0.35

GREEN, CYAN, DIM, BOLD, PLAIN = "\x1b[32m", "\x1b[36m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def warn(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def page_names() -> list[str]:
    count = int(os.environ["PAGES"])
    return ["index.html", *(f"{TOPICS[i % len(TOPICS)].lower()}-{i}.html" for i in range(1, count))]


def prepare() -> None:
    say(f"{BOLD}{os.environ['SITE_TITLE']}{PLAIN}: {len(page_names())} pages, theme {os.environ['THEME']}")
    say(f"Python {sys.version.split()[0]}, a directory of its own, {len(os.environ)} variables in the environment")
    if key := os.environ.get("ANALYTICS_KEY"):
        say(f"Analytics key: {key}")
    else:
        warn("No analytics key: visits will not be counted.")
    SITE.mkdir()
    time.sleep(PACE_SECONDS)


def build() -> None:
    names = page_names()
    for number, name in enumerate(names, start=1):
        (SITE / name).write_text(page(name, names), encoding="utf-8")
        size = (SITE / name).stat().st_size
        say(f"{DIM}[{number:3}/{len(names)}]{PLAIN} {CYAN}{name}{PLAIN} {size:,} bytes")
        time.sleep(PACE_SECONDS)
    if os.environ.get("DRAFTS") == "true":
        warn("Drafts asked for, but there are none.")
    say(f"{GREEN}Built {len(names)} pages.{PLAIN}")


def page(name: str, names: list[str]) -> str:
    background, text = COLOURS[os.environ["THEME"]]
    title = html.escape(os.environ["SITE_TITLE"])
    links = "".join(f'<li><a href="{other}">{other}</a></li>' for other in names)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: {name}</title>'
        f"<style>body{{background:{background};color:{text};font-family:sans-serif}}</style></head>"
        f"<body><h1>{title}</h1><p>This is {name}.</p><ul>{links}</ul></body></html>\n"
    )


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """The check says itself what it asked for."""


def check() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    say(f"Serving on {address}")
    for name in page_names():
        began = time.monotonic()
        with urlopen(f"{address}/{name}", timeout=5) as answer:  # noqa: S310  our own server
            body = answer.read()
        if body != (SITE / name).read_bytes():
            sys.exit(f"{name} is not what was built.")
        say(f"{GREEN}200{PLAIN} /{name} {len(body):,} bytes in {(time.monotonic() - began) * 1000:.1f} ms")
        time.sleep(PACE_SECONDS)
    server.shutdown()
    server.server_close()
    say("Every page is as it was built. Stopped serving.")


def pack() -> None:
    with tarfile.open("site.tar.gz", "w:gz") as archive:
        archive.add(SITE, arcname="site")
    packed = Path("site.tar.gz").read_bytes()
    say(f"site.tar.gz {len(packed):,} bytes, sha256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    {"prepare": prepare, "build": build, "check": check, "pack": pack}[sys.argv[1]]()
