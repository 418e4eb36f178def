"""Writes tests/data/sahi_merge.json: random boxes, and what SAHI makes of them.

    pip install sahi==0.12.8
    python tests/pipelines/sahi_merge.py > tests/data/sahi_merge.json

A case has a threshold; boxes as [x1, y1, x2, y2, score, label]; under "nms" the indices that
NMSPostprocess keeps by IoU; under "ios" the boxes that GreedyNMMPostprocess makes by IoS, both
class by class. Boxes come in clusters, so that merged boxes grow over and away from others.
Coordinates are quarters of a pixel and scores differ; no pair lies on the brink of the threshold.
"""
import json
import random

from sahi.postprocess.backends import set_postprocess_backend
from sahi.postprocess.combine import GreedyNMMPostprocess, NMSPostprocess
from sahi.postprocess.utils import calculate_bbox_ios, calculate_bbox_iou
from sahi.prediction import ObjectPrediction

BRINK = 1e-4


def random_box(rng, centre):
    x, y = (c + rng.gauss(0, 12) for c in centre)
    width, height = (rng.choice([8, 20, 40, 70]) * rng.uniform(0.6, 1.5) for _ in range(2))
    corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return [round(4 * c) / 4 for c in corners]


def random_boxes(rng, count, clusters, labels):
    centres = [(rng.uniform(80, 900), rng.uniform(80, 900)) for _ in range(clusters)]
    scores = rng.sample(range(100, 10000), count)
    corners = []
    for _ in range(count):
        again = corners and rng.random() < 0.4  # the same object, found once more
        corners.append([c + round(rng.gauss(0, 6)) / 4 for c in rng.choice(corners)] if again
                       else random_box(rng, rng.choice(centres)))
    return [c + [score / 10000, rng.randrange(labels)] for c, score in zip(corners, scores)]


def predictions(boxes):
    return [ObjectPrediction(bbox=b[:4], score=b[4], category_id=b[5], category_name=str(b[5]))
            for b in boxes]


def is_clear(boxes, threshold):
    if any(b[2] - b[0] < 1 or b[3] - b[1] < 1 for b in boxes):
        return False
    found = predictions(boxes)
    return all(abs(metric(a, b) - threshold) > BRINK
               for i, a in enumerate(found) for b in found[:i]
               for metric in (calculate_bbox_iou, calculate_bbox_ios))


def results(postprocess, boxes):
    return [[*map(float, found.bbox.to_xyxy()), found.score.value, found.category.id]
            for found in postprocess(predictions(boxes))]


def case(rng, threshold, count, clusters, labels):
    while True:
        boxes = random_boxes(rng, count, clusters, labels)
        if is_clear(boxes, threshold):
            break
    kept = results(NMSPostprocess(threshold, "IOU", class_agnostic=False), boxes)
    merged = results(GreedyNMMPostprocess(threshold, "IOS", class_agnostic=False), boxes)
    return {"threshold": threshold, "boxes": boxes,
            "nms": sorted(boxes.index(box) for box in kept), "ios": merged}


def main():
    set_postprocess_backend("numpy")
    rng = random.Random(3)
    shapes = [(12, 2, 1), (40, 4, 3), (80, 5, 2)]
    cases = [case(rng, threshold, *shape)
             for threshold in (0.2, 0.5, 0.8) for shape in shapes for _ in range(2)]
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    print('{"made_by":"tests/pipelines/sahi_merge.py, SAHI 0.12.8","cases":[\n' + lines + "\n]}")


main()
