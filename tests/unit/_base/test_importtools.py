"""Objects by path, packages that load on use, names of runs, call sites."""

import random
import sys
from pathlib import Path

import pytest

from tenuto._base.callsite import callsite, note_callsite
from tenuto._base.importtools import lazy_names
from tenuto._base.names import two_words
from tenuto.utilities.importtools import import_object


def test_objects_are_found_by_dotted_path() -> None:
    import collections.abc
    import json.decoder

    assert import_object("json") is json
    assert import_object("json.decoder") is json.decoder
    assert import_object("json.decoder.JSONDecoder.decode") is json.decoder.JSONDecoder.decode
    assert import_object("json.decoder:JSONDecoder") is json.decoder.JSONDecoder
    assert import_object("collections.abc.Mapping") is collections.abc.Mapping


def test_missing_modules_and_attributes_are_told_apart() -> None:
    with pytest.raises(ImportError, match="no_such_module"):
        import_object("no_such_module.x")
    with pytest.raises(AttributeError, match="nothing"):
        import_object("json.nothing")


def test_fault_inside_the_module_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "broken_on_purpose"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("import absent_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="absent_dependency"):
        import_object("broken_on_purpose.inner.thing")


def test_package_names_load_on_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lazy_on_purpose"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("thing = object()\nother = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import lazy_on_purpose  # type: ignore[import-not-found]  # made above

    load, listing = lazy_names(
        "lazy_on_purpose", {"thing": "lazy_on_purpose.inner", "o": "lazy_on_purpose.inner:other"}
    )
    assert "lazy_on_purpose.inner" not in sys.modules
    assert {"thing", "o"} <= set(listing())
    assert load("inner") is sys.modules["lazy_on_purpose.inner"]
    assert load("thing") is lazy_on_purpose.inner.thing
    assert lazy_on_purpose.thing is lazy_on_purpose.inner.thing
    assert load("o") == 1
    for name in ("nothing", "_private", "__wrapped__"):
        with pytest.raises(AttributeError, match=name):
            load(name)


def test_run_names_are_two_words_and_repeatable() -> None:
    name = two_words(random.Random(1))
    assert name == two_words(random.Random(1))
    assert len({two_words() for _ in range(50)}) > 1
    adjective, noun = name.split("-")
    assert adjective.isalpha()
    assert noun.isalpha()


def test_call_site_is_the_first_frame_of_the_user() -> None:
    assert callsite()[0] == __file__
    error = note_callsite(ValueError("exact text"))
    assert str(error) == "exact text"
    assert error.__notes__ == [
        f"Called at {__file__}:{test_call_site_is_the_first_frame_of_the_user.__code__.co_firstlineno + 2}"
    ]


def test_frames_of_the_package_are_passed_over() -> None:
    # `import_object` runs inside the package and calls back into this file only through the import system.
    from tenuto import _base

    inside = str(Path(_base.__file__).parent / "made_up.py")
    namespace = {"callsite": callsite}
    exec(compile("def ask():\n    return callsite()", inside, "exec"), namespace)
    assert namespace["ask"]()[0] == __file__
