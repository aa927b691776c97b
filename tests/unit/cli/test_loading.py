import os
import sys
import types
from pathlib import Path

import pytest

import tenuto
from tenuto.cli.errors import Foreseen
from tenuto.cli.loading import LoadingFailed, find_flow, load_file

pytestmark = pytest.mark.usefixtures("process_restored")

ONE = """
from tenuto import Flow
with Flow("one") as flow:
    pass
"""
TWO = """
from tenuto import Flow
first, second = Flow("first"), Flow("second")
again = first
"""


def write(folder: Path, text: str, name: str = "flows.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def refused(path: str | None = None, module: str | None = None, name: str | None = None) -> Foreseen:
    with pytest.raises(Foreseen) as caught:
        find_flow(path, module, name)
    assert caught.value.exit_code == 1
    return caught.value


# ------------------------------------------------------------------------------------------------- which flow


def test_the_only_flow_of_a_file_needs_no_name(tmp_path: Path) -> None:  # R-CRUN-1
    assert find_flow(write(tmp_path, ONE), None, None).name == "one"


def test_a_name_picks_one_of_several_flows(tmp_path: Path) -> None:  # R-CRUN-1
    assert find_flow(write(tmp_path, TWO), None, "second").name == "second"


def test_of_two_flows_of_one_name_the_later_counts(tmp_path: Path) -> None:
    path = write(tmp_path, 'from tenuto import Flow\na = Flow("x")\nb = Flow("x")\n')
    assert find_flow(path, None, "x") is vars(sys.modules["<flow>"])["b"]


def test_several_flows_and_no_name_are_listed(tmp_path: Path) -> None:  # R-CRUN-6, R-CLI-21
    path = write(tmp_path, TWO)
    error = refused(path)
    assert error.message == f"Found multiple flows at {path}: 'first', 'second'"
    assert error.remedies[0].startswith("Specify a flow name to run")


def test_an_unknown_name_is_told_what_there_is(tmp_path: Path) -> None:  # R-CRUN-6, R-CLI-14, R-CLI-21
    path = write(tmp_path, ONE)
    error = refused(path, name="oen")
    assert error.message == f"Did not find 'oen' in flows at {path}. Found 'one'"
    assert error.remedies == ("Did you mean 'one'?",)
    assert refused(path, name="zebra").remedies == ()


def test_a_file_without_flows_says_so(tmp_path: Path) -> None:  # R-CRUN-6, R-CLI-21
    path = write(tmp_path, "def make():\n    from tenuto import Flow\n    return Flow('x')\n")
    error = refused(path)
    assert error.message == f"Found no flows at {path}."
    assert "global variable" in error.remedies[0]


def test_neither_file_nor_module_lists_what_can_be_given() -> None:  # R-CRUN-1, R-CLI-17
    error = refused(name="x")
    assert error.message == "Error: Received no options to look up the flow."
    assert any("--path" in line for line in error.remedies)
    assert any("--module" in line for line in error.remedies)


def test_file_and_module_together_are_too_many(tmp_path: Path) -> None:  # R-CLI-17
    error = refused(path="x.py", module="x")
    assert error.message == "Error: Received too many options to look up the flow: --path, --module"


# ------------------------------------------------------------------------------------------------------ files


def test_a_missing_file_is_named_by_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # R-CRUN-6, R-CLI-21
    monkeypatch.chdir(tmp_path)
    write(tmp_path, ONE)
    error = refused("flow.py")
    assert error.message == f"File does not exist: {str(tmp_path / 'flow.py')!r}"
    assert error.remedies == ("Did you mean 'flows.py'?",)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refused(str(tmp_path)).message == f"Not a file but a folder: {str(tmp_path)!r}"


def test_a_file_is_the_module_flow_and_not_main(tmp_path: Path) -> None:  # R-CRUN-7, R-CLI-20
    path = write(tmp_path, ONE + "ran = __name__\nif __name__ == '__main__':\n    raise SystemExit('main')\n")
    module = load_file(path)
    assert vars(module)["ran"] == "<flow>"
    assert sys.modules["<flow>"] is module
    assert module.__file__ == path


def test_the_folder_of_a_file_comes_first_on_the_import_path(tmp_path: Path) -> None:  # R-CRUN-7, R-CLI-20
    folder = tmp_path / "project"
    folder.mkdir()
    write(folder, "value = 5\n", "helper_of_flows.py")
    path = write(folder, ONE + "import helper_of_flows\n")
    load_file(path)
    assert sys.path[0] == str(folder)


def test_the_folder_above_a_file_is_not_put_on_the_import_path(tmp_path: Path) -> None:  # R-REAL-16
    folder = tmp_path / "prefect"
    folder.mkdir()
    write(tmp_path, "raise SystemExit('the wrong package')", "tenuto.py")
    (folder / "tenuto").mkdir()
    write(folder / "tenuto", "raise SystemExit('the wrong package')", "__init__.py")
    before = set(sys.path)
    assert find_flow(write(folder, ONE), None, None).name == "one"
    assert set(sys.path) - before == {str(folder)}
    assert sys.modules["tenuto"] is tenuto


def test_the_users_modules_do_not_take_the_place_of_those_that_the_engine_imports(tmp_path: Path) -> None:
    for name in ("queue", "difflib", "platform", "tomllib", "shlex"):
        write(tmp_path, "raise SystemExit('the wrong module')", f"{name}.py")
    path = write(tmp_path, ONE)
    import_time = "import sys; from tenuto.cli import main; sys.exit(main(['run', '-p', sys.argv[1]]))"
    done = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", import_time, path])
    assert done == 0


def test_arguments_of_the_command_line_are_not_those_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, ONE + "import argparse\nargparse.ArgumentParser().parse_args()\n")
    sys.argv = ["tenuto", "run", "-p", path]
    assert find_flow(path, None, None).name == "one"


