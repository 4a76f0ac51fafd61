"""Finding models by what is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

import cnnzoo as cz
from cnnzoo import registry


def test_no_such_source_or_family() -> None:
    with pytest.raises(cz.ArgumentError, match="`source`: expected one of torchvision, timm"):
        cz.list_models(source="torchvison")
    with pytest.raises(cz.ArgumentError, match="`family`: expected one of ResNet, "):
        cz.list_models(family="resnot")


def test_limits_are_on_the_source_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def smaller_in_timm(name: str, source: str | None) -> registry.ModelInfo:
        info = replace(facts(name, None), sources=("torchvision", "timm"))
        return replace(info, params=1_000, macs=2_000) if source == "timm" else info

    facts = registry._cached_info
    monkeypatch.setattr(registry, "_cached_info", smaller_in_timm)
    everything = cz.list_models()
    assert cz.list_models(source="timm", max_params=1e3) == everything
    assert cz.list_models(source="timm", max_macs=2e3) == everything
    assert cz.list_models(source="timm", max_macs=1e3) == []
    assert cz.list_models(source="torchvision", max_params=1e3) == []
    assert cz.list_models(max_params=1e3) == []
