"""System health in the browser: real workers, real queues of one's own organisation, what a failing check means."""

from controlplane import listening, vitals
from tests.controlplane import browsing


def test_health_counts_the_workers_that_listen_and_says_what_their_absence_means(world):
    ada = browsing.browser(world, "ada")
    before = ada.get("/health").context["base"].workers
    assert before or "wait until a worker starts" in ada.text("/health")
    with listening.connect("remit_work"):
        assert ada.get("/health").context["base"].workers == before + 1
        assert "wait until a worker starts" not in ada.text("/health")


def test_health_shows_the_organisations_own_queues_and_nobody_elses(world, elsewhere):
    elsewhere.start().call("pay", {"account": "a", "amount": 50})
    ada = browsing.browser(world, "ada")
    [own] = ada.get("/health").context["queues"]
    assert (own[0], own[1].due, own[1].later) == ("Roles that will end", 0, 1)  # hers
    world.start().call("pay", {"account": "a", "amount": 50})
    [(word, queue)] = [each for each in ada.get("/health").context["queues"] if each != own]
    assert (word, queue.due, queue.later) == ("Requests that will expire", 0, 1)


def test_a_percentile_is_the_edge_under_which_nineteen_of_twenty_were():
    edges = [(0.1, 18.0), (0.5, 19.0), (1.0, 20.0), (float("inf"), 20.0)]
    assert vitals._p95(edges) == 0.5
    assert vitals._p95([(0.1, 19.0), (float("inf"), 19.0)]) is None  # too few to say
    assert vitals._p95([(0.1, 0.0), (float("inf"), 40.0)]) is None  # slower than every bucket
