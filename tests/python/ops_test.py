"""The ops as Python sees them: registrations, gradients, torch.compile, autocast.

    python tests/python/ops_test.py build/lib/libhornet_backbone.so
"""
import shutil
import sys
import unittest
import warnings

warnings.filterwarnings("ignore", message=".*NumPy.*")
import torch

FORMATS = (torch.contiguous_format, torch.channels_last)
ops = torch.ops.hornet


def gnconv_arguments(widths, height, width, dtype=torch.float32, images=2, grad=True):
    torch.manual_seed(len(widths))
    new = lambda *shape: torch.randn(*shape, dtype=dtype, requires_grad=grad)
    pairs = list(zip(widths, widths[1:]))
    return (
        new(images, widths[0], height, width),
        new(images, sum(widths), height, width),
        [new(out, into, 1, 1) for into, out in pairs],
        [new(out) for _, out in pairs],
        1 / 3,
    )


def filter_arguments(height, width, dtype=torch.float32, images=2, grad=True):
    torch.manual_seed(height)
    x = torch.randn(images, 3, height, width, dtype=dtype, requires_grad=grad)
    return x, torch.randn(3, 5, 4, 2, dtype=dtype, requires_grad=grad)


def plain_gnconv(p, q, weights, biases, scale):
    first, *gates = (q * scale).split([p.shape[1], *(w.shape[0] for w in weights)], 1)
    p = p * first
    for weight, bias, gate in zip(weights, biases, gates):
        p = torch.conv2d(p, weight, bias) * gate
    return p


def plain_filter(x, weight):
    spectrum = torch.fft.rfft2(x, norm="ortho")
    resized = torch.nn.functional.interpolate(
        weight.permute(3, 0, 1, 2), spectrum.shape[2:], mode="bilinear", align_corners=True
    )
    product = spectrum * torch.complex(resized[0], resized[1])
    return torch.fft.irfft2(product, s=x.shape[2:], norm="ortho")


def tensors(arguments):
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            yield argument
        elif isinstance(argument, list):
            yield from argument


def output_and_gradients(function, arguments):
    output = function(*arguments)
    weights = torch.arange(output.numel(), dtype=output.dtype).cos().view(output.shape)
    return output, *torch.autograd.grad((output * weights).sum(), list(tensors(arguments)))


class OpsTest(unittest.TestCase):
    def setUp(self):
        torch._dynamo.reset()

    def expect_same(self, function, other, arguments, **tolerance):
        for found, expected in zip(
            output_and_gradients(function, arguments),
            output_and_gradients(other, arguments),
            strict=True,
        ):
            torch.testing.assert_close(found, expected, **tolerance)


class Registrations(OpsTest):
    def check(self, op, arguments):
        torch.library.opcheck(op.default, arguments)

    def test_gnconv(self):
        for order in range(1, 6):
            with self.subTest(order=order):
                self.check(ops.gnconv, gnconv_arguments([2**k for k in range(order)], 7, 5))
        self.check(ops.gnconv, gnconv_arguments([4, 8], 13, 21, torch.float64))
        self.check(ops.gnconv, gnconv_arguments([4, 8], 1, 9, images=1, grad=False))

    def test_gnconv_of_channels_last_maps_and_slices(self):
        p, q, *rest = gnconv_arguments([4, 8], 7, 5)
        last = [map.detach().to(memory_format=torch.channels_last) for map in (p, q)]
        self.check(ops.gnconv, (*(map.requires_grad_() for map in last), *rest))
        both = torch.randn(2, 16, 7, 5)
        self.check(ops.gnconv, (both[:, :4], both[:, 4:], *rest))

    def test_global_filter(self):
        for height, width in ((7, 5), (13, 22), (1, 9), (5, 6), (5, 1)):
            with self.subTest(height=height, width=width):
                self.check(ops.global_filter, filter_arguments(height, width))
        self.check(ops.global_filter, filter_arguments(7, 5, torch.float64))
        self.check(ops.global_filter, filter_arguments(7, 5, torch.bfloat16, grad=False))

    def test_interpolate_filter(self):
        weight = filter_arguments(1, 1)[1]
        for height, width in ((7, 5), (5, 6), (1, 1)):
            self.check(ops.interpolate_filter, (weight, height, width))


