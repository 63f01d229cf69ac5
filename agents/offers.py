"""A tool as the other side of a connector describes it. Knows nothing of the record, so that connectors can speak of it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool as a connector offers it. Its hints are claims of the other side; a person classifies it."""

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    hints: dict[str, Any] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)  # what the connector needs at a call: method, path, read-back
