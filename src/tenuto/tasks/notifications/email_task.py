"""Messages by e-mail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenuto._base.callsite import note_callsite
from tenuto._base.mail import MailServer, compose
from tenuto.client.secrets import Secret
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.task import Task

__all__ = ["EmailTask", "mail_server"]


def mail_server(host: str, port: int, security: str) -> MailServer:
    """
    Return a mail server with the account in the secrets; with `INSECURE`, where nobody logs in, without one.

    Raises:
        ValueError: without these secrets, or for another word of security.
    """
    if security == "INSECURE":
        return MailServer(host, port, security)
    user, password = (str(Secret(name).get()) for name in ("EMAIL_USERNAME", "EMAIL_PASSWORD"))
    return MailServer(host, port, security, user, password)


class EmailTask(Task):
    """
    Sends an e-mail, from the account in the secrets `EMAIL_USERNAME` and `EMAIL_PASSWORD`.

    All arguments may be given to the call instead.

    Args:
        subject: of the mail.
        msg: its text, in HTML.
        email_to: addresses, separated by commas.
        email_from: the sender; default: `EMAIL_USERNAME`.
        smtp_server, smtp_port: where the mail is handed over.
        smtp_type: `SSL`, `STARTTLS`, or `INSECURE`, which sends in clear and without logging in.
        msg_plain: its text without HTML; with `msg`, for readers that show no HTML.
        email_to_cc, email_to_bcc: further addresses.
        attachments: paths of files.
        **kwargs: those of `Task`.

    Raises:
        ValueError: if `smtp_type` is another word.
    """

    def __init__(
        self,
        subject: str | None = None,
        msg: str | None = None,
        email_to: str | None = None,
        email_from: str | None = None,
        smtp_server: str = "smtp.gmail.com",
        smtp_port: int = 465,
        smtp_type: str = "SSL",
        msg_plain: str | None = None,
        email_to_cc: str | None = None,
        email_to_bcc: str | None = None,
        attachments: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        try:
            MailServer(smtp_server, smtp_port, smtp_type)
        except ValueError as error:
            raise note_callsite(error) from None
        self.subject = subject
        self.msg = msg
        self.email_to = email_to
        self.email_from = email_from
        self.smtp_server = smtp_server
        self.smtp_port = smtp_port
        self.smtp_type = smtp_type
        self.msg_plain = msg_plain
        self.email_to_cc = email_to_cc
        self.email_to_bcc = email_to_bcc
        self.attachments = attachments
        super().__init__(**kwargs)

    @defaults_from_attrs(
        "subject",
        "msg",
        "email_to",
        "email_from",
        "smtp_server",
        "smtp_port",
        "smtp_type",
        "msg_plain",
        "email_to_cc",
        "email_to_bcc",
        "attachments",
    )
    def run(
        self,
        subject: str | None = None,
        msg: str | None = None,
        email_to: str | None = None,
        email_from: str | None = None,
        smtp_server: str = "smtp.gmail.com",
        smtp_port: int = 465,
        smtp_type: str = "SSL",
        msg_plain: str | None = None,
        email_to_cc: str | None = None,
        email_to_bcc: str | None = None,
        attachments: Sequence[str] | None = None,
    ) -> None:
        """
        Send the mail.

        Raises:
            ValueError: without a text, a receiver or a sender, or without the secrets of the account.
            OSError, smtplib.SMTPException: if the server cannot be reached or refuses.
        """
        if msg is None and msg_plain is None:
            raise ValueError("Give EmailTask a text: `msg` (HTML) or `msg_plain`.")
        if not (email_to or email_to_cc or email_to_bcc):
            raise ValueError("Give EmailTask somebody to send to: `email_to`.")
        server = mail_server(smtp_server, smtp_port, smtp_type)
        sender = email_from or server.user
        if sender is None:
            raise ValueError("Give EmailTask a sender, `email_from`: there is no account to send from.")
        mail = compose(
            subject=subject or "",
            sender=sender,
            to=email_to or "",
            cc=email_to_cc,
            bcc=email_to_bcc,
            plain=msg_plain,
            html=msg,
            attachments=attachments or (),
        )
        server.send(mail)
