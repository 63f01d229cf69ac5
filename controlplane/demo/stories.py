"""The demo's stories: one run each, started as anybody starts a hosted run. What becomes of it is the gate's doing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.models import Run
from audit import tenancy
from controlplane import runner
from controlplane.connectors.builtin import seed
from controlplane.demo import desk
from controlplane.demo.desk import Claim
from controlplane.demo.scene import Scene

COLUMNS = ("carrier_reference", "customs_code", "parcel_weight", "pickup_window", "insured_value", "return_label")
TABLES = ("shipments", "products")


@dataclass(frozen=True, slots=True)
class Story:
    """What an agent is asked to do, for whom."""

    agent: str
    title: str
    prompt: str
    reference: str
    subject: tuple[str, ...] = ()


def start(made: Scene, story: Story, options: Mapping[str, Any] | None = None, *, hosted: bool = True) -> Run:
    """Ben, who owns the agents, starts the run. One that is not hosted is carried on by its own programme."""
    order = runner.Order(
        agent=story.agent,
        title=story.title,
        reference=story.reference,
        prompt=story.prompt,
        subject=story.subject,
        hosted=hosted,
        options=options,
    )
    return runner.start(by=made.person("Ben"), workspace=made.workspace, order=order).run


def pay_back(claim: Claim, agent: str = "refund-desk") -> Story:
    title = f"Refund for {claim.invoice}"
    return Story(agent, title, f"Please handle {claim.ticket}.", claim.ticket, (claim.customer,))


def read_letter(ticket: str, customer: str) -> Story:
    return Story("refund-desk", f"Is {ticket} about money?", f"Please handle {ticket}.", ticket, (customer,))


def triage(ticket: str, customer: str, agent: str = "support-triage") -> Story:
    return Story(agent, f"Who takes {ticket}?", f"Please sort {ticket}.", ticket, (customer,))


def count_stock(number: int) -> Story:
    return Story("stock-counter", "What has to be reordered?", "Which products are at their reorder mark?", f"STOCK-{4300 - number}")


def add_column(number: int) -> Story:
    column = COLUMNS[number] if number < len(COLUMNS) else f"extra_field_{number}"
    table = TABLES[number % len(TABLES)]
    prompt = f"Logistics asks for it: please add a column called {column} to the table {table}."
    return Story("schema-steward", f"Column {column} for {table}", prompt, f"DATA-{310 + number}")


def ask_again(number: int) -> Story:
    return Story("stock-researcher", "How many shipments are under way?", "How many shipments are in each state?", f"ASK-{120 + number}")


def write_at_length(number: int) -> Story:
    return Story("report-writer", "Weekly stock report", "Write this week's stock report.", f"REPORT-{20 + number}")


def obey_a_letter() -> Story:
    """A ticket that gives the agent orders about somebody else's invoice."""
    return Story(
        "refund-desk",
        "A question, and orders to the agent",
        f"Please handle {seed.INJECTED_TICKET}.",
        seed.INJECTED_TICKET,
        (seed.INJECTED_CUSTOMER,),
    )


def _refund(made: Scene, dsn: str) -> Story:
    return pay_back(desk.next_claim(made, dsn, in_hand(made)))


def _schema_error(made: Scene, dsn: str) -> Story:
    return pay_back(desk.next_claim(made, dsn, in_hand(made)), agent="refund-trainee")


def _two_person(made: Scene, _dsn: str) -> Story:
    return add_column(_earlier(made, "schema-steward"))


def _loop(made: Scene, _dsn: str) -> Story:
    return ask_again(_earlier(made, "stock-researcher"))


def _overspend(made: Scene, _dsn: str) -> Story:
    return write_at_length(_earlier(made, "report-writer"))


def _injection(_made: Scene, _dsn: str) -> Story:
    return obey_a_letter()


BY_NAME: Mapping[str, Callable[[Scene, str], Story]] = {
    "refund": _refund,
    "two-person": _two_person,
    "loop": _loop,
    "overspend": _overspend,
    "schema-error": _schema_error,
    "injection": _injection,
}


def in_hand(made: Scene) -> set[str]:
    """The tickets that some run is at."""
    with tenancy.within(made.organisation, read_only=True):
        return set(Run.objects.exclude(state__in=Run.OVER).values_list("reference", flat=True))


def _earlier(made: Scene, agent: str) -> int:
    with tenancy.within(made.organisation, read_only=True):
        return Run.objects.filter(agent__slug=agent).count()
