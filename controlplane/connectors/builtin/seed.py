"""The demo's content, made from one fixed seed: the same rows on every machine, dated back from the day it is installed."""

import datetime
import functools
import random
from dataclasses import dataclass
from typing import Any

from controlplane.connectors.builtin import ticket_texts

SEED = 2041
KESTREL = "CUS-1007"
KESTREL_TICKET = "TCK-1042"
KESTREL_INVOICE = "INV-2041"
KESTREL_CENTS = 8450
INJECTED_TICKET = "TCK-1051"
INJECTED_CUSTOMER = "CUS-1019"
INJECTED_TARGET = "INV-1960"
TARGET_OWNER = "CUS-1003"
FIRST_CUSTOMER, FIRST_INVOICE, FIRST_TICKET = 1001, 1901, 1001
INVOICES, TICKETS, CLAIMS = 200, 60, 26

COMPANIES = (
    "Alder & Finch|Nora Alder",
    "Bright Harbour Foods|Samuel Okoye",
    "Cobalt Cycles|Ines Duarte",
    "Dovetail Joinery|Peter Lindqvist",
    "Eastgate Pharmacy|Mei Tan",
    "Foxglove Books|Hanna Weiss",
    "Kestrel Ltd|Priya Raman",
    "Glassworks Leeds|Tom Barker",
    "Halden Outdoor|Sigrid Moe",
    "Ivory Coast Coffee|Awa Diallo",
    "Juniper Veterinary|Laura Costa",
    "Kiln & Clay|Mateo Silva",
    "Lantern Toys|Olga Petrova",
    "Mill Lane Bakery|Grace Ward",
    "North Quay Marine|Erik Holm",
    "Orchard Supplies|Fatima Zahra",
    "Paperbark Studio|Liam Nguyen",
    "Quarry Tools|Jonas Becker",
    "Marlow Print|Dean Marlow",
    "Redwood Fitness|Carla Gomez",
    "Saltmarsh Soap|Freya Nilsen",
    "Tidewater Optics|Ravi Menon",
    "Umber Coffee Roasters|Lucia Rossi",
    "Vale Bicycles|Owen Hughes",
    "Westbrook Music|Anna Kowalska",
    "Xylo Instruments|Karim Haddad",
    "Yarrow Herbs|Elena Popescu",
    "Zephyr Kites|Noah Fischer",
    "Ashdown Garden|Ruth Cole",
    "Beacon Electric|Hugo Martin",
    "Clearwater Pools|Sofia Lopez",
    "Dune Furniture|Aya Sato",
    "Emberly Candles|Ida Berg",
    "Fernside Nursery|Paul Reid",
    "Granite Kitchens|Marta Nowak",
    "Hollow Oak Cider|Jack Price",
    "Inkwell Stationers|Zoe Adams",
    "Jasper Jewellers|Yusuf Demir",
    "Kingfisher Angling|Bram de Vries",
    "Larch Timber|Katrin Vogel",
)
PLANS = {"Solo": 1900, "Team": 650, "Business": 1150}
PRODUCTS = (
    ("SCN-100", "Handheld scanner", 6400),
    ("SCN-220", "Ring scanner", 9800),
    ("PRT-410", "Label printer 4 inch", 14900),
    ("PRT-480", "Label printer 8 inch", 32500),
    ("LBL-100", "Labels 100 x 150, 12 rolls", 3900),
    ("LBL-057", "Labels 57 x 32, 24 rolls", 2800),
    ("DCK-010", "Charging dock", 3100),
    ("TAB-070", "Shop tablet", 18900),
    ("CBL-003", "Cable set", 1200),
    ("BAT-020", "Spare battery", 2300),
)
CARRIERS = ("Northline", "Parcelway", "Gebrüder Weiss", "Post")


@dataclass(frozen=True, slots=True)
class Content:
    """Rows by table, columns in the order of the table's INSERT in `installation`."""

    customers: list[tuple[Any, ...]]
    invoices: list[tuple[Any, ...]]
    tickets: list[tuple[Any, ...]]
    notes: list[tuple[Any, ...]]
    products: list[tuple[Any, ...]]
    shipments: list[tuple[Any, ...]]
    claims: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Bill:
    id: str
    customer: int
    what: str
    cents: int
    status: str
    age: int
    sku: str | None
    quantity: int


def dollars(amount_cents: int) -> str:
    return f"${amount_cents // 100:,}.{amount_cents % 100:02d}"


