"""The interactive page: what is in the file, and what it does in a browser (Chromium, without a window)."""

import json
import re
import shutil
from pathlib import Path

import pytest

from fallline.page import write_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
STEPS = 40


def a_run(lr, loss, path, **more):
    return {
        "lr": lr,
        "losses": loss,
        "path": path,
        "steps_to_target": None,
        "seconds_to_target": None,
        "diverged": False,
    } | more


def falling(rate):
    return [rate**step for step in range(STEPS + 1)]


def race():
    """Return a race of two methods: "slow" loses a tenth of its way a step, or a half with another learning rate."""
    slow = [a_run(lr, falling(rate), [[r, r] for r in falling(rate)]) for lr, rate in ((0.1, 0.9), (0.5, 0.5))]
    wild = [a_run(0.1, [1.0, 20.0, None], [[1.0, 1.0], [0.5, 0.0], [0.0, 0.5]], diverged=True)]
    fast = [a_run(0.3, falling(0.2), [[r, 0.0] for r in falling(0.2)], steps_to_target=9, seconds_to_target=2.5e-6)]
    methods = [
        {"name": "fast", "title": "Fast", "best": 0, "runs": fast},
        {"name": "slow", "title": "Slow </script><b>", "best": 0, "runs": slow},
        {"name": "wild", "title": "Wild", "best": 0, "runs": wild},
    ]
    surface = {
        "x": [-1.0, 1.5],
        "y": [-1.0, 1.5],
        "heights": [[abs(i - 8) / 20 + abs(j - 8) / 20 for j in range(21)] for i in range(21)],
        "start": [1.0, 1.0],
        "minima": [[0.0, 0.0]],
    }
    return {
        "title": "A race",
        "about": "f(x, y) = x + y",
        "caption": "Ranked by steps.",
        "xlabel": "step",
        "ylabel": "f",
        "target": 1e-6,
        "surface": surface,
        "methods": methods,
    }


# ---- the file


def test_it_is_one_file_that_loads_nothing(tmp_path):
    text = write_page(race(), tmp_path / "race.html").read_text(encoding="utf-8")
    assert not re.search(r"<(link|img|iframe|base)\b|@import|url\(|\bsrc=|\bimport\s*\(|fetch\(|XMLHttp", text)
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, which is not fetched
    assert [path.name for path in tmp_path.iterdir()] == ["race.html"]


def test_its_data_are_those_given(tmp_path):
    text = write_page(race(), tmp_path / "race.html").read_text(encoding="utf-8")
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert json.loads(found) == race()


