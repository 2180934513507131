"""What `ooml up` cannot do, it says in a line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.serving.server import OOML, environment


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data-dir", "taken"], 1, "cannot keep data in {folder}/taken: File exists\n"),
        (["--data-dir", "taken/below"], 1, "cannot keep data in {folder}/taken/below: Not a directory\n"),
        (["--redis-port", "70000"], 2, "Invalid value for '--redis-port'"),
        (["--host", "192.0.2.1"], 1, "OOML_HOST: 192.0.2.1 can be reached from elsewhere, and calls would come in clear."),
        (["--workers", "0"], 1, "OOML_WORKERS: must be greater than or equal to 1; got 0\n"),
    ],
)
def test_what_cannot_be_brought_up_is_told_in_words(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    command = [*OOML, "up", *arguments]
    ran = subprocess.run(command, env=environment(port=0), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == code
    assert said.format(folder=tmp_path) in ran.stderr
    assert "Traceback" not in ran.stderr


def test_it_does_not_pass_over_certificates(tmp_path: Path) -> None:
    issued = Authority(tmp_path, "authority").issue("server")
    given = environment(port=0, tls_cert_file=issued.certificate, tls_key_file=issued.key)
    ran = subprocess.run([*OOML, "up"], env=given, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "`ooml up` is for one machine and serves in clear: unset OOML_TLS_*, or run `ooml serve`\n"
