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
LATE_S = 0.3


class Stream(BaseHTTPRequestHandler):
    """Its head at once, a comment, and its first token later."""

    protocol_version = "HTTP/1.1"
    connections = 0

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
        for late, text in ((0.0, ": waits\n\n"), (LATE_S, 'data: {"a": 1}\n\n'), (0.0, "")):
            time.sleep(late)
            self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())


def test_the_command_waits_for_the_token_and_not_for_the_head(tmp_path: Path) -> None:
    shown = re.search(r"```sh\npython3 - [^\n]*\n(.*?)^END\n", PAGE.read_text("utf-8"), re.S | re.M)
    assert shown is not None
    (tmp_path / "request.json").write_text('{"stream": true}')
    Stream.connections = 0
    with HTTPServer(("127.0.0.1", 0), Stream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        ran = subprocess.run(
            [sys.executable, "-", address],
            input=shown[1],
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
    assert float(times[0]) < LATE_S <= min(map(float, times[1:]))
