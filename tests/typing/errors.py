"""Mistakes that a type checker must find: each line with `# error: CODE` must be one, and no other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tenuto import Flow, Parameter, Task, task


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def untyped_result(x: Any) -> Any:
    return x


@task
async def fetch(page: int) -> list[int]:
    return [page]


with Flow("f"):
    add()  # error: call-overload
    add("one")  # error: call-overload
    add(1, z=2)  # error: call-overload
    add(add(1), "two")  # error: call-overload
    untyped_result()  # error: call-overload
    fetch("one")  # error: call-overload
    text: str = add(1)  # error: assignment
    texts: list[str] = add.map([1])  # error: assignment
    pages: int = fetch(1)  # error: assignment
    add.run("one")  # error: arg-type
    # What uses a reserved keyword is not looked at closer, but those keywords are.
    add(1, upstream_tasks=3)  # error: call-overload
    add(1, mapped="yes")  # error: call-overload
    add(1, flow="f")  # error: call-overload
    add("one", upstream_tasks=[])
    Parameter()  # error: call-arg
    add.nope  # error: attr-defined


@task(max_retrys=2)  # error: call-overload, untyped-decorator
def misspelled() -> None: ...


@task(retry_delay=3)  # error: call-overload, untyped-decorator
def wrong_delay() -> None: ...


@task(max_retries=1, retry_delay=timedelta(1))
def right() -> None: ...


class Query(Task):
    def __init__(self, sql: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sql = sql

    def run(self, table: str, limit: int = 3) -> list[str]:
        return [table] * limit


Query(sql=3)  # error: arg-type
Query("select").run(3)  # error: arg-type
Query("select")("table")
Flow()  # error: call-arg
