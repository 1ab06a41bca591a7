"""The benchmarks that time something run in their quick form, and their files hold what lessons and README read."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from densenet_course import data

ROOT = Path(__file__).resolve().parent.parent


def quick(name, *options):
    """Run a benchmark in its quick form and read its file."""
    command = [sys.executable, f"benchmarks/{name}.py", "--quick", *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return json.loads((ROOT / f"runs/quick/{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def efficient():
    return quick("efficient", "--repeats", "2")


@pytest.fixture(scope="module")
def sooner():
    return quick("time_to_accuracy")


def test_the_efficient_block_is_compared_in_every_format(efficient):
    assert {case.partition(",")[0] for case in efficient["training"]} == {
        "DenseNet-121 64²", "BC-100-12 28²"}
    assert len(efficient["inference"]) == 2
    for part in ("training", "inference"):
        for result in efficient[part].values():
            for kind, ratios in result["against torchvision"].items():
                forms = {"efficient", "native"} | ({"convolutions"} if kind != "fp32 contiguous" else set())
                assert set(ratios) == forms
                a, b = (result["seconds"][f"{name} {kind}"]["values"] for name in ("torchvision", "native"))
                assert ratios["native"]["values"] == [pytest.approx(x / y, rel=0.02) for x, y in zip(a, b, strict=True)]
            plain = result["against torchvision in fp32 contiguous"]
            assert plain["fp32 contiguous"] == result["against torchvision"]["fp32 contiguous"]


def test_what_the_block_keeps_grows_linearly(efficient):
    kept = efficient["memory"]
    assert kept["slope"]["efficient"] < 1.1 < 1.3 < kept["slope"]["plain"]
    assert kept["BC-100-12 times fewer"] > 3
    assert kept["peak bytes"]["nothing"] < kept["peak bytes"]["efficient"] < kept["peak bytes"]["torchvision"]


def test_the_factors_of_the_ratio_multiply_to_it(sooner):
    assert math.prod(sooner["factors"].values()) == pytest.approx(sooner["times faster"], rel=0.03)
    assert list(sooner["factors"])[:5] == list(sooner["meaning"])
    d2l = sooner["d2l seconds"]
    assert d2l["whole"] == pytest.approx(10 * (469 * d2l["step"] + d2l["evaluation"]), rel=0.01)
    for precisions in sooner["course"].values():
        for runs in precisions.values():
            assert set(runs["accuracy"]) == {"0"} and runs["seconds"]["0"] > 1, "cold: with the start of Python"


def test_d2ls_recipe_is_compared_with_a_recipe_that_ends_no_worse(benchmarks, monkeypatch):
    import time_to_accuracy as script

    monkeypatch.setattr(script, "against_d2l", lambda *given: {"seconds": given[-2]})
    course = {"0.90": {"fp32": {"seconds": {"0": 20, "1": 30}, "accuracy": {"0": 0.91, "1": 0.89}}},
              "0.93": {"fp32": {"seconds": {"0": 100, "1": 120}, "accuracy": {"0": 0.93, "1": 0.94}}}}
    assert script.compare(course, "fp32", None, None, script.Plan(reached=0.89), None)["seconds"] == 25
    found = script.compare(course, "fp32", None, None, script.Plan(reached=0.9), None)
    assert (found["goal"], found["seconds"], found["d2l accuracy"]) == ("0.93", 110, 0.9), "one seed ends too low"
    with pytest.raises(ValueError, match=r"reaches d2l's 95\.00 % with each seed"):
        script.compare(course, "fp32", None, None, script.Plan(reached=0.95), None)


def test_a_sample_of_the_data_need_not_reach_d2ls_accuracy(benchmarks, monkeypatch, tmp_path, in_process):
    import harness
    import time_to_accuracy as script

    for module in (harness, script):
        monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    location = data.prepare(download=False)
    monkeypatch.setattr(script, "prepare", lambda: SimpleNamespace(is_sample=True, root=location.root))
    monkeypatch.setattr(script, "course_run", lambda *_, **__: {"seconds": 2.0, "accuracy": 0.5})
    monkeypatch.setattr(script, "compiled_before", lambda *_: {})
    monkeypatch.setattr(script, "against_d2l", lambda *_: {"times faster": 2.0, "factors": {}})
    in_process(script, "--sample")
    assert json.loads((tmp_path / "runs/quick/time_to_accuracy.json").read_text(encoding="utf-8"))["data"] == "sample"


def test_d2ls_recipe_goes_on_where_it_was_stopped(benchmarks, monkeypatch, tmp_path):
    import d2l_accuracy as script

    begin = script.d2l.DataModule.__init__
    monkeypatch.setattr(begin, "__defaults__", begin.__defaults__)  # the script changes them
    location = data.prepare(download=False)
    at_once = script.train(location, tmp_path / "at once", epochs=2, images=256)
    script.train(location, tmp_path / "stopped", epochs=1, images=256)
    resumed = script.train(location, tmp_path / "stopped", epochs=2, images=256)
    assert resumed == at_once and len(resumed) == 2
    assert 0 < resumed[-1] < 1


def test_the_kernels_are_compiled_before_a_training_and_apart_to_be_timed(benchmarks, monkeypatch, tmp_path):
    import time_to_accuracy as script

    folders, cpu = [], SimpleNamespace(type="cpu")
    monkeypatch.setattr(script.subprocess, "run", lambda command, check, env: folders.append(
        env.get("TORCH_EXTENSIONS_DIR")))
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    assert script.compiled_before(script.Plan(), cpu, tmp_path)["compiling"] >= 0
    assert folders[0] is None and not Path(folders[1]).exists(), "an empty folder, gone again"
    script.compiled_before(script.Plan(compiles=False), cpu, tmp_path)
    script.compiled_before(script.Plan(), cpu, tmp_path)
    assert folders[2:] == [None, None], "timed once"
    assert script.compiled_before(script.Plan(), SimpleNamespace(type="cuda"), tmp_path) == {}


def test_the_techniques_are_each_judged_plain_and_mirrored():
    found = quick("techniques")
    assert {"full recipe", "Muon", "mirror images in the test"} <= set(found["variants"])
    accuracies = [one["accuracy"]["0"] for one in found["variants"].values()]
    assert len(set(accuracies)) > 3, "every technique changes something"
    assert all(seconds[0] > 0 for seconds in found["cpu_seconds"].values())


def test_the_leads_to_a_shorter_training_each_have_their_base_and_their_seconds():
    found = quick("leads")
    assert found["leads"].keys() == found["bases"].keys() == found["changes"].keys()
    for base, leads in found["leads"].items():
        assert list(leads) == list(found["changes"][base])
        for runs in leads.values():
            assert runs["steps"] == 2 and runs["cpu_seconds"]["0"] > 0 and 0 <= runs["accuracy"]["0"] <= 1


def test_every_place_of_a_densenet121_answers_every_question():
    found = quick("densenet121_layers")
    kept = json.loads((ROOT / "benchmarks/results/densenet121_layers.json").read_text(encoding="utf-8"))
    assert found.keys() == kept.keys() and found["networks"].keys() == kept["networks"].keys()
    assert kept["parameters"] == 6_957_834 and len(kept["networks"]["pretrained"]["three tops"]) == 62
    questions = ["seven classes", "three tops", "edge density", "edge pixels", "pixel classes"]
    for name, answers in found["networks"].items():
        assert list(answers) == questions
        places = {len(by_place) for by_place in answers.values()}
        assert places == ({1} if name == "raw pixels" else {12})  # stem, 8 layers, 3 transitions of the small network
    assert found["networks"]["pretrained"] != found["networks"]["fine-tuned"]


@pytest.fixture(scope="module")
def size():
    return quick("accuracy_for_size")


def test_a_small_network_is_trained_for_its_accuracy(size):
    assert 100_000 < size["parameters"] <= 800_000
    assert size["mean"] == pytest.approx(size["runs"]["0"]["accuracy"])
    assert 0 < size["mean"] < 1 and size["runs"]["0"]["seconds"] > 0
    assert not list((ROOT / "runs/quick/accuracy_for_size").glob("*.pt")), "no checkpoint stays behind"


@pytest.mark.usefixtures("benchmarks")
def test_no_network_is_larger_than_the_goal_allows():
    from accuracy_for_size import RECIPES

    from densenet_course import accounting

    assert all(accounting.parameters(recipe["config"]) <= 800_000 for recipe in RECIPES.values())


@pytest.mark.usefixtures("benchmarks")
def test_readme_reads_what_the_benchmarks_write(efficient, sooner, size):
    import tables

    parts = (tables.efficient_rows(efficient), tables.sooner_rows(sooner), tables.size_rows(size))
    rows = [" ".join(row) for part in parts for row in part]
    assert any(f"{100 * size['mean']:.2f} %" in row for row in rows)
    assert any(f"{efficient['memory']['BC-100-12 times fewer']} times as many" in row for row in rows)
    assert any(f"{sooner['times faster']:.0f} times as long" in row for row in rows)


def test_each_timing_stands_beside_its_bounds(efficient):
    assert set(efficient["bounds"]) == set(efficient["training"])
    for case, kinds in efficient["bounds"].items():
        assert set(kinds) == {"fp32 channels-last", "bf16 channels-last"}
        for kind, found in kinds.items():
            seconds = efficient["training"][case]["seconds"]
            assert found["ms, native"] == pytest.approx(1e3 * seconds[f"native {kind}"]["median"], abs=0.1)
            assert found["ms, convolutions alone"] == pytest.approx(
                1e3 * seconds[f"convolutions {kind}"]["median"], abs=0.1)
            speed = efficient["copy GB/s"]["median"]
            assert found["ms for the bytes"] == pytest.approx(1e3 * found["GB"] / speed, rel=0.1)


@pytest.mark.usefixtures("benchmarks")
def test_the_work_of_convolutions_is_what_the_formulas_say():
    import steps

    from densenet_course import accounting
    from densenet_course.models import cifar_config

    operations, _ = steps.convolution_work(steps.torchvision_bc100(), (4, 1, 28, 28))
    config = cifar_config(depth=100, growth_rate=12, in_channels=1)
    assert operations == pytest.approx(2 * 3 * 4 * accounting.multiply_adds(config, 28), rel=0.001)
    pair = steps.nn.Sequential(steps.nn.Conv2d(2, 5, kernel_size=3, padding=1), steps.nn.Conv2d(5, 7, kernel_size=1))
    first, second = 4 * 4 * (2 + 5), 4 * 4 * (5 + 7)
    assert steps.convolution_work(pair, (1, 2, 4, 4)) == (
        2 * 16 * (2 * 2 * 9 * 5 + 3 * 5 * 7), 2 * first + 3 * second)


@pytest.mark.usefixtures("benchmarks")
def test_the_table_on_the_screen(efficient):
    import bench

    found = efficient | {"cold training": {"seconds": 41.4, "accuracy": 0.9123}}
    lines = list(bench.table(found))
    assert lines[0] == "class network, cold: 41 s to a test accuracy of 0.9123"
    assert sum(line.startswith(("training", "inference")) for line in lines) == 12


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("untimed", [False, True])
def test_tasks_take_turns(monkeypatch, untimed):
    import harness
    import meter

    calls, clock = [], iter(range(100))
    monkeypatch.setattr(meter.time, "perf_counter", lambda: calls.append("clock") or next(clock) ** 2)
    found = harness.in_turns({name: lambda name=name: calls.append(name) for name in "AB"}, 2, untimed=untimed)
    assert calls == [call for name in "ABAB" for call in ([name] * untimed + ["clock", name, "clock"])]
    assert found == {"A": [1, 9], "B": [5, 13]}


@pytest.mark.usefixtures("benchmarks")
def test_the_profile_counts_products_of_matrices_as_convolutions():
    import steps
    import torch

    calls, maps = [], torch.ones(64, 64)
    found = steps.profile(lambda: calls.append((maps @ maps, torch.relu(maps))))
    assert len(calls) == 2, "once without the profiler"
    assert {"convolution", "ReLU"} <= set(found) and list(found.values()) == sorted(found.values(), reverse=True)


def test_all_peers_take_turns_in_every_row():
    from densenet_course.efficient.kernels import Operators, native

    rows = quick("peers", "--repeats", "2")["rows"]
    networks = {"torchvision", "plain", "efficient"} | (
        {"native", "torch.compile"} if native() is not Operators else set())
    assert list(rows) == ["training, three layers 8², batch 4, fp32", "inference, three layers 8², batch 1, fp32"]
    for name, row in rows.items():
        assert set(row["seconds"]) - {"OpenVINO"} == networks | ({"ONNX Runtime"} if "inference" in name else set())
        assert set(row["against torchvision"]) == set(row["seconds of the first call"]) == set(row["seconds"])
        assert row["machine"]["processor"] and row["against torchvision"]["torchvision"]["values"] == [1, 1]
        for peer, ratio in row["against torchvision"].items():
            a, b = (row["seconds"][one]["values"] for one in ("torchvision", peer))
            assert ratio["values"] == [pytest.approx(x / y, rel=0.1, abs=0.01) for x, y in zip(a, b, strict=True)]


@pytest.mark.usefixtures("benchmarks")
def test_peers_are_the_same_network():
    import contenders
    import torch

    built, images = contenders.networks("class network 28²"), torch.randn(2, 1, 28, 28)
    tasks = {name: contenders.inference(built[name], images, contenders.FORMATS["fp32"])
             for name in ("torchvision", "plain", "efficient")}
    contenders.refuse_other_logits(tasks, 1e-5)
    tasks["another"] = lambda: 1.1 * tasks["torchvision"]()
    with pytest.raises(ValueError, match=r"another: expected torchvision.s logits, got some that differ by 0\.1 of"):
        contenders.refuse_other_logits(tasks, 0.05)


@pytest.mark.usefixtures("benchmarks")
def test_the_rows_of_peers():
    import peers

    here, there = (peers.rows(peers.CASES, (1, 32), peers.FORMATS, on_gpu=on_gpu) for on_gpu in (False, True))
    assert len(set(map(str, here))) == len(set(map(str, there))) == 4 * 3 * 2
    for found, batch in ((here, 8), (there, 64)):
        assert {(row.task, row.batch) for row in found if "121 224²" in row.case} == {
            ("training", batch), ("inference", 1), ("inference", 32)}
    assert [row.task for row in there] == ["training"] * 8 + ["inference"] * 16, "what is worth most comes first"


@pytest.mark.parametrize("command", ["efficient.py --gpu", "peers.py --gpu", "gpu.py"])
def test_without_a_gpu_there_is_one_line(command):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, *command.split()]
    done = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert done.returncode == 2 and "expected a CUDA GPU, found none" in done.stderr.splitlines()[-1]


@pytest.fixture
def step(tmp_path):
    """Make a step of ``gpu.py`` whose process notes that it was started, and then runs a line."""
    import gpu

    def make(name, line="pass", seconds=60, needs=()):
        noted = f"from pathlib import Path; file = Path({str(tmp_path)!r}, {name!r}); file.open('a').write('.'); {line}"
        return gpu.Step(name, ("-c", noted), ("-c", f"{noted}; file.open('a').write('rehearsed')"), seconds, needs)

    return make


@pytest.mark.usefixtures("benchmarks")
def test_a_step_that_fails_keeps_no_other_from_running(step, tmp_path):
    import gpu

    wanted = [step("good"), step("bad", "raise SystemExit(3)"), step("lacks", needs=("no-such-package",)), step("last")]
    for turn in ("first", "second"):
        found = gpu.run_all(wanted, tmp_path / "kept")
        assert {name: why for name, (_, why) in found.items()} == {
            "good": None, "bad": "exit status 3", "last": None,
            "lacks": "not run: it needs no-such-package; python -m pip install no-such-package"}
        assert (found["good"][0] is None) == (turn == "second"), "what was finished is not repeated"
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {
        "good": ".", "bad": "..", "last": "."}
    lines = list(gpu.report(found))
    assert lines[1].endswith("–  ok, in an earlier run") and lines[2].endswith("FAILED: exit status 3")
    found = gpu.run_all([step("rehearsal")], tmp_path / "kept", rehearse=True)
    assert (tmp_path / "rehearsal").read_text() == ".rehearsed" and found["rehearsal"][1] is None


@pytest.mark.usefixtures("benchmarks")
def test_a_step_ends_when_its_time_is_over(step, tmp_path, monkeypatch):
    import gpu

    monkeypatch.setattr(gpu, "PATIENCE", 0)
    found = gpu.run_all([step("slow", "import time; time.sleep(600)", 0.2), step("next")], tmp_path / "kept")
    assert found["slow"][1].startswith("not done after 0.2 s") and found["next"][1] is None


@pytest.mark.usefixtures("benchmarks")
def test_nothing_that_a_step_started_goes_on_without_it():
    import gpu

    child = ("import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('here', flush=True); "
             "time.sleep(60); print('still here', flush=True)")
    line = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    process = subprocess.Popen([sys.executable, "-c", line], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "here\n"
    gpu.end(process)
    assert process.poll() is not None
    assert process.stdout.read() == "", "it ends when nobody holds it any more"
    process.stdout.close()


@pytest.mark.usefixtures("benchmarks")
def test_the_steps_on_a_gpu_take_under_ten_minutes_and_name_what_there_is():
    import gpu

    from tests import run_all

    wanted = gpu.steps()
    assert list(gpu.NBVAL) == run_all.NBVAL
    assert [step.name for step in wanted] == ["tests", "peers", "accuracy", "lessons", "compiled"]
    assert sum(step.seconds for step in wanted) < 600
    assert not any(gpu.missing(step.needs) for step in wanted), "all is installed here"
    for step in wanted:
        files = [word for word in (*step.command, *step.rehearsal) if word.endswith((".py", ".ipynb"))]
        assert files and all((ROOT / file).is_file() for file in files)
    tests = next(step for step in wanted if step.name == "tests")
    assert {"tests/test_gpu.py", "tests/test_distributed.py", "tests/test_data.py"} <= set(tests.command)


def test_the_table_of_a_gpu_is_rehearsed_on_the_cpu():
    from densenet_course.efficient.kernels import Operators, native

    command = [sys.executable, "benchmarks/peers.py", "--rehearse", "--repeats", "2"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = json.loads((ROOT / "runs/quick/peers_gpu.json").read_text(encoding="utf-8"))["rows"]
    assert {row.partition(",")[0] for row in found} >= {"training", "inference"}
    for name, row in found.items():
        if "compiled" not in name:
            peers = {"torchvision", "plain", "efficient", "two layers"} | (
                {"native"} if native() is not Operators else set())
            assert set(row["seconds"]) == set(row["peak bytes"]) == set(row["images a second"]) == peers
            for peer, seconds in row["seconds"].items():
                count = int(name.split("batch ")[1].split(",")[0])
                assert row["images a second"][peer] == pytest.approx(count / seconds["median"], rel=0.01, abs=0.06)
            small = 4 * 4 * 8 * 8 * (count if "training" in name else 1)  # the maps of one layer, in fp32
            assert all(small < size < 100 * small for size in row["peak bytes"].values()), row["peak bytes"]
            assert row["peak bytes"]["two layers"] < row["peak bytes"]["torchvision"] or "inference" in name


@pytest.fixture
def in_process(monkeypatch, benchmarks):
    """Let a benchmark's ``main`` run here, where everything is imported."""
    def run(module, *options):
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *options])
        module.main()

    return run


