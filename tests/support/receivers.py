"""Receivers of alerts as small real servers, on free ports: HTTP, and SMTP as far as a client needs it."""

import base64
import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


class HttpReceiver:
    """Keeps what is posted, and answers as it is told: a status, or `slow`, a letter of the head every now and then."""

    def __init__(self, *answers: int | str) -> None:
        self.taken: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers = list(answers)
        """Of the next requests; then 200."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                receiver.taken.append({"path": self.path, "answer": answer, "body": orjson.loads(body)})
                receiver.headers.append(dict(self.headers))
                if answer == "slow":
                    try:
                        for letter in "HTTP/1.1 200 " + "O" * 200:
                            self.wfile.write(letter.encode())
                            time.sleep(0.05)
                    except OSError:
                        pass
                    return
                self.send_response(int(answer))
                if 300 <= int(answer) < 400:
                    self.send_header("Location", "/elsewhere")
                if int(answer) == 429:
                    self.send_header("Retry-After", "7")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> "HttpReceiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def bodies(self) -> list[dict[str, Any]]:
        """Of the requests that were answered 200."""
        return [one["body"] for one in self.taken if one["answer"] == 200]


class MailServer:
    """Speaks SMTP: keeps messages, wants a login if `password` is given, refuses every recipient in `refused`."""

    def __init__(self, password: str = "", refused: str = "", drips: bool = False) -> None:
        self.messages: list[str] = []
        self.recipients: list[str] = []
        self._password, self._refused, self._drips = password, refused, drips
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "MailServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A last connection of our own ends the wait for one.
        self._closing = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()

    _closing = False

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing:
                connection.close()
                return
            with contextlib.suppress(OSError), connection, connection.makefile("rwb") as wire:
                self._talk(wire)

    def _talk(self, wire: Any) -> None:
        def say(line: str) -> None:
            wire.write(f"{line}\r\n".encode())
            wire.flush()

        if self._drips:
            for letter in b"220-" + b"x" * 200:
                wire.write(bytes([letter]))
                wire.flush()
                time.sleep(0.05)
            return
        say("220 ready")
        known = not self._password
        for line in iter(wire.readline, b""):
            text = line.decode().strip()
            verb = text.partition(" ")[0].upper()
            if verb == "EHLO":
                say("250-here")
                say("250 AUTH PLAIN")
            elif verb == "AUTH":
                *_, password = base64.b64decode(text.split(" ")[2]).decode().split("\0")
                known = password == self._password
                say("235 ok" if known else "535 wrong password")
            elif not known and verb in ("MAIL", "RCPT", "DATA"):
                say("530 log in first")
            elif verb == "RCPT" and self._refused and self._refused in text:
                say("550 nobody of that name")
            elif verb == "RCPT":
                self.recipients.append(text.partition("<")[2].rstrip(">"))
                say("250 ok")
            elif verb == "DATA":
                say("354 go on")
                lines = []
                while (part := wire.readline().decode()) != ".\r\n":
                    lines.append(part)
                self.messages.append("".join(lines))
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")
