"""What must not lie in the repository is found there."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from cli.up import ROOT

KEY_HEAD = "-----BEGIN RSA PRIVATE " + "KEY-----"


def secrets(file: Path) -> tuple[int, str]:
    """Exit code and output of the scan that `make check` runs, of one file."""
    ran = subprocess.run(["make", "--silent", "secrets", f"FILES={file}"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (KEY_HEAD + "\nMIIEowIBAAKCAQEA\n", "Private Key"),
        ('aws = "AKIA' + 'IOSFODNN7ABCDEFG"\n', "AWS Access Key"),
        ("url = redis://default:" + "s3cr3tpassw0rd@redis:6379/0\n", "Basic Auth Credentials"),
        (f'api_key = "{sha256(b"x").hexdigest()}"\n', "Hex High Entropy String"),
    ],
    ids=["private key", "cloud key", "password in a URL", "random key"],
)
def test_a_planted_secret_is_found(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "planted.txt").write_text(text)
    code, said = secrets(tmp_path / "planted.txt")
    assert code != 0
    assert f"Secret Type: {kind}" in said


def test_what_is_no_secret_passes(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("url = redis://127.0.0.1:6379/0\nuser_id = user-00\n")
    assert secrets(tmp_path / "plain.txt") == (0, "")
