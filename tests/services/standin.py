"""A Remit made of stand-ins, run as a program of its own: `python standin.py ROOT PORT [json]`.

Each stand-in does what the real one does as far as the supervisor can see. What goes wrong is asked for by files in ROOT.
"""

import sys
from pathlib import Path

from controlplane.services import report, supervisor
from controlplane.services.children import Task
from controlplane.services.programs import Programs
from controlplane.services.trouble import CannotStart

WEB = """
import http.server, sys
class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def log_message(self, *told):
        pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Door).serve_forever()
"""
WORKER = """
import os, pathlib, signal, subprocess, sys, time
if pathlib.Path("worker-cannot").exists():
    sys.exit("the worker has lost its tools")
if pathlib.Path("worker-is-deaf").exists():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    grandchild = subprocess.Popen([sys.executable, "-c", deaf])
    pathlib.Path("grandchild").write_text(str(grandchild.pid))
pathlib.Path("worker-ready").write_text(os.environ["DATABASE_URL"])
time.sleep(600)
"""
MIGRATE = """
import os, pathlib, psycopg
if pathlib.Path("migrate-cannot").exists():
    raise SystemExit("relation \\"agents_agent\\" already exists")
with pathlib.Path("migrations").open("a") as file:
    file.write(os.environ["REMIT_ROLE"] + "\\n")
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS django_migrations (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
    connection.execute("INSERT INTO django_migrations (name) VALUES ('0001')")
"""
WAITING = """
import json
request = {"title": "Refund $84.50 to Kestrel Ltd", "id": "APR-1042", "expires_in_s": 898}
links = {"approver": "/start/K7QM-2XPD", "security": "/start/AAAA", "finance": "/start/BBBB", "auditor": "/start/CCCC"}
print(json.dumps({"requests": [request], "links": links}))
"""


def stand_in(name: str, program: str, *arguments: str) -> Task:
    return Task(name, (sys.executable, "-c", program, *arguments))


def programs() -> Programs:
    return Programs(
        migrate=stand_in("migrate", MIGRATE),
        seed=stand_in("seed", "open('seeds', 'a').write('1')"),
        history=stand_in("history", "open('histories', 'a').write('1')"),
        waiting=stand_in("waiting", WAITING),
        web=lambda host, port: stand_in("web", WEB, host, str(port)),
        worker=stand_in("worker", WORKER),
        sweep=stand_in("sweep", "import time; time.sleep(600)"),
    )


def main() -> int:
    root, port, as_json = Path(sys.argv[1]), int(sys.argv[2]), "json" in sys.argv
    try:
        return supervisor.run(root, host="127.0.0.1", port=port, as_json=as_json, programs=programs())
    except CannotStart as why:
        report.trouble(why)
        return 1


if __name__ == "__main__":
    sys.exit(main())
