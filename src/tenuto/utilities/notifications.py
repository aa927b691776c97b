"""
State handlers that tell people: Slack-shaped webhooks and mail.

A notifier never changes a run: what goes wrong in it is one ERROR in the log, and the new state is returned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from tenuto._base.context import context
from tenuto._base.logging import get_logger
from tenuto._base.masking import register_secret
from tenuto.client.secrets import Secret
from tenuto.configuration import config

if TYPE_CHECKING:
    from tenuto.engine.state import State

__all__ = [
    "callback_factory",
    "gmail_notifier",
    "jira_notifier",
    "slack_message_formatter",
    "slack_notifier",
    "snowflake_logger",
    "snowflake_message_formatter",
]

_States = Sequence[type["State"]]

_TIMEOUT_SECONDS = 10.0
_MAIL_HOST = "smtp.gmail.com"
_MAIL_PORT = 465


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
            status = _post_json(url, slack_message_formatter(obj, new_state, backend_info), proxies or {})
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


def _post_json(url: str, payload: Mapping[str, Any], proxies: Mapping[str, str]) -> int:
    import urllib3

    parsed = urllib3.util.parse_url(url)
    # The HTTP client's own log lines tell the path alone, and in it the URL as a whole would not be found.
    register_secret(parsed.request_uri)
    proxy = proxies.get(parsed.scheme or "https")
    pool = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
    with pool:
        answer = pool.request("POST", url, json=payload, timeout=_TIMEOUT_SECONDS, retries=False)
        return answer.status


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
            kind = type(new_state).__name__
            _send_mail(
                # Names are free text; a line break in one would end the header.
                subject=" ".join(f"Tenuto state change notification for {obj.name}".split()),
                text=f"{obj.name} is now in a {kind} state\n\n{new_state.message or ''}\n",
            )
    return new_state


def _send_mail(subject: str, text: str) -> None:
    import smtplib
    from email.message import EmailMessage

    user, password = str(Secret("EMAIL_USERNAME").get()), str(Secret("EMAIL_PASSWORD").get())
    mail = EmailMessage()
    mail["From"] = mail["To"] = user
    mail["Subject"] = subject
    mail.set_content(text)
    with smtplib.SMTP_SSL(_MAIL_HOST, port=_MAIL_PORT, timeout=_TIMEOUT_SECONDS) as server:
        server.login(user, password)
        server.send_message(mail)


def _left_out(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"{name} is not part of Tenuto. Write a state handler of your own; callback_factory helps."
        )

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


jira_notifier = _left_out("jira_notifier")
snowflake_logger = _left_out("snowflake_logger")
snowflake_message_formatter = _left_out("snowflake_message_formatter")
