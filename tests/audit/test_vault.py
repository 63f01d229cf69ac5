import pytest
from django.conf import settings

from audit import vault

if not settings.configured:
    settings.configure(SECRET_KEY="a key for the tests of the vault only")


@pytest.fixture
def keys():
    """Sets SECRET_KEY and its fallbacks; puts back what was there."""
    kept = (settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS)

    def use(current, *retired):
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = current, list(retired)

    yield use
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = kept


def test_what_is_sealed_opens_in_its_place_and_nowhere_else():
    blob = vault.seal(b"sk-live", aad="connectors/CON-1/authorization")
    assert b"sk-live" not in blob
    assert vault.open_sealed(blob, aad="connectors/CON-1/authorization") == b"sk-live"
    assert vault.open_sealed(memoryview(blob), aad="connectors/CON-1/authorization") == b"sk-live"
    with pytest.raises(vault.VaultError):
        vault.open_sealed(blob, aad="connectors/CON-2/authorization")


def test_sealing_twice_never_gives_the_same_blob():
    assert len({vault.seal(b"", aad="x") for _ in range(50)}) == 50


def test_one_altered_byte_anywhere_is_noticed():
    blob = vault.seal(b"secret", aad="x")
    for position in range(len(blob)):
        altered = bytearray(blob)
        altered[position] ^= 1
        with pytest.raises(vault.VaultError):
            vault.open_sealed(bytes(altered), aad="x")


@pytest.mark.parametrize("blob", [b"", b"\x01", b"x" * 28])
def test_what_was_never_sealed_does_not_open(blob):
    with pytest.raises(vault.VaultError):
        vault.open_sealed(blob, aad="x")


def test_a_retired_key_still_opens_and_a_forgotten_one_does_not(keys):
    keys("first key of this installation")
    blob = vault.seal(b"secret", aad="x")
    keys("second key of this installation", "first key of this installation")
    assert vault.open_sealed(blob, aad="x") == b"secret"
    keys("second key of this installation")
    with pytest.raises(vault.VaultError):
        vault.open_sealed(blob, aad="x")


def test_an_empty_key_seals_nothing(keys):
    keys("")
    with pytest.raises((vault.VaultError, Exception), match="SECRET_KEY"):
        vault.seal(b"secret", aad="x")
