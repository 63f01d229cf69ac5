"""Secrets at rest: AES-256-GCM under a key derived from SECRET_KEY, bound to the place they belong to. Never logs, never guesses."""

import functools
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

INFO = b"remit vault v1"
_NONCE = 12
_TAG = 16


class VaultError(Exception):
    """The blob was altered, belongs elsewhere, or was sealed under a key this installation no longer has."""


def seal(plaintext: bytes, *, aad: str) -> bytes:
    """Key id, nonce and ciphertext. `aad` names the row and field; the blob opens nowhere else."""
    key_id, cipher = _keyring(settings.SECRET_KEY)
    nonce = os.urandom(_NONCE)
    return bytes([key_id]) + nonce + cipher.encrypt(nonce, plaintext, _bound(key_id, aad))


def open_sealed(blob: bytes | memoryview, *, aad: str) -> bytes:
    """The plaintext, or VaultError. Keys retired to SECRET_KEY_FALLBACKS still open."""
    blob = bytes(blob)
    if len(blob) < 1 + _NONCE + _TAG:
        raise VaultError("not a sealed value")
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        key_id, cipher = _keyring(secret)
        if key_id != blob[0]:
            continue
        try:
            return cipher.decrypt(blob[1 : 1 + _NONCE], blob[1 + _NONCE :], _bound(key_id, aad))
        except InvalidTag:
            continue
    raise VaultError("the sealed value does not open here")


def _bound(key_id: int, aad: str) -> bytes:
    return INFO + b"\0" + bytes([key_id]) + aad.encode()


@functools.lru_cache(maxsize=8)
def _keyring(secret: str | bytes) -> tuple[int, AESGCM]:
    """The key id is a fingerprint of the derived key, so that a rotation needs no bookkeeping."""
    material = secret.encode() if isinstance(secret, str) else secret
    if not material:
        raise VaultError("SECRET_KEY is empty")
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=INFO).derive(material)
    return hashlib.sha256(INFO + b" key id\0" + key).digest()[0], AESGCM(key)
