"""State handlers that tell people."""

import json
import logging
import pickle
import smtplib
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest

import tenuto
from tenuto import Task
from tenuto._base import masking
from tenuto.engine.state import Failed, Pending, Running, State, Success, TriggerFailed
from tenuto.utilities.configuration import set_temporary_config
from tenuto.utilities.logging import configure_extra_loggers, temporary_logger_config
from tenuto.utilities.notifications import (
    callback_factory,
    gmail_notifier,
    jira_notifier,
    slack_message_formatter,
    slack_notifier,
    snowflake_logger,
)


class Webhook:
    """A server on this machine that keeps what is posted to it."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.posts.append((self.path, json.loads(body)))
                self.send_response(webhook.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Say nothing on stderr."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/T0/canary-path"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


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
    assert [post["attachments"][0]["title"] for _, post in webhook.posts] == told


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
    assert webhook.posts == [("/services/T0/other", slack_message_formatter(task, Success("done")))]


def test_post_goes_through_the_proxy_of_its_scheme(task: Task, webhook: Webhook) -> None:
    proxy = webhook.url.partition("/services")[0]
    with tenuto.context(secrets={"SLACK_WEBHOOK_URL": "http://elsewhere.invalid/hook-path"}):
        slack_notifier(proxies={"http": proxy})(task, Running(), Success())
    assert webhook.posts[0][0] == "http://elsewhere.invalid/hook-path"


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


class FakeMailServer:
    """Takes the place of `smtplib.SMTP_SSL`."""

    sent: list[tuple[str, int, str, str, EmailMessage]]

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.address = host, port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the connection."""

    def login(self, user: str, password: str) -> None:
        if password == "wrong":
            raise smtplib.SMTPAuthenticationError(535, b"no")
        self.credentials = user, password

    def send_message(self, mail: EmailMessage) -> None:
        self.sent.append((*self.address, *self.credentials, mail))


def test_mail_goes_over_ssl_to_the_account_itself(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    # R-NOTE-6
    FakeMailServer.sent = []
    monkeypatch.setattr(smtplib, "SMTP_SSL", FakeMailServer)
    task.name = "load\nBcc: everybody"
    with tenuto.context(secrets={"EMAIL_USERNAME": "me@example.org", "EMAIL_PASSWORD": "opensesame"}):
        state = Failed("broken")
        assert gmail_notifier(only_states=[Failed])(task, Running(), state) is state
    ((host, port, user, password, mail),) = FakeMailServer.sent
    assert (host, port, user, password) == ("smtp.gmail.com", 465, "me@example.org", "opensesame")
    assert mail["From"] == mail["To"] == "me@example.org"
    assert "load Bcc: everybody" in mail["Subject"]
    assert mail["Bcc"] is None
    assert "broken" in mail.get_content()
    masking.forget_secrets()


def test_refused_mail_does_not_change_the_state(
    task: Task, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # R-NOTE-5, recommendation
    monkeypatch.setattr(smtplib, "SMTP_SSL", FakeMailServer)
    state = Failed("broken")
    with tenuto.context(secrets={"EMAIL_USERNAME": "me", "EMAIL_PASSWORD": "wrong"}):
        assert gmail_notifier(task, Running(), state) is state
    assert "gmail_notifier: no notification was sent for <Task: load>." in caplog.text
    masking.forget_secrets()


@pytest.mark.parametrize("name", ["jira_notifier", "snowflake_logger"])
def test_notifiers_that_are_left_out_say_so_when_used(name: str) -> None:
    # R-INV-8, tier C
    left_out = {"jira_notifier": jira_notifier, "snowflake_logger": snowflake_logger}[name]
    with pytest.raises(NotImplementedError, match=f"{name} is not part of Tenuto"):
        left_out(only_states=[Failed])
