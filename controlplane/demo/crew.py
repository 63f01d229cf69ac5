"""The demo's agents: what each is for, what it may use, how far one run of it may go. Their models are scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

INPUT_MICROS, OUTPUT_MICROS = 3_000_000, 15_000_000  # for a million tokens, as a mid-sized model of a large provider costs
TWO_PEOPLE_ABOVE = 100_000_000  # a month: a visitor who raises the cap further meets the second person
DESK_CAP_MICROS = 400_000_000  # what the workspace may spend in a month, until finance knows what a month costs

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
        slug="support-triage",
        name="Support triage",
        script="support-triage",
        purpose="Read each new ticket and say who should take it.",
        never=("Change anything.", "Answer a customer."),
        output="One sentence: what it is about and who takes it.",
        prompt="You sort the support desk's tickets. Read the ticket, and the invoice it names, then say who takes it.",
        tools=READ_DESK,
    ),
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
    Post(
        slug="stock-counter",
        name="Stock counter",
        script="stock-counter",
        purpose="Say each morning what has to be reordered.",
        never=("Change anything.",),
        output="One number.",
        prompt="You answer one question about stock with one query.",
        tools=("warehouse_run_query",),
    ),
    Post(
        slug="invoice-courier",
        name="Invoice courier",
        script="support-triage",
        purpose="Send customers the invoices they ask for. Nobody has asked it for anything since it was tried out.",
        never=("Write to anybody but the customer of the invoice.",),
        output="The mail that was sent.",
        prompt="You send customers a copy of the invoice they ask for.",
        tools=(*READ_DESK, "mail_send_mail"),
    ),
)
