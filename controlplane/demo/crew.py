"""The demo's five agents: what each is for, what it may use, how far one run of it may go. Their models are scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

INPUT_MICROS, OUTPUT_MICROS = 3_000_000, 15_000_000  # for a million tokens, as a mid-sized model of a large provider costs
DESK_CAP_MICROS = 10_000_000  # what the workspace may spend in a month

READ_DESK = ("helpdesk_get_ticket", "helpdesk_list_tickets", "billing_get_customer", "billing_get_invoice", "billing_list_invoices")
HANDLE_REFUNDS = "You handle refund requests. Read the ticket and its invoice, propose the refund, note it on the ticket, close it."
NEVER_REFUND = (
    "Refund more than is left on the invoice.",
    "Touch another customer than the one the run is about.",
    "Refund what the ticket does not ask for.",
)
REFUND_DESK = (*READ_DESK, "billing_issue_refund", "helpdesk_add_note", "helpdesk_set_ticket_status")


@dataclass(frozen=True, slots=True)
class Post:
    """One agent. `limits` are set by its owner, `purse` (micro-dollars a run may spend) by finance."""

    slug: str
    name: str
    script: str
    purpose: str
    never: Sequence[str]
    output: str
    prompt: str
    tools: Sequence[str]
    limits: Mapping[str, int] = field(default_factory=dict)
    purse: int = 1_000_000

    @property
    def model(self) -> str:
        return f"scripted:{self.script}"


POSTS = (
    Post(
        slug="refund-desk",
        name="Refund desk",
        script="support-refunds",
        purpose="Pay back what a customer was charged too much, after reading the ticket and the invoice.",
        never=(
            "Refund more than is left on the invoice.",
            "Touch another customer than the one the run is about.",
            "Refund what the ticket does not ask for.",
        ),
        output="The refund, a note on the ticket, and the ticket solved; or a hand-over that says why not.",
        prompt=HANDLE_REFUNDS,
        tools=REFUND_DESK,
    ),
    Post(
        slug="schema-steward",
        name="Schema steward",
        script="schema-steward",
        purpose="Add columns to the warehouse when a team asks for one.",
        never=("Drop or rewrite a column.", "Change rows."),
        output="The table with its new column, looked at again after the change.",
        prompt="You change the warehouse's tables. Look first, propose one statement, look again.",
        tools=("warehouse_run_query", "warehouse_change_schema"),
    ),
    Post(
        slug="stock-researcher",
        name="Stock researcher",
        script="looping-researcher",
        purpose="Answer questions about shipments from the warehouse.",
        never=("Change anything.",),
        output="One number and the query it came from.",
        prompt="You answer questions about stock with queries.",
        tools=("warehouse_run_query",),
        limits={"repeats_flag": 3, "repeats_stop": 4},
    ),
    Post(
        slug="report-writer",
        name="Report writer",
        script="spender",
        purpose="Write the weekly stock report.",
        never=("Change anything.", "Write without having read."),
        output="A report of at most two pages.",
        prompt="You write the stock report chapter by chapter.",
        tools=("warehouse_run_query",),
        purse=90_000,
    ),
    Post(
        slug="refund-trainee",
        name="Refund trainee",
        script="bad-arguments",
        purpose="Pay back what a customer was charged too much, while it is still learning the tools.",
        never=NEVER_REFUND,
        output="The refund, a note on the ticket, and the ticket solved; or a hand-over that says why not.",
        prompt=HANDLE_REFUNDS,
        tools=REFUND_DESK,
    ),
)
