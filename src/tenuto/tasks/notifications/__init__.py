"""Tasks that tell people: by e-mail, and by Slack-shaped webhooks."""

from tenuto._base.left_out import left_out_class
from tenuto.core.task import Task
from tenuto.tasks.notifications.email_task import EmailTask
from tenuto.tasks.notifications.slack_task import SlackTask

__all__ = ["EmailTask", "PushbulletTask", "SlackTask"]

PushbulletTask = left_out_class(
    "PushbulletTask",
    {"msg": None},
    "Use SlackTask or EmailTask, or post to the service in a task of your own.",
    base=Task,
    module=__name__,
)
