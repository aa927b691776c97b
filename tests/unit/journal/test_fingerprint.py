import importlib.util
import json
import linecache
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tenuto import Task, task
from tenuto.journal.fingerprint import CodeFingerprint, explain, fingerprint

MODULE = '''\
"""A flow's file."""
import os
import tenuto

RATE = 0.5
WORDS = ["a", "b"]


def clean(x):
    return x * RATE


def unrelated(x):
    return x + 1


class Model:
    def fit(self, x):
        return x


@tenuto.task
def step(x, times=2):
    model = Model().fit(x)
    return [clean(model) for _ in range(times)], WORDS, os.sep


class Step(tenuto.Task):
    def __init__(self, rate=1, **kwargs):
        self.rate = rate
        super().__init__(**kwargs)

    def run(self, x):
        return clean(x) * self.rate
'''

Load = Callable[[str], ModuleType]
numbers = count()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Import a text as the module `flow_file`, as the next process would see an edited file."""

    def load_text(text: str) -> ModuleType:
        path = tmp_path / f"{next(numbers)}" / "flow_file.py"
        path.parent.mkdir()
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("flow_file", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["flow_file"] = module
        spec.loader.exec_module(module)
        return module

    yield load_text
    sys.modules.pop("flow_file", None)


def document(code: CodeFingerprint) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(code.document)
    return found


def edited(load: Load, old: str, new: str, name: str = "step") -> tuple[CodeFingerprint, CodeFingerprint]:
    assert old in MODULE
    before = fingerprint(getattr(load(MODULE), name))
    return before, fingerprint(getattr(load(MODULE.replace(old, new)), name))


def test_the_document_holds_source_and_what_it_names_in_its_module(load: Load) -> None:
    code = fingerprint(load(MODULE).step)

    found = document(code)
    assert found["source"].startswith("@tenuto.task\ndef step(x, times=2):\n")
    assert sorted(found["names"]) == ["Model", "clean"]
    assert sorted(found["constants"]) == ["WORDS"]


def test_the_digest_is_the_sha256_of_the_document(load: Load) -> None:
    import hashlib

    code = fingerprint(load(MODULE).step)

    assert hashlib.sha256(code.document).hexdigest() == code.digest


def test_the_same_text_elsewhere_has_the_same_fingerprint(load: Load) -> None:
    assert fingerprint(load(MODULE).step) == fingerprint(load("# moved\n\n" + MODULE).step)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("return x * RATE", "return x / RATE", "helper 'clean' changed"),
        (
            "def fit(self, x):\n        return x",
            "def fit(self, x):\n        return -x",
            "helper 'Model' changed",
        ),
        ('["a", "b"]', '["a", "c"]', "constant 'WORDS' changed"),
        ("for _ in range(times)", "for _ in range(times + 1)", "its own source changed"),
        ("times=2", "times=3", "its own source changed; default of argument 'times' changed"),
        ("os.sep\n", "os.sep, unrelated\n", "its own source changed; helper 'unrelated' is new"),
        (", WORDS, os", ", os", "its own source changed; constant 'WORDS' is gone"),
        ("    model = Model", "    # fitted\n    model = Model", "its own source changed"),
    ],
)
def test_an_edit_of_what_counts_changes_the_fingerprint_and_is_named(
    load: Load, old: str, new: str, told: str
) -> None:
    before, after = edited(load, old, new)

    assert before.digest != after.digest
    assert explain(before.document, after.document) == told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return x + 1", "return x + 2"),
        ("RATE = 0.5", "RATE = 0.6"),  # Two levels deep: only `clean` names it.
        ("def clean(x):", "# A comment beside it.\n\n\ndef clean(x):"),
        ('"""A flow\'s file."""', '"""Another text."""'),
        ("import os\n", "import os\nimport sys\n"),
    ],
)
def test_an_edit_of_anything_else_does_not(load: Load, old: str, new: str) -> None:
    before, after = edited(load, old, new)

    assert before.digest == after.digest
    assert explain(before.document, after.document) == ""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("return x * RATE", "return x / RATE", "helper 'clean' changed"),
        ("* self.rate", "+ self.rate", "its own source changed"),
    ],
)
def test_a_task_class_counts_with_its_source_and_what_it_names(
    load: Load, old: str, new: str, told: str
) -> None:
    before = fingerprint(load(MODULE).Step())
    after = fingerprint(load(MODULE.replace(old, new)).Step())

    assert explain(before.document, after.document) == told


