"""Asks a web process of this machine how it is: `probe.py --port 8001 /readyz --within 60`. Exit 0 when it says 200. Needs no package.

It asks as the reverse proxy would, so that neither the allowed hosts nor the redirect to https stand in the way.
"""

import argparse
import http.client
import os
import sys
import time


def problem(port: int, path: str) -> str:
    """Why the answer is not 200; empty when it is."""
    host = os.environ.get("REMIT_HOSTS", "127.0.0.1").split(",")[0].lstrip(".")
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        wire.request("GET", path, headers={"Host": host, "X-Forwarded-Proto": "https"})
        answer = wire.getresponse()
        body = answer.read(500).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        wire.close()
    return "" if answer.status == http.HTTPStatus.OK else f"{answer.status} {body}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", default="/healthz")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--within", type=float, default=0.0, metavar="SECONDS", help="keep asking for so long")
    chosen = parser.parse_args()
    until = time.monotonic() + chosen.within
    while why := problem(chosen.port, chosen.path):
        if time.monotonic() >= until:
            sys.stderr.write(f"{chosen.path} at port {chosen.port}: {why}\n")
            return 1
        time.sleep(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
