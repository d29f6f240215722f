"""A run and its relabeling without Ray: results depend on the bytes and tags of an image, instead of networks."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from rich.console import Console

from irnet_ray import tables
from irnet_ray.classes import Classes
from irnet_ray.commands.pipeline import run_plan
from irnet_ray.commands.plan import Plan
from irnet_ray.commands.relabel import RelabelResult, plan_relabel, relabel
from irnet_ray.config.load import load_config
from irnet_ray.engine.reuse import Reused, reuse_shard
from irnet_ray.inputs.folder import read
from irnet_ray.masks import encode_cam, encode_mask, encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Source
from irnet_ray.stages.graph import STAGES
from irnet_ray.tables import Row

SHARDS = 2
SIDE = 8
Photos = dict[str, tuple[int, str]]  # name ▶ its grey, and its tags as tags.csv has them


def write_photos(data: Path, photos: Photos) -> Path:
    """Write a data folder with exactly these images, each of one grey. Grey 0 cannot be decoded."""
    shutil.rmtree(data, ignore_errors=True)
    (data / "images").mkdir(parents=True)
    for name, (grey, _) in photos.items():
        Image.new("L", (SIDE, SIDE), grey).save(data / "images" / name)
        if not grey:
            (data / "images" / name).write_bytes(b"no image")
    lines = [f"{name},{tags}\n" for name, (_, tags) in photos.items()]
    (data / "tags.csv").write_text("image,tags\n" + "".join(lines))
    return data


def label_row(image: Row, made_by: str, vocabulary: list[str]) -> Row:
    """Stands in for the label by IRNet: each tag gets some rows of the image."""
    seed = int(
        hashlib.blake2b(repr((image["content"], image["tags"], made_by)).encode(), digest_size=4).hexdigest(), 16
    )
    semantic, instances = np.zeros((SIDE, SIDE), np.uint8), []
    for number, tag in enumerate(image["tags"][: SIDE // 2], start=1):
        semantic[2 * number - 2 : 2 * number, : seed % SIDE] = number
        mask = semantic == number
        if mask.any():
            named = {"class_name": tag, "class_id": vocabulary.index(tag), "score": seed % 16 / 16, "quality": 0.5}
            instances.append({**named, **encode_mask(mask)})
    same = {key: image[key] for key in ("image_id", "uri", "tags", "width", "height")}
    return {**same, "instances": instances, "semantic": encode_png(semantic), "fingerprint": made_by}


def seed_row(image: Row, vocabulary: list[str]) -> Row:
    """Stands in for the seed by the classifier."""
    cam = encode_cam(np.full((len(image["tags"]), 2, 2), int(image["content"][:4], 16) / 2**16))
    ids = [vocabulary.index(tag) for tag in image["tags"]]
    confident = encode_png(np.zeros((SIDE, SIDE), np.uint8))
    return {**cam, "image_id": image["image_id"], "uri": image["uri"], "class_ids": ids, "attention": None,
            "confident_map": confident}  # fmt: skip


def compute(plan: Plan, reused: Reused | None = None, stop_after: int | None = None) -> dict[str, list[str]]:
    """Fill the stages of a plan like a run. Returns the images that each stage computed.

    Args:
        plan: the plan to fill. Its trained networks become small files.
        reused: rows to reuse.
        stop_after: stop after this number of computed images, like a run that was killed.
    """
    plan.write_inputs()
    for stage in ("classifier", "irnet"):
        if not plan.is_done(STAGES[stage]):
            plan.stage(stage).write("weights.safetensors", plan.names[stage].encode())
    if STAGES["prototypes"] in plan.order and not plan.is_done(STAGES["prototypes"]):
        for shard in range(plan.shard_count):
            plan.shards("prototypes").seal(shard, tables.PROTOTYPES, [])
    images = {row["image_id"]: row for row in plan.table.to_pylist()}
    computed: dict[str, list[str]] = {"seeds": [], "labels": []}
    for stage, schema in (("seeds", tables.SEEDS), ("labels", tables.LABELS)):
        shards = plan.shards(stage)
        for shard in sorted(set(range(plan.shard_count)) - shards.sealed()):
            ids = plan.ids_by_shard.get(shard, [])
            if reused is not None and stage in reused.results:
                reuse_shard(reused.results[stage], shards, schema, shard, reused.uris.get(shard, {}))
            for image_id in shards.missing(shard, ids):
                shards.commit(shard, schema, [_row(stage, images[image_id], plan)])
                computed[stage].append(image_id)
                if stop_after is not None and len(computed[stage]) >= stop_after:
                    return computed
            shards.seal(shard, schema, ids)
    return computed


def _row(stage: str, image: Row, plan: Plan) -> Row:
    if image["width"] is None:
        error = {"stage": "seeds", "kind": "unreadable", "message": f"{image['uri']} cannot be decoded."}
        return {"image_id": image["image_id"], "uri": image["uri"], "error": error}
    if stage == "seeds":
        return seed_row(image, plan.vocabulary)
    return label_row(image, plan.made_by, plan.vocabulary)


def first(data: Path, out: Path, classes: Classes | None = None) -> str:
    """Make a finished run like `label`. Returns its version."""
    classes = classes or Classes()
    table = read(data, SHARDS, classes=classes).table
    plan = Plan(Folder(str(out)), load_config(None, {"backbone": "lite0"}), table, SHARDS, classes=classes.names)
    compute(plan)
    run_plan(plan, Source(str(data), None, classes=classes), None, None, Console(file=io.StringIO()))
    return plan.version


def night(out: Path, **named: Any) -> tuple[RelabelResult, dict[str, list[str]], str]:
    """One relabeling. Returns its result, the images that each stage computed, and its output."""
    found = plan_relabel(
        Folder(str(out)), named.get("data"), named.get("retrain", False), named.get("retrain_share", 0.2)
    )
    computed = {"seeds": [], "labels": []} if found.is_settled else compute(found.plan, found.reused)
    printed = io.StringIO()
    accept = ["no-absence"]  # some nights see one tag alone
    return relabel(out, accept=accept, console=Console(file=printed), **named), computed, printed.getvalue()


def rows(out: Path, table: str) -> dict[str, Row]:
    """The rows of a table of the current version by image_id: `labels`, `errors`, `images` or `seeds`."""
    current = Folder(str(out)).read_json("current.json")
    stage, kind = (table, "rows") if table != "errors" else ("labels", "errors")
    folder = Shards(Folder(str(out)).folder("stages", current["stages"][stage]), current["shards"]).folder.folder(kind)
    parts = pa.concat_tables([folder.read_table(name) for name in folder.files()])
    return {row["image_id"]: row for row in parts.to_pylist()}


def files(out: Path) -> dict[str, bytes]:
    """Bytes of the sealed parts of the current version, by stage and name."""
    current = Folder(str(out)).read_json("current.json")
    found = {}
    for stage in ("images", "seeds", "labels"):
        folder = out / "stages" / current["stages"][stage]
        for path in sorted([*folder.glob("rows/*"), *folder.glob("errors/*")]):
            found[f"{stage}/{path.parent.name}/{path.name}"] = path.read_bytes()
    return found
