"""The subcommands explain, check, minimize, race, bench and schedules, through the real console script; races."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fallline as fl
from fallline import problems
from fallline.cli import main
from fallline.page import write_page
from fallline.race import Race, race, race_digits

COMMAND = Path(sys.executable).with_name("fallline")
if not COMMAND.exists():
    pytest.skip("the console script is not installed beside this Python", allow_module_level=True)


def run(*arguments, code=0, **options):
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def answer(*arguments, code=0, **options):
    """Run with --json and return the data, which must be valid JSON, also for a run that fails."""
    return json.loads(run(*arguments, "--json", code=code, **options).stdout)


MODULE = """
import numpy as np

def f(x):
    return float((x**2).sum())

def df(x):
    return 2*x

def wrong(x):
    return 2*x*np.array([1, 1.5])

def noisy(x):
    return float(np.random.normal())

def broken(x):
    return {}["key"]

def tree(p):
    return float((p["w"]**2).sum() + p["b"])

def dtree(p):
    return {"w": 2*p["w"], "b": np.ones(())}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.py").write_text(MODULE)
    (tmp_path / "unfinished.py").write_text("def f(x:\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(5)\n")
    (tmp_path / "needs.py").write_text("import no_such_module\n")
    (tmp_path / "text.npz").write_text("no file of NumPy's")
    (tmp_path / "empty.npy").write_text("")
    (tmp_path / "folder.npz").mkdir()
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    return tmp_path


# ---- explain


def test_explain():
    shown = run("explain", "3*x**3*z - y**2 + 5*z + 2*y*z").stdout
    assert shown.strip() == str(fl.calculus.explain("3*x**3*z - y**2 + 5*z + 2*y*z"))
    assert run("explain", "x*sin(x)", "--style", "every-rule").stdout.count("rule") >= 3
    assert run("explain", "x**2", "--wrt", "x", "--latex").stdout.startswith("\\begin{aligned}")
    assert (
        run("explain", "x**2*y", "--wrt", "x", "--at", "x=3,y=2").stdout.splitlines()[-1]
        == "at x = 3, y = 2: 2·3·2 = 12"
    )
    data = answer("explain", "x**2*y")
    assert data["expression"] == "x**2*y"
    assert {name: one["result"] for name, one in data["derivatives"].items()} == {"x": "2*x*y", "y": "x**2"}
    assert data["derivatives"]["x"]["lines"][-1] == {"expression": "2*x*y", "rule": ""}
    assert answer("explain", "x**3*y", "--wrt", "x,y")["derivatives"]["x,y"]["result"] == "3*x**2"


def test_a_mistake_in_an_expression_is_pointed_at():
    done = run("explain", "3*x + sinn(y)", code=1)
    assert done.stdout == ""
    assert done.stderr.splitlines()[1:] == ["    3*x + sinn(y)", "          ^"]
    assert "Did you mean 'sin' or 'sinh'?" in answer("explain", "3*x + sinn(y)", code=1)["error"]
    assert "at: must be names and numbers; got 'x'" in run("explain", "x", "--at", "x", code=1).stderr


# ---- check


