"""Messages to Slack, or to anything that takes its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenuto._base.webhook import post_json
from tenuto.client.secrets import Secret
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.task import Task

__all__ = ["SlackTask"]


class SlackTask(Task):
    """
    Posts a message to a Slack webhook.

    Args:
        message: a text, or the whole payload as a dictionary; it may also be given by the call.
        webhook_secret: name of the secret that holds the webhook's URL.
        **kwargs: those of `Task`.
    """

    def __init__(
        self,
        message: str | Mapping[str, Any] | None = None,
        webhook_secret: str = "SLACK_WEBHOOK_URL",
        **kwargs: Any,
    ) -> None:
        self.message = message
        self.webhook_secret = webhook_secret
        super().__init__(**kwargs)

    @defaults_from_attrs("message", "webhook_secret")
    def run(
        self, message: str | Mapping[str, Any] | None = None, webhook_secret: str = "SLACK_WEBHOOK_URL"
    ) -> None:
        """
        Post the message.

        Raises:
            ValueError: without a message or the secret, or if the webhook refuses the message.
            urllib3.exceptions.HTTPError: if there is no answer.
        """
        if message is None:
            raise ValueError("Give SlackTask a `message`, in its constructor or when it is called.")
        payload = message if isinstance(message, Mapping) else {"text": message}
        status = post_json(str(Secret(webhook_secret).get()), payload)
        if not 200 <= status < 300:
            raise ValueError(
                f"The webhook of secret {webhook_secret!r} answered with status {status}. "
                "See whether it still exists, and whether the message has the form that it asks for."
            )
