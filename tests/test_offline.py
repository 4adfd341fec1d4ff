"""The core opens no socket: prepare, train, sample and evaluate run where creating one is an error."""

import subprocess
import sys

import pytest

pytest.importorskip("tyro")
from test_cli import TINY

SCRIPT = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(f"the core used a socket: {event} {arguments}")

sys.addaudithook(refuse)
import socket
try:
    socket.socket()
except RuntimeError:
    print("sockets are refused")
from blueberry_lib.cli import main
for command in (
    ["prepare", "stdlib"],
    ["train", "--experiment-name", "a", *sys.argv[1:]],
    ["sample", "runs/a", "--max-new-tokens", "3"],
    ["eval", "runs/a", "--device", "cpu"],
    ["doctor"],
):
    assert main(command) == 0, command
"""


def test_nothing_in_the_core_opens_a_socket(tmp_path):
    options = [*TINY, "--model.vocab-size", "4096", "--data", "stdlib"]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sockets are refused" in done.stdout
