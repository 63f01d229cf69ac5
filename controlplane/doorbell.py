"""The bell that wakes workers: a Celery application with one message, "look". What there is to do stands in PostgreSQL; a ring
that is lost, repeated or forged changes latency and nothing else.
"""

from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

RING = "remit.ring"
STALE_S = 10  # a ring nobody heard by then is thrown away: workers have looked by themselves long since

app = Celery("remit", set_as_current=True)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_default_queue="ring",
    task_acks_late=False,  # early: whoever dies with work in hand loses its lease, and that is what brings the work back
    task_create_missing_queues=False,
    broker_connection_max_retries=None,  # a worker outlives any absence of Redis; it polls meanwhile
    broker_pool_limit=1,
    worker_enable_remote_control=False,  # whoever reaches Redis may ring, not give orders
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,  # our own JSON lines
    worker_send_task_events=False,
)


def ring() -> bool:
    """Ring once. False when the broker cannot be reached, which costs nobody more than a second."""
    try:
        app.send_task(RING, queue="ring", expires=STALE_S, ignore_result=True, retry=False)
    except (OperationalError, OSError):
        return False
    return True


def depth() -> int:
    """How many rings wait in Redis. Raises OperationalError when it cannot be reached."""
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return int(channel.client.llen("ring"))
