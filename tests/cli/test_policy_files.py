from __future__ import annotations

from pathlib import Path

import pytest

from cli.policy_files import PolicyFilesError, read_folder

GOOD = "name: good\nfeatures: [x, y]\n"


def mistakes(folder: Path) -> list[tuple[str, int, int, str]]:
    with pytest.raises(PolicyFilesError) as caught:
        read_folder(folder)
    return [(m.file.name, m.mark.line, m.mark.column, m.text) for m in caught.value.mistakes]


def test_a_folder_gives_its_policies_by_file_name(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("name: one\nfeatures: [x]\n")
    (tmp_path / "a.yml").write_text("name: two\nfeatures: [x]\n")
    (tmp_path / "notes.md").write_text("nothing: [\n")
    assert [file.spec.name for file in read_folder(tmp_path)] == ["two", "one"]
    assert [file.spec.name for file in read_folder(tmp_path / "b.yaml")] == ["one"]


def test_every_mistake_of_every_file_is_listed_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "name: tips\n"
        "features: [x, y]\n"
        "ridge: -1\n"
        "algoritm: linucb\n"
        "reward:\n"
        "  range: [0, 1]\n"
        "  outcomes: {done: 7}\n"
        "  window: soon\n"
        "interactions:\n"
        "  - [x, z]\n"
        "ridge: 2\n"
    )
    (tmp_path / "b.yaml").write_text("name: [\n")
    (tmp_path / "c.yaml").write_text(GOOD)
    (tmp_path / "d.yaml").write_text("")
    found = mistakes(tmp_path)
    assert [(file, line, column) for file, line, column, _ in found] == [
        ("a.yaml", 3, 1),
        ("a.yaml", 4, 1),
        ("a.yaml", 7, 14),
        ("a.yaml", 8, 3),
        ("a.yaml", 10, 9),
        ("a.yaml", 11, 1),
        ("b.yaml", 2, 1),
        ("d.yaml", 1, 1),
    ]
    texts = [text for _, _, _, text in found]
    for text, said in zip(
        texts,
        ["ridge: ", "algorithm", "reward.outcomes.done: ", "reward.window: ", "interactions[0][1]: ", "twice", "not YAML", "empty"],
        strict=True,
    ):
        assert said in text


def test_a_mistake_reads_as_editors_and_terminals_link_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nfeatures: [x]\nintercept: 3\n")
    with pytest.raises(PolicyFilesError) as caught:
        read_folder(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/a.yaml:3:1: intercept: ")


def test_a_name_belongs_to_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text("features: [x]\nname: good\n")
    ((file, line, column, text),) = mistakes(tmp_path)
    assert (file, line, column) == ("b.yaml", 2, 1)
    assert "a.yaml" in text


def test_a_value_yaml_cannot_read_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nfeatures: [x]\nridge: !!python/name:os.system x\n")
    assert [(line, column) for _, line, column, _ in mistakes(tmp_path)] == [(3, 8)]


def test_what_is_not_a_mapping_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- name: a\n")
    assert [(line, column) for _, line, column, _ in mistakes(tmp_path)] == [(1, 1)]


def test_a_policy_file_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(
        f"name: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{tmp_path}/ran']]"
    )
    with pytest.raises(PolicyFilesError):
        read_folder(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_bytes_that_are_no_text_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"name: \xff\n")
    assert "not UTF-8" in mistakes(tmp_path)[0][3]


def test_a_folder_without_policies_is_a_mistake(tmp_path: Path) -> None:
    assert "no *.yaml" in mistakes(tmp_path)[0][3]
    assert "no such folder" in mistakes(tmp_path / "missing")[0][3]


def test_the_policies_of_this_repository_are_whole() -> None:
    tips, hours = read_folder(Path("policy_repo"))
    assert (tips.spec.name, tips.spec.feature_service, tips.spec.scope, tips.spec.arm) == ("tips", "tips_v1", "user_id", "task")
    assert hours.spec.interactions == tuple(
        (hour, other) for hour in ("hour_sin", "hour_cos") for other in ("is_overdue", "task_age", "priority")
    )