def test_an_instance_counts_with_its_own_attributes_but_not_with_its_options(load: Load) -> None:
    module = load(MODULE)

    one, other = fingerprint(module.Step(rate=1)), fingerprint(module.Step(rate=2))

    assert explain(one.document, other.document) == "attribute 'rate' changed"
    assert fingerprint(module.Step(rate=1, name="n", checkpoint=True, tags=["t"], timeout=5)) == one


def test_a_base_class_of_the_same_file_counts(load: Load) -> None:
    text = MODULE + "\n\nclass Special(Step):\n    pass\n"

    before = fingerprint(load(text).Special())
    after = fingerprint(load(text.replace("* self.rate", "+ self.rate")).Special())

    assert "base class" in explain(before.document, after.document)


def test_a_version_stands_for_the_code(load: Load) -> None:
    text = MODULE.replace("@tenuto.task\n", "@tenuto.task(version='1')\n")
    before = fingerprint(load(text).step)

    assert fingerprint(load(text.replace("range(times)", "range(9)")).step).digest == before.digest
    after = fingerprint(load(text.replace("version='1'", "version='2'")).step)
    assert explain(before.document, after.document) == "its version changed from '1' to '2'"
    without = fingerprint(load(MODULE).step)
    assert explain(before.document, without.document) == "its version changed from '1' to None"


def test_enclosed_values_count() -> None:
    def make(number: object, helper: Callable[[int], int]) -> Task:
        @task
        def inner(x: int) -> object:
            return helper(x), number

        return inner

    def plus(x: int) -> int:
        return x + 1

    def minus(x: int) -> int:
        return x - 1

    one = fingerprint(make(1, plus))
    assert fingerprint(make(1, plus)) == one
    assert explain(one.document, fingerprint(make(2, plus)).document) == "enclosed variable 'number' changed"
    assert explain(one.document, fingerprint(make(1, minus)).document) == "enclosed variable 'helper' changed"
    assert fingerprint(make(object(), plus)) == fingerprint(make(object(), plus))


def test_lambdas_of_one_line_are_told_apart() -> None:
    one, other = task(lambda x: x + 1, name="a"), task(lambda x: x + 2, name="a")

    assert fingerprint(one).digest != fingerprint(other).digest
    assert fingerprint(one) == fingerprint(task(lambda x: x + 1, name="a"))


def test_a_decorator_of_the_same_file_counts(load: Load) -> None:
    text = (
        "import functools, tenuto\n\n\n"
        "def twice(f):\n"
        "    @functools.wraps(f)\n"
        "    def both(x):\n"
        "        return f(f(x))\n"
        "    return both\n\n\n"
        "@tenuto.task\n@twice\ndef step(x):\n    return x + 1\n"
    )

    before = fingerprint(load(text).step)
    after = fingerprint(load(text.replace("f(f(x))", "f(f(f(x)))")).step)

    assert document(before)["source"].endswith("return x + 1\n")
    assert "(decorator)' changed" in explain(before.document, after.document)


