"""``drin-fs inspect --web`` as a process: what it prints, how it ends, what it refuses."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from cli.main import main
from tests.tiny_store import TinyStore


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli", "inspect", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_when_told(tiny: TinyStore, end: signal.Signals) -> None:
    process = start(tiny.path, "--web", "--json")
    assert process.stdout is not None
    answer = json.loads(process.stdout.readline())
    port = answer["port"]
    assert answer["url"] == f"http://127.0.0.1:{port}/"
    with urllib.request.urlopen(answer["url"], timeout=60) as reply:
        assert b"tiny" in reply.read()
    process.send_signal(end)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert f"http://127.0.0.1:{port}/" in err
    assert f"ssh -L {port}:127.0.0.1:{port} " in err
    assert err.rstrip().endswith("interrupted")
    assert "Traceback" not in err


def test_it_listens_on_this_machine_alone(tiny: TinyStore) -> None:
    process = start(tiny.path, "--web", "--json")
    assert process.stdout is not None
    port = json.loads(process.stdout.readline())["port"]
    try:
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", port))  # another address of this machine
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_a_port_that_is_taken_is_said(tiny: TinyStore, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["inspect", str(tiny.path), "--web", "--port", port]) == 2
    error = capsys.readouterr().err
    assert f"port {port} is taken" in error
    assert "--port 0" in error


def test_no_store_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "none.h5"), "--web"]) == 3
    assert "http" not in capsys.readouterr().err


def test_a_folder_without_a_run_is_refused(
    tiny: TinyStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tiny.path), "--web", "--run", str(tmp_path)]) == 3
    assert "no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--web", "--mention", "0"], "give one of them"),
        (["--port", "1"], "--port goes with --web"),
        (["--web", "--port", "70000"], "--port"),
    ],
)
def test_options_that_do_not_go_together(
    tiny: TinyStore, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tiny.path), *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("module", ["starlette", "uvicorn"])
def test_without_the_extra_it_says_how_to_get_it(tiny: TinyStore, module: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        f"from cli.main import main; sys.exit(main(['inspect', {str(tiny.path)!r}, '--web']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"drin-fs inspect needs {module}, which is not installed" in done.stderr
    assert 'pip install "drin-fs[web]"' in done.stderr


def test_the_browser_needs_no_torch(tiny: TinyStore) -> None:
    code = "import sys, cli.browse, cli.web.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
