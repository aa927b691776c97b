"""State handlers that tell people."""

import logging
import pickle
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import tenuto
from tenuto import Task
from tenuto._base import masking
from tenuto.engine.state import Failed, Pending, Running, State, Success, TriggerFailed
from tenuto.utilities import notifications
from tenuto.utilities.configuration import set_temporary_config
from tenuto.utilities.logging import configure_extra_loggers, temporary_logger_config
from tenuto.utilities.notifications import (
    callback_factory,
    email_notifier,
    gmail_notifier,
    jira_notifier,
    slack_message_formatter,
    slack_notifier,
    snowflake_logger,
    webhook_notifier,
)
from tests.fakes.mail_server import MailBox, write_certificate
from tests.fakes.webhook import Webhook


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    served = Webhook()
    with tenuto.context(secrets={"SLACK_WEBHOOK_URL": served.url}):
        yield served
    served.stop()
    masking.forget_secrets()


@pytest.fixture
def task() -> Task:
    return Task(name="load")


def test_callback_is_called_when_the_check_is_true(task: Task) -> None:
    # R-HAND-6 with its recommendation: truthy is enough
    calls: list[tuple[Any, State]] = []
    handler = callback_factory(lambda obj, state: calls.append((obj, state)), check=lambda s: s.message)
    quiet, loud = Success(), Success("said something")
    assert handler(task, Pending(), quiet) is quiet
    assert handler(task, Pending(), loud) is loud
    assert calls == [(task, loud)]


def test_notifier_is_a_handler_bare_and_with_options(task: Task, webhook: Webhook) -> None:
    # R-NOTE-1
    state = Failed("broken")
    assert slack_notifier(task, Running(), state) is state
    assert slack_notifier(only_states=[Failed])(task, Running(), state) is state
    assert slack_notifier(only_states=[Failed])(backend_info=False)(task)(Running(), state) is state
    assert slack_notifier(obj=task, old_state=Running(), new_state=state) is state
    assert len(webhook.posts) == 4
    assert slack_notifier.__name__ == "slack_notifier"


def test_notifier_can_be_pickled_with_its_options(task: Task, webhook: Webhook) -> None:
    # Handlers travel with their flow to other processes.
    assert pickle.loads(pickle.dumps(slack_notifier)) is slack_notifier
    again = pickle.loads(pickle.dumps(slack_notifier(only_states=[Failed])))
    again(task, Running(), Success())
    again(task, Running(), Failed())
    assert len(webhook.posts) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, ["Success", "Failed", "TriggerFailed"]),
        ({"only_states": [Failed]}, ["Failed", "TriggerFailed"]),
        ({"ignore_states": [Failed]}, ["Success"]),
        ({"only_states": [Failed], "ignore_states": [TriggerFailed]}, ["Failed"]),
    ],
)
def test_states_are_filtered_and_ignoring_wins(
    options: dict[str, Any], told: list[str], task: Task, webhook: Webhook
) -> None:
    # R-NOTE-2
    handler = slack_notifier(**options)
    for state in (Success(), Failed(), TriggerFailed()):
        handler(task, Running(), state)
    assert [post.body["attachments"][0]["title"] for post in webhook.posts] == told


def test_message_for_slack_has_state_colour_and_text(task: Task) -> None:
    # R-NOTE-3
    attachment = slack_message_formatter(task, Failed("broken"))["attachments"][0]
    assert attachment["title"] == "Failed"
    assert attachment["color"] == Failed.color
    assert attachment["text"] == "load is now in a Failed state"
    assert attachment["fields"] == [{"title": "Message", "value": "broken", "short": False}]
    assert {"fallback", "author_name", "footer"} <= set(attachment)
    assert slack_message_formatter(task, Failed("x", result=ValueError("no")))["attachments"][0][
        "fields"
    ] == [{"title": "Message", "value": "```ValueError('no')```", "short": False}]
    assert slack_message_formatter(task, Success())["attachments"][0]["fields"] == []


def test_message_is_posted_to_the_secret_of_that_name(task: Task, webhook: Webhook) -> None:
    # R-NOTE-3
    with tenuto.context(secrets={"MINE": webhook.url.replace("canary-path", "other")}):
        slack_notifier(task, Running(), Success("done"), webhook_secret="MINE")
    (post,) = webhook.posts
    assert (post.path, post.body) == (
        "/services/T0/other",
        slack_message_formatter(task, Success("done")),
    )


