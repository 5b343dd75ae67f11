"""An adopter's first five minutes, and the last: a project with its own table, on a running Supabase."""

from pathlib import Path

from .conftest import Adopter, adopter_in, install_into

DOCUMENT = "# A plan\n\nWörter, 計画.\n".encode()


def test_a_user_signs_up_approves_and_gets_the_agent(adopter: Adopter) -> None:
    """The project has been installed into and pushed to by the commands of the README, and by nothing else."""
    ada, eve = adopter.sign_up(), adopter.sign_up()
    approved = ada.approve("s1", DOCUMENT)
    assert approved["created"] is True
    (agent,) = ada.rows("agent")
    assert (agent["id"], agent["status"]) == (approved["agent_id"], "building")
    assert [build["status"] for build in ada.rows("build")] == ["queued"]
    assert eve.rows("agent") == []
    assert adopter.sql("select id, body from public.note") == [(1, "theirs")]
    assert "up to date" in adopter.ran("greenlight", "install", "--check")


def test_leaving(tmp_path: Path) -> None:
    """Export, uninstall, push, and the two calls of docs/deploy.md that remove documents and bucket."""
    with adopter_in(tmp_path) as adopter:
        install_into(adopter)
        ada = adopter.sign_up()
        ada.approve("s1", DOCUMENT)

        project = ("--project", str(adopter.directory))
        assert adopter.greenlight("uninstall", *project).exit_code == 0
        refused = adopter.push()
        assert refused.returncode != 0
        assert "the bucket plans holds documents" in refused.stdout
        assert len(ada.rows("agent")) == 1
        (adopter.directory / "supabase/migrations").joinpath(
            max(path.name for path in (adopter.directory / "supabase/migrations").iterdir())
        ).unlink()

        adopter.ran("greenlight", "export", "--user", ada.id, "--to", "ada")
        assert adopter.greenlight("uninstall", "--keep-documents", *project).exit_code == 0
        adopter.pushed()
        assert ada.http.get("/rest/v1/agent", headers=ada.headers).status_code == 404
        assert adopter.sql("select count(*) from storage.objects") == [(1,)]
        listed = ada.http.post(
            "/storage/v1/object/list/plans", json={"prefix": f"{ada.id}/s1"}, headers=ada.headers
        )
        assert listed.json() == []

        key = adopter.stack.keys.secret
        secret = {"apikey": key, "Authorization": f"Bearer {key}"}
        adopter.http.post("/storage/v1/bucket/plans/empty", headers=secret).raise_for_status()
        adopter.http.delete("/storage/v1/bucket/plans", headers=secret).raise_for_status()
        assert adopter.sql("select from storage.buckets") == []
        assert adopter.sql("select id, body from public.note") == [(1, "theirs")]
        assert next((adopter.directory / "ada/documents/s1").iterdir()).read_bytes() == DOCUMENT