class Values(OpsTest):
    def test_gnconv(self):
        for format in FORMATS:
            p, q, *rest = gnconv_arguments([4, 8, 16], 13, 21)
            p, q = p.to(memory_format=format), q.to(memory_format=format)
            self.expect_same(ops.gnconv, plain_gnconv, (p, q, *rest), atol=1e-4, rtol=1e-4)

    def test_global_filter(self):
        for size in ((7, 5), (13, 22), (1, 9)):
            self.expect_same(ops.global_filter, plain_filter, filter_arguments(*size))

    def test_a_filter_resized_once_is_the_same(self):
        x, weight = filter_arguments(13, 22)
        resized = lambda x, weight: ops.global_filter(x, ops.interpolate_filter(weight, 13, 22))
        self.expect_same(resized, ops.global_filter, (x, weight))

    def test_gradients_are_those_of_differences(self):
        def gnconv(p, q, *rest):
            return ops.gnconv(p, q, rest[:2], rest[2:], 1 / 3)

        p, q, weights, biases, _ = gnconv_arguments([1, 2, 4], 2, 3, torch.float64, images=1)
        inputs = (p, q, *weights, *biases)
        self.assertTrue(torch.autograd.gradcheck(gnconv, inputs))
        self.assertTrue(torch.autograd.gradgradcheck(gnconv, inputs))
        for size in ((3, 4), (2, 5)):
            inputs = filter_arguments(*size, torch.float64, images=1)
            self.assertTrue(torch.autograd.gradcheck(ops.global_filter, inputs))
            self.assertTrue(torch.autograd.gradgradcheck(ops.global_filter, inputs))

    def test_errors_name_the_op_and_what_was_found(self):
        p, q, weights, biases, scale = gnconv_arguments([4, 8], 7, 5)
        with self.assertRaisesRegex(RuntimeError, "hornet::gnconv: q must have 12 channels"):
            ops.gnconv(p, q[:, 1:], weights, biases, scale)
        with self.assertRaisesRegex(RuntimeError, "hornet::global_filter: .* a filter for each"):
            ops.global_filter(q, filter_arguments(7, 5)[1])


class Autocast(OpsTest):
    def test_gnconv_is_computed_in_the_lower_precision(self):
        arguments = gnconv_arguments([4, 8, 16], 7, 5)
        with torch.autocast("cpu", torch.bfloat16):
            y = ops.gnconv(*arguments)
        self.assertEqual(y.dtype, torch.bfloat16)
        torch.testing.assert_close(y.float(), plain_gnconv(*arguments), atol=0.2, rtol=0.1)
        y.sum().backward()
        for tensor in tensors(arguments):
            self.assertEqual(tensor.grad.dtype, torch.float32)

    def test_global_filter_stays_in_float32(self):
        x, weight = filter_arguments(7, 5)
        with torch.autocast("cpu", torch.bfloat16):
            y = ops.global_filter(x.bfloat16(), weight)
        torch.testing.assert_close(y, ops.global_filter(x.bfloat16().float(), weight))


class Compiled(OpsTest):
    """Models of both ops, compiled whole: fullgraph=True refuses graph breaks."""

    @staticmethod
    def model(x, weight, f, bias):
        q = ops.global_filter(x, weight)
        p = x[:, :1]
        return ops.gnconv(p * 2, q, [f], [bias], 1 / 3).sin()

    def arguments(self, height, width):
        _, _, (f,), (bias,), _ = gnconv_arguments([1, 2], 1, 1)
        return (*filter_arguments(height, width), f, bias)

    def expect_compiled(self, sizes, **options):
        compiled = torch.compile(self.model, fullgraph=True, **options)
        for height, width in sizes:
            with self.subTest(height=height, width=width):
                arguments = self.arguments(height, width)
                self.expect_same(compiled, self.model, arguments, atol=1e-4, rtol=1e-4)

    def test_forward_and_backward(self):
        self.expect_compiled([(7, 5), (13, 22)], backend="aot_eager", dynamic=False)

    def test_changing_sizes(self):
        with torch._dynamo.config.patch(error_on_recompile=True):
            self.expect_compiled([(7, 9), (13, 22), (9, 31)], backend="aot_eager", dynamic=True)

    def test_under_autocast(self):
        def run(*arguments):
            with torch.autocast("cpu", torch.bfloat16):
                return self.model(*arguments)

        compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
        self.expect_same(compiled, run, self.arguments(7, 5))

    @unittest.skipUnless(shutil.which("c++") or shutil.which("g++"), "inductor needs a compiler")
    def test_inductor(self):
        self.expect_compiled([(7, 5)])


if __name__ == "__main__":
    torch.ops.load_library(sys.argv.pop(1))
    unittest.main()
