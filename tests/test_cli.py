"""The command line, through the console script where the process matters, else through `main`."""

import inspect
import json
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fallline
from fallline import cli, demo

COMMAND = str(Path(sysconfig.get_path("scripts"), "fallline"))


def run(*arguments, **options):
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, **options)


def fake_result(**changes):
    row = {
        "optimizer": "Gradient Descent",
        "name": "sgd",
        "batch_size": None,
        "lr": 0.5,
        "decay": None,
        "loss": 0.25,
        "accuracy": 0.875,
        "epochs": 1,
        "steps": 60,
        "seconds": 0.003,
        "seconds_per_step": 5e-5,
        "optimizer_share": 0.125,
        "stopped": "epochs",
    }
    return {**row, **changes}


@pytest.fixture
def fake_demo(monkeypatch):
    """Answer `fallline demo` at once."""
    results = {
        "data": {"name": "digits", "train": 1347, "test": 450},
        "epochs": 1,
        "surface": [],
        "interrupted": False,
        "results": [fake_result(), fake_result(optimizer="Adam", batch_size=32, decay="cosine", loss=None)],
        "pictures": {"losses": "somewhere/losses.png"},
        "page": "somewhere/race.html",
        "seconds": 1.5,
    }
    asked = []

    def answer(output, *, epochs):
        asked.append((output, epochs))
        if isinstance(results["interrupted"], BaseException):
            raise results["interrupted"]
        return results

    monkeypatch.setattr(demo, "run", answer)
    return results, asked


# The process


