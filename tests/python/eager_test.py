"""benchmarks/hornet_eager.py gives the numbers of `hornet forward`, or comparing their times would mean
little: on fixtures with 7x7 convolutions and with global filters, dense and as classifiers, and on
random weights that it writes itself. Odd sizes, two images.

    python eager_test.py build/bin/hornet tests/data/fixtures
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest
import warnings

warnings.filterwarnings("ignore", message=".*NumPy.*")
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import hornet_eager
import tensors

# Deep random networks amplify rounding: between two float32 implementations, more than this is wrong.
TOLERANCE = 1e-3


class EagerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        torch.manual_seed(1)
        self.images = torch.randn(2, 3, 101, 133)

    def forward(self, weights):
        given, result = self.folder / "in.safetensors", self.folder / "out.safetensors"
        tensors.write(given, "input", self.images, self.images.data_ptr())
        subprocess.run([PROGRAM, "forward", "--force", "--weights", weights, "--input", given, "--output", result],
                       check=True, stderr=subprocess.DEVNULL)
        return tensors.read(result, tensors.to_torch)

    def expect_same(self, weights, name):
        expected = self.forward(weights)
        with torch.inference_mode():
            features = hornet_eager.load(weights)(self.images)
        self.assertEqual(len(features), 4)
        for level, value in enumerate(features):
            reference = expected[f"{name}{level}"]
            self.assertEqual(value.shape, reference.shape)
            error = (value - reference).abs().max() / reference.abs().max()
            self.assertLessEqual(error, TOLERANCE, f"{weights} {name}{level}")

    def test_classifiers(self):
        for fixture in ("hornet_tiny_gf_s1", "hornet_base_7x7_s3"):
            self.expect_same(FIXTURES / fixture / "model.pth", "stage")

    def test_dense_backbones(self):
        for fixture in ("upernet_hornet_tiny_gf_s2", "fpn_mask_rcnn_hornet_small_7x7_s1"):
            self.expect_same(FIXTURES / fixture / "model.pth", "feat")

    def test_random_weights(self):
        torch.manual_seed(2)
        model = hornet_eager.HorNet(16, (1, 1, 2, 1), filters=hornet_eager.FILTERS["gf"])
        path = self.folder / "random.pth"
        torch.save({"model": model.state_dict()}, path)
        self.expect_same(path, "feat")


if __name__ == "__main__":
    FIXTURES = pathlib.Path(sys.argv.pop(2))
    PROGRAM = sys.argv.pop(1)
    unittest.main()
