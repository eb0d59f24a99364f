"""Hands a message to a mail server, within a time, whatever the server does."""

import contextlib
import smtplib
import socket
import ssl
import threading
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

from domain.addresses import is_loopback

SUBMISSION, TLS = 587, 465


class Undelivered(Exception):
    """A receiver did not take an alert; `wait_ms` is how long it asked to be left alone."""

    def __init__(self, what: str, wait_ms: int | None = None) -> None:
        super().__init__(what)
        self.wait_ms = wait_ms


def send_mail(url: str, message: EmailMessage, deadline_s: float) -> None:
    """Sends a message; encrypted, unless the server is on this machine or wants no password and offers no TLS.

    Args:
      url: smtp:// or smtps://, with user and password where the server wants them.
    Raises:
      Undelivered: it was not taken by all; says why.
    """
    parts = urlsplit(url)
    host, user, password = parts.hostname or "", unquote(parts.username or ""), unquote(parts.password or "")
    context, open_sockets = ssl.create_default_context(), _Deadline(deadline_s)
    try:
        with open_sockets:
            if parts.scheme == "smtps":
                kind = _client(smtplib.SMTP_SSL, open_sockets)
                client: smtplib.SMTP = kind(host, parts.port or TLS, timeout=deadline_s, context=context)
            else:
                client = _client(smtplib.SMTP, open_sockets)(host, parts.port or SUBMISSION, timeout=deadline_s)
            with client:
                client.ehlo_or_helo_if_needed()
                if parts.scheme == "smtp" and client.has_extn("starttls"):
                    client.starttls(context=context)
                    client.ehlo()
                elif parts.scheme == "smtp" and user and not is_loopback(host):
                    raise Undelivered("the mail server offers no TLS, and gets no password without")
                if user:
                    client.login(user, password)
                refused = client.send_message(message)
    except smtplib.SMTPRecipientsRefused as e:
        raise Undelivered(f"refused for {len(e.recipients)} of the recipients") from None
    except (smtplib.SMTPException, OSError, ValueError) as e:
        raise Undelivered(f"{type(e).__name__}: {_said(e)}") from None
    if refused:
        raise Undelivered(f"refused for {len(refused)} of the recipients")


class _Deadline:
    """Ends connections when the time is up: a timeout of a socket is one of each read, and servers may say a letter a second."""

    def __init__(self, seconds: float) -> None:
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def add(self, connection: socket.socket) -> None:
        """One more to be ended."""
        self._sockets.append(connection)

    def _cut(self) -> None:
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _client(kind: type[smtplib.SMTP], deadline: _Deadline) -> Any:
    class Client(kind):  # type: ignore[misc, valid-type]
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
            # Before the greeting is read, which the constructor does.
            connection: socket.socket = super()._get_socket(host, port, timeout)
            deadline.add(connection)
            return connection

    return Client


def _said(error: Exception) -> str:
    """Without what was sent, which may hold a password."""
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return f"{error.smtp_code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"
    return str(error)
