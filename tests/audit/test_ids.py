import pytest

from audit import ids


def test_an_id_says_its_noun_and_nothing_else():
    made = ids.new("R")
    assert made.startswith("R-")
    assert len(made) == 12
    assert set(made[2:]) <= set(ids.ALPHABET)
    assert ids.prefix_of(made) == "R"


def test_rows_that_traffic_makes_get_seventy_bits():
    assert len(ids.new("C")) == 2 + ids.LONG_LENGTH
    assert ids.prefix_of(ids.new("EFF")) == "EFF"


def test_ids_do_not_repeat():
    assert len({ids.new("AG") for _ in range(20_000)}) == 20_000


def test_every_letter_of_the_alphabet_is_used():
    assert set("".join(ids.new("R")[2:] for _ in range(2000))) == set(ids.ALPHABET)


@pytest.mark.parametrize("prefix", ["", "r", "ABCDE", "A-", "A1", "É"])
def test_a_prefix_that_is_not_one_is_a_mistake_of_ours(prefix):
    with pytest.raises(ValueError, match="not an id prefix"):
        ids.new(prefix)


@pytest.mark.parametrize(
    "text", ["", "R-", "R-7f3k2qw9mx", "R-7F3K2QW9MX ", "R-7F3K2QW9MX\n", "R-7F3K2QW9MI", "R-7F3K2QW9MX1", "7F3K2QW9MX"]
)
def test_what_is_not_an_id_has_no_prefix(text):
    assert ids.prefix_of(text) == ""
