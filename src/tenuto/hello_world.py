"""A first flow to run: `tenuto run -m tenuto.hello_world`."""

from typing import Any

import tenuto
from tenuto import Flow, Parameter, task

__all__ = ["capitalize", "hello_flow", "say_hello"]


@task
def capitalize(name: str) -> str:
    """Return the name with its first letter in upper case."""
    return name.capitalize()


@task
def say_hello(name: str) -> None:
    """Greet by a line in the log."""
    tenuto.context.logger.info("Hello, %s!", name)


with Flow("hello-world") as hello_flow:
    name: Any = Parameter("name", default="world")  # a value of the run, whatever its type
    say_hello(capitalize(name))
