"""E-mail, sent through an SMTP server."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

__all__ = ["MailServer", "compose"]

_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class MailServer:
    """
    Where mail is handed over.

    Attributes:
        host, port: of the server.
        security: `SSL` (encrypted from the first byte), `STARTTLS`, or `INSECURE` for a server nearby.
        user, password: an account there. Without a user, and with `INSECURE`, nobody logs in: a password is
            never sent in clear.

    Raises:
        ValueError: for another word.
    """

    host: str
    port: int
    security: str = "SSL"
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.security not in ("SSL", "STARTTLS", "INSECURE"):
            raise ValueError(
                f"{self.security!r} is no way to reach a mail server; it must be SSL, STARTTLS or INSECURE."
            )

    def send(self, mail: EmailMessage) -> None:
        """
        Send a mail to everybody in its To, Cc and Bcc; Bcc itself is not sent.

        Raises:
            OSError, smtplib.SMTPException: if the server cannot be reached or refuses.
        """
        with self._connected() as server:
            if self.user and self.security != "INSECURE":
                server.login(self.user, self.password or "")
            server.send_message(mail)

    def _connected(self) -> smtplib.SMTP:
        import smtplib
        import ssl

        if self.security == "SSL":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=_TIMEOUT_SECONDS, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=_TIMEOUT_SECONDS)
        if self.security == "STARTTLS":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server


def compose(
    *,
    subject: str,
    sender: str,
    to: str,
    cc: str | None = None,
    bcc: str | None = None,
    plain: str | None = None,
    html: str | None = None,
    attachments: Sequence[str] = (),
) -> EmailMessage:
    """
    Return a mail. Addresses are separated by commas; attachments are paths of files.

    Raises:
        OSError: if a file cannot be read.
    """
    from email.message import EmailMessage

    mail = EmailMessage()
    headers = {"Subject": subject, "From": sender, "To": to, "Cc": cc, "Bcc": bcc}
    for name, value in headers.items():
        if value:
            # Names and messages are free text; a line break in one would end the header.
            mail[name] = " ".join(value.split())
    mail.set_content(
        plain if plain is not None else html or "", subtype="plain" if plain is not None else "html"
    )
    if plain is not None and html is not None:
        mail.add_alternative(html, subtype="html")
    for path in attachments:
        kind, encoding = mimetypes.guess_type(path)
        main, _, sub = (kind if kind and not encoding else "application/octet-stream").partition("/")
        with open(path, "rb") as file:
            mail.add_attachment(file.read(), maintype=main, subtype=sub, filename=os.path.basename(path))
    return mail
