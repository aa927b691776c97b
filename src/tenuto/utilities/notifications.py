"""
State handlers that tell people: webhooks, Slack's among them, and mail.

A notifier never changes a run: what goes wrong in it is one ERROR in the log, and the new state is returned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tenuto._base.context import context
from tenuto._base.datetimes import utc_now
from tenuto._base.left_out import REQUIRED, left_out_function
from tenuto._base.logging import get_logger
from tenuto._base.mail import compose
from tenuto._base.webhook import post_json
from tenuto.client.secrets import Secret
from tenuto.configuration import config
from tenuto.tasks.notifications.email_task import mail_server

if TYPE_CHECKING:
    from email.message import EmailMessage

    from tenuto.engine.state import State

__all__ = [
    "callback_factory",
    "email_notifier",
    "gmail_notifier",
    "jira_notifier",
    "slack_message_formatter",
    "slack_notifier",
    "snowflake_logger",
    "snowflake_message_formatter",
    "webhook_message_formatter",
    "webhook_notifier",
]

_States = Sequence[type["State"]]

_GMAIL_HOST = "smtp.gmail.com"
_GMAIL_PORT = 465


def callback_factory(
    fn: Callable[[Any, State], Any], check: Callable[[State], object]
) -> Callable[[Any, State, State], State]:
    """Return a state handler that calls `fn(obj, new_state)` when `check(new_state)` is true."""

    def state_handler(obj: Any, old_state: State, new_state: State) -> State:
        if check(new_state):
            fn(obj, new_state)
        return new_state

    return state_handler


class _Notifier:
    """
    A state handler that can be given its options first: `slack_notifier(only_states=[Failed])`.

    With object, old and new state it does its work; with less it returns a notifier that waits for the rest.
    """

    __name__: str

    def __init__(
        self, fn: Callable[..., State], args: tuple[Any, ...] = (), options: Mapping[str, Any] | None = None
    ) -> None:
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._args = args
        self._options = dict(options or {})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args = self._args + args
        options = {**self._options, **kwargs}
        if len(args) + sum(name in options for name in ("obj", "old_state", "new_state")) < 3:
            return type(self)(self._fn, args, options)
        return self._fn(*args, **options)

    def __reduce__(self) -> Any:
        if not self._args and not self._options:
            return self._fn.__name__
        return _rebind, (self._fn.__name__, self._args, self._options)


def _rebind(name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> _Notifier:
    notifier: _Notifier = globals()[name]
    return _Notifier(notifier._fn, args, options)


@contextmanager
def _faults_logged(notifier: str, obj: Any) -> Iterator[None]:
    try:
        yield
    except Exception:
        # Servers, networks and secrets of others: none of their faults may fail a run.
        logger = context.get("logger") or get_logger()
        logger.exception("%s: no notification was sent for %r.", notifier, obj)


def _wanted(state: State, ignore_states: _States | None, only_states: _States | None) -> bool:
    if isinstance(state, tuple(ignore_states or ())):
        return False
    return not only_states or isinstance(state, tuple(only_states))


@_Notifier
def slack_notifier(
    obj: Any,
    old_state: State,
    new_state: State,
    ignore_states: _States | None = None,
    only_states: _States | None = None,
    webhook_secret: str | None = None,
    backend_info: bool = True,
    proxies: Mapping[str, str] | None = None,
) -> State:
    """
    Post each state change to a Slack webhook (or anything that takes its JSON); return the new state.

    Curried: `slack_notifier(only_states=[Failed])` is a state handler, and so is `slack_notifier`.

    Args:
        ignore_states, only_states: state classes, subclasses included; ignoring wins.
        webhook_secret: name of the secret that holds the URL; default `SLACK_WEBHOOK_URL`.
        backend_info: add a link to the run, where a server is configured.
        proxies: `{"https": "http://proxy:3128"}`, by scheme of the webhook.
    """
    # The filter comes first: where nothing is to be told, a missing secret does not matter.
    if _wanted(new_state, ignore_states, only_states):
        with _faults_logged("slack_notifier", obj):
            url = str(Secret(webhook_secret or "SLACK_WEBHOOK_URL").get())
            status = post_json(url, slack_message_formatter(obj, new_state, backend_info), proxies=proxies)
            if not 200 <= status < 300:
                raise ValueError(f"Slack notification for {obj!r} failed")
    return new_state


def slack_message_formatter(tracked_obj: Any, state: State, backend_info: bool = True) -> dict[str, Any]:
    """Return the JSON of a Slack message about a task or flow and its new state."""
    kind = type(state).__name__
    attachment: dict[str, Any] = {
        "fallback": "State change notification",
        "color": state.color,
        "author_name": "Tenuto",
        "title": kind,
        "text": f"{tracked_obj.name} is now in a {kind} state",
        "fields": [],
        "footer": "Tenuto notification",
    }
    if isinstance(state.result, Exception):
        value = f"```{state.result!r}```"
    else:
        value = state.message or ""
    if value:
        attachment["fields"].append({"title": "Message", "value": value, "short": False})
    link = _link_to_run() if backend_info else None
    if link:
        attachment["title_link"] = link
    return {"attachments": [attachment]}


def _link_to_run() -> str | None:
    """Return the page of the task or flow run that is going on; None without a configured server."""
    server = str(config.cloud.get("api") or "").rstrip("/").removesuffix("/api/v1")
    if not server:
        return None
    for key, page in (("task_run_id", "task-run"), ("flow_run_id", "flow-run")):
        if run_id := context.get(key):
            return f"{server}/{page}/{run_id}"
    return None


@_Notifier
def gmail_notifier(
    obj: Any,
    old_state: State,
    new_state: State,
    ignore_states: _States | None = None,
    only_states: _States | None = None,
) -> State:
    """
    Mail each state change from a Google account to itself; return the new state.

    Curried and filtered like `slack_notifier`. User and password are the secrets `EMAIL_USERNAME` and
    `EMAIL_PASSWORD` (an app password).
    """
    if _wanted(new_state, ignore_states, only_states):
        with _faults_logged("gmail_notifier", obj):
            server = mail_server(_GMAIL_HOST, _GMAIL_PORT, "SSL")
            server.send(_mail(obj, new_state, server.user, server.user))
    return new_state


@_Notifier
def email_notifier(
    obj: Any,
    old_state: State,
    new_state: State,
    ignore_states: _States | None = None,
    only_states: _States | None = None,
    email_to: str | None = None,
    email_from: str | None = None,
    smtp_server: str = _GMAIL_HOST,
    smtp_port: int = _GMAIL_PORT,
    smtp_type: str = "SSL",
) -> State:
    """
    Mail each state change; return the new state. Curried and filtered like `slack_notifier`.

    Args:
        ignore_states, only_states: state classes, subclasses included; ignoring wins.
        email_to: addresses, separated by commas; default: the account itself.
        email_from: the sender; default: the account, which is in the secrets `EMAIL_USERNAME` and
            `EMAIL_PASSWORD`.
        smtp_server, smtp_port: where the mail is handed over.
        smtp_type: `SSL`, `STARTTLS`, or `INSECURE`, which sends in clear and without logging in; then both
            addresses are needed and no secret is.
    """
    if _wanted(new_state, ignore_states, only_states):
        with _faults_logged("email_notifier", obj):
            server = mail_server(smtp_server, smtp_port, smtp_type)
            sender, to = email_from or server.user, email_to or server.user
            server.send(_mail(obj, new_state, sender, to))
    return new_state


def _mail(obj: Any, state: State, sender: str | None, to: str | None) -> EmailMessage:
    if sender is None or to is None:
        raise ValueError("Give email_notifier `email_from` and `email_to`: it has no account.")
    kind = type(state).__name__
    return compose(
        subject=f"Tenuto state change notification for {obj.name}",
        sender=sender,
        to=to,
        plain=f"{obj.name} is now in a {kind} state\n\n{state.message or ''}\n",
    )


@_Notifier
def webhook_notifier(
    obj: Any,
    old_state: State,
    new_state: State,
    ignore_states: _States | None = None,
    only_states: _States | None = None,
    webhook_secret: str = "WEBHOOK_URL",
    headers: Mapping[str, str] | None = None,
    proxies: Mapping[str, str] | None = None,
) -> State:
    """
    Post each state change as JSON to a webhook; return the new state.

    Curried and filtered like `slack_notifier`. The payload is that of `webhook_message_formatter`.

    Args:
        ignore_states, only_states: state classes, subclasses included; ignoring wins.
        webhook_secret: name of the secret that holds the URL.
        headers: added to the request.
        proxies: `{"https": "http://proxy:3128"}`, by scheme of the webhook.
    """
    if _wanted(new_state, ignore_states, only_states):
        with _faults_logged("webhook_notifier", obj):
            url = str(Secret(webhook_secret).get())
            payload = webhook_message_formatter(obj, old_state, new_state)
            status = post_json(url, payload, headers=headers, proxies=proxies)
            if not 200 <= status < 300:
                raise ValueError(f"Webhook notification for {obj!r} failed with status {status}")
    return new_state


def webhook_message_formatter(tracked_obj: Any, old_state: State, new_state: State) -> dict[str, Any]:
    """Return what is told about a task or flow: its name, both states, the run that is going on, the time."""
    run = {
        key: context.get(key)
        for key in ("flow_name", "flow_run_id", "flow_run_name", "task_run_id", "map_index")
    }
    return {
        "kind": type(tracked_obj).__name__,
        "name": tracked_obj.name,
        "old_state": type(old_state).__name__,
        "state": type(new_state).__name__,
        "message": new_state.message or "",
        "timestamp": utc_now().isoformat(),
        **run,
    }


_INSTEAD = "Write a state handler of your own; callback_factory helps."
_CHANGE = dict.fromkeys(("obj", "old_state", "new_state"), REQUIRED) | dict.fromkeys(
    ("ignore_states", "only_states")
)

jira_notifier = left_out_function(
    "jira_notifier", {**_CHANGE, "server_URL": None, "options": None, "assignee": "-1"}, _INSTEAD
)
snowflake_logger = left_out_function(
    "snowflake_logger",
    {**_CHANGE, "snowflake_secret": None, "snowflake_log_table_name": None, "test_env": False},
    _INSTEAD,
)
snowflake_message_formatter = left_out_function(
    "snowflake_message_formatter", dict.fromkeys(("tracked_obj", "state"), REQUIRED), _INSTEAD
)
