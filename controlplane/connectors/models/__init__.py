"""Asks a model for one turn: scripted, recorded or real. Real providers are imported when first asked for: they cost two seconds."""

import importlib

from controlplane.connectors.models.completion import Completion, ModelRequest, ProviderRefused, RateLimited

__all__ = ["ADAPTERS", "Completion", "ModelRequest", "ProviderRefused", "RateLimited", "complete"]

ADAPTERS = {
    "scripted": "controlplane.connectors.models.scripted",
    "recorded": "controlplane.connectors.models.recorded",
    "openai": "controlplane.connectors.models.real",
    "anthropic": "controlplane.connectors.models.real",
    "compatible": "controlplane.connectors.models.real",
}


def complete(request: ModelRequest) -> Completion:
    """One attempt, never repeated here. Raises ProviderRefused, RateLimited, interface.NotSent or interface.Unknown."""
    adapter = ADAPTERS.get(request.provider)
    if adapter is None:
        raise ProviderRefused(f"There is no model provider {request.provider!r}.", code="unknown_provider")
    answer: Completion = importlib.import_module(adapter).complete(request)
    return answer
