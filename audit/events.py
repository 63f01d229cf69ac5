"""The closed catalogue of audit events: name -> the sentence a person reads. An event that is not here cannot be written."""

CATALOGUE: dict[str, str] = {
    "organisation.created": "An organisation was created.",
    "workspace.created": "A workspace was created.",
    "member.added": "A person became a member.",
    "member.deactivated": "A member was deactivated.",
    "seat.granted": "A member was given a role.",
    "seat.removed": "A role was taken from a member.",
    "seat.end_set": "A member's role was given another end.",
    "seat.ended": "A member's role ended at the time that it was given until.",
    "agent.registered": "An agent was registered.",
    "agents.exported": "The register of agents was exported.",
    "agent.owner_changed": "An agent was given to another owner.",
    "agent.changed": "An agent's stage, state or draft mode was changed.",
    "agent.version_published": "A version of an agent was published, pinning its prompt, tools, policies and models.",
    "limits.set": "The limits of an agent's runs were set.",
    "key.issued": "A key was issued.",
    "key.revoked": "A key was revoked.",
    "key.rolled": "A key was replaced by a new one; the old one goes on for a day.",
    "key.refused": "A request was refused at the door: the key is revoked, expired or its holder is gone.",
    "capability.issued": "A capability for one run was issued.",
    "capability.revoked": "A capability was revoked.",
    "connector.registered": "A connector was registered.",
    "connector.discovered": "A connector's tools were discovered; new ones are off.",
    "tool.confirmed": "A person confirmed a tool's version; agents may be pinned to it.",
    "tool.drifted": "A tool upstream no longer matches its confirmed version; it is refused until confirmed again.",
    "tool.retired": "A tool was retired.",
    "directory.loaded": "The directory of who owns which object was loaded.",
    "policy.proposed": "A policy set was proposed.",
    "policy.activated": "A policy set was activated.",
    "stop.engaged": "A stop switch was engaged.",
    "stop.released": "A stop switch was released.",
    "stop.ended": "A stop switch ended at the time that it was engaged until.",
    "price.set": "A price was set.",
    "cap.set": "A cap was set.",
    "cap.raise_asked": "A higher cap was asked for; it waits for a second person.",
    "cap.raise_declined": "A higher cap was declined by the second person.",
    "cap.raise_withdrawn": "A higher cap that was asked for was taken back or overtaken.",
    "cap.threshold_set": "It was set up to where one person raises caps.",
    "zone.set": "The time zone in which days and months of money end was changed.",
    "spending.exported": "Movements of money were exported.",
    "run.started": "A run was started.",
    "run.finished": "A run finished.",
    "run.stopped": "A run was stopped by a person.",
    "run.failed": "A run failed.",
    "run.handed_off": "A run was handed to its owner.",
    "run.loop_flagged": "A run made the same call again and again with the same answer.",
    "runs.exported": "A list of runs was exported.",
    "call.admitted": "The gate admitted a call.",
    "call.refused": "The gate refused a call.",
    "call.held": "The gate holds a call until people decide.",
    "call.drafted": "The gate kept a write as a proposal.",
    "call.answered": "A read or a model call was answered.",
    "call.failed": "A call failed.",
    "call.denied": "A call was denied by what a person had decided about its like; nobody was asked again.",
    "call.voided": "A held call was voided; nothing was sent.",
    "call.recovered": "A call left behind by a dead process was given back.",
    "effect.intended": "An effect was written down; now it may be sent.",
    "effect.applied": "An effect took place.",
    "effect.failed": "An effect did not take place.",
    "effect.in_doubt": "Nobody knows yet whether an effect took place; its money stays held.",
    "effect.decided": "A person said whether an effect in doubt took place.",
    "request.opened": "People were asked to decide on a plan.",
    "request.voted": "A person voted on a plan.",
    "request.approved": "A plan was approved.",
    "request.denied": "A plan was denied.",
    "request.expired": "Nobody decided in time, so the plan was denied.",
    "request.withdrawn": "A request was withdrawn.",
    "request.claimed": "A person took a request in hand; the others may still decide it.",
    "request.unclaimed": "A person left a request that they had in hand to the others.",
    "request.handed_over": "A person handed a request to another who may decide it; the others still may.",
    "request.snoozed": "A person set a request aside for themselves; the others still see it.",
    "request.woken": "A request that a person had set aside came back to them.",
    "request.commented": "A person commented on a request.",
    "request.extended": "A person took more time to decide on a request.",
    "request.sent_back": "A person sent a plan back to its agent with a hint; nothing was decided.",
    "request.replanned": "The target of a held call had changed: people are shown the new plan, and earlier votes count no more.",
    "request.checked": "The target of a held call was read again and is as planned.",
    "request.rule_proposed": "A person approved a request and proposed a rule that would let its like pass.",
    "request.denial_lifted": "A denial that answered for later calls was lifted.",
    "request.terms_set": "How far a workspace's decisions may be put off or sent back was set.",
    "input.refused": "A request was refused before the gate: its body or headers are not acceptable.",
    "view.saved": "A filtered list was saved under a name.",
    "view.removed": "A saved view was removed.",
    "session.signed_in": "A person signed in.",
    "session.ended": "A person was signed out of every browser.",
    "audit.read": "The audit log was read.",
    "audit.exported": "The audit log was exported.",
    "demo.triggered": "A story of the demo was started.",
    "demo.asked": "A visitor of the demo asked who can do something.",
    "demo.steps_hidden": "A visitor of the demo put the first steps away.",
    "demo.removed": "The demo's data was removed. This log was kept.",
}

OUTCOMES = {"done": "Done", "refused": "Refused", "failed": "Failed", "waits": "Waits for people"}
_BY_VERB = {
    "refused": ("refused", "denied", "expired", "voided", "sent_back", "drifted", "raise_declined"),
    "failed": ("failed", "in_doubt", "handed_off", "loop_flagged"),
    "waits": ("held", "opened", "drafted", "raise_asked"),
}
# What people who set caps answer for: what they set. Of the runs that a cap may have ended see `HANDED_OFF`.
MONEY = (
    "cap.set",
    "cap.raise_asked",
    "cap.raise_declined",
    "cap.raise_withdrawn",
    "cap.threshold_set",
    "limits.set",
    "price.set",
    "zone.set",
    "spending.exported",
)
HANDED_OFF = "run.handed_off"
# What can be set again and again: an entry of these has a "before".
SETTINGS = ("cap.set", "cap.threshold_set", "price.", "limits.", "zone.", "agent.changed", "seat.", "policy.activated", "tool.confirmed")


def outcome(event: str) -> str:
    """How what an event names turned out: one of `OUTCOMES`."""
    verb = event.partition(".")[2]
    return next((name for name, verbs in _BY_VERB.items() if verb in verbs), "done")


def with_outcome(name: str) -> list[str]:
    """The events of the catalogue that turned out so."""
    return [event for event in CATALOGUE if outcome(event) == name]
