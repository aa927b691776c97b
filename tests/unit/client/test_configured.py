import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tenuto.client.configured import ServerAddress, configured_server, is_down
from tenuto.configuration import config
from tenuto.exceptions import ConfigurationError
from tenuto.journal.process import this_process
from tests.fakes.ports import free_port

HERE = "http://127.0.0.1:4200"


@pytest.fixture
def home(tenuto_home: Path) -> Path:
    tenuto_home.mkdir()
    return tenuto_home


def server_json(home: Path, **changes: Any) -> None:
    """Leave what a server of this process would leave."""
    me = this_process()
    known = {
        "url": HERE,
        "pid": me.pid,
        "boot_id": me.boot_id,
        "start_ticks": me.start_ticks,
        "host": me.host,
    }
    (home / "server.json").write_text(json.dumps(known | changes))


def test_nothing_is_configured_where_nothing_was_said(tenuto_home: Path) -> None:
    assert configured_server() is None


def test_server_that_runs_on_this_machine_is_configured_with_its_key(home: Path) -> None:
    server_json(home)
    (home / "server.key").write_text("secret\n")
    assert configured_server() == ServerAddress(HERE, "secret")
    assert "secret" not in repr(configured_server())


@pytest.mark.parametrize(
    "changes",
    [{"start_ticks": 1}, {"pid": 2**22 + 1}, {"boot_id": "another"}, {"host": "elsewhere"}, {"pid": None}],
    ids=["another process of that number", "no process", "before the boot", "another machine", "malformed"],
)
def test_server_that_is_gone_is_not_configured(home: Path, changes: dict[str, Any]) -> None:
    server_json(home, **changes)
    assert configured_server() is None


def test_half_a_file_is_none(home: Path) -> None:
    (home / "server.json").write_text('{"url": "http:')
    assert configured_server() is None


def test_setting_wins_over_the_server_of_this_machine(home: Path) -> None:
    server_json(home)
    config.cloud.api = "https://tenuto.example/"
    assert configured_server() == ServerAddress("https://tenuto.example")


@pytest.mark.parametrize(
    "url",
    [
        "https://tenuto.example",
        "http://127.0.0.1.example:4200",
        "http://localhost@tenuto.example",
        "http://[::2]:1",
    ],
)
def test_key_of_the_local_server_is_sent_to_no_other_machine(home: Path, url: str) -> None:  # S-6
    (home / "server.key").write_text("secret")
    config.cloud.api = url
    assert configured_server() == ServerAddress(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4200", "http://localhost", "http://[::1]:4200/tenuto"])
def test_key_of_the_local_server_is_for_all_its_addresses(home: Path, url: str) -> None:
    (home / "server.key").write_text("secret")
    config.cloud.api = url
    assert configured_server() == ServerAddress(url, "secret")


def test_keys_are_looked_for_in_the_settings_then_among_the_logins(home: Path) -> None:
    (home / "server.key").write_text("local")
    (home / "auth.toml").write_text(
        f'["{HERE}/"]\napi_key = "of a login"\n["https://other"]\napi_key = "x"\n'
    )
    config.cloud.api = HERE
    assert configured_server() == ServerAddress(HERE, "of a login")
    config.cloud.api_key = "of the settings"
    assert configured_server() == ServerAddress(HERE, "of the settings")


def test_logins_that_cannot_be_read_are_told(home: Path) -> None:
    (home / "auth.toml").write_text("[[")
    config.cloud.api = HERE
    with pytest.raises(ConfigurationError, match="auth.toml' cannot be used: it is not TOML"):
        configured_server()


def test_only_a_server_of_this_machine_that_nobody_listens_for_is_known_to_be_down() -> None:
    assert is_down(ServerAddress(f"http://127.0.0.1:{free_port()}"))
    assert not is_down(ServerAddress("http://tenuto.invalid:4200"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert not is_down(ServerAddress(f"http://127.0.0.1:{listening.getsockname()[1]}"))