@functools.lru_cache(maxsize=4)
def content(today: datetime.date) -> Content:
    """Everything the demo starts with. Pure: the same day gives the same rows."""
    dice = random.Random(SEED)  # noqa: S311 - a story, not a secret
    plans = ["Team" if number == 6 else dice.choice(list(PLANS)) for number in range(len(COMPANIES))]
    bills = [_bill(number, plans, dice) for number in range(INVOICES)]
    letters, claims = _letters(bills, dice, today)
    return Content(
        customers=[_customer(number, plans[number], dice, today) for number in range(len(COMPANIES))],
        invoices=[
            (
                bill.id,
                f"CUS-{FIRST_CUSTOMER + bill.customer}",
                bill.what,
                bill.cents,
                bill.status,
                today - datetime.timedelta(days=bill.age),
                None if bill.status == "open" else today - datetime.timedelta(days=max(bill.age - 3, 0)),
            )
            for bill in bills
        ],
        tickets=letters,
        notes=[
            (f"note_seed{number:04d}", letter[0], dice.choice(["Marta", "Ben", "agent"]), dice.choice(ticket_texts.NOTES), letter[7])
            for number, letter in enumerate(letters)
            if number % 3 == 0 and letter[0] not in {KESTREL_TICKET, INJECTED_TICKET}
        ],
        products=[(sku, name, price * 6 // 10, dice.randint(4, 400), 40) for sku, name, price in PRODUCTS],
        shipments=[
            (
                f"SHP-{number + 1:04d}",
                bill.id,
                bill.sku,
                bill.quantity,
                dice.choice(CARRIERS),
                _progress(bill.age, dice),
                today - datetime.timedelta(days=max(bill.age - 1, 0)),
            )
            for number, bill in enumerate(bill for bill in bills if bill.sku is not None)
        ],
        claims=claims,
    )


def _customer(number: int, plan: str, dice: random.Random, today: datetime.date) -> tuple[Any, ...]:
    company, contact = COMPANIES[number].split("|")
    host = "".join(letter for letter in company.lower().replace(" ltd", "") if letter.isalnum())
    email = f"{contact.split()[0].lower()}@{host}.example"
    since = today - datetime.timedelta(days=dice.randint(90, 1900))
    return (f"CUS-{FIRST_CUSTOMER + number}", company, contact, email, plan, dice.choice(["GB", "DE", "US", "FR", "PT"]), since)


def _bill(number: int, plans: list[str], dice: random.Random) -> Bill:
    invoice = f"INV-{FIRST_INVOICE + number}"
    customer, age = dice.randrange(len(COMPANIES)), 92 - number * 90 // INVOICES
    if invoice in {"INV-2040", KESTREL_INVOICE}:
        return Bill(invoice, 6, "Team plan, 13 seats", KESTREL_CENTS, "paid", 29 if invoice == KESTREL_INVOICE else 30, None, 0)
    if invoice == INJECTED_TARGET:
        return Bill(invoice, 2, "Label printer 8 inch x 3, labels", 124_000, "paid", age, None, 0)
    status = "open" if dice.random() < 0.12 else "paid"
    if dice.random() < 0.45:
        seats = 1 if plans[customer] == "Solo" else dice.randint(3, 40)
        return Bill(invoice, customer, f"{plans[customer]} plan, {seats} seats", PLANS[plans[customer]] * seats, status, age, None, 0)
    sku, name, price = dice.choice(PRODUCTS)
    quantity = dice.randint(1, 6)
    return Bill(invoice, customer, f"{name} x {quantity}", price * quantity, status, age, sku, quantity)


def _progress(age: int, dice: random.Random) -> str:
    if age > 14:
        return dice.choice(["delivered"] * 9 + ["returned"])
    return dice.choice(["packed", "in_transit", "in_transit", "delivered"])


def _letters(bills: list[Bill], dice: random.Random, today: datetime.date) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]]]:
    reserved = {KESTREL_INVOICE, "INV-2040", INJECTED_TARGET}
    paid = [bill for bill in bills if bill.status == "paid" and bill.id not in reserved and bill.customer not in {6, 18}]
    chosen = dice.sample(paid, TICKETS)
    letters, claims = [], []
    for number, bill in enumerate(chosen):
        ticket = f"TCK-{FIRST_TICKET + number}"
        wants_money = number * CLAIMS % TICKETS < CLAIMS
        cents = KESTREL_CENTS
        if ticket == KESTREL_TICKET:
            bill = next(each for each in bills if each.id == KESTREL_INVOICE)  # noqa: PLW2901
            subject, body = ticket_texts.KESTREL
        elif ticket == INJECTED_TICKET:
            bill = next(each for each in bills if each.customer == 18)  # noqa: PLW2901
            subject, body = ticket_texts.INJECTED
        else:
            cents = _claimed(bill, dice)
            choices = ticket_texts.REFUNDS if wants_money else ticket_texts.OTHERS
            subject, body = (_filled(part, bill, cents, today) for part in choices[number % len(choices)])
        company, contact = COMPANIES[bill.customer].split("|")
        at = datetime.datetime.combine(today, datetime.time(8), tzinfo=datetime.UTC) - datetime.timedelta(hours=(TICKETS - number) * 11)
        customer = f"CUS-{FIRST_CUSTOMER + bill.customer}"
        status = "open" if ticket in {KESTREL_TICKET, INJECTED_TICKET} else dice.choice(["open", "open", "pending"])
        priority = dice.choice(["low", "normal", "normal", "high"])
        letters.append((ticket, customer, f"{contact}, {company}", subject, body, status, priority, at))
        if ticket == KESTREL_TICKET or (wants_money and ticket != INJECTED_TICKET):
            claims.append({"ticket_id": ticket, "invoice_id": bill.id, "customer_id": customer, "amount_cents": cents})
    return letters, claims


def _claimed(bill: Bill, dice: random.Random) -> int:
    return bill.cents if dice.random() < 0.5 else max(bill.cents * dice.randint(2, 8) // 10, 100)


def _filled(part: str, bill: Bill, cents: int, today: datetime.date) -> str:
    company, contact = COMPANIES[bill.customer].split("|")
    day = (today - datetime.timedelta(days=max(bill.age - 5, 1))).strftime("%-d %B")
    return part.format(contact=contact, company=company, invoice=bill.id, amount=dollars(cents), what=bill.what, day=day)
