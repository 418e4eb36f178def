"""Writes tests/data/coco_eval.json: random data sets and results, and pycocotools' figures.

    pip install pycocotools==2.0.11 numpy
    python tests/pipelines/coco_eval.py > tests/data/coco_eval.json

A case has "data" (images, categories, annotations), "results", and the twelve figures for boxes
under "bbox" and for masks under "segm" (from results without boxes: with them, pycocotools would
take their area for that of the mask). Objects are polygons, in parts or not, or run lengths as text
or list; crowds, images without objects or detections, categories with gaps in their ids and without
objects, equal scores, overlaps exactly on a threshold, and more than 100 detections occur.

Under "polygons" is what cocoapi fills: corners inside and outside of the image, or repeated.

    python tests/pipelines/coco_eval.py SEED CASES POLYGONS     # others of them
"""
import contextlib
import io
import json
import random
import sys

import numpy
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def rectangle(rng, width, height, sizes=(12, 20, 30, 60, 110)):
    """Whole or half pixels, so that some overlaps are 1/2 or 3/4 to the bit."""
    w, h = rng.choice(sizes), rng.choice(sizes)
    w, h = min(w, width - 1), min(h, height - 1)
    return [rng.randrange(2 * (width - w)) / 2, rng.randrange(2 * (height - h)) / 2, w, h]


def blob(rng, box):
    """A star-shaped polygon that touches a box."""
    x, y, w, h = box
    corners = rng.randrange(3, 8)
    points = []
    for i in range(corners):
        turn = 2 * numpy.pi * (i + rng.uniform(-0.3, 0.3)) / corners
        points += [round(x + w / 2 * (1 + numpy.cos(turn)), 2),
                   round(y + h / 2 * (1 + numpy.sin(turn)), 2)]
    return points


def jitter(rng, box):
    return [v + rng.choice([-4, -2, -1, 0, 0, 0, 1, 2]) * (1 if i < 2 else 0.5)
            for i, v in enumerate(box)]


def corners_of(box):
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def encode(polygons, image):
    parts = coco_mask.frPyObjects(polygons, image["height"], image["width"])
    return coco_mask.merge(parts)


def as_list(code):
    pixels = coco_mask.decode(code).flatten(order="F")
    counts, current = [0], 0
    for pixel in pixels:
        if pixel != current:
            counts.append(0)
            current = pixel
        counts[-1] += 1
    return {"size": code["size"], "counts": counts}


def as_text(code):
    return {"size": code["size"], "counts": code["counts"].decode()}


def annotation(rng, image, category):
    box = rectangle(rng, image["width"], image["height"])
    polygons = [corners_of(box) if rng.random() < 0.6 else blob(rng, box)]
    if rng.random() < 0.2:
        polygons.append(blob(rng, rectangle(rng, image["width"], image["height"])))
    crowd = rng.random() < 0.15
    kind = rng.choice(["list", "text"]) if crowd else rng.choice(["polygon"] * 4 + ["text"])
    code = encode(polygons, image)
    mask = {"list": as_list, "text": as_text}.get(kind, lambda _: polygons)(code)
    area = float(coco_mask.area(code)) * rng.choice([1, 1, 0.9])
    return {"image_id": image["id"], "category_id": category, "bbox": box, "area": round(area, 2),
            "iscrowd": int(crowd), "segmentation": mask, "polygon": polygons[0]}


def result(rng, image, categories, objects):
    found = [o for o in objects if o["image_id"] == image["id"]]
    if found and rng.random() < 0.75:
        near = rng.choice(found)
        box = jitter(rng, near["bbox"])
        category = near["category_id"] if rng.random() < 0.9 else rng.choice(categories)
        moved = [new - old for new, old in zip(box, near["bbox"])][:2]
        polygon = near["polygon"] if rng.random() < 0.8 else blob(rng, box)
        polygon = [v + moved[i % 2] for i, v in enumerate(polygon)]
    else:
        box, category = rectangle(rng, image["width"], image["height"]), rng.choice(categories)
        polygon = corners_of(box)
    return {"image_id": image["id"], "category_id": category, "bbox": box,
            "score": rng.choice([0.9, 0.5, 0.25, round(rng.random(), 3)]),
            "segmentation": as_text(encode([polygon], image))}


def small_result(rng, image, category):
    box = rectangle(rng, image["width"], image["height"], (8, 12))
    return {"image_id": image["id"], "category_id": category, "bbox": box,
            "score": rng.randrange(10) / 10,
            "segmentation": as_text(encode([corners_of(box)], image))}


def figures(data, results, kind):
    if kind == "segm":
        results = [{k: v for k, v in r.items() if k != "bbox"} for r in results]
    truth = COCO()
    truth.dataset = json.loads(json.dumps(data))
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [round(float(v), 9) for v in evaluation.stats]


def case(rng, crowded):
    ids = rng.sample(range(1, 90), rng.randrange(1, 4))
    categories = [{"id": i, "name": f"class {i}"} for i in ids]
    images = [{"id": i, "width": rng.choice([117, 160]), "height": rng.choice([93, 144])}
              for i in rng.sample(range(1, 999), rng.randrange(1, 5))]
    objects = []
    for image in images:
        for _ in range(rng.choice([0, 1, 3, 4])):
            objects.append(annotation(rng, image, rng.choice(ids)))
    results = []
    for image in images:
        for _ in range(rng.choice([0, 2, 3, 6])):
            results.append(result(rng, image, ids, objects))
    for _ in range(100 if crowded else 0):
        results.append(small_result(rng, images[0], ids[0]))
    for i, o in enumerate(objects):
        o["id"] = 900000000000 + i
        del o["polygon"]
    if not objects or not results:
        return case(rng, crowded)
    rng.shuffle(results)
    data = {"images": images, "categories": categories, "annotations": objects}
    return {"data": data, "results": results, "bbox": figures(data, results, "bbox"),
            "segm": figures(data, results, "segm")}


def polygon_case(rng):
    width, height = rng.choice([1, 7, 33, 101]), rng.choice([1, 5, 32, 57])
    spread = rng.choice([0.3, 1, 3])
    digits = rng.choice([0, 1, 2])
    points = []
    for _ in range(rng.randrange(3, 9)):
        point = [round(rng.uniform(-spread, 1 + spread) * side, digits) for side in (width, height)]
        points += points[-2:] if points and rng.random() < 0.1 else point
    code = coco_mask.frPyObjects([points], height, width)[0]
    return {"size": [height, width], "corners": points, "counts": code["counts"].decode()}


def main():
    seed, cases, polygons = map(int, sys.argv[1:]) if len(sys.argv) > 1 else (6, 24, 50)
    rng = random.Random(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        all_cases = [case(rng, crowded=i == 0) for i in range(cases)]
        all_polygons = [polygon_case(rng) for _ in range(polygons)]
    lines = [",\n".join(json.dumps(c, separators=(",", ":")) for c in part)
             for part in (all_cases, all_polygons)]
    print('{"made_by":"tests/pipelines/coco_eval.py, pycocotools 2.0.11","cases":[\n' + lines[0] +
          '\n],"polygons":[\n' + lines[1] + "\n]}")


main()