def test_a_file_that_cannot_be_written_is_told_and_nothing_is_left(tmp_path):
    taken = tmp_path / "race.html"
    taken.mkdir()
    with pytest.raises(OSError, match=re.escape(f"page: must be a file that can be written; got {str(taken)!r} (")):
        write_page(race(), taken)
    assert [path.name for path in tmp_path.iterdir()] == ["race.html"]


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium with chromedriver: on Debian, apt install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1100"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, tmp_path):
    browser.get(Path(write_page(race(), tmp_path / "race.html")).as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def by_id(page, name):
    return page.find_element("id", name)


def row(page, method):
    return page.find_element("css selector", f"tr[data-method={method}]")


def cells(page, method):
    return [cell.text for cell in row(page, method).find_elements("css selector", "td")]


def clock(page):
    return by_id(page, "clock").text


def wait_for(page, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, 20, poll_frequency=0.02).until(lambda _: condition())


def move_slider(page, step):
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
    page.execute_script(script, by_id(page, "time"), step)


def test_it_shows_the_race(page):
    assert page.title == by_id(page, "title").text == "A race"
    assert by_id(page, "about").text == "f(x, y) = x + y"
    assert clock(page) == f"step 0 of {STEPS}"
    assert row(page, "slow").find_element("css selector", "th").text == "Slow </script><b>"
    assert cells(page, "fast")[-3:] == ["1.10e-28", "9", "2.5 µs"]
    assert cells(page, "wild")[-3:] == ["diverged", "not reached", "–"]
    assert len(page.find_elements("css selector", "#surface g[data-method]")) == 3


def test_play_runs_to_the_end_and_pause_stops(page):
    play = by_id(page, "play")
    play.click()
    assert (play.text, play.get_attribute("aria-pressed")) == ("Pause", "true")
    wait_for(page, lambda: clock(page) != f"step 0 of {STEPS}")
    play.click()
    stopped = clock(page)
    assert play.text == "Play"
    assert "Fast is lowest" in by_id(page, "said").get_attribute("textContent")
    page.execute_async_script("setTimeout(arguments[0], 150)")
    assert clock(page) == stopped
    play.click()
    wait_for(page, lambda: clock(page) == f"step {STEPS} of {STEPS}" and play.text == "Play")


def test_the_slider_moves_paths_losses_and_table_together(page):
    move_slider(page, 4)
    assert clock(page) == f"step 4 of {STEPS}"
    assert by_id(page, "time").get_attribute("aria-valuetext") == f"step 4 of {STEPS}"
    assert cells(page, "fast")[2] == "0.0016"
    assert cells(page, "wild")[2] == "not finite"
    head = page.find_element("css selector", "#surface g[data-method=slow] circle")
    reached = 0.9**4
    assert float(head.get_attribute("cx")) == pytest.approx(1000 * (reached + 1) / 2.5)
    assert float(head.get_attribute("cy")) == pytest.approx(800 - 800 * (reached + 1) / 2.5)
    done = page.find_element("css selector", "#curves g[data-method=slow] path.run:not(.rest)")
    assert done.get_attribute("d").count("L") == 4


def test_a_learning_rate_is_chosen_from_the_swept_ones(page):
    from selenium.webdriver.support.ui import Select

    move_slider(page, 2)
    choice = Select(row(page, "slow").find_element("css selector", "select"))
    assert [option.text for option in choice.options] == ["0.1 (best)", "0.5"]
    assert cells(page, "slow")[2] == "0.81"
    choice.select_by_visible_text("0.5")
    assert cells(page, "slow")[2] == "0.25"
    everyone = Select(by_id(page, "rates"))
    everyone.select_by_visible_text("the best of each")
    assert cells(page, "slow")[2] == "0.81"
    everyone.select_by_visible_text("0.5 for all")
    assert cells(page, "slow")[2] == "0.25"
    assert cells(page, "fast")[2] == "0.04"


def test_the_keys(page):
    from selenium.webdriver.common.keys import Keys

    body = page.find_element("tag name", "body")
    for key, step in ((Keys.ARROW_RIGHT, 1), (Keys.END, STEPS), (Keys.ARROW_LEFT, STEPS - 1), (Keys.HOME, 0)):
        body.send_keys(key)
        assert clock(page) == f"step {step} of {STEPS}"
    body.send_keys(" ")
    assert by_id(page, "play").text == "Pause"
    body.send_keys(" ")
    assert by_id(page, "play").text == "Play"


def test_what_is_pointed_at_is_highlighted_everywhere(page):
    from selenium.webdriver import ActionChains

    ActionChains(page).move_to_element(row(page, "slow").find_element("css selector", "th")).perform()
    hot = [node.get_attribute("data-method") for node in page.find_elements("css selector", ".hot")]
    assert hot == ["slow"] * 3  # on the surface, among the losses, in the table
    ActionChains(page).move_to_element(by_id(page, "title")).perform()
    assert page.find_elements("css selector", ".hot") == []


def test_a_method_can_be_hidden(page):
    curve = page.find_element("css selector", "#curves g[data-method=slow]")
    assert curve.is_displayed()
    row(page, "slow").find_element("css selector", "input").click()
    assert not curve.is_displayed()


def test_light_and_dark(page):
    def paper():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    light, button = paper(), by_id(page, "theme")
    assert (light, button.text) == ("rgb(255, 255, 255)", "Dark")
    button.click()
    assert paper() != light
    assert button.text == "Light"


def test_everything_to_press_or_choose_has_a_name(page):
    script = """
        return [...document.querySelectorAll("button, select, input")].map(
            node => node.tagName === "BUTTON" ? node.textContent : node.ariaLabel || node.labels.length)
    """
    assert all(page.execute_script(script))


def test_a_race_of_epochs_says_so(browser, tmp_path):
    browser.get(write_page(race() | {"xlabel": "epoch"}, tmp_path / "race.html").as_uri())
    assert "Epochs to target" in browser.find_element("css selector", "thead").text
    assert by_id(browser, "curves").get_attribute("aria-label") == "Loss of each optimizer against epochs"
    assert by_id(browser, "time-label").get_attribute("textContent") == "Epoch"


def test_a_narrow_window_cuts_off_no_text(page):
    """The table may be scrolled sideways, with the names of the optimizers in sight; all else is broken into lines."""
    metrics = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    script = """
        const [table] = document.getElementsByClassName("table");
        table.scrollLeft = table.scrollWidth;
        const width = document.documentElement.clientWidth;
        const seen = node => [node.getBoundingClientRect().left >= 0, node.getBoundingClientRect().right <= width];
        document.getElementById("caption").textContent = "The caption is as long as this. ".repeat(5);
        return [document.documentElement.scrollWidth, ...seen(document.getElementById("caption")),
                ...seen(document.querySelector("tbody th"))];
    """
    try:
        assert page.execute_script(script) == [400, True, True, True, True]
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_without_a_surface_there_are_the_losses(browser, tmp_path):
    data = race() | {"surface": None}
    for method in data["methods"]:
        for run in method["runs"]:
            run["path"] = None
    browser.get(write_page(data, tmp_path / "race.html").as_uri())
    assert browser.find_elements("id", "surface") == []
    move_slider(browser, 1)
    assert cells(browser, "fast")[2] == "0.2"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
