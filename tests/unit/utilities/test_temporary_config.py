"""Settings changed for a block."""

import pytest

import tenuto
from tenuto.utilities.configuration import set_temporary_config


def test_settings_are_changed_and_restored() -> None:
    # R-CFG-7
    flows = tenuto.config.flows
    before = tenuto.config.to_dict()
    with set_temporary_config({"flows.checkpointing": "changed", "own.deep.key": 1, "top": 2, "debug": True}):
        assert tenuto.config.flows.checkpointing == "changed"
        assert tenuto.config.own.deep.key == 1
        assert tenuto.config.top == 2
        assert tenuto.context.config.own.deep.key == 1
        tenuto.config.flows["more"] = 3
    assert tenuto.config.to_dict() == before
    assert tenuto.config.flows is flows


def test_settings_are_restored_after_an_error() -> None:
    # R-CFG-7
    before = tenuto.config.to_dict()

    def fail() -> None:
        with set_temporary_config({"flows": {"all": "gone"}}):
            assert tenuto.config.flows == {"all": "gone"}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert tenuto.config.to_dict() == before


def test_configuration_merged_into_the_context_follows() -> None:
    # R-CFG-7, R-CTX-2
    with tenuto.context(config={"own": 1}):
        with set_temporary_config({"own": 2, "flows.checkpointing": "changed"}):
            assert tenuto.context.config.own == 2
            assert tenuto.context.config.flows.checkpointing == "changed"
        assert tenuto.context.config.own == 1
        assert tenuto.context.config.flows.checkpointing is tenuto.config.flows.checkpointing


def test_sections_nest() -> None:
    with set_temporary_config({"own.a": 1}):
        with set_temporary_config({"own.a": 2, "own.b": 3}):
            assert tenuto.config.own == {"a": 2, "b": 3}
        assert tenuto.config.own == {"a": 1}
