"""The page in a real browser: live pictures, states, faces, alerts, and what happens when the daemon
goes away."""
import pytest
from harness import free_port, poll
from playwright import sync_api

CAMERAS = {
    "woman": "head-pose-face-detection-female.mp4",
    "man": "head-pose-face-detection-male.mp4",
    "both": "head-pose-face-detection-female-and-male.mp4",
}

# A short text that changes when the picture's pixels do.
PICTURE_SUM = """image => {
    if (!image.naturalWidth) return null;
    const canvas = document.createElement("canvas");
    canvas.width = 64;
    canvas.height = 36;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 64, 36);
    const data = context.getImageData(0, 0, 64, 36).data;
    let sum = 0, deviation = 0;
    for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) % 1000003;
    for (let i = 4; i < data.length; i += 4) deviation += Math.abs(data[i] - data[i - 4]);
    return deviation > 500 ? String(sum) : null;
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--no-first-run"])
        yield browser
        browser.close()


class Visit:
    """A visitor of the page who notes what it asks for and complains about."""

    def __init__(self, browser, daemon):
        self.daemon = daemon
        self.context = browser.new_context(viewport={"width": 1440, "height": 900})
        self.requests, self.complaints = [], []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(f"http://127.0.0.1:{daemon.port}/")

    def _on_console(self, message):
        # A browser tells of every 503 by itself; /readyz answers so while a camera is away.
        is_ready = message.location["url"].endswith("/readyz") and "503" in message.text
        if message.type in ("error", "warning") and not is_ready:
            self.complaints.append(message.text)

    def tile(self, camera, inner=""):
        return self.page.locator(f'.tile[data-camera="{camera}"] {inner}'.strip())

    def wait_for_text(self, locator, text, timeout_s=15):
        sync_api.expect(locator).to_have_text(text, timeout=timeout_s * 1000)

    def wait_for_live_picture(self, camera, timeout_s=20):
        """Until the picture has shown three different contents."""
        seen = set()

        def lives():
            seen.add(self.tile(camera, ".picture img").evaluate(PICTURE_SUM))
            return len(seen - {None}) >= 3
        poll(lives, timeout_s, lambda: f"a live picture of {camera}; sums: {seen}")

    def close(self):
        """Leaves; nothing may have been asked of anybody else than the daemon."""
        self.context.close()
        home = f"http://127.0.0.1:{self.daemon.port}/"
        foreign = [url for url in self.requests if not url.startswith((home, "blob:" + home))]
        assert not foreign, foreign


@pytest.fixture
def daemon(make_clip, run_daemon):
    cameras = [{"id": name, "name": name.title(), "location": "Test hall", "save_snapshots": True,
                "test_video": str(make_clip(video))} for name, video in CAMERAS.items()]
    daemon = run_daemon({
        "cameras": [*cameras, {"id": "away", "rtsp": f"rtsp://127.0.0.1:{free_port()}/x",
                               "ffmpeg_output": "/nowhere/at/all.mp4"}],
        "local_mocks": {"use_mock_s3": True, "use_mock_mq": True}})
    for name in CAMERAS:
        daemon.wait_for_state(name, "live")
    return daemon


@pytest.fixture
def visit(browser, daemon):
    visits = []

    def start():
        visits.append(Visit(browser, daemon))
        return visits[-1]
    yield start
    for visit in visits:
        visit.close()


def watched(daemon):
    metrics = daemon.metrics()
    return {name for name in CAMERAS
            if metrics[f'faceworker_camera_live_watched{{camera="{name}"}}'] == 1}


def test_the_page_shows_pictures_states_faces_and_alerts(daemon, visit):
    visitor = visit()
    page = visitor.page
    for name in CAMERAS:
        visitor.wait_for_live_picture(name)
        visitor.wait_for_text(visitor.tile(name, ".chip"), "Live")
        visitor.wait_for_text(visitor.tile(name, "h3"), name.title())
        visitor.wait_for_text(visitor.tile(name, ".location"), "Test hall")
        poll(lambda name=name: int(visitor.tile(name, ".faces").text_content()) > 0, 15,
             f"faces of {name}")
        fps = float(visitor.tile(name, ".fps").text_content().removesuffix(" fps"))
        assert 20 < fps < 30
    assert visitor.tile("woman", ".picture img").evaluate("image => image.naturalWidth") >= 640
    visitor.wait_for_text(page.locator("#camera-count"), "3 of 4 live")

    visitor.wait_for_text(visitor.tile("away", ".chip"), "Reconnecting")
    note = visitor.tile("away", ".note").text_content()
    assert "refuses connections" in note, note
    assert "away" in page.locator("#banner").text_content()
    assert page.locator("#health").text_content() == "Needs attention"

    rows = page.locator("#alerts .alert")
    poll(lambda: rows.count() >= 3, 30, "three alerts on the page")
    assert "Face appeared" in page.locator("#alerts").text_content()
    # Thumbnails load when they come into view.
    first = page.locator("#alerts li").first
    first.scroll_into_view_if_needed()
    poll(lambda: first.locator("img").evaluate("image => image.complete && image.naturalWidth > 0"),
         15, "the first alert's thumbnail")
    assert not visitor.complaints, visitor.complaints


def test_pictures_can_be_enlarged(visit):
    visitor = visit()
    page = visitor.page
    visitor.wait_for_live_picture("man")
    visitor.tile("man", ".picture").click()
    viewer = page.locator("#viewer")
    sync_api.expect(viewer).to_be_visible()
    visitor.wait_for_text(page.locator("#viewer-title"), "Man")
    image = page.locator("#viewer-image")
    sums = set()
    poll(lambda: sums.add(image.evaluate(PICTURE_SUM)) or len(sums - {None}) >= 3, 15,
         "a live picture in the viewer")
    page.keyboard.press("Escape")
    sync_api.expect(viewer).to_be_hidden()

    alert = page.locator("#alerts .alert").first
    alert.click()
    sync_api.expect(viewer).to_be_visible()
    poll(lambda: image.evaluate("image => image.complete && image.naturalWidth") == 1280, 15,
         "the alert's picture")
    page.locator("#viewer-close").click()
    sync_api.expect(viewer).to_be_hidden()
    assert not visitor.complaints, visitor.complaints


def test_pictures_are_encoded_only_while_watched(daemon, visit):
    assert watched(daemon) == set()
    visitor = visit()
    for name in CAMERAS:
        visitor.wait_for_live_picture(name)
    assert watched(daemon) == set(CAMERAS)
    visitor.page.goto("about:blank")
    poll(lambda: watched(daemon) == set(), 5, lambda: f"nobody watches; {watched(daemon)}")
    visitor.page.go_back()
    visitor.wait_for_live_picture("both")
    visitor.close()
    poll(lambda: watched(daemon) == set(), 5, lambda: f"nobody watches; {watched(daemon)}")


def test_the_page_says_when_the_daemon_is_gone_and_recovers(daemon, visit):
    visitor = visit()
    page = visitor.page
    visitor.wait_for_live_picture("woman")
    assert not visitor.complaints, visitor.complaints
    daemon.process.kill()
    banner = page.locator("#banner")
    sync_api.expect(banner).to_contain_text("Connection lost", timeout=8000)
    visitor.wait_for_text(visitor.tile("woman", ".chip"), "Unknown")
    assert "Connection lost" in page.title()

    daemon.start()
    daemon.wait_for_state("woman", "live")
    sync_api.expect(banner).not_to_contain_text("Connection lost", timeout=8000)
    for name in CAMERAS:
        visitor.wait_for_live_picture(name)
    assert page.title() == "faceworker"
    # What the restarted daemon has not seen itself is gone from its history, and from the page.
    poll(lambda: page.locator("#alerts li").count() == len(daemon.events()), 15,
         "the alerts of the restarted daemon")


def test_a_frozen_daemon_is_noticed(daemon, visit):
    visitor = visit()
    visitor.wait_for_live_picture("woman")
    daemon.process.freeze()
    banner = visitor.page.locator("#banner")
    sync_api.expect(banner).to_contain_text("Connection lost", timeout=15000)
    daemon.process.thaw()
    sync_api.expect(banner).not_to_contain_text("Connection lost", timeout=15000)
    visitor.wait_for_live_picture("woman")


def test_a_narrow_window_scrolls_in_one_direction_only(visit):
    visitor = visit()
    visitor.page.set_viewport_size({"width": 360, "height": 640})
    visitor.wait_for_live_picture("woman")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360
