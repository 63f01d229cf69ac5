"""Prices, caps, reservations and the double-entry ledger. Money is integer micro-units (`Micros`)."""

from django.db import models

from audit import tenancy
from audit.moments import Moment


class Price(tenancy.Tenant):
    """What a model costs, one immutable row per version; the newest version counts. Micro-units per million tokens."""

    item = models.TextField()  # "provider:model"
    version = models.PositiveIntegerField()
    input_micros = models.BigIntegerField()
    output_micros = models.BigIntegerField()
    source = models.TextField(default="")
    created_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "item", "version"], name="price_version"),
            models.CheckConstraint(condition=models.Q(input_micros__gte=0, output_micros__gte=0), name="price_not_negative"),
        ]


class Cap(tenancy.Tenant):
    """How much a level may spend in a period. Without a cap a level counts but does not refuse. `id` is level/target."""

    class Level(models.TextChoices):
        RUN = "run"
        AGENT = "agent"
        WORKSPACE = "workspace"
        ORGANISATION = "organisation"

    class Period(models.TextChoices):
        DAY = "day"
        MONTH = "month"
        TOTAL = "total"

    level = models.TextField(choices=Level.choices)
    target = models.TextField()
    period = models.TextField(choices=Period.choices, default=Period.MONTH)
    cap_micros = models.BigIntegerField()
    set_by = models.TextField()
    agreed_by = models.TextField(default="", db_default="")  # the second person, where it took two
    set_at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "level", "target"], name="one_cap_per_level"),
            models.CheckConstraint(condition=models.Q(cap_micros__gte=0), name="cap_not_negative"),
        ]


class Raise(tenancy.Tenant):
    """A higher cap, or a higher threshold, that waits for a second person. `seen` says what it was asked in place of."""

    class Level(models.TextChoices):
        AGENT = "agent"
        WORKSPACE = "workspace"
        ORGANISATION = "organisation"
        THRESHOLD = "threshold"

    class State(models.TextChoices):
        OPEN = "OPEN", "Waits for a second person"
        AGREED = "AGREED", "Agreed"
        DECLINED = "DECLINED", "Declined"
        WITHDRAWN = "WITHDRAWN", "Withdrawn"

    workspace = models.TextField()  # where it was asked
    level = models.TextField(choices=Level.choices)
    target = models.TextField()
    period = models.TextField(choices=Cap.Period.choices)
    cap_micros = models.BigIntegerField()
    before_micros = models.BigIntegerField()
    before_period = models.TextField(choices=Cap.Period.choices, default="", db_default="")  # "" where it was decided before this was kept
    seen = models.TextField()
    state = models.TextField(choices=State.choices, default=State.OPEN)
    asked_by = models.TextField()
    asked_at = models.DateTimeField(db_default=Moment())
    decided_by = models.TextField(default="")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "level", "target"], name="one_raise_waits", condition=models.Q(state="OPEN")
            ),
            models.CheckConstraint(condition=models.Q(cap_micros__gte=0), name="raise_not_negative"),
        ]


class Limits(tenancy.Tenant):
    """How far one run of an agent may go before it is handed to a person. `id` is the agent's."""

    steps = models.PositiveIntegerField(default=60)
    tool_calls = models.PositiveIntegerField(default=50)
    tokens = models.PositiveBigIntegerField(default=500_000)
    seconds = models.PositiveIntegerField(default=3_600)
    retries = models.PositiveIntegerField(default=20)
    micros = models.PositiveBigIntegerField(default=5_000_000)
    step_micros = models.PositiveBigIntegerField(default=1_000_000)  # one call's worst case
    repeats_flag = models.PositiveIntegerField(default=3)
    repeats_stop = models.PositiveIntegerField(default=6)

    class Meta:
        db_table = "budgets_limits"
        constraints = [models.CheckConstraint(condition=models.Q(repeats_flag__gte=2, repeats_stop__gte=2), name="limits_repeats")]


class Window(tenancy.Tenant):
    """One level's purse for one period. A new month is a new row, never a reset. Only `budget_*()` functions change it."""

    level = models.TextField()
    target = models.TextField()
    starts_at = models.DateTimeField()
    reserved = models.BigIntegerField(default=0)
    spent = models.BigIntegerField(default=0)
    overrun = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "level", "target", "starts_at"], name="window_once"),
            models.CheckConstraint(condition=models.Q(reserved__gte=0, spent__gte=0, overrun__gte=0), name="window_not_negative"),
        ]


class Reservation(tenancy.Tenant):
    """Money held for one call before it is sent. `id` is the call's. It ends exactly once (I-03)."""

    class State(models.TextChoices):
        HELD = "HELD"
        SETTLED = "SETTLED"
        RELEASED = "RELEASED"

    state = models.TextField(choices=State.choices, default=State.HELD)
    amount = models.BigIntegerField()
    settled = models.BigIntegerField(default=0)
    windows = models.JSONField()  # ids, leaf to root
    price_version = models.PositiveIntegerField(default=0)
    is_estimated = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Moment())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(amount__gt=0, settled__gte=0), name="reservation_amounts")]


class LedgerEntry(tenancy.Tenant):
    """One movement between two accounts of a window, never changed. Accounts: available, reserved, spent, overrun."""

    call_id = models.TextField()
    window = models.ForeignKey(Window, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    kind = models.TextField()  # hold, settle, return, overrun
    debit = models.TextField()
    credit = models.TextField()
    amount = models.BigIntegerField()
    at = models.DateTimeField(db_default=Moment())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "call_id", "window", "kind"], name="ledger_once"),
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="ledger_amount"),
        ]
        indexes = [models.Index(fields=["organisation_id", "window", "at", "id"], name="ledger_of_window")]


class DaySpending(tenancy.Tenant):
    """What a workspace's agent spent on a day for one tool or model: the sum of the ledger's rows, kept by `budget_sum()` (`sql/sums.sql`).

    `month` is the one it counts in, which may be the one before `day`. Both are dates of the reporting zone. `id` is all of them.
    Pages read the generation that the organisation shows.
    """

    generation = models.IntegerField(default=0, db_default=0)
    workspace = models.TextField()
    month = models.DateField()
    day = models.DateField()
    agent = models.TextField()
    kind = models.TextField()  # MODEL or TOOL
    name = models.TextField()
    amount = models.BigIntegerField()
    calls = models.IntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["organisation_id", "generation", "workspace", "month"], name="day_spending_month"),
            models.Index(fields=["organisation_id", "generation", "day"], name="day_spending_day"),
        ]


class RunSpending(tenancy.Tenant):
    """What a run spent in a month: the sum of the ledger's rows, kept by `budget_sum()` (`sql/sums.sql`). `id` is workspace/month/run."""

    generation = models.IntegerField(default=0, db_default=0)
    workspace = models.TextField()
    month = models.DateField()
    run = models.TextField()
    amount = models.BigIntegerField()
    calls = models.IntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["organisation_id", "generation", "workspace", "month", "-amount", "run"], name="run_spending_dearest")
        ]
