#!/usr/bin/env python3
"""Makes the training and validation files of demos/models/pedestrians.safetensors.

  pedestrians_data.py DATA VIDEO OUT

DATA has the sets that the model card names, each as it is published: pennfudan (images, masks, both
named as FudanPed00001), pets09 (gt.txt in the MOT format), camvid (train, trainannot), coco_tiny
(annotations, train2017, val2017) and people (a folder for each source). VIDEO is OpenCV's vtest.avi,
the sequence PETS09-S2L1. OUT gets train.json, penn.json (every fifth image of Penn-Fudan), pets.json
(frames 301, 305, ... 397 of the video), validation.json (both), and the frames as JPEG files.
`file_name`s are absolute. Needs numpy and opencv-python-headless.

An image stands in train.json as often as its set is to weigh; the reader decodes it once.
"""
import csv
import json
import pathlib
import sys

import cv2
import numpy as np

LAST_TRAINING_FRAME, LAST_FRAME = 300, 400
REPEATS = {"penn": 10, "pets": 7, "people": 1, "coco_tiny": 2, "camvid": 2, "background": 50}


class CocoFile:
    def __init__(self):
        self.images, self.annotations = [], []

    def add(self, path, size, objects, repeats=1):
        """objects: dicts with bbox and, if known, segmentation and iscrowd."""
        for _ in range(repeats):
            image_id = len(self.images) + 1
            self.images.append(
                {"id": image_id, "file_name": str(path), "width": size[0], "height": size[1]})
            for entry in objects:
                self.annotations.append(
                    {"iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3], **entry,
                     "id": len(self.annotations) + 1, "image_id": image_id, "category_id": 1})

    def save(self, path):
        path.write_text(json.dumps({
            "images": self.images, "annotations": self.annotations,
            "categories": [{"id": 1, "name": "person"}]}))
        print(f"{path}: {len(self.images)} images, {len(self.annotations)} people")


def run_lengths(mask):
    """Column by column, zeros first."""
    pixels = mask.astype(np.uint8).flatten(order="F")
    ends = np.flatnonzero(np.diff(pixels)) + 1
    edges = np.concatenate([[0], ends, [pixels.size]])
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": counts if pixels[0] == 0 else [0] + counts}


def inside(box, size):
    """The box clipped to the image, or nothing if less than a pixel is left of it."""
    x, y, width, height = box
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width, size[0]), min(y + height, size[1])
    if right - left < 1 or bottom - top < 1:
        return None
    return [left, top, right - left, bottom - top]


def penn_objects(mask):
    objects = []
    for instance in np.unique(mask):
        if instance == 0:
            continue
        own = mask == instance
        rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
        box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1),
               int(rows[-1] - rows[0] + 1)]
        objects.append({"bbox": box, "area": int(own.sum()), "segmentation": run_lengths(own)})
    return objects


def add_penn(folder, train, *validation):
    for index, path in enumerate(sorted((folder / "images").glob("*"))):
        mask = cv2.imread(str(folder / "masks" / f"{path.stem}_mask.png"), cv2.IMREAD_UNCHANGED)
        objects, size = penn_objects(mask), mask.shape[::-1]
        if index % 5 == 0:
            for file in validation:
                file.add(path, size, objects)
        else:
            train.add(path, size, objects, REPEATS["penn"])


def pets_objects(folder, size):
    """By frame, counted from 1."""
    objects = {}
    with open(folder / "gt.txt", newline="") as lines:
        for row in csv.reader(lines):
            box = inside([float(value) for value in row[2:6]], size)
            if box:
                crowd = int(float(row[6]) == 0)
                objects.setdefault(int(row[0]), []).append({"bbox": box, "iscrowd": crowd})
    return objects


def add_pets(folder, video, out, train, *validation):
    capture = cv2.VideoCapture(str(video))
    frames, objects = [], None
    for number in range(1, LAST_FRAME + 1):
        read, frame = capture.read()
        if not read:
            sys.exit(f"{video}: has no frame {number}")
        size = frame.shape[1::-1]
        objects = objects or pets_objects(folder, size)
        training = number <= LAST_TRAINING_FRAME
        if training:
            frames.append(frame)
        if number % 2 if training else number % 4 == 1:
            path = out / f"pets_{number:03d}.jpg"
            cv2.imwrite(str(path), frame, [cv2.IMWRITE_JPEG_QUALITY, 98])
            for file in [train] if training else validation:
                file.add(path, size, objects.get(number, []), REPEATS["pets"] if training else 1)
    path = out / "pets_background.png"
    cv2.imwrite(str(path), np.median(np.stack(frames[::10]), axis=0).astype(np.uint8))
    train.add(path, size, [], REPEATS["background"])


def add_coco(file, folder, train, repeats):
    """The people of a COCO file; its other objects are background."""
    data = json.loads(file.read_text())
    person = next(c["id"] for c in data["categories"] if c["name"] == "person")
    objects = {}
    for entry in data["annotations"]:
        if entry["category_id"] == person:
            objects.setdefault(entry["image_id"], []).append(
                {key: entry[key] for key in ("bbox", "area", "iscrowd", "segmentation")
                 if key in entry})
    for image in data["images"]:
        size = (image["width"], image["height"])
        kept = []
        for entry in objects.get(image["id"], []):
            box = inside(entry["bbox"], size)
            if box:
                kept.append({**entry, "bbox": box})
        train.add(folder / image["file_name"], size, kept, repeats)


def add_camvid(folder, train):
    """Streets as background: their people and riders are not told apart, so they are crowds."""
    for line in (folder / "train.lst").read_text().split("\n"):
        if not line.strip():
            continue
        image, labels = (folder / name for name in line.split())
        people = np.isin(cv2.imread(str(labels), cv2.IMREAD_UNCHANGED), (9, 10))
        people = cv2.dilate(people.astype(np.uint8), np.ones((5, 5)))
        _, _, stats, _ = cv2.connectedComponentsWithStats(people)
        crowds = [{"bbox": [int(v) for v in row[:4]], "iscrowd": 1} for row in stats[1:]]
        train.add(image, people.shape[::-1], crowds, REPEATS["camvid"])


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    data, video, out = (pathlib.Path(name).resolve() for name in sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    train, penn, pets, both = CocoFile(), CocoFile(), CocoFile(), CocoFile()
    add_penn(data / "pennfudan", train, penn, both)
    add_pets(data / "pets09", video, out, train, pets, both)
    for folder in sorted((data / "people").iterdir()):
        if folder.is_dir():
            add_coco(folder / f"people_{folder.name}.json", folder / "images", train,
                     REPEATS["people"])
    for part in ("train2017", "val2017"):
        add_coco(data / "coco_tiny" / "annotations" / f"instances_{part}.json",
                 data / "coco_tiny" / part, train, REPEATS["coco_tiny"])
    add_camvid(data / "camvid", train)
    for file, name in ((train, "train"), (penn, "penn"), (pets, "pets"), (both, "validation")):
        file.save(out / f"{name}.json")


if __name__ == "__main__":
    main()
