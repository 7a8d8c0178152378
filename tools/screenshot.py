#!/usr/bin/env python3
"""Takes a picture of the page of a running daemon, for the README.

    make demo                                      # in another terminal
    build/venv/bin/python tools/screenshot.py docs/page.png

Waits until every camera shows a live picture, so many faces are seen at once, and the first alerts
have their thumbnails.
"""
import argparse

from playwright import sync_api

READY = """([faces, alerts]) => {
    const loaded = image => image.complete && image.naturalWidth > 0;
    const tiles = [...document.querySelectorAll(".tile")];
    const thumbs = [...document.querySelectorAll("#alerts .thumb img:not([hidden])")];
    return tiles.length > 0 && tiles.every(tile => loaded(tile.querySelector(".picture img")))
        && tiles.map(tile => Number(tile.querySelector(".faces").textContent))
            .reduce((sum, number) => sum + number, 0) >= faces
        && thumbs.filter(loaded).length >= alerts;
}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", help="the PNG file")
    parser.add_argument("--url", default="http://127.0.0.1:8080/")
    parser.add_argument("--size", default="1200x880", help="of the window (default 1200x880)")
    parser.add_argument("--alerts", type=int, default=6, help="thumbnails to wait for (default 6)")
    parser.add_argument("--faces", type=int, default=5, help="faces to wait for (default 5)")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=arguments.browser,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        page = browser.new_page(viewport={"width": width, "height": height}, bypass_csp=True)
        page.goto(arguments.url)
        page.wait_for_function(READY, arg=[arguments.faces, arguments.alerts],
                               timeout=60000)
        page.screenshot(path=arguments.output)
        browser.close()


if __name__ == "__main__":
    main()
