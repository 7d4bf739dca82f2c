"""Digests as the Hub states them."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from qwen_fetch.base.integrity import Digest, hash_file


def test_git_sha1_is_what_git_calls_a_blob(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(b'{"a": 1}\n')
    named = subprocess.run(["git", "hash-object", str(file)], check=True, capture_output=True, text=True)
    assert Digest("git-sha1", named.stdout.strip()).matches(file)


def test_one_flipped_bit_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "shard"
    data = bytearray(b"x" * 3_000_000)
    digest = Digest("sha256", hashlib.sha256(data).hexdigest())
    file.write_bytes(data)
    seen: list[int] = []
    assert digest.matches(file, seen.append)
    assert sum(seen) == len(data)
    data[2_000_000] ^= 1
    file.write_bytes(data)
    assert not digest.matches(file)


@pytest.mark.parametrize("text", ["", "a" * 63, "A" * 64, "../../etc/passwd", "g" * 64, "a" * 64 + "\n"])
def test_nothing_but_a_digest_becomes_one(text: str) -> None:
    with pytest.raises(ValueError, match="not a sha256 digest"):
        Digest("sha256", text)


def test_a_range_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "shard"
    file.write_bytes(bytes(range(256)) * 8192)
    hasher = hashlib.sha256()
    assert hash_file(file, hasher, 10, 2_000_000) == 1_999_990
    assert hasher.hexdigest() == hashlib.sha256(file.read_bytes()[10:2_000_000]).hexdigest()
    assert hash_file(file, hasher, 2_097_150, 3_000_000) == 2
