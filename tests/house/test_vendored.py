"""What is vendored is what static/vendor/VENDORED says: each file by name and, as it came from its package, by its digest."""

import hashlib
import re
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[2] / "static" / "vendor"


def test_each_vendored_file_is_listed_and_is_the_one_that_was_listed() -> None:
    listed = (VENDOR / "VENDORED").read_text()
    digests = dict(re.findall(r"^(\S+)\s+sha256 ([0-9a-f]{64})$", listed, re.MULTILINE))
    there = {path.name for path in VENDOR.iterdir()} - {"VENDORED"}
    assert {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in digests} == digests
    unlisted = {name for name in there if name not in digests and not name.startswith("LICENSE.") and f"\n{name}  " not in listed}
    assert unlisted == set()
    assert {"htmx-2.0.11.min.js", "inter.woff2"} <= set(digests)
