from __future__ import annotations

import json
import socket
import subprocess
import sys

TWO_LINES = """
import structlog
from serving import logs
from serving.settings import load
logs.configure(load(), process="worker-0")
for number in range(2):
    structlog.get_logger().info("said", number=number)
"""


def test_a_line_is_written_at_once_so_that_processes_that_share_a_log_share_no_line() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # each write arrives by itself
    with ours, theirs:
        subprocess.run([sys.executable, "-c", TWO_LINES], stderr=theirs.fileno(), check=True, timeout=60)
        ours.setblocking(False)
        for number in range(2):
            line = ours.recv(4096)
            assert line.endswith(b"}\n")
            assert json.loads(line)["number"] == number