def test_a_constant_made_from_the_environment_counts_with_its_value(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os, tenuto\nMODE = os.environ['MODE']\n\n\n@tenuto.task\ndef step():\n    return MODE\n"
    monkeypatch.setenv("MODE", "a")
    before = fingerprint(load(text).step)
    monkeypatch.setenv("MODE", "b")

    assert explain(before.document, fingerprint(load(text).step).document) == "constant 'MODE' changed"


def test_a_list_that_tasks_append_to_counts_with_its_text(load: Load) -> None:
    module = load(MODULE)
    before = fingerprint(module.step)
    again = load(MODULE)
    again.WORDS.append("c")

    assert fingerprint(again.step) == before


def test_an_attribute_of_the_same_name_does_not_count(load: Load) -> None:
    text = MODULE.replace("[clean(model) for", "[model.clean() for")

    assert "clean" not in document(fingerprint(load(text).step))["names"]


def test_a_file_that_was_edited_after_its_import_is_not_taken_for_what_runs(load: Load) -> None:
    module = load(MODULE)
    assert module.__file__ is not None
    Path(module.__file__).write_text(MODULE.replace("range(times)", "range(99)"))
    linecache.clearcache()

    found = document(fingerprint(module.step))

    assert "source" not in found
    assert "bytecode" in found


def test_without_source_the_bytecode_counts() -> None:
    def compiled(text: str) -> Task:
        space: dict[str, Any] = {"__name__": "nowhere"}
        exec(text, space)
        found: Task = task(space["f"])
        return found

    text = "def g(x):\n    return x\n\ndef f(x):\n    return g(x) in {'a', 'b', 'c'}\n"
    one = fingerprint(compiled(text))

    assert fingerprint(compiled("\n\n" + text)) == one
    assert explain(one.document, fingerprint(compiled(text.replace("'c'", "'d'"))).document) == (
        "its own source changed"
    )
    other = fingerprint(compiled(text.replace("return x", "return -x")))
    assert explain(one.document, other.document) == "helper 'g' changed"


def test_cells_of_a_notebook_see_each_other() -> None:
    def run_cells(*cells: str) -> Task:
        space: dict[str, Any] = {"__name__": "__main__", "task": task}
        for number, text in enumerate(cells):
            name = f"<ipython-input-{next(numbers)}-{number}>"
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
            exec(compile(text, name, "exec"), space)
        found: Task = space["step"]
        return found

    cells = (
        "def helper(x):\n    return x\n",
        "N = {'n': 1}\n",
        "@task\ndef step(x):\n    return helper(x), N\n",
    )
    one = fingerprint(run_cells(*cells))

    assert document(one)["source"].startswith("@task")
    assert fingerprint(run_cells(*cells)) == one
    other = fingerprint(run_cells(cells[0].replace("return x", "return -x"), cells[1], cells[2]))
    assert explain(one.document, other.document) == "helper 'helper' changed"
    other = fingerprint(run_cells(cells[0], cells[1].replace("1", "2"), cells[2]))
    assert explain(one.document, other.document) == "constant 'N' changed"


def add(x: int, y: int) -> int:
    return x + y


@pytest.mark.parametrize("function", [round, partial(add, y=2)])
def test_callables_without_python_code_have_a_fingerprint(function: Callable[..., Any]) -> None:
    assert fingerprint(task(function, name="f")).digest == fingerprint(task(function, name="f")).digest


def test_partials_are_told_apart() -> None:
    one, other = task(partial(add, y=2), name="f"), task(partial(add, y=3), name="f")

    assert fingerprint(one).digest != fingerprint(other).digest


def test_a_method_and_a_callable_object_count_with_their_class() -> None:
    class Caller:
        def __init__(self, number: int) -> None:
            self.number = number

        def __call__(self, x: int) -> int:
            return x + self.number

        def method(self, x: int) -> int:
            return x

    assert fingerprint(task(Caller(1), name="f")) == fingerprint(task(Caller(1), name="f"))
    assert fingerprint(task(Caller(1), name="f")) != fingerprint(task(Caller(2), name="f"))
    assert "method" in str(document(fingerprint(task(Caller(1).method, name="f"))))


def test_what_was_recorded_wrongly_is_explained_as_unknown() -> None:
    assert explain(b"{", b"{}") == "what it was is not known any more"
    assert explain(b"[]", b"{}") == "what it was is not known any more"


def test_surrogates_in_source_values_do_no_harm() -> None:
    name = "\ud800"

    @task
    def step() -> str:
        return name

    assert fingerprint(step).digest
