"""Tasks that tell people: a real mail server and a real webhook on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tenuto
from tenuto import Flow, task
from tenuto.engine.state import Failed
from tenuto.executors import LocalDaskExecutor
from tenuto.tasks.notifications import EmailTask, SlackTask
from tests.fakes.mail_server import MailBox, write_certificate
from tests.fakes.webhook import Webhook


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    served = Webhook()
    with tenuto.context(secrets={"SLACK_WEBHOOK_URL": served.url}):
        yield served
    served.stop()


@pytest.fixture
def mail_box(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MailBox]:
    """A mail server that is trusted here, and an account on it."""
    certificate = tmp_path / "localhost.pem"
    write_certificate(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    served = MailBox(getattr(request, "param", "SSL"), certificate)
    with tenuto.context(secrets={"EMAIL_USERNAME": "me@example.org", "EMAIL_PASSWORD": "opensesame"}):
        yield served
    served.stop()


def mail_task(mail_box: MailBox, **options: Any) -> EmailTask:
    defaults = {"subject": "Report", "msg": "<b>42</b> rows", "email_to": "you@example.org"}
    server = {"smtp_server": "localhost", "smtp_port": mail_box.port, "smtp_type": mail_box.security}
    return EmailTask(**{**defaults, **server, **options})


# ------------------------------------------------------------------------------------------------- slack


def test_message_is_posted_in_a_run(webhook: Webhook) -> None:
    # R-INV-8: Slack tasks; R-SEC-7
    @task
    def count() -> str:
        return "42 rows"

    with Flow("tell") as flow:
        SlackTask()(message=count())
        SlackTask(message={"text": "whole payload", "channel": "#flows"})()
    assert flow.run().is_successful()
    assert sorted((post.body for post in webhook.posts), key=len) == [
        {"text": "42 rows"},
        {"text": "whole payload", "channel": "#flows"},
    ]


def test_message_is_posted_from_another_process(webhook: Webhook) -> None:
    with Flow("tell") as flow:
        SlackTask(message="from afar")()
    assert flow.run(executor=LocalDaskExecutor(scheduler="processes", num_workers=1)).is_successful()
    assert [post.body for post in webhook.posts] == [{"text": "from afar"}]


def test_task_may_be_run_inside_of_another_one(webhook: Webhook) -> None:
    # R-REAL-10
    with tenuto.context(secrets={"MINE": webhook.url.replace("canary-path", "mine")}):
        SlackTask(message="hello", webhook_secret="MINE").run()
        SlackTask().run(message="again", webhook_secret="MINE")
    assert [post.path for post in webhook.posts] == ["/services/T0/mine"] * 2


def test_webhook_that_refuses_fails_the_task_and_its_address_stays_secret(
    webhook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    # S-18 (reliability 5)
    webhook.status = 404
    with Flow("tell") as flow:
        told = SlackTask(message="hello")()
    state = flow.run().result[told]
    assert isinstance(state, Failed)
    assert "The webhook of secret 'SLACK_WEBHOOK_URL' answered with status 404" in str(state.result)
    assert "canary" not in capsys.readouterr().out


def test_missing_message_and_missing_secret_are_told() -> None:
    with pytest.raises(ValueError, match="Give SlackTask a `message`"):
        SlackTask().run()
    with pytest.raises(ValueError, match='Local Secret "SLACK_WEBHOOK_URL" was not found'):
        SlackTask(message="hello").run()


# -------------------------------------------------------------------------------------------------- mail


@pytest.mark.parametrize("mail_box", ["SSL", "STARTTLS", "INSECURE"], indirect=True)
def test_mail_is_handed_over_in_a_run(mail_box: MailBox) -> None:
    # R-INV-8: e-mail tasks; R-SEC-7
    with Flow("tell") as flow:
        mail_task(mail_box, email_from="flows@example.org")()
    assert flow.run().is_successful()
    (delivery,) = mail_box.deliveries
    assert (delivery.sender, delivery.receivers) == ("flows@example.org", ["you@example.org"])
    assert delivery.encrypted == (mail_box.security != "INSECURE")
    assert delivery.user == ("" if mail_box.security == "INSECURE" else "me@example.org")
    assert delivery.mail["Subject"] == "Report"
    assert delivery.mail.get_content_type() == "text/html"
    assert delivery.mail.get_content().strip() == "<b>42</b> rows"


def test_copies_go_to_everybody_and_blind_ones_are_not_named(mail_box: MailBox) -> None:
    mail_task(mail_box, email_to="a@x.org, b@x.org", email_to_cc="c@x.org", email_to_bcc="d@x.org").run()
    (delivery,) = mail_box.deliveries
    assert sorted(delivery.receivers) == ["a@x.org", "b@x.org", "c@x.org", "d@x.org"]
    assert (delivery.mail["Cc"], delivery.mail["Bcc"]) == ("c@x.org", None)
    assert delivery.mail["From"] == "me@example.org"


def test_plain_text_html_and_files_are_in_one_mail(mail_box: MailBox, tmp_path: Path) -> None:
    table, blob = tmp_path / "table.csv", tmp_path / "blob.unknown"
    table.write_text("a,b\n1,2\n")
    blob.write_bytes(b"\x00\xff.\r\n.\r\n")
    mail_task(mail_box, msg_plain="42 rows", attachments=[str(table), str(blob)]).run()
    mail = mail_box.deliveries[0].mail
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert plain.get_content().strip() == "42 rows"
    assert html is not None
    assert html.get_content().strip() == "<b>42</b> rows"
    first, second = mail.iter_attachments()
    assert (first.get_filename(), first.get_content_type()) == ("table.csv", "text/csv")
    assert second.get_filename() == "blob.unknown"
    assert second.get_payload(decode=True) == blob.read_bytes()


def test_plain_text_alone_is_a_plain_mail(mail_box: MailBox) -> None:
    mail_task(mail_box, msg=None, msg_plain="42 rows", subject=None).run()
    (delivery,) = mail_box.deliveries
    assert delivery.mail.get_content_type() == "text/plain"


def test_line_break_in_a_subject_is_no_header_of_its_own(mail_box: MailBox) -> None:
    mail_task(mail_box, subject="Report\nBcc: everybody@x.org").run()
    (delivery,) = mail_box.deliveries
    assert delivery.receivers == ["you@example.org"]
    assert delivery.mail["Subject"] == "Report Bcc: everybody@x.org"


def test_refused_account_fails_the_task_and_tells_no_password(
    mail_box: MailBox, capsys: pytest.CaptureFixture[str]
) -> None:
    mail_box.refused_password = "opensesame"
    with Flow("tell") as flow:
        told = mail_task(mail_box)()
    state = flow.run().result[told]
    assert isinstance(state, Failed)
    assert "not accepted" in str(state.result)
    assert "opensesame" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"msg": None}, "Give EmailTask a text"),
        ({"email_to": None}, "Give EmailTask somebody to send to"),
        ({"smtp_type": "INSECURE"}, "Give EmailTask a sender"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_sent(
    options: dict[str, Any], problem: str, mail_box: MailBox
) -> None:
    with pytest.raises(ValueError, match=problem):
        mail_task(mail_box, **options).run()
    assert mail_box.deliveries == []


def test_unknown_way_to_the_server_is_refused_when_the_task_is_made() -> None:
    with pytest.raises(ValueError, match="'TLS' is no way to reach a mail server") as caught:
        EmailTask(smtp_type="TLS")
    assert any(__file__ in note for note in caught.value.__notes__)
