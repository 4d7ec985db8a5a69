"""From a commit to its users: docs/share.md, literally, against remotes in folders."""

import re

import pytest

pytestmark = pytest.mark.long


def block(project, mark):
    """Return the commands of docs/share.md under ``mark``."""
    page = project.text("docs/share.md").partition(f"<!-- {mark} -->\n")[2]
    return re.match(r"```bash\n(.*?)\n```", page, re.DOTALL)[1]


def test_a_version_goes_from_a_store_to_who_has_no_clone(copy, tmp_path):
    def run(project, mark):
        text = block(project, mark).replace("s3://BUCKET/FOLDER", str(tmp_path / "store"))
        text = text.replace("URL-OF-THIS-REPOSITORY", str(tmp_path / "origin.git"))
        return project.run("bash", "-ec", text)

    copy.git(
        "init", "--bare", "--quiet", "--initial-branch=main", str(tmp_path / "origin.git")
    )
    copy.git("remote", "add", "origin", str(tmp_path / "origin.git"))
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
    users = copy.copy(tmp_path / "users")  # where nothing of the project is needed
    for folder in ("models", ".dvc", ".git"):
        copy.run("rm", "-r", str(users.path / folder))
    run(users, "get")
    assert (users.path / "models/model.safetensors").read_bytes() == model
    assert (users.path / "model.onnx").read_bytes() == onnx
