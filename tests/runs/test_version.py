"""The content of `current.json`: what counts as a version, what each release recorded, which version is the base."""

from __future__ import annotations

from typing import Any

import pytest

from irnet_ray.runs.version import ORIGIN, Source, Version

STAGES = {"images": "images-1", "seeds": "seeds-1", "labels": "labels-1"}
CONTENT: dict[str, Any] = {"version": "1", "stages": STAGES, "shards": 2, "vocabulary": ["cat"], "config": {"seed": 3}}
DATA = {"folder": "/photos", "limit": None}
STUDENT = {"kind": "deeplab", "labels": "0", "model": "/out/models/deeplab"}


@pytest.mark.parametrize(
    "more", [{}, {"data": DATA}, {"student": STUDENT}, {"of a later release": [1]}, {"data": None}]
)
def test_what_publish_writes_is_a_version(more: dict[str, Any]) -> None:
    assert Version.is_one({**CONTENT, **more})


@pytest.mark.parametrize("name", ["version", "stages", "shards", "vocabulary", "config"])
@pytest.mark.parametrize("value", [None, 1.5, "absent"])
def test_an_entry_that_is_missing_or_of_another_type_is_damage(name: str, value: Any) -> None:
    damaged = {key: kept for key, kept in CONTENT.items() if key != name}
    assert not Version.is_one(damaged if value == "absent" else {**damaged, name: value})


@pytest.mark.parametrize(
    "entries",
    [
        {"stages": {"images": "images-1"}},
        {"stages": {**STAGES, "labels": "../elsewhere"}},
        {"stages": {**STAGES, "seeds": 5}},
        {"vocabulary": ["cat", None]},
        {"shards": 0},
        {"data": "/photos"},
        {"data": {"folder": "/photos"}},
        {"data": {**DATA, "classes": [1]}},
        {"data": {**DATA, "synonyms": {"hound": 1}}},
        {"names": ["cat"]},
        {"category_ids": [["cat", 1]]},
        {"student": {"kind": "deeplab"}},
        {"base": {"version": "0"}},
    ],
)
def test_other_damage_is_no_version(entries: dict[str, Any]) -> None:
    assert not Version.is_one({**CONTENT, **entries})


@pytest.mark.parametrize("found", [None, [], "1", 5])
def test_another_json_value_is_no_version(found: Any) -> None:
    assert not Version.is_one(found)


def test_what_is_not_recorded_is_none_or_unknown() -> None:
    version = Version(CONTENT)
    assert (version.images, version.labels, version.errors, version.made_by) == (None, None, None, None)
    assert version.data is None and version.student is None and version.code == "unknown"


def test_entries_have_names() -> None:
    version = Version.of(**CONTENT, data=DATA, student=None, images=5, labels=4, errors=1, made_by="0")
    assert "student" not in version.content and (version.id, version.shard_count) == ("1", 2)
    assert (version.images, version.labels, version.errors, version.made_by) == (5, 4, 1, "0")
    assert version.data == Source("/photos", None) and version.config == {"seed": 3}
    made_by = version.with_entries(student=STUDENT).student
    assert made_by is not None and (made_by.kind, made_by.labels, made_by.model) == tuple(STUDENT.values())


def test_entries_of_a_later_release_survive() -> None:
    later = Version({**CONTENT, "of a later release": [1]})
    assert later.with_entries(images=5).content == {**CONTENT, "of a later release": [1], "images": 5}


def test_a_release_without_revisions_has_the_first_of_every_stage_or_one_that_no_stage_has() -> None:
    assert Version({**CONTENT, "code": ORIGIN}).revision("seeds") == 1
    for older in ({"code": "0.5.3"}, {}):
        assert Version({**CONTENT, **older}).revision("seeds") == 0
    today = Version({**CONTENT, "code": "0.6.0", "revisions": {"seeds": 3}})
    assert (today.revision("seeds"), today.revision("a stage of a later release")) == (3, 0)


def test_a_version_that_trained_its_own_networks_is_its_own_base() -> None:
    version = Version(CONTENT)
    assert version.base is version


def test_the_base_stays_the_same_however_many_versions_use_its_networks() -> None:
    first = Version({**CONTENT, "code": ORIGIN, "revisions": {"seeds": 1}, "images": 5})
    second = Version({**CONTENT, "version": "2", "code": "0.6.0", "vocabulary": ["cat"], "base": first.identity()})
    third = Version({**CONTENT, "version": "3", "code": "0.7.0", "base": second.base.identity()})
    for later in (second, third):
        assert later.base.identity() == first.identity()
        assert (later.base.id, later.base.code, later.base.revision("seeds")) == ("1", ORIGIN, 1)
        assert later.base.vocabulary == ["cat"] and later.base.images is None


def test_a_base_without_code_and_config_has_those_of_the_version_that_uses_it() -> None:
    old = Version({**CONTENT, "version": "2", "code": "0.5.2", "base": {"version": "1", "stages": STAGES}})
    assert (old.base.id, old.base.code, old.base.config) == ("1", "0.5.2", {"seed": 3})


@pytest.mark.parametrize(
    "source", [Source("/photos", None), Source("/train.csv", 7, "/photos", ","), Source("s3://b/x", None, None, "none")]
)
def test_where_images_came_from_is_kept(source: Source) -> None:
    version = Version.of(version="v", stages={}, shards=1, vocabulary=[], config={}, data=source.to_json())
    assert version.data == source
    assert set(version.content["data"]) - {"folder", "limit"} == {
        name for name in ("images", "separator") if getattr(source, name) is not None
    }
