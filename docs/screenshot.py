"""Photograph the demo answering a question: python docs/screenshot.py MODEL IMAGE QUESTION OUT.png

Needs selenium and Chromium (`pip install latte-vqa[test]`). MODEL "" is the bundled one.
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from app.demo import build, serve
from vqa.predictor import Predictor

WIDTH, HEIGHT = 1200, 908
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def browser(profile: str, *flags: str) -> webdriver.Chrome:
    """A headless Chromium with a fresh profile in folder `profile`."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}", *flags):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options, service)


def photograph(url: str, image: Path, question: str, out: Path) -> None:
    """Asks on the page at `url` and writes what it then looks like to `out`."""
    with tempfile.TemporaryDirectory() as profile:
        driver = browser(profile)
        try:
            driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False},
            )
            driver.get(url)
            wait = WebDriverWait(driver, 60)
            wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#image input[type=file]"))
            driver.find_element(By.CSS_SELECTOR, "#image input[type=file]").send_keys(
                str(image.resolve())
            )
            wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#image img"))
            driver.find_element(By.CSS_SELECTOR, "#question textarea").send_keys(question)
            driver.find_element(By.ID, "ask").click()
            details = driver.find_element(By.ID, "details")
            wait.until(lambda _: re.search(r"\d seconds", details.text))
            wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#evidence img"))
            driver.execute_script("document.activeElement.blur()")
            driver.save_screenshot(str(out))
        finally:
            driver.quit()


def main(model: str, image: str, question: str, out: str) -> None:
    """Serves `model` and photographs its answer."""
    demo = build(Predictor.from_pretrained(model or None))
    try:
        photograph(serve(demo, wait=False), Path(image), question, Path(out))
    finally:
        demo.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
