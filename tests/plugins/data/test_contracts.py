"""Every data source keeps to the contract."""

import json

import datasets
import pytest

from rlhfkit.testing import DataSourceContract
from tests.plugins.data.test_hh_rlhf import GOOD

ROWS = {"prompts": [{"prompt": "Hi"}], "pairs": GOOD}
COMPONENTS = {
    "quickstart": [],
    "files": ["data.files.prompts={prompts}"],
    "hub": ["data.hub.prompts={hub}"],
    "hh_rlhf": ["data.hh_rlhf.path={pairs}"],
}


class TestDataSource(DataSourceContract):
    @pytest.fixture(autouse=True, params=COMPONENTS)
    def _chosen(self, request, make_context, tmp_path, monkeypatch):
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        paths = {"hub": tmp_path / "hub"}
        paths["hub"].mkdir()
        for name, rows in ROWS.items():
            paths[name] = tmp_path / f"{name}.jsonl"
            paths[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
        (paths["hub"] / "train.jsonl").write_text(paths["prompts"].read_text())
        self.name = request.param
        options = [option.format(**paths) for option in COMPONENTS[self.name]]
        self.context = make_context(f"data=[{self.name}]", *options)

    def make(self):
        return self.context.build_all("data")[self.name]
