"""The worker's side of the outbox: claim what is due, perform it under its lease, finish it. What goes wrong stays with its own piece."""

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Mapping

import psycopg
from django.db import DatabaseError, close_old_connections

from agents import organisations, runs, seats, stops
from agents.models import Run, Work
from approvals import requests, stances
from audit import origin, tenancy
from budgets import sums
from controlplane import listening, outbox, recovery, runner

logger = logging.getLogger(__name__)
STOPPING = threading.Event()  # set once, when this process is asked to leave: the work in hand is finished, nothing more is claimed
HANDS = 4  # how many pieces of work a process takes up without being rung for
RECONCILE_ATTEMPTS = 300  # with the pauses of `give_back`, a little more than the day for which a key is honoured


def drain() -> int:
    """Claim due work until none is left, or this process is leaving, and perform it; says how much. Any thread may do this."""
    done = 0
    try:
        while not STOPPING.is_set() and (lease := outbox.claim()) is not None:
            perform(lease)
            done += 1
            close_old_connections()
    finally:
        close_old_connections()  # a connection that broke is dropped, a good one kept for this thread's next time
    return done


def perform(lease: outbox.Lease) -> None:
    """Do one piece of work. Whatever it raises ends here; a lease that was lost is dropped without a word."""
    try:
        if lease.kind == Work.Kind.ADVANCE and lease.attempts > outbox.MOST_ATTEMPTS and lease.attempts > _patience(lease):
            return _give_up(lease, "each process that took it died with it")
        with outbox.heartbeat(lease), origin.arriving(origin.Origin("worker", request=lease.id)):
            is_done = PERFORM[lease.kind](lease)
        (outbox.finish if is_done else outbox.give_back)(lease)
    except outbox.LostLease:
        return
    except Exception as error:
        logger.exception("work failed", extra=_about(lease))
        _went_wrong(lease, error)


def _went_wrong(lease: outbox.Lease, error: Exception) -> None:
    try:
        close_old_connections()
        if lease.kind == Work.Kind.ADVANCE and lease.is_last_attempt and lease.attempts >= _patience(lease):
            return _give_up(lease, type(error).__name__)
        outbox.give_back(lease)
    except Exception:  # the database itself is away: the lease runs out, and that gives it back
        logger.exception("work could not be given back", extra=_about(lease))


def _patience(lease: outbox.Lease) -> int:
    """How many attempts a run may take. One that has got further than that is not poison: it only outlived many processes."""
    with tenancy.within(lease.organisation):
        return max(outbox.MOST_ATTEMPTS, runs.steps(Run.objects.get(id=lease.subject)).count())


def _give_up(lease: outbox.Lease, why: str) -> None:
    """A run that fails each time is ended and says so; trying for ever would help nobody."""
    with tenancy.within(lease.organisation):
        run = Run.objects.get(id=lease.subject)
    summary = f"Remit could not go on with this run after {lease.attempts} attempts: {why}. What it did stands; what it held is released."
    runs.end(by=organisations.system(lease.organisation, "worker"), run=run, state=Run.State.FAILED, summary=summary, event="run.failed")
    outbox.finish(lease)


def _about(lease: outbox.Lease) -> dict[str, object]:
    return {"work": lease.id, "kind": lease.kind, "subject": lease.subject, "organisation": lease.organisation, "attempts": lease.attempts}


# What each kind of work means. True: it is done. False: look again later.


def _advance(lease: outbox.Lease) -> bool:
    try:
        runner.advance(lease)
    except recovery.StillInDoubt:  # whoever settles that call rings for the run
        logger.info("a run waits for a call in doubt", extra=_about(lease))
    return True


def _resume(lease: outbox.Lease) -> bool:
    recovery.resume(lease.organisation, lease.subject)
    return True


def _reconcile(lease: outbox.Lease) -> bool:
    """What is in doubt and cannot be asked about (E2, E4) is for people. The rest is asked again for a day, then it is for them too."""
    try:
        recovery.reconcile(lease.organisation, lease.subject)
    except recovery.StillInDoubt:
        return lease.attempts >= RECONCILE_ATTEMPTS
    return True


def _recover(lease: outbox.Lease) -> bool:
    recovery.recover(lease.organisation, lease.subject)
    return True


def _expire(lease: outbox.Lease) -> bool:
    requests.expire(by=organisations.system(lease.organisation, "expiry"), request_id=lease.subject)
    return True


def _wake(lease: outbox.Lease) -> bool:
    stances.lapse(by=organisations.system(lease.organisation, "snoozes"), identifier=lease.subject)
    return True


def _unstop(lease: outbox.Lease) -> bool:
    stops.end(by=organisations.system(lease.organisation, "stops"), identifier=lease.subject)
    return True


def _unseat(lease: outbox.Lease) -> bool:
    seats.end(by=organisations.system(lease.organisation, seats.PART), identifier=lease.subject)
    return True


def _sums(lease: outbox.Lease) -> bool:
    while not STOPPING.is_set():
        with tenancy.within(lease.organisation):  # a piece each: whoever books waits for no more
            if not sums.more():
                return True
    return False


PERFORM: Mapping[str, Callable[[outbox.Lease], bool]] = {
    Work.Kind.ADVANCE: _advance,
    Work.Kind.RESUME: _resume,
    Work.Kind.RECONCILE: _reconcile,
    Work.Kind.RECOVER: _recover,
    Work.Kind.EXPIRE: _expire,
    Work.Kind.WAKE: _wake,
    Work.Kind.UNSTOP: _unstop,
    Work.Kind.UNSEAT: _unseat,
    Work.Kind.SUMS: _sums,
}


class Watch:
    """Looks for work by itself, when PostgreSQL notifies and at least once a second: a silent bell costs latency, nothing else."""

    def __init__(self) -> None:
        self._hands = concurrent.futures.ThreadPoolExecutor(HANDS, thread_name_prefix="drain")
        self._idle = threading.BoundedSemaphore(HANDS)

    def start(self) -> None:
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Claim nothing more, and wait for the work in hand."""
        STOPPING.set()
        self._hands.shutdown(wait=True)

    def _watch(self) -> None:
        while not STOPPING.is_set():
            try:
                with listening.connect("remit_work") as wire:
                    self._take_up()
                    while not STOPPING.is_set():
                        list(listening.heard(wire))
                        self._take_up()
            except (psycopg.Error, DatabaseError, OSError) as error:
                logger.warning("the watch lost its database", extra={"why": type(error).__name__})
            except Exception:
                logger.exception("the watch stumbled")
            close_old_connections()
            STOPPING.wait(listening.LONGEST_S)

    def _take_up(self) -> None:
        """As many hands as there is work, as far as they are free."""
        for _ in range(min(int(outbox.waiting()["due"]), HANDS)):
            if STOPPING.is_set() or not self._idle.acquire(blocking=False):
                return
            try:
                self._hands.submit(self._drain)
            except RuntimeError:  # it is being stopped right now
                self._idle.release()

    def _drain(self) -> None:
        try:
            drain()
        except DatabaseError as error:
            logger.warning("no work could be claimed", extra={"why": type(error).__name__})
        except Exception:
            logger.exception("no work could be claimed")
        finally:
            self._idle.release()
