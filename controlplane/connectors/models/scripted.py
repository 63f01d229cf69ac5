"""Models that are programs: deterministic, offline, and billed by the length of what they read and write."""

from audit import canonical
from controlplane.connectors.models import demo_misbehaviours, demo_scripts, script
from controlplane.connectors.models.completion import Completion, ModelRequest, ProviderRefused

CHARACTERS_A_TOKEN = 4
# Importing them is what registers them.
SHELVES = (demo_scripts, demo_misbehaviours)


def complete(request: ModelRequest) -> Completion:
    """The script named by the model, cut off at the output limit as a real model would be. Raises ProviderRefused for an unknown name."""
    name = request.model.removeprefix("scripted/")
    found = script.find(name)
    if found is None:
        raise ProviderRefused(f"There is no script {name!r}: there are {', '.join(script.names())}.", code="unknown_model")
    answer = found(request.messages, request.tools)
    text = answer.text[: request.max_output_tokens * CHARACTERS_A_TOKEN]
    reason = "tool_calls" if answer.calls else "length" if text != answer.text else "stop"
    read = canonical.text({"messages": list(request.messages), "tools": list(request.tools)})
    written = text + answer.reasoning + (canonical.text(answer.calls) if answer.calls else "")
    usage = {"input_tokens": tokens(read), "output_tokens": tokens(written), "cached_tokens": 0}
    return Completion(text=text, reasoning=answer.reasoning, calls=answer.calls, usage=usage, model=name, finish_reason=reason)


def tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_A_TOKEN)
