"""What Lovage encrypts, in Python. Keys are those of encryption_keys: names, and 32 bytes in base64."""

import os
from base64 import b64decode, b64encode

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kombu.utils.json import dumps, loads


def unseal(value, task, keys):
    """A value as a task of this name receives it, with everything in it decrypted."""
    if isinstance(value, list):
        return [unseal(item, task, keys) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("lovage_sealed") != 1:
        return {name: unseal(item, task, keys) for name, item in value.items()}
    key = AESGCM(b64decode(keys[value["key"]]))
    return loads(key.decrypt(b64decode(value["nonce"]), b64decode(value["data"]), task.encode()))


def seal(value, task, key_id, keys):
    """To be put among the arguments of a task that Lovage runs."""
    nonce = os.urandom(12)
    data = AESGCM(b64decode(keys[key_id])).encrypt(nonce, dumps(value).encode(), task.encode())
    return {"lovage_sealed": 1, "key": key_id, "nonce": b64encode(nonce).decode(), "data": b64encode(data).decode()}
