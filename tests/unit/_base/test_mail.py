"""Handing mail over; what notifiers and tasks make of it is tested with them."""

from tenuto._base.mail import MailServer, compose
from tests.fakes.mail_server import MailBox


def test_password_is_never_sent_in_clear() -> None:
    # S-18 (reliability 5)
    box = MailBox("INSECURE")
    mail = compose(subject="s", sender="a@example.org", to="b@example.org", plain="text")
    MailServer("localhost", box.port, "INSECURE", user="me", password="canary").send(mail)
    box.stop()
    (delivery,) = box.deliveries
    assert (delivery.user, delivery.password) == ("", "")
    assert "canary" not in repr(MailServer("localhost", 25, "SSL", "me", "canary"))
