"""One way to run a network, in a process of its own: what benchmarks/compare.py takes turns with.

    python peers.py NAME JOB.json        NAME: eager, compile, onnxruntime or openvino

The job names the files (weights, onnx, input, expected), and has threads and dtype. Prints a line of
JSON when it is ready: versions, and the largest error of the features relative to the largest value
expected. Then answers each line "S" of the input with the milliseconds of the runs that fit into S
seconds (at least two), after one that does not count, and the peak of resident memory.
"""
import importlib
import json
import sys
import time
import warnings

import tensors

warnings.filterwarnings("ignore")


class Unavailable(Exception):
    """Why a peer does not take part, in a few words."""


def package(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Unavailable(f"{name} is not installed") from None


def torch_runner(job, wrap=lambda model: model):
    torch = package("torch")
    import hornet_eager
    torch.set_num_threads(job["threads"])
    model = wrap(hornet_eager.load(job["weights"]))
    image = tensors.read(job["input"], tensors.to_torch)["input"]

    def run():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=job["dtype"] == "bf16"):
            return model(image)

    return run, f"PyTorch {torch.__version__}"


def compiled_runner(job):
    """torch.compile of all, or, where the C++ that it generates does not compile (PyTorch 2.11 on AVX2, for the
    resizing of filters), of all but that."""
    torch = package("torch")
    try:
        run, version = torch_runner(job, torch.compile)
        run()
        return run, version
    except Exception as reason:
        import hornet_eager
        print(f"peers.py: torch.compile: {first_error(reason)}", file=sys.stderr)
        torch._dynamo.reset()
        mixer = hornet_eager.GlobalLocalFilter
        mixer.spectrum_weight = torch.compiler.disable(mixer.spectrum_weight)
        run, version = torch_runner(job, torch.compile)
        return run, version + " (torch.compile without the resizing of filters)"


def onnxruntime_runner(job):
    runtime = package("onnxruntime")
    if job["dtype"] != "fp32":
        raise Unavailable(f"no {job['dtype']} on CPUs")
    image = numpy_input(job)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    session = runtime.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])
    names = [f"feat{level}" for level in range(4)]
    return lambda: session.run(names, {"input": image}), f"onnxruntime {runtime.__version__}"


def openvino_runner(job):
    openvino = package("openvino")
    image = numpy_input(job)
    config = {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[job["dtype"]],
              "INFERENCE_NUM_THREADS": job["threads"], "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(job["onnx"], "CPU", config)
    if job["dtype"] == "bf16" and "bf16" not in compiled.get_property("INFERENCE_PRECISION_HINT").to_string():
        raise Unavailable("no bf16 on this processor")  # it would quietly take float32
    request = compiled.create_infer_request()

    def run():
        results = request.infer([image], share_inputs=True, share_outputs=True)
        return [results[f"feat{level}"] for level in range(4)]

    return run, f"OpenVINO {openvino.__version__.split('-')[0]}"


def numpy_input(job):
    package("numpy")
    return tensors.read(job["input"], tensors.to_numpy)["input"]


RUNNERS = {"eager": torch_runner, "compile": compiled_runner, "onnxruntime": onnxruntime_runner,
           "openvino": openvino_runner}


def first_error(reason):
    """One line of what an exception says: a compiler's first error, or its own beginning."""
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    errors = [line.split(" error: ", 1)[1] for line in lines if " error: " in line]
    return (errors or lines)[0][:100]


def largest_error(features, expected):
    errors = []
    for level, value in enumerate(features):
        convert = tensors.to_torch if hasattr(value, "is_floating_point") else tensors.to_numpy
        reference = tensors.read(expected, convert)[f"feat{level}"]
        if value.shape != reference.shape:
            raise Unavailable(f"gives feat{level} of shape {list(value.shape)}")
        errors.append(float(abs(value - reference).max() / abs(reference).max()))
    return max(errors)


def timed(run, seconds):
    run()
    times, began = [], time.perf_counter()
    while len(times) < 2 or time.perf_counter() - began < seconds:
        run_began = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - run_began))
    return times


def peak_memory():
    """In bytes; null where the system does not say."""
    try:
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def answer(value):
    print(json.dumps(value), flush=True)


def main():
    name, path = sys.argv[1:]
    with open(path) as file:
        job = json.load(file)
    try:
        run, version = RUNNERS[name](job)
        answer({"version": version, "error": largest_error(run(), job["expected"])})
    except Unavailable as reason:
        return answer({"missing": str(reason)})
    except Exception as reason:  # a compiler that fails is an answer too
        return answer({"missing": "failed: " + first_error(reason)})
    for line in sys.stdin:
        answer({"ms": timed(run, float(line)), "peak_memory_bytes": peak_memory()})


if __name__ == "__main__":
    main()