def test_what_a_file_runs_while_it_is_loaded_does_nothing(tmp_path: Path) -> None:  # R-RUN-3, R-CLI-20
    path = write(tmp_path, ONE + "result = flow.run()\n")
    with pytest.warns(UserWarning, match="while the flow's file is being loaded"):
        module = load_file(path)
    assert vars(module)["result"] is None
    assert "loading_flow" not in tenuto.context


def test_what_a_file_puts_into_the_context_stays_there(tmp_path: Path) -> None:  # R-REAL-20
    load_file(write(tmp_path, "import tenuto\ntenuto.context.setdefault('bag', {})['x'] = 1\n"))
    assert tenuto.context.bag == {"x": 1}


def test_a_file_may_declare_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin.py"
    path.write_bytes("# coding: latin-1\nword = 'na\xefve'\n".encode("latin-1"))
    assert vars(load_file(str(path)))["word"] == "naïve"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1 / 0", ZeroDivisionError),
        ("def (", SyntaxError),
        ("import no_such_module_anywhere", ModuleNotFoundError),
        ("raise SystemExit(3)", SystemExit),
        ("from tenuto.engine.signals import FAIL\nraise FAIL('at the top')", BaseException),
    ],
)
def test_what_a_file_raises_is_told_from_what_we_raise(tmp_path: Path, text: str, kind: type) -> None:
    with pytest.raises(LoadingFailed) as caught:
        find_flow(write(tmp_path, text), None, None)
    assert isinstance(caught.value.__cause__, kind)
    assert "loading_flow" not in tenuto.context


def test_an_interrupt_while_loading_stays_one(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        find_flow(write(tmp_path, "raise KeyboardInterrupt"), None, None)


# ---------------------------------------------------------------------------------------------------- modules


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with two modules of flows in the present folder."""
    name = f"package_of_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    write(folder, "", "__init__.py")
    write(folder, ONE, "single.py")
    write(folder, TWO, "several.py")
    write(folder, "import no_such_module_anywhere", "broken.py")
    monkeypatch.chdir(tmp_path)
    return name


def test_a_module_is_found_from_the_present_folder(package: str) -> None:  # R-CRUN-1
    assert find_flow(None, f"{package}.single", None).name == "one"
    assert isinstance(sys.modules["<flow>"], types.ModuleType)
    assert sys.modules["<flow>"] is sys.modules[f"{package}.single"]


def test_a_module_may_name_the_flow(package: str) -> None:  # R-CRUN-1
    assert find_flow(None, f"{package}.several.second", None).name == "second"
    assert find_flow(None, f"{package}.several", "first").name == "first"


def test_a_module_that_is_not_there(package: str) -> None:
    error = refused(module="no_such_package.flows")
    assert error.message == "Module 'no_such_package.flows' was not found."
    assert "--path" in error.remedies[0]
    assert refused(module="flows/daily.py").message == "'flows/daily.py' is no name of a module."


def test_an_attribute_that_is_no_flow(package: str) -> None:
    error = refused(module=f"{package}.several.secon")
    assert error.message == f"'{package}.several.secon' is neither a module nor a flow in one."
    assert error.remedies == (f"Did you mean {package}.several.second?",)


def test_a_module_whose_own_import_fails_is_not_said_to_be_missing(package: str) -> None:
    with pytest.raises(LoadingFailed) as caught:
        find_flow(None, f"{package}.broken", None)
    assert "no_such_module_anywhere" in str(caught.value.__cause__)
