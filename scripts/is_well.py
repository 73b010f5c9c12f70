"""A container's health check: does the process in it answer?

    python scripts/is_well.py 8000     web: GET /healthz
    python scripts/is_well.py 9100     another one: its metrics' port is open

Imports nothing of ours: it runs every few seconds, and Django alone would take a second.
"""

import http.client
import socket
import sys

WEB_PORT = 8000
TIMEOUT_SECONDS = 4


def main(port: int) -> int:
    try:
        if port != WEB_PORT:
            socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS).close()
            return 0
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == 200 else 1
    except OSError as problem:
        print(f"Nothing answers at port {port}: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
