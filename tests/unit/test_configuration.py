"""Settings: sources and their order, types, interpolation, task defaults."""

import copy
import os
import pickle
from datetime import timedelta
from pathlib import Path

import pytest

import tenuto
from tenuto.configuration import (
    Config,
    config,
    create_user_config,
    home_path,
    interpolate_config,
    load_configuration,
    load_default_config,
    string_to_type,
    to_environment_variables,
    validate_config,
)
from tenuto.exceptions import ConfigurationError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder and working folder, and an environment without settings of the machine."""
    for name in [name for name in os.environ if name.startswith(("TENUTO__", "PREFECT__"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("TENUTO__HOME_DIR", str(home))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return home


def test_later_sources_win_over_earlier_ones(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # R-CFG-1: defaults < user file < backend file < project file < environment
    assert load_default_config().logging.level == "INFO"
    (home / "config.toml").write_text('[own]\na = 1\nb = 1\nc = 1\nd = 1\n[logging]\nlevel = "DEBUG"\n')
    (home / "backend.toml").write_text("[own]\nb = 2\nc = 2\nd = 2\n")
    Path("tenuto.toml").write_text("[own]\nc = 3\nd = 3\n")
    monkeypatch.setenv("TENUTO__OWN__D", "4")
    loaded = load_default_config()
    assert loaded.own.to_dict() == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert loaded.logging.level == "DEBUG"
    assert loaded.logging.datefmt == "%Y-%m-%d %H:%M:%S%z"


def test_paths_of_user_and_backend_files_come_from_the_environment(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R-CFG-1
    (tmp_path / "mine.toml").write_text("x = 1\n")
    (tmp_path / "theirs.toml").write_text("y = 2\n")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("TENUTO__USER_CONFIG_PATH", "$FOLDER/mine.toml")
    monkeypatch.setenv("PREFECT__BACKEND_CONFIG_PATH", str(tmp_path / "theirs.toml"))
    loaded = load_default_config()
    assert (loaded.x, loaded.y) == (1, 2)


def test_missing_setting_is_attribute_and_key_error() -> None:
    # R-CFG-2
    settings = Config({"flows": {"checkpointing": True}})
    assert settings.flows.checkpointing is True
    assert settings["flows"]["checkpointing"] is True
    assert settings.get("nothing") is None
    assert settings.flows.get("nothing", 5) == 5
    for error in (AttributeError, KeyError):
        with pytest.raises(error, match="nothing"):
            _ = settings.flows.nothing
        with pytest.raises(error, match="nothing"):
            _ = settings["nothing"]
    assert not hasattr(settings, "nothing")


def test_mappings_put_into_a_config_become_nested_settings() -> None:
    # R-CFG-2, R-REAL (config.update of users)
    settings = Config(a={"b": 1, "c": 2})
    settings.update({"a": {"b": 3}, "d": {"e": {"f": 4}}})
    assert settings.a.to_dict() == {"b": 3, "c": 2}
    assert settings.d.e.f == 4
    settings.g = {"h": 5}
    settings.setdefault("i", {"j": 6})
    assert (settings.g.h, settings.i.j) == (5, 6)


def test_config_survives_copying_and_pickling() -> None:
    settings = Config(a={"b": [1]}, secrets={"x": "y"})
    for other in (copy.deepcopy(settings), pickle.loads(pickle.dumps(settings))):
        assert other == settings
        assert other.a.b == [1]
        other.a.b.append(2)
    assert settings.a.b == [1]


def test_environment_sets_keys_of_any_depth(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # R-CFG-3
    monkeypatch.setenv("TENUTO__ONE__TWO__THREE", "deep")
    monkeypatch.setenv("TENUTO__TOP", "level")
    monkeypatch.setenv("TENUTO__CONTEXT__SECRETS__My_Key", "Value")
    monkeypatch.setenv("TENUTO__CONTEXT__Other_Key", "1")
    loaded = load_default_config()
    assert loaded.one.two.three == "deep"
    assert loaded.top == "level"
    assert dict(loaded.context.secrets) == {"My_Key": "Value"}
    assert loaded.context.other_key == 1


def test_own_environment_prefix_beats_the_compatible_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # R-CFG-3
    monkeypatch.setenv("PREFECT__FLOWS__CHECKPOINTING", "true")
    monkeypatch.setenv("PREFECT__LOGGING__LEVEL", "ERROR")
    monkeypatch.setenv("TENUTO__LOGGING__LEVEL", "DEBUG")
    loaded = load_default_config()
    assert loaded.flows.checkpointing is True
    assert loaded.logging.level == "DEBUG"


def test_environment_variable_naming_a_section_is_ignored_with_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENUTO__LOGGING", "DEBUG")
    with pytest.warns(UserWarning, match="LOGGING is ignored"):
        loaded = load_default_config()
    assert loaded.logging.level == "INFO"


def test_dictionary_literal_in_the_environment_adds_its_items(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENUTO__CONTEXT", "{'n': 1, 'secrets': {'X': 'y'}}")
    loaded = load_default_config()
    assert loaded.context.n == 1
    assert loaded.context.secrets.X == "y"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("1", 1),
        ("1.5", 1.5),
        ("-2", -2),
        ("[1, 2]", [1, 2]),
        ('{"x": 1}', {"x": 1}),
        ("None", None),
        ("'5'", "5"),
        ("text", "text"),
        ("Nonesuch", "Nonesuch"),
        ("127.0.0.1", "127.0.0.1"),
        ("[%(asctime)s] x", "[%(asctime)s] x"),
        ("...", "..."),
        ("1if", "1if"),
        ("", ""),
    ],
)
def test_texts_are_typed(text: str, value: object) -> None:
    # R-CFG-4
    typed = string_to_type(text)
    assert typed == value
    assert type(typed) is type(value)


def test_texts_in_files_are_typed_and_other_values_keep_their_type(home: Path) -> None:
    # R-CFG-4
    (home / "config.toml").write_text('a = "1"\nb = 1\nc = "true"\nd = [1, "2"]\n')
    loaded = load_default_config()
    assert (loaded.a, loaded.b, loaded.c, loaded.d) == (1, 1, True, [1, "2"])


def test_variables_and_tilde_are_expanded_repeatedly(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # R-CFG-4
    monkeypatch.setenv("INNER", "deep")
    monkeypatch.setenv("OUTER", "$INNER/er")
    monkeypatch.setenv("NUMBER", "7")
    monkeypatch.setenv("TENUTO__A", "${OUTER}/x")
    monkeypatch.setenv("TENUTO__B", "~/x")
    monkeypatch.setenv("TENUTO__C", "$NUMBER")
    (home / "config.toml").write_text('d = "$OUTER"\n')
    loaded = load_default_config()
    assert loaded.a == "deep/er/x"
    assert loaded.b == os.path.expanduser("~/x")
    assert loaded.c == 7
    assert loaded.d == "deep/er"


def test_home_folder_is_expanded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENUTO__HOME_DIR")
    monkeypatch.setenv("HOME", str(home))
    assert load_default_config().home_dir == str(home / ".tenuto")
    assert home_path() == Path(config.home_dir)


def test_references_to_other_keys_are_replaced() -> None:
    # R-CFG-5
    settings = interpolate_config(
        {
            "a": {"n": 5, "text": "n is ${a.n}", "whole": "${a.n}"},
            "chain": "${a.text}!",
            "unknown": "<${no.such.key}>",
            "empty": "${no.such.key}",
        }
    )
    assert settings.a.text == "n is 5"
    assert settings.a.whole == 5
    assert settings.chain == "n is 5!"
    assert settings.unknown == "<>"
    assert settings.empty == ""


def test_references_in_a_circle_end_after_ten_levels() -> None:
    # R-CFG-5
    nested = {f"k{level}": f"${{k{level + 1}}}" for level in range(9)}
    settings = interpolate_config({**nested, "k9": "end", "x": "${y}", "y": "${x}"})
    assert settings.k0 == "end"
    assert settings.x in ("${x}", "${y}")


def test_keys_named_as_dictionary_methods_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # R-CFG-6
    with pytest.raises(ValueError, match=r'^Invalid config key: "keys"$'):
        validate_config({"a": {"b": {"keys": 1}}})
    monkeypatch.setenv("TENUTO__SECTION__ITEMS", "1")
    with pytest.raises(ValueError, match=r'^Invalid config key: "items"$'):
        load_default_config()


def test_task_defaults_are_made_ready_for_tasks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # R-CFG-8: the part of it that configuration does
    defaults = load_default_config().tasks.defaults
    assert (defaults.max_retries, defaults.retry_delay, defaults.timeout) == (0, None, None)
    assert defaults.max_retries is not False
    monkeypatch.setenv("TENUTO__TASKS__DEFAULTS__MAX_RETRIES", "3")
    monkeypatch.setenv("TENUTO__TASKS__DEFAULTS__RETRY_DELAY", "1.5")
    monkeypatch.setenv("TENUTO__TASKS__DEFAULTS__TIMEOUT", "10")
    defaults = load_default_config().tasks.defaults
    assert (defaults.max_retries, defaults.retry_delay, defaults.timeout) == (3, timedelta(seconds=1.5), 10)
    monkeypatch.setenv("TENUTO__TASKS__DEFAULTS__RETRY_DELAY", "soon")
    with pytest.raises(
        ValueError, match=r"tasks\.defaults\.retry_delay must be false or a number, not 'soon'"
    ):
        load_default_config()


def test_defaults_are_those_of_the_documentation(home: Path) -> None:
    # spec table of R-CFG-8 ff. and the settings of results and history
    loaded = load_default_config()
    assert loaded.debug is False
    assert loaded.backend == "local"
    assert loaded.logging.to_dict() == {
        "level": "INFO",
        "format": "[%(asctime)s] %(levelname)s - %(name)s | %(message)s",
        "datefmt": "%Y-%m-%d %H:%M:%S%z",
        "log_attributes": [],
        "extra_loggers": [],
    }
    assert loaded.flows.checkpointing is False
    assert loaded.flows.keep_results == "last"
    assert loaded.flows.keep_results_max_mb == 256
    assert loaded.flows.failed_over_skipped is False
    assert loaded.flows.eager_edge_validation is False
    assert loaded.flows.run_on_schedule is True
    assert loaded.engine.executor.default_class == "tenuto.executors.LocalExecutor"
    assert loaded.history.to_dict() == {
        "results_days": 14,
        "results_max_gb": 10,
        "journals_days": 30,
        "journals_max_gb": 5,
        "min_free_percent": 10,
    }
    assert loaded.results.pickle == "own"
    assert loaded.journal.durability == "relaxed"
    assert loaded.cloud.use_local_secrets is True


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = ", "it is not TOML"),
        ('logging = "DEBUG"', "'logging' is a section"),
        (b"a = '\xff'", "not UTF-8"),
    ],
)
def test_unusable_file_is_one_error_that_names_it(home: Path, text: str | bytes, problem: str) -> None:
    path = home / "config.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        load_default_config()
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_missing_base_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_configuration(tmp_path / "none.toml")


def test_files_are_loaded_without_environment_when_no_prefix_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENUTO__A", "2")
    monkeypatch.setenv("MINE__A", "3")
    path = tmp_path / "base.toml"
    path.write_text("a = 1\n")
    assert load_configuration(path).a == 1
    assert load_configuration(path, env_var_prefix="MINE").a == 3


def test_secrets_are_not_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENUTO__CONTEXT__SECRETS__TOKEN", "canary-1")
    monkeypatch.setenv("TENUTO__CONTEXT__SECRETS__AWS", "{'ACCESS_KEY': 'canary-2'}")
    monkeypatch.setenv("TENUTO__CLOUD__API_KEY", "canary-3")
    loaded = load_default_config()
    assert loaded.context.secrets.TOKEN == "canary-1"
    for shown in (
        repr(loaded),
        str(loaded),
        repr(loaded.context),
        repr(loaded.context.secrets),
        repr(loaded.cloud),
    ):
        assert "canary" not in shown
    assert "'api_key': '****'" in repr(loaded.cloud)
    assert "'use_local_secrets': True" in repr(loaded.cloud)
    assert "****" in repr(loaded.context.secrets.AWS)


def test_settings_travel_to_other_processes_as_variables() -> None:
    settings = Config(a={"b": 1, "c": {}}, context={"secrets": {"My_Key": "x"}}, d=True)
    assert to_environment_variables(settings) == {
        "TENUTO__A__B": "1",
        "TENUTO__CONTEXT__SECRETS__My_Key": "x",
        "TENUTO__D": "True",
    }
    assert to_environment_variables(settings, include=["a.b"], prefix="OTHER") == {"OTHER__A__B": "1"}
    with pytest.raises(KeyError, match=r"a\.x"):
        to_environment_variables(settings, include=["a.x"])


def test_user_file_starts_as_a_copy_of_the_defaults(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    create_user_config(path)
    assert load_configuration(path).logging == load_default_config().logging
    with pytest.raises(ValueError, match="exists already"):
        create_user_config(path)


def test_package_offers_the_one_configuration() -> None:
    # R-INV-2
    assert tenuto.config is config
    assert tenuto.context.config is config