def test_post_goes_through_the_proxy_of_its_scheme(task: Task, webhook: Webhook) -> None:
    proxy = webhook.url.partition("/services")[0]
    with tenuto.context(secrets={"SLACK_WEBHOOK_URL": "http://elsewhere.invalid/hook-path"}):
        slack_notifier(proxies={"http": proxy})(task, Running(), Success())
    assert webhook.posts[0].path == "http://elsewhere.invalid/hook-path"


def test_bad_answer_is_logged_and_the_state_stays(
    task: Task, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    # R-NOTE-3 with R-NOTE-5, recommendation
    webhook.status = 500
    state = Success()
    assert slack_notifier(task, Running(), state) is state
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "Slack notification for <Task: load> failed" in caplog.text


def test_missing_secret_matters_only_where_something_is_told(
    task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    # R-NOTE-4 and R-NOTE-5, recommendations
    state = Success()
    assert slack_notifier(only_states=[Failed])(task, Running(), state) is state
    assert not caplog.records
    failed = Failed()
    assert slack_notifier(only_states=[Failed])(task, Running(), failed) is failed
    assert 'Local Secret "SLACK_WEBHOOK_URL" was not found.' in caplog.text


def test_log_of_the_http_client_does_not_tell_the_secret_address(
    task: Task, webhook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    # S-18 (reliability 5): urllib3 writes the path of the URL, which is the secret part of it
    with (
        temporary_logger_config(level=logging.DEBUG),
        set_temporary_config({"logging.extra_loggers": ["urllib3"]}),
    ):
        configure_extra_loggers()
        slack_notifier(task, Running(), Success())
    client = logging.getLogger("urllib3")
    client.handlers.clear()
    client.setLevel(logging.NOTSET)
    shown = capsys.readouterr().out
    assert '"POST **** HTTP/1.1" 200' in shown
    assert "canary" not in shown


def test_unreachable_server_does_not_tell_the_secret_address(
    task: Task, webhook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    # S-18 (reliability 5)
    webhook.stop()
    slack_notifier(task, Running(), Success())
    shown = capsys.readouterr().out
    assert "ERROR" in shown
    assert "canary" not in shown
    webhook.__init__()  # type: ignore[misc]  # so that the fixture can stop it


def test_link_is_added_only_with_a_server(task: Task) -> None:
    # R-NOTE-5, recommendation
    def link(**options: Any) -> Any:
        return slack_message_formatter(task, Success(), **options)["attachments"][0].get("title_link")

    with tenuto.context(flow_run_id="f1"):
        assert link() is None
        with set_temporary_config({"cloud.api": "http://server:4200/api/v1/"}):
            assert link() == "http://server:4200/flow-run/f1"
            assert link(backend_info=False) is None
            with tenuto.context(task_run_id="t1"):
                assert link() == "http://server:4200/task-run/t1"


@pytest.fixture
def mail_box(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MailBox]:
    """A mail server that is trusted here, and an account on it."""
    write_certificate(tmp_path / "localhost.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
    served = MailBox(getattr(request, "param", "SSL"), tmp_path / "localhost.pem")
    with tenuto.context(secrets={"EMAIL_USERNAME": "me@example.org", "EMAIL_PASSWORD": "opensesame"}):
        yield served
    served.stop()


def test_mail_goes_over_ssl_to_the_account_itself(
    task: Task, mail_box: MailBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R-NOTE-6, R-SEC-7
    assert (notifications._GMAIL_HOST, notifications._GMAIL_PORT) == ("smtp.gmail.com", 465)
    monkeypatch.setattr(notifications, "_GMAIL_HOST", "localhost")
    monkeypatch.setattr(notifications, "_GMAIL_PORT", mail_box.port)
    task.name = "load\nBcc: everybody@example.org"
    state = Failed("broken")
    assert gmail_notifier(only_states=[Failed])(task, Running(), state) is state
    (delivery,) = mail_box.deliveries
    assert delivery.encrypted
    assert (delivery.user, delivery.password) == ("me@example.org", "opensesame")
    assert (delivery.sender, delivery.receivers) == ("me@example.org", ["me@example.org"])
    assert delivery.mail["From"] == delivery.mail["To"] == "me@example.org"
    assert "load Bcc: everybody" in delivery.mail["Subject"]
    assert delivery.mail["Bcc"] is None
    assert "load" in delivery.mail.get_content()
    assert "broken" in delivery.mail.get_content()


@pytest.mark.parametrize("mail_box", ["SSL", "STARTTLS", "INSECURE"], indirect=True)
def test_mail_goes_to_any_server_and_a_password_never_in_clear(task: Task, mail_box: MailBox) -> None:
    # R-NOTE-1, R-NOTE-2 for the e-mail notifier
    handler = email_notifier(
        only_states=[Failed],
        email_to="you@example.org, them@example.org",
        email_from="flows@example.org",
        smtp_server="localhost",
        smtp_port=mail_box.port,
        smtp_type=mail_box.security,
    )
    handler(task, Running(), Success())
    handler(task, Running(), Failed("broken"))
    (delivery,) = mail_box.deliveries
    assert (delivery.sender, delivery.receivers) == (
        "flows@example.org",
        ["you@example.org", "them@example.org"],
    )
    assert delivery.encrypted == (mail_box.security != "INSECURE")
    assert delivery.password == ("" if mail_box.security == "INSECURE" else "opensesame")


@pytest.mark.parametrize("mail_box", ["SSL", "STARTTLS"], indirect=True)
def test_server_that_nobody_vouches_for_gets_no_mail(
    task: Task, mail_box: MailBox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # R-NOTE-5, recommendation
    monkeypatch.delenv("SSL_CERT_FILE")
    state = Failed()
    handler = email_notifier(smtp_server="localhost", smtp_port=mail_box.port, smtp_type=mail_box.security)
    assert handler(task, Running(), state) is state
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text
    assert not mail_box.deliveries


def test_refused_mail_does_not_change_the_state(
    task: Task, mail_box: MailBox, caplog: pytest.LogCaptureFixture
) -> None:
    # R-NOTE-5, recommendation
    state = Failed("broken")
    handler = email_notifier(smtp_server="localhost", smtp_port=mail_box.port)
    with tenuto.context(secrets={"EMAIL_USERNAME": "me", "EMAIL_PASSWORD": "wrong"}):
        assert handler(task, Running(), state) is state
    assert "email_notifier: no notification was sent for <Task: load>." in caplog.text
    assert "not accepted" in caplog.text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"smtp_type": "TLS"},
            "'TLS' is no way to reach a mail server; it must be SSL, STARTTLS or INSECURE",
        ),
        ({"smtp_type": "INSECURE"}, "Give email_notifier `email_from` and `email_to`"),
    ],
)
def test_wrong_options_of_mail_are_told_in_the_log(
    options: dict[str, Any], problem: str, task: Task, mail_box: MailBox, caplog: pytest.LogCaptureFixture
) -> None:
    email_notifier(**options)(task, Running(), Success())
    assert problem in caplog.text


def test_webhook_gets_both_states_and_the_run(task: Task, webhook: Webhook) -> None:
    # R-NOTE-1, R-NOTE-2 for the generic webhook
    with tenuto.context(secrets={"WEBHOOK_URL": webhook.url}, flow_name="shop", flow_run_id="f1"):
        handler = webhook_notifier(ignore_states=[Running], headers={"Authorization": "Bearer t0ken"})
        handler(task, Pending(), Running())
        state = Failed("broken")
        assert handler(task, Running(), state) is state
    (post,) = webhook.posts
    assert post.headers["Authorization"] == "Bearer t0ken"
    assert datetime.fromisoformat(post.body.pop("timestamp")).tzinfo is not None
    assert post.body == {
        "kind": "Task",
        "name": "load",
        "old_state": "Running",
        "state": "Failed",
        "message": "broken",
        "flow_name": "shop",
        "flow_run_id": "f1",
        "flow_run_name": None,
        "task_run_id": None,
        "map_index": None,
    }


def test_webhook_that_refuses_changes_no_state(
    task: Task, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    # R-NOTE-5, recommendation
    webhook.status = 503
    state = Success()
    with tenuto.context(secrets={"WEBHOOK_URL": webhook.url}):
        assert webhook_notifier(task, Running(), state) is state
    assert "Webhook notification for <Task: load> failed with status 503" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("name", ["jira_notifier", "snowflake_logger"])
def test_notifiers_that_are_left_out_say_so_when_used(name: str) -> None:
    # R-INV-8, tier C
    left_out = {"jira_notifier": jira_notifier, "snowflake_logger": snowflake_logger}[name]
    with pytest.raises(NotImplementedError, match=f"{name} is not part of Tenuto"):
        left_out(only_states=[Failed])
