"""The page in a real browser: headless Chromium against `python -m app`."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from serving import served

from vqa.opening import Reading
from vqa.predictor import Predictor

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)
ASKED = "what color is the square?"


@pytest.fixture(scope="module")
def driver(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    binary, service = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not service:
        pytest.skip("no chromium and chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    with served(tiny, "--max-pixels", "1000000") as url:
        browser = webdriver.Chrome(options, webdriver.ChromeService(service))
        try:
            browser.get(url)
            yield browser
        finally:
            browser.quit()


def find(driver: webdriver.Chrome, selector: str) -> WebElement:
    """The first such element, as soon as it is there."""
    waiting = WebDriverWait(driver, 30)
    return waiting.until(lambda d: d.find_elements(By.CSS_SELECTOR, selector))[0]


def upload(driver: webdriver.Chrome, file: Path) -> None:
    """Uploads `file`, in place of another one, until its name is shown; its preview may be late."""
    for button in driver.find_elements(By.CSS_SELECTOR, "#image button[aria-label=Clear]")[:1]:
        button.click()
        WebDriverWait(driver, 30).until_not(
            lambda d: d.find_elements(By.CSS_SELECTOR, "#preview img")
        )
    find(driver, "#image input[type=file]").send_keys(str(file))
    wait_for_file(driver, file.name)


def wait_for_file(driver: webdriver.Chrome, name: str) -> None:
    WebDriverWait(driver, 30).until(
        lambda d: (
            name in find(d, "#image").text.replace("\n", "")
        )  # the ending is a part of its own
    )


def pictured(driver: webdriver.Chrome, place: str, width: int, height: int) -> None:
    """Waits until a picture of this size, in pixels, is seen in the element with this id."""
    size = "return arguments[0].naturalWidth + 'x' + arguments[0].naturalHeight"
    WebDriverWait(driver, 30, ignored_exceptions=[StaleElementReferenceException]).until(
        lambda d: (
            d.execute_script(size, find(d, f"#{place} img")) == f"{width}x{height}"
            and find(d, f"#{place} img").is_displayed()
        )
    )


def previewed(driver: webdriver.Chrome, width: int, height: int) -> None:
    """Waits until the file is shown as a picture of this size."""
    pictured(driver, "preview", width, height)


def shown_where(driver: webdriver.Chrome, width: int, height: int) -> None:
    """Waits until it is shown, on a picture of this size, where the answer was read."""
    pictured(driver, "evidence", width, height)


def fill(driver: webdriver.Chrome, image: Path, question: str) -> WebElement:
    """Uploads `image`, writes `question`; returns the question box."""
    upload(driver, image)
    box = find(driver, "#question textarea")
    box.send_keys(Keys.CONTROL, "a", Keys.NULL, question)
    return box


def wait_for(driver: webdriver.Chrome, selector: str, pattern: str) -> str:
    """The text of an element once it matches `pattern`."""
    WebDriverWait(driver, 30).until(lambda d: re.search(pattern, find(d, selector).text))
    return find(driver, selector).text


def check_answer(
    driver: webdriver.Chrome, predictor: Predictor, image: Path, ask: str, page: int = 1
) -> None:
    expected = predictor.ask(image, ask, reading=Reading(page=page))
    size = f"image {expected.width:,} × {expected.height:,} pixels"
    line = wait_for(driver, "#details", f"{size}.*{expected.tokens:,} tokens.*seconds")
    assert "read at full size" in line
    assert find(driver, "#answer textarea").get_property("value") == expected.answer
    bars = find(driver, "#probabilities").text
    assert bars.count("%") >= len(expected.top_k)


def test_a_person_asks(driver: webdriver.Chrome, predictor: Predictor, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    fill(driver, tmp_path / "noise.png", ASKED)
    previewed(driver, 120, 90)
    assert not driver.find_elements(By.CSS_SELECTOR, "#page input")
    assert not find(driver, "#evidence").is_displayed()
    find(driver, "#ask").click()
    check_answer(driver, predictor, tmp_path / "noise.png", ASKED)
    shown_where(driver, 120, 90)


def test_where_it_was_read_is_shown_only_if_wanted(
    driver: webdriver.Chrome, predictor: Predictor, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 48), "blue").save(tmp_path / "blue.png")
    fill(driver, tmp_path / "blue.png", ASKED).send_keys(Keys.ENTER)
    shown_where(driver, 64, 48)
    assert "strongest at pixels" in find(driver, "#details").text
    find(driver, "#show input").click()
    find(driver, "#ask").click()
    wait_for(driver, "#details", "read at full size$")
    check_answer(driver, predictor, tmp_path / "blue.png", ASKED)
    assert not driver.find_elements(By.CSS_SELECTOR, "#evidence img")
    assert not find(driver, "#evidence").is_displayed()
    find(driver, "#show input").click()


def test_enter_asks_too(driver: webdriver.Chrome, predictor: Predictor, tmp_path: Path) -> None:
    Image.new("RGB", (31, 77), "green").save(tmp_path / "green.png")
    fill(driver, tmp_path / "green.png", ASKED).send_keys(Keys.ENTER)
    check_answer(driver, predictor, tmp_path / "green.png", ASKED)


def test_a_click_on_an_example_asks_it(driver: webdriver.Chrome, predictor: Predictor) -> None:
    from app.demo import EXAMPLES, QUESTIONS

    name, question, _ = QUESTIONS[0]
    find(driver, "#examples tbody tr").click()
    check_answer(driver, predictor, EXAMPLES / name, question)
    assert find(driver, "#question textarea").get_property("value") == question
    previewed(driver, 448, 900)
    shown_where(driver, 448, 900)


def test_a_page_of_a_pdf_is_chosen(
    driver: webdriver.Chrome, predictor: Predictor, tmp_path: Path
) -> None:
    path = tmp_path / "two.pdf"
    second = Image.new("RGB", (70, 40), "blue")
    Image.new("RGB", (1100, 800), "red").save(
        path, save_all=True, append_images=[second], resolution=200
    )
    box = fill(driver, path, ASKED)
    previewed(driver, 1024, 745)
    assert "Page (1 to 2)" in find(driver, "#page").text
    find(driver, "#page input").send_keys(Keys.CONTROL, "a", Keys.NULL, "2")
    previewed(driver, 70, 40)
    box.send_keys(Keys.ENTER)
    check_answer(driver, predictor, path, ASKED, page=2)
    shown_where(driver, 70, 40)
    find(driver, "#page input").send_keys(Keys.CONTROL, "a", Keys.NULL, "3")
    wait_for(driver, "[data-testid=toast-body]", "two.pdf has no page 3; choose 1 to 2")
    assert not driver.find_elements(By.CSS_SELECTOR, "#preview img")
    find(driver, "[data-testid=toast-close]").click()


def test_a_picture_is_pasted(
    driver: webdriver.Chrome, predictor: Predictor, tmp_path: Path
) -> None:
    Image.new("RGB", (45, 33), "green").save(tmp_path / "pasted.png")
    find(driver, "#image button[aria-label=Clear]").click()
    find(driver, "#image input[type=file]")
    driver.execute_script(
        """const bytes = Uint8Array.from(atob(arguments[0]), byte => byte.charCodeAt(0));
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
        document.querySelector("#question textarea").dispatchEvent(
            new ClipboardEvent("paste", {clipboardData, bubbles: true}));""",
        base64.b64encode((tmp_path / "pasted.png").read_bytes()).decode(),
    )
    wait_for_file(driver, "pasted.png")
    previewed(driver, 45, 33)
    find(driver, "#ask").click()
    check_answer(driver, predictor, tmp_path / "pasted.png", ASKED)


def test_an_error_is_a_sentence_on_the_page(driver: webdriver.Chrome, tmp_path: Path) -> None:
    Image.new("L", (1001, 1000)).save(tmp_path / "large.png")
    fill(driver, tmp_path / "large.png", ASKED)
    told = wait_for(driver, "[data-testid=toast-body]", "large.png")  # before it is asked about
    sentence = "large.png is 1001 x 1000 = 1,001,000 pixels, over the limit of 1,000,000 pixels"
    assert sentence in told and "Traceback" not in told and str(tmp_path) not in told
    assert not driver.find_elements(By.CSS_SELECTOR, "#preview img")
    find(driver, "[data-testid=toast-close]").click()
    WebDriverWait(driver, 30).until_not(
        lambda d: d.find_elements(By.CSS_SELECTOR, "[data-testid=toast-body]")
    )
    find(driver, "#ask").click()
    assert sentence in wait_for(driver, "[data-testid=toast-body]", "large.png")


def test_nothing_is_fetched_from_elsewhere(driver: webdriver.Chrome) -> None:
    """Last: all that the page asked for in the tests above."""
    asked = set()
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
    # Not of the page: data: and blob: URLs, and the chrome: ones of the browser's own first tab.
    sent = [url for url in asked if urlsplit(url).scheme in ("http", "https", "ws", "wss")]
    assert len(sent) > 10 and {urlsplit(url).hostname for url in sent} == {"127.0.0.1"}
    links = driver.find_elements(By.CSS_SELECTOR, "link[rel=preconnect], link[rel=dns-prefetch]")
    assert [link.get_attribute("href") for link in links] == []
