"""The client, as long as there is no server."""

import pytest

from tenuto import Client
from tenuto.client import Secret
from tenuto.exceptions import ClientError, ServerRequired
from tenuto.utilities.configuration import set_temporary_config


def test_making_a_client_asks_nobody_and_takes_what_is_configured() -> None:
    # R-API-1
    with set_temporary_config({"cloud.api": "http://server:4200", "cloud.api_key": "k"}):
        assert (Client().api_server, Client().api_key) == ("http://server:4200", "k")
        mine = Client("http://mine:4200", "mine", tenant_id="ignored")
        assert (mine.api_server, mine.api_key) == ("http://mine:4200", "mine")
        assert repr(mine) == "<Client: http://mine:4200>"
        assert repr(Client(api_key="canary")).count("canary") == 0
        assert Secret("X").client.api_server == "http://server:4200"


@pytest.mark.parametrize(
    "name", ["create_flow_run", "create_project", "get_flow_run_info", "get", "register"]
)
def test_methods_say_that_there_is_no_server(name: str) -> None:
    # R-API-6
    method = getattr(Client(), name)
    with pytest.raises(ServerRequired, match=f"^Client.{name} needs a server, to which this version"):
        method("anything", flow_id=1)


def test_there_is_no_graphql() -> None:
    # R-API-8
    with pytest.raises(ClientError, match="There is no GraphQL in Tenuto"):
        Client().graphql({"query": {"flow_run": {"id"}}})


def test_unknown_methods_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'Client' object has no attribute 'create_flow_runs'"):
        _ = Client().create_flow_runs
    assert not hasattr(Client(), "__len__")