@pytest.mark.parametrize("command", [[COMMAND], [sys.executable, "-m", "fallline"]])
def test_version(command):
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"fallline {fallline.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["demo"], ["optimizers"], ["info"]])
def test_help(arguments):
    done = run(*arguments, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: fallline {' '.join(arguments)}".rstrip())
    assert "exit codes" in done.stdout or arguments
    assert "examples:" in done.stdout or arguments not in ([], ["demo"])


def test_a_reader_that_has_gone_gives_no_traceback():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as pipe:
        done = subprocess.run([COMMAND, "optimizers"], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_stream_that_cannot_show_a_character_shows_a_question_mark(tmp_path):
    code = (
        "import sys; from fallline import cli, demo; demo.run = lambda *a, **k: "
        + repr(
            {
                "data": {"train": 1, "test": 1},
                "epochs": 1,
                "results": [fake_result()],
                "pictures": {},
                "page": "race.html",
                "seconds": 1,
                "interrupted": False,
            }
        )
        + "; sys.exit(cli.main(['demo']))"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert " 50 ?s " in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal there")
def test_ctrl_c_ends_the_demonstration_with_what_was_done(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn has the digits")
    command = [COMMAND, "demo", "--epochs", "1000000", "--json", "--output", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        shown = ""
        while not shown.endswith("Gradient Descent"):  # training begins
            shown += process.stderr.read(1) or pytest.fail(shown)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(output)["interrupted"] is True
    assert (tmp_path / "descent.png").exists()


# Subcommands


def test_demo_prints_a_table_and_where_the_pictures_are(fake_demo, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert cli.main(["demo", "--output", "here", "--epochs", "7"]) == 0
    assert fake_demo[1] == [("here", 7)]
    header, rule, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "Optimizer",
        "batch",
        "learning",
        "rate",
        "loss",
        "accuracy",
        "steps",
        "per",
        "step",
        "in",
        "optimizer",
    ]
    assert set(rule) == {"-", " "}
    assert rows[0].split() == ["Gradient", "Descent", "all", "0.5", "0.2500", "0.875", "60", "50", "µs", "12.5%"]
    assert rows[1].split() == ["Adam", "32", "0.5", "to", "0", "diverged", "0.875", "60", "50", "µs", "12.5%"]
    assert "losses: somewhere/losses.png" in rows
    assert any("1 pass over 1347" in row for row in rows)


@pytest.mark.parametrize(("width", "as_table"), [(120, True), (100, True), (80, True), (40, False), (20, False)])
def test_demo_fits_the_terminal(fake_demo, capsys, monkeypatch, width, as_table):
    monkeypatch.setenv("COLUMNS", str(width))
    fake_demo[0]["results"][0]["optimizer"] = "Nesterov Accelerated Gradient"  # the longest
    assert cli.main(["demo"]) == 0
    output = capsys.readouterr().out
    table = output.partition("\n\n")[0].splitlines()
    assert max(map(len, table)) <= max(width, len("Nesterov Accelerated Gradient"))
    assert ("---" in output) is as_table
    assert all(word in output for word in ("Nesterov", "0.2500", "0.875", "50 µs", "12.5%"))


def test_demo_answers_in_json(fake_demo, capsys):
    assert cli.main(["demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == fake_demo[0]


def test_an_interrupted_demo_has_its_exit_code(fake_demo, capsys):
    fake_demo[0]["interrupted"] = True
    assert cli.main(["demo"]) == 130
    assert "interrupted after 1.5 s" in capsys.readouterr().out


def test_optimizers_lists_the_registry_in_order(capsys):
    assert cli.main(["optimizers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["class"] for row in rows} == {n: c.__name__ for n, c in fallline.optimizers().items()}
    assert [row["name"] for row in rows] == list(fallline.optimizers())
    adam = next(row for row in rows if row["name"] == "adam")
    assert adam["defaults"]["betas"] == [0.9, 0.999]
    assert adam["states"] == ["m", "v"]


def test_optimizers_as_text_can_be_typed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main(["optimizers"]) == 0
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 60
    text = " ".join(output.split())
    for name, kind in fallline.optimizers().items():
        assert f"{name}: {' '.join(inspect.getdoc(kind).splitlines()[0].split())}" in text
        assert f"fl.{kind.__name__}(params, lr=" in text


def test_info_describes_the_installation(capsys):
    assert cli.main(["info", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    config = fallline.show_config(mode="dict")
    assert {key: data[key] for key in config} == json.loads(json.dumps(config))
    assert data["platform"]
    assert {"plots", "progress", "demo"} <= set(data["extras"])
    assert cli.main(["info"]) == 0
    words = capsys.readouterr().out.split()
    assert fallline.__version__ in words
    assert config["instruction_set"] in words


def test_info_tells_which_extras_are_complete(monkeypatch):
    monkeypatch.setattr(
        cli.metadata,
        "requires",
        lambda name: [
            "numpy>=2.0",
            'matplotlib>=3.8; extra == "plots"',
            'no-such-package>=1; extra == "demo"',
            'numpy; extra == "demo"',
        ],
    )
    pytest.importorskip("matplotlib", reason="stands for a package that is there")
    assert cli._extras() == {"plots": True, "demo": False}


# Errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModuleNotFoundError('demo: rich must be installed; got no rich. Run: pip install "fallline[demo]"'), 1),
        (PermissionError("output: must be a folder that can be written to; got '/' (Permission denied)."), 1),
        (ValueError("epochs: must be positive; got 0."), 1),
        (RuntimeError("something: must hold; got otherwise."), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_failures_are_one_line_and_valid_json(fake_demo, capsys, error, code):
    fake_demo[0]["interrupted"] = error
    message = str(error) or "interrupted"
    assert cli.main(["demo"]) == code
    assert capsys.readouterr() == ("", f"fallline: {message}\n")
    assert cli.main(["demo", "--json"]) == code
    output, errors = capsys.readouterr()
    assert json.loads(output) == {"error": message}
    assert errors == f"fallline: {message}\n"


COMMANDS = "demo, explain, check, minimize, race, bench, schedules, optimizers, info"
OTHERS = "must be given the arguments above and no others"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "must be followed by COMMAND; got none. Run fallline --help for examples."),
        (["dmeo"], f"COMMAND: must be one of {COMMANDS}; got 'dmeo'. Did you mean 'demo'?"),
        (["what"], f"COMMAND: must be one of {COMMANDS}; got 'what'. Run fallline --help to read about them."),
        (
            ["explain", "x", "--style", "lectre"],
            "--style: must be one of lecture, every-rule; got 'lectre'. Did you mean 'lecture'?",
        ),
        (["demo", "--epochs", "0"], "--epochs: must be a positive integer; got '0'. Write for instance 100."),
        (["demo", "--epochs", "ten"], "--epochs: must be a positive integer; got 'ten'. Write for instance 100."),
        (
            ["demo", "--output"],
            "--output: must be followed by a value; got none. Run fallline demo --help for examples.",
        ),
        (["demo", "--colour"], f"demo: {OTHERS}; got '--colour'. Leave it out."),
        (["demo", "--epocs=3"], f"demo: {OTHERS}; got '--epocs=3'. Did you mean '--epochs'?"),
        (["race", "--methds", "adam"], f"race: {OTHERS}; got '--methds'. Did you mean '--methods'?"),
        (["race", "--methds=adam"], f"race: {OTHERS}; got '--methds=adam'. Did you mean '--methods'?"),
        (["explain", "x", "+ 1"], f"explain: {OTHERS}; got '+ 1'. Put quotes around what has spaces in it."),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    assert cli.main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("usage: fallline ")
    assert errors.endswith(f"\nfallline: {message}\n")
    assert cli.main([*arguments, "--json"]) == 2
    output, _ = capsys.readouterr()
    assert json.loads(output) == {"error": message}