def test_compiled_rows_stand_beside_the_others(in_process, monkeypatch):
    import peers as script

    from densenet_course.efficient.kernels import Operators, native

    monkeypatch.setattr(script, "fresh", script.measure)
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)  # to be set back behind the test
    in_process(script, "--rehearse", "--compiled", "--repeats", "1")
    found = json.loads((ROOT / "runs/quick/peers_gpu.json").read_text(encoding="utf-8"))["rows"]
    compiled = {name: row for name, row in found.items() if name.endswith(", compiled")}
    assert {name.partition(",")[0] for name in compiled} == {"training", "inference"}
    peers = {"torchvision", "efficient"} | ({"native", "torch.compile"} if native() is not Operators else set())
    assert all(set(row["seconds"]) == peers for row in compiled.values())


def test_a_row_that_fails_is_named_and_the_others_are_measured(in_process, monkeypatch):
    import peers

    def measure(row, way, folder):
        if row.task == "training":
            raise RuntimeError("out of memory")
        return {"against torchvision": {}}

    monkeypatch.setattr(peers, "fresh", measure)
    with pytest.raises(SystemExit, match=r"training, three layers .*: FAILED: RuntimeError: out of memory"):
        in_process(peers, "--rehearse", "--repeats", "1")
    found = json.loads((ROOT / "runs/quick/peers_gpu.json").read_text(encoding="utf-8"))["rows"]
    assert [name.partition(",")[0] for name in found if "compiled" not in name] == ["inference"]


def test_the_courses_recipes_alone_are_timed_on_a_gpu(in_process, monkeypatch):
    import time_to_accuracy

    trained = []

    def course_run(goal, seed, plan, *, allow_bf16):
        trained.append(goal)
        return {"seconds": 1.5, "accuracy": float(goal)}

    monkeypatch.setattr(time_to_accuracy, "course_run", course_run)
    in_process(time_to_accuracy, "--quick", "--course")
    assert trained == ["0.91", "0.93"]
    found = json.loads((ROOT / "runs/quick/time_to_accuracy.json").read_text(encoding="utf-8"))
    assert found["course"]["0.93"][found["precision"]] == {"seconds": {"0": 1.5}, "accuracy": {"0": 0.93}}
    assert "d2l seconds" not in found
