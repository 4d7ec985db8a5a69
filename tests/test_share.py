"""From a commit to its users: docs/share.md, literally, against remotes in folders."""

import re
from pathlib import Path

import pytest

from sandbox import Sandbox

PAGE = Path("docs/share.md").read_text()


def block(mark):
    """Return the commands of the page under ``mark``."""
    text = PAGE.partition(f"<!-- {mark} -->\n")[2]
    return re.match(r"```bash\n(.*?)\n```", text, re.DOTALL)[1]


@pytest.mark.long
def test_a_version_goes_from_a_store_to_who_has_no_clone(copy, tmp_path):
    def run(project, mark):
        text = block(mark).replace("s3://BUCKET/FOLDER", str(tmp_path / "store"))
        text = text.replace("URL-OF-THIS-REPOSITORY", str(tmp_path / "origin.git"))
        return project.run("bash", "-ec", text)

    origin = str(tmp_path / "origin.git")
    copy.git("init", "--bare", "--quiet", "--initial-branch=main", origin)
    copy.git("remote", "add", "origin", origin)
    copy.git("push", "--quiet", "--set-upstream", "origin", "main")
    run(copy, "store")
    run(copy, "register")
    assert re.search(r"mnist-lstm .*v1\.0\.0", copy.run("gto", "show"))

    model = (copy.path / "models/model.safetensors").read_bytes()
    onnx = (copy.path / "models/model.onnx").read_bytes()
    copy.set_params({"train": {"seed": 1}})  # a later commit, of no version
    copy.dvc("repro", "train")
    copy.commit("Another seed")
    copy.git("push")
    (tmp_path / "users").mkdir()  # where nothing of the project is
    users = Sandbox(tmp_path / "users")
    run(users, "get")
    assert (users.path / "model.safetensors").read_bytes() == model
    assert (users.path / "model.onnx").read_bytes() == onnx