def test_check(folder):
    passed = run("check", "model:f", "model:df", "--at", "0.5,1.5", cwd=folder)
    assert "PASS" in passed.stdout
    failed = run("check", "model:f", "model:wrong", "--at", "-0.5,1.5", "--mode", "full", code=1, cwd=folder)
    assert "FAIL" in failed.stdout
    assert answer("check", "model:f", "model:wrong", "--at", "0.5,1.5", code=1, cwd=folder)["verdict"] == "fail"
    assert (
        answer("check", "model:noisy", "model:df", "--at", "0.5,1.5", code=3, cwd=folder)["verdict"] == "inconclusive"
    )
    np.savez(folder / "weights.npz", w=np.ones((2, 3)), b=np.zeros(()))
    assert answer("check", "model:tree", "model:dtree", "--at", "weights.npz", cwd=folder)["verdict"] == "pass"
    np.save(folder / "x.npy", np.ones(4))
    assert answer("check", "model:f", "model:df", "--at", "x.npy", "--seed", "3", cwd=folder)["seed"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model", "model:df", "--at", "1"],
            "f: must be written module:function; got 'model'. For instance model:loss.",
        ),
        (
            ["nothing:f", "model:df", "--at", "1"],
            "f: must name a function that can be imported; got 'nothing:f' (No module",
        ),
        (
            ["model:f", "model:none", "--at", "1"],
            "df: must name a function that can be imported; got 'model:none' (module",
        ),
        (["model:f", "model:df", "--at", "1;2"], "at: must be numbers between commas; got '1;2'. Write for instance"),
        (
            ["..:f", "model:df", "--at", "1"],
            "f: must be written module:function; got '..:f'. For instance model:loss.",
        ),
        (
            ["needs:f", "model:df", "--at", "1"],
            (
                "f: must name a function that can be imported; got 'needs:f' (No module named "
                "'no_such_module'). Check the names, and the folder."
            ),
        ),
        (
            ["model:f", "unfinished:df", "--at", "1"],
            (
                "df: must be in a module that can be imported; got 'unfinished:df', which raised SyntaxError: "
                "'(' was never closed (unfinished.py, line 1). Repair the module."
            ),
        ),
        (
            ["leaves:f", "model:df", "--at", "1"],
            (
                "f: must be in a module that can be imported; got 'leaves:f', which raised SystemExit: 5. "
                "Repair the module."
            ),
        ),
        (
            ["model:broken", "model:df", "--at", "1"],
            (
                "check: broken must return at the point and near it; got KeyError: 'key' (model.py, line 17). "
                "Repair it, or choose another point."
            ),
        ),
        (
            ["model:f", "model:broken", "--at", "1"],
            (
                "check: broken must return at the point and near it; got KeyError: 'key' (model.py, line 17). "
                "Repair it, or choose another point."
            ),
        ),
        *(
            (
                ["model:f", "model:df", "--at", name],
                (
                    f"at: must be a file of numbers that numpy.save or savez wrote; got '{name}' ({reason}). Write "
                    "it anew, or check the path."
                ),
            )
            for name, reason in [
                ("no.npz", "No such file or directory"),
                ("folder.npz", "Is a directory"),
                ("text.npz", "which is none, or holds objects"),
                ("empty.npy", "which is none, or holds objects"),
                ("objects.npz", "which is none, or holds objects"),
            ]
        ),
    ],
)
def test_what_check_refuses(folder, arguments, message):
    done = run("check", *arguments, "--json", code=1, cwd=folder)
    assert message in done.stderr
    assert message in json.loads(done.stdout)["error"]


def test_a_block_without_a_name_is_called_x(folder):
    (folder / "flat.py").write_text("def f(x):\n    return 1.0\n")
    cause = "f does not change at all when x does, and g there is not 0: f casts it to integers, or ignores it."
    shown = run("check", "flat:f", "model:df", "--at", "1,2", code=1, cwd=folder, env={**os.environ, "COLUMNS": "200"})
    assert cause in " ".join(shown.stdout.split())


# ---- minimize


def test_minimize(tmp_path):
    data = answer("minimize", "rosenbrock", "--lr", "0.01")
    direct = fl.minimize(fl.compile(problems.rosenbrock), [-1.2, 1.0], lr=0.01)
    assert data["x"] == dict(zip("xy", direct.x.tolist(), strict=True))
    assert (data["success"], data["nit"]) == (True, direct.nit)
    assert answer("minimize", "rosenbrock", "--maxiter", "3", code=3)["success"] is False
    shown = run("minimize", "(x - 3)**2 + x*y + y**2", "--start", "-1,2", "--method", "sgd", "--lr", "0.1").stdout
    assert "x = 3.99999" in shown
    assert "gtol is reached" in shown
    picture = tmp_path / "way.png"
    assert str(picture) in run("minimize", "booth", "--lr", "0.1", "--plot", picture).stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert answer("minimize", "log(x)", "--start", "1e-3", "--method", "sgd", "--lr", "1", code=3)["status"] in (
        4,
        6,
        3,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rosenbrok"], "name: must be a known problem; got 'rosenbrok'. Did you mean 'rosenbrock'?"),
        (["3", "--start", "1"], "function: must have a variable; got '3'. Write for instance \"(x - 3)**2\"."),
        (
            ["booth", "--lr", "0.1", "--plot", "a.xyz"],
            "plot: must be a file of a format that matplotlib writes; got 'a.xyz'. End it with .png, .svg or .pdf.",
        ),
        (["x**2 + y"], "start: must have a number for each of x, y; got none. Write for instance --start 1,1."),
        (["x**2", "--start", "1,2"], "start: must have a number for each of x; got 2. Write for instance --start 1."),
        (
            ["wood", "--start", "1,2"],
            "start: must have 4 numbers for wood; got 2. Write one for each of x1, x2, x3, x4.",
        ),
        (["booth", "--start", "a"], "start: must be numbers between commas; got 'a'. Write for instance 1.5,-2."),
        (["booth", "--method", "adm"], "minimize(method): must be one of"),
        (["booth", "--lr", "0"], "minimize(lr): must be > 0; got 0.0."),
        (
            ["booth", "--plot", "/nowhere/a.png"],
            "plot: must be a file that can be written; got '/nowhere/a.png' (No such file",
        ),
        (
            ["wood", "--plot", "a.png"],
            "descent: problem must have 2 variables to be drawn; got wood with 4. Choose another.",
        ),
    ],
)
def test_what_minimize_refuses(arguments, message, tmp_path):
    assert message in run("minimize", *arguments, code=1, cwd=tmp_path).stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["minimize", "booth", "--lr", "x"], "fallline: --lr: must be a number; got 'x'. Write for instance 0.01."),
        (
            ["race", "booth", "--steps", "1.5"],
            "fallline: --steps: must be a whole number; got '1.5'. Write for instance 100.",
        ),
    ],
)
def test_numbers_that_are_none(arguments, message):
    assert message in run(*arguments, code=2).stderr


