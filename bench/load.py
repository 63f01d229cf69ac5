"""A closed-loop load of POSTs whose every answer is checked: by wrk where it is installed, else by a small asyncio client of our own."""

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).parent
WRK = shutil.which("wrk")


class Unanswered(Exception):
    """Some answers were not what they must be: a measurement of them would mean nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """`body` may hold %ID%, replaced by a number that never comes twice; `tokens` take turns."""

    url: str
    body: Mapping[str, Any]
    must: str
    tokens: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    per_s: float
    p50: float
    p95: float
    p99: float
    n: int


def measure(target: Target, *, at_once: int, seconds: float) -> Figure:
    """Milliseconds and calls per second. Raises Unanswered when a single answer was wrong."""
    told = _by_wrk(target, at_once, seconds) if WRK else asyncio.run(_by_ourselves(target, at_once, seconds))
    if told.pop("bad") or not told["n"]:
        raise Unanswered(f"{target.url}: {told['first_bad']}")
    del told["first_bad"]
    return Figure(**told)


def _by_wrk(target: Target, at_once: int, seconds: float) -> dict[str, Any]:
    lines = [f"MUST {target.must}", f"SALT {time.time_ns() // 1000}", *(f"TOKEN {token}" for token in target.tokens)]
    lines += [f"H {name}: {value}" for name, value in _headers(target).items()]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as spec:
        spec.write("\n".join([*lines, f"BODY {json.dumps(target.body)}", ""]))
        spec.flush()
        options = ["-t1", f"-c{at_once}", f"-d{seconds:g}s", "--timeout", "20s", "-s", str(HERE / "load.lua")]
        done = subprocess.run([WRK or "wrk", *options, target.url, "--", spec.name], capture_output=True, text=True, check=False)
    found = re.search(r"^RESULT (\{.*\})$", done.stdout, re.MULTILINE)
    if not found:
        raise Unanswered(f"wrk: {done.stdout[-500:]} {done.stderr[-500:]}")
    answer: dict[str, Any] = json.loads(found.group(1))
    return answer


def _headers(target: Target) -> dict[str, str]:
    return {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **target.headers}


async def _by_ourselves(target: Target, at_once: int, seconds: float) -> dict[str, Any]:
    until, taken, wrong = time.perf_counter() + seconds, list[float](), list[str]()
    place, salt = urlsplit(target.url), time.time_ns() // 1000

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        sent = 0
        while time.perf_counter() < until:
            sent += 1
            raw = json.dumps(target.body).replace("%ID%", f"{salt}{number:03d}{sent:07d}").encode()
            head = [f"POST {place.path} HTTP/1.1", f"Host: {place.netloc}", f"Content-Length: {len(raw)}"]
            head += [f"{name}: {value}" for name, value in _headers(target).items()]
            head += [f"Authorization: Bearer {target.tokens[(number + sent) % len(target.tokens)]}"] if target.tokens else []
            began = time.perf_counter()
            writer.write("\r\n".join([*head, "", ""]).encode() + raw)
            status, answer = await _reply(reader)
            taken.append((time.perf_counter() - began) * 1000)
            if status != 200 or target.must.encode() not in answer:
                wrong.append(f"{status} {answer[:300].decode(errors='replace')}")
        writer.close()

    await asyncio.gather(*(client(number) for number in range(at_once)))
    taken.sort()
    parts = {f"p{share}": taken[min(len(taken) - 1, len(taken) * share // 100)] for share in (50, 95, 99)}
    return {**parts, "per_s": len(taken) / seconds, "n": len(taken), "bad": len(wrong), "first_bad": wrong[0] if wrong else ""}


async def _reply(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
    if length:
        return int(head.split(None, 2)[1]), await reader.readexactly(int(length.group(1)))
    body = b""
    while True:  # chunked
        size = int((await reader.readline()).strip() or b"0", 16)
        body += (await reader.readexactly(size + 2))[:-2]
        if size == 0:
            return int(head.split(None, 2)[1]), body
