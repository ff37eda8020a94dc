"""The page's command beside a server that sends its head long before its first token."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/architecture/rest-grpc.md"
LATE_S = 0.5
CLOCK = "import time\ntime.time = lambda: float(open('clock').read())\n"  # that the server moves


class Stream(BaseHTTPRequestHandler):
    """Its head at once, a comment, and its first token later."""

    protocol_version = "HTTP/1.1"
    connections = 0
    clock = Path("clock")

    def setup(self) -> None:
        Stream.connections += 1
        super().setup()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for text in (": waits\n\n", 'data: {"a": 1}\n\n', ""):
            self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
            if text.startswith(":"):
                time.sleep(0.1)  # in which who takes this for the token has looked at the clock
                self.clock.write_text(f"{float(self.clock.read_text()) + LATE_S}")


def test_the_command_waits_for_the_token_and_not_for_the_head(tmp_path: Path) -> None:
    shown = re.search(r"```sh\npython3 - [^\n]*\n(.*?)^END\n", PAGE.read_text("utf-8"), re.S | re.M)
    assert shown is not None
    (tmp_path / "request.json").write_text('{"stream": true}')
    Stream.connections, Stream.clock = 0, tmp_path / "clock"
    Stream.clock.write_text("0")
    with HTTPServer(("127.0.0.1", 0), Stream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        ran = subprocess.run(
            [sys.executable, "-", address],
            input=CLOCK + shown[1],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        server.shutdown()
    names, times = zip(*(line.split(": ") for line in ran.stdout.splitlines()), strict=True)
    assert names == ("open", "200, first token", "200, first token")
    assert Stream.connections == 1
    assert [*map(float, times)] == [0, LATE_S, LATE_S]
