"""A container's health check: does the loop turn that the process in it lives for?

    python scripts/is_well.py 8000     web
    python scripts/is_well.py 8002     the gate
    python scripts/is_well.py 9100     another one, at its metrics' port: see events/liveness.py

Imports nothing of ours: it runs every few seconds, and Django alone would take a second.
"""

import http.client
import sys

TIMEOUT_SECONDS = 4


def main(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
    except OSError as problem:
        print(f"Nothing answers at port {port}: {problem}", file=sys.stderr)
        return 1
    print(answer.read().decode().strip())
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
