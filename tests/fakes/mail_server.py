"""An SMTP server on this machine, as far as RFC 5321 and its log-in and encryption are needed."""

import base64
import contextlib
import datetime
import socketserver
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.servers import LocalServer

__all__ = ["Delivery", "MailBox", "write_certificate"]


class Delivery(NamedTuple):
    """A mail that was handed over: envelope, the account that logged in, and whether it came encrypted."""

    sender: str
    receivers: list[str]
    mail: EmailMessage
    user: str
    password: str
    encrypted: bool


class MailBox(LocalServer):
    """
    Listens on a port of its own of `localhost` until `stop`.

    Args:
        security: `SSL`, `STARTTLS` or `INSECURE`.
        certificate: path of a file with certificate and key, but for `INSECURE`.

    Attributes:
        deliveries: what has come, in that order.
        refused_password: an account with this password may not log in.
    """

    def __init__(self, security: str, certificate: Path | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self.refused_password = "wrong"
        self.security = security
        self.tls: ssl.SSLContext | None = None
        if certificate is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)
        box = self

        class Handler(_Session):
            mail_box = box

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port: int = server.server_address[1]
        super().__init__(server)


class _Session(socketserver.StreamRequestHandler):
    mail_box: MailBox
    timeout = 10.0

    def handle(self) -> None:
        self.user = self.password = self.sender = ""
        self.receivers: list[str] = []
        self.encrypted = False
        # A client that does not like the certificate, or was refused, hangs up.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            if self.mail_box.security == "SSL":
                self.encrypt()
            self.answer("220 localhost ready")
            while line := self.rfile.readline():
                word, _, rest = line.decode().strip().partition(" ")
                if not self.obey(word.upper(), rest):
                    break

    def finish(self) -> None:
        """Close what `encrypt` has opened, which the server does not know of."""
        super().finish()
        self.connection.close()

    def answer(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def encrypt(self) -> None:
        assert self.mail_box.tls is not None
        # Handed on, not kept: the old object no longer has the socket.
        self.request = self.connection = self.mail_box.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.encrypted = True

    def obey(self, word: str, rest: str) -> bool:
        """Carry out a command, and say whether more may follow."""
        match word:
            case "EHLO":
                self.answer("250-localhost")
                if self.mail_box.security == "STARTTLS" and not self.encrypted:
                    self.answer("250-STARTTLS")
                self.answer("250 AUTH PLAIN")
            case "STARTTLS":
                self.answer("220 go ahead")
                self.encrypt()
            case "AUTH":
                _, self.user, self.password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
                refused = self.password == self.mail_box.refused_password
                self.answer("535 not accepted" if refused else "235 accepted")
            case "MAIL":
                self.sender = address_in(rest)
                self.answer("250 ok")
            case "RCPT":
                self.receivers.append(address_in(rest))
                self.answer("250 ok")
            case "DATA":
                self.answer("354 end with a dot")
                self.take_mail()
                self.answer("250 kept")
            case "QUIT":
                self.answer("221 bye")
                return False
            case _:
                self.answer("250 ok")
        return True

    def take_mail(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        mail = message_from_bytes(b"".join(lines), policy=policy.default)
        self.mail_box.deliveries.append(
            Delivery(self.sender, self.receivers, mail, self.user, self.password, self.encrypted)
        )


def address_in(text: str) -> str:
    return text.partition("<")[2].partition(">")[0]


def write_certificate(path: Path) -> None:
    """Write a certificate of `localhost` that vouches for itself, and its key, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