def test_a_picture_without_an_ending_is_a_png_where_it_is_said(tmp_path):
    data = answer("minimize", "booth", "--lr", "0.1", "--plot", "way", cwd=tmp_path)
    assert (tmp_path / data["plot"]).read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["way"]


# ---- Ctrl-C


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal there")
def test_ctrl_c_keeps_the_best_point_of_a_descent():
    command = [COMMAND, "minimize", "rosenbrock", "--lr", "1e-9", "--gtol", "0", "--maxiter", "9000000000", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        deadline = time.monotonic() + 60
        if status.exists():  # until it has a way to catch SIGINT, 2, and has begun
            while not caught(status.read_text()) and time.monotonic() < deadline:
                time.sleep(0.01)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    data = json.loads(output)
    assert (data["success"], data["message"]) == (False, "Interrupted.")
    assert data["nit"] > 0
    assert 0 < data["fun"] < 24.2


def caught(status):
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return int(mask.split()[1], 16) >> (signal.SIGINT - 1) & 1


@pytest.mark.parametrize("raced", [["booth", "--steps", "9"], ["digits", "--epochs", "1"]])
def test_ctrl_c_keeps_the_optimizers_that_are_done(raced, monkeypatch, capsys, tmp_path):
    module = sys.modules[Race.__module__]
    for name in ("_run", "_train"):
        real = getattr(module, name)

        def run_or_press(*arguments, real=real):
            if any(isinstance(argument, str) and argument == "adam" for argument in arguments):
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(module, name, run_or_press)
    command = ["race", *raced, "--lr", "0.1,0.2", "--html", str(tmp_path / "race.html")]
    assert main([*command, "--methods", "sgd,momentum,adam,lion", "--json"]) == 130
    data = json.loads(capsys.readouterr().out)
    assert data["interrupted"] is True
    assert sorted(row["optimizer"] for row in data["ranking"]) == ["momentum", "sgd"]
    assert (tmp_path / "race.html").exists()
    assert main([*command, "--methods", "sgd,adam"]) == 130
    assert "interrupted after 1 of 2 optimizers" in capsys.readouterr().out
    assert main([*command, "--methods", "adam,sgd", "--json"]) == 130
    nothing = "interrupted before the first optimizer was done: there is nothing to rank"
    assert json.loads(capsys.readouterr().out) == {"error": nothing}


def test_ctrl_c_in_a_training_ends_the_race(monkeypatch):
    """`train` keeps what it has and returns; the trainings that would follow must not begin."""
    module, trained = sys.modules[Race.__module__], []

    def pressed(params, *arguments):
        trained.append(arguments)
        if len(trained) > 4:
            raise KeyboardInterrupt
        return real(params, *arguments)

    real = module.loss_and_grad
    monkeypatch.setattr(module, "loss_and_grad", pressed)
    with pytest.raises(KeyboardInterrupt):
        race_digits(methods=["sgd", "adam"], rates=[0.1, 0.2], epochs=1)
    assert len(trained) == 5


# ---- race


def test_race(tmp_path):
    page, picture = tmp_path / "race.html", tmp_path / "race.png"
    data = answer("race", "beale", "--html", page, "--plot", picture)
    names = [row["optimizer"] for row in data["ranking"]]
    assert sorted(names) == sorted(fl.optimizers())
    steps = [math.inf if row["steps_to_target"] is None else row["steps_to_target"] for row in data["ranking"]]
    assert steps == sorted(steps)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert page.read_text(encoding="utf-8").count('"name":') == len(names)
    shown = run(
        "race", "x**4 + y**2", "--start", "2,1", "--methods", "adam,sgd", "--lr", "0.01,0.1", "--steps", "50"
    ).stdout
    assert len(shown.splitlines()) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["beal"], "Did you mean 'beale'?"),
        (["beale", "--methods", "adm"], "race(method): must be one of sgd,"),
        (["beale", "--methods", "hiker"], "schedulefreeadamw; got 'hiker'. See fallline.optimizers()."),
        (
            ["beale", "--lr", "x"],
            "lr: must be \"auto\" or numbers > 0 between commas; got 'x'. Write for instance 0.01,0.1.",
        ),
        (["beale", "--steps", "0"], "steps: must be positive; got 0. Pass the number of steps of each descent."),
        (["digits", "--epochs", "0"], "epochs: must be positive; got 0. Pass the number of passes"),
        (["beale", "--methods", "sgd", "--html", "/nowhere/a.html"], "page: must be a file that can be written; got"),
    ],
)
def test_what_race_refuses(arguments, message):
    assert message in run("race", *arguments, code=1).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--html", "none/a.html"], "page: must be a file that can be written; got 'none/a.html' (No such file"),
        (["--html", "folder"], "page: must be a file that can be written; got 'folder' (Is a directory). Choose"),
        (["--plot", "file/a.png"], "plot: must be a file that can be written; got 'file/a.png' (Not a directory)."),
        (["--plot", "a.txt"], "plot: must be a file of a format that matplotlib writes; got 'a.txt'. End it with"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_the_race(options, message, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    years = ["beale", "--steps", "1000000000000"]
    assert message in run("race", *years, *options, code=1, cwd=tmp_path, timeout=60).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_race_on_digits(tmp_path):
    page = tmp_path / "digits.html"
    options = ["--methods", "sgd,adam", "--lr", "0.0001,0.03,0.3,1e9", "--epochs", "4", "--html", page]
    data = answer("race", "digits", *options)
    assert [row["optimizer"] for row in data["ranking"]] == ["adam", "sgd"]
    assert data["ranking"][0]["lr"] in (0.03, 0.3)
    assert 1 <= data["ranking"][0]["steps_to_target"] <= 4
    assert page.exists()
    found = race_digits(methods=["sgd"], rates=[0.1, 1e9], epochs=2)
    good, wild = found.entries[0].runs
    assert good.values[0] > good.values[1] > good.values[2]
    assert (good.diverged, wild.diverged) == (False, True)
    json.dumps(found.to_dict(), allow_nan=False)


def test_steps_to_the_target_by_hand():
    """Gradient descent on x**2 with lr 1/4 halves x; with lr 1 it jumps between x and -x."""
    bowl = problems.get("sphere")
    found = race(bowl, methods=["sgd"], rates=[0.25, 1.0, 2.0], steps=60)
    (entry,) = found.entries
    half, jumping, away = entry.runs
    assert found.target == pytest.approx(1e-6 * 32)
    assert half.steps_to_target == 10  # 4^-10 < 1e-6 < 4^-9
    assert (jumping.steps_to_target, jumping.diverged) == (None, False)
    assert away.diverged
    assert entry.best is half
    assert entry.seconds_to_target == pytest.approx(10 * entry.seconds_per_step)
    assert half.path.tolist() == [[4 * 0.5**k] * 2 for k in range(61)]


def test_the_minimum_may_be_unknown():
    import dataclasses

    unknown = dataclasses.replace(problems.get("booth"), minimum=math.inf, minima=())
    found = race(unknown, methods=["adam"], rates=[0.3], steps=300)
    assert found.minimum == found.problem.minimum == min(found.entries[0].best.values)
    assert found.problem.minima[0] == pytest.approx((1, 3), abs=0.1)


def test_a_race_makes_a_page(tmp_path):
    data = race(problems.get("wood"), methods=["adam", "sgd"], rates=[0.01], steps=20).to_dict()
    assert data["surface"] is None  # four variables
    assert write_page(data, tmp_path / "a.html").exists()
    data = race(problems.get("booth"), methods=["sgd"], rates=[1e3], steps=400).to_dict()
    json.dumps(data, allow_nan=False)
    heights = np.array(data["surface"]["heights"])
    assert heights.min() >= 0
    assert heights.max() == 1


# ---- bench


def test_bench():
    data = answer("bench", "--size", "3000")
    rows = {row["optimizer"]: row for row in data["steps"]}
    assert set(fl.optimizers()) <= set(rows)
    assert rows["sgd"]["bytes_per_element"] == 12  # a gradient read, a parameter read and written
    assert rows["adam"]["bytes_per_element"] == 28
    assert all(row["seconds"] > 0 for row in data["steps"])
    adam = rows["adam"]
    assert adam["times_copying"] == pytest.approx(adam["seconds"] * data["bytes_per_second"] / (28 * 3000))
    assert "GB/s" in run("bench", "--size", "3000").stdout
    assert "size: must be positive; got 0. Pass the number of elements." in run("bench", "--size", "0", code=1).stderr
    message = f"size: must leave room for the array and its states in memory; got {10**15}. Pass fewer elements."
    assert message in run("bench", "--size", 10**15, code=1).stderr


# ---- schedules, and what holds for all


def test_schedules(tmp_path):
    data = answer("schedules", "--plot", tmp_path / "s.png")
    assert data["schedules"]["cosine(0.1, total=1000)"]["500"] == pytest.approx(0.05)
    assert (tmp_path / "s.png").exists()
    assert "warmup_stable_decay" in run("schedules").stdout


@pytest.mark.parametrize("command", ["explain", "check", "minimize", "race", "bench", "schedules"])
def test_help_has_examples(command):
    assert "examples:\n  fallline " + command in run(command, "--help").stdout


def test_a_terminal_without_mathematical_signs():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = run("explain", "x**2*y", env=environment).stdout
    assert shown.strip() == fl.calculus.explain("x**2*y").text("text")
    assert "?" not in shown


@pytest.mark.parametrize("command", [["minimize", "rosenbrock", "--lr", "0.01"], ["schedules"], ["optimizers"]])
def test_a_terminal_of_40_columns(command):
    shown = run(*command, env={**os.environ, "COLUMNS": "40", "TERM": "dumb"}).stdout
    assert max(map(len, shown.splitlines())) <= 40
    assert "\033" not in shown


def test_long_derivations_and_reports_fit_40_columns(tmp_path):
    """Nothing but line ends and spaces is added: what is broken reads as it did."""
    narrow = {**os.environ, "COLUMNS": "40"}
    expression = "exp(sin(x**2))*log(1 + x**4)/(1 + x**2)"
    shown = run("explain", expression, env=narrow).stdout
    assert max(map(len, shown.splitlines())) <= 40
    assert "".join(shown.split()) == "".join(fl.calculus.explain(expression).text("unicode").split())
    assert max(map(len, run("explain", expression, "--latex", env=narrow).stdout.splitlines())) > 100
    (tmp_path / "model.py").write_text(
        "import numpy as np\ndef f(x): return np.sum(np.sin(x))\ndef df(x): return np.cos(x) * [1, -1, 1]\n"
    )
    there = {**narrow, "PYTHONPATH": str(tmp_path)}
    shown = run("check", "model:f", "model:df", "--at", "0.3,0.4,0.5", env=there, code=1).stdout
    assert max(map(len, shown.splitlines())) <= 40
    assert shown.startswith("gradient: FAIL: the gradient is wrong,\n    by ")
    assert "the sign is flipped in one branch." in " ".join(shown.split())


def test_narrow_terminals():
    shown = run("race", "booth", "--methods", "adam,sgd", "--lr", "0.1", env={**os.environ, "COLUMNS": "40"}).stdout
    assert max(map(len, shown.splitlines())) <= 40


def test_no_matplotlib(tmp_path):
    code = "import sys; sys.modules['matplotlib'] = None; from fallline.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", code, "race", "booth", "--methods", "sgd", "--plot", str(tmp_path / "a.png")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'plot: matplotlib must be installed; got none. Run: pip install "fallline[plots]"' in done.stderr
