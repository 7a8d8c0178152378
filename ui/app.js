"use strict";

// Browsers open six connections to a host. Live pictures take four of them at most, so that the
// rest of the page keeps working; further cameras in view show a still picture now and then.
const MAX_STREAMS = 4;
const POLL_MS = 1000;
const SLOW_POLL_MS = 2000;
const HIDDEN_POLL_MS = 5000;
const REQUEST_TIMEOUT_MS = 5000;
const STILL_EVERY_MS = 1000;
const STREAM_RETRY_MS = 3000;
const ALERTS_STEP = 50;
const ALERTS_MOST = 500; // what the API gives at once

const STATES = {
    connecting: {label: "Connecting", level: "busy", text: "Connecting to the camera…"},
    live: {label: "Live", level: "good", text: "Waiting for the picture…"},
    stalled: {label: "No picture", level: "warn", text: "Connected, but no picture comes"},
    backoff: {label: "Reconnecting", level: "bad", text: "The camera is away"},
    stopped: {label: "Stopped", level: "unknown", text: "The camera is stopped"},
};

const byId = (id) => document.getElementById(id);
const tiles = new Map();
const alertRows = new Map();
const viewer = {camera: null, opener: null};
let isConnected = false;
let alertsSeen = false;
let alertsShown = ALERTS_STEP;
let requestNumber = 0;

// Text

function setText(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}

function setLevel(element, level) {
    if (element.dataset.level !== level)
        element.dataset.level = level;
}

function plural(count, one, many) {
    return `${count} ${count === 1 ? one : many}`;
}

function stateOf(camera) {
    return STATES[camera.state] ||
        {label: camera.state || "Unknown", level: "unknown", text: "The camera gives no picture"};
}

function isNumber(value) {
    return typeof value === "number" && Number.isFinite(value);
}

function lasting(seconds) {
    if (seconds < 9.95)
        return `${Math.max(seconds, 0).toFixed(1)} s`;
    if (seconds < 120)
        return `${Math.round(seconds)} s`;
    if (seconds < 7200)
        return `${Math.round(seconds / 60)} min`;
    return `${Math.round(seconds / 3600)} h`;
}

function localTime(date) {
    const time = date.toLocaleTimeString([], {hour: "2-digit", minute: "2-digit",
        second: "2-digit"});
    const isToday = date.toDateString() === new Date().toDateString();
    return isToday ? time : `${date.toLocaleDateString([], {day: "numeric", month: "short"})} ${time}`;
}

// Live pictures

const visibility = new IntersectionObserver((entries) => {
    for (const entry of entries) {
        const tile = tiles.get(entry.target.dataset.camera);
        if (tile)
            tile.isVisible = entry.isIntersecting;
    }
    schedulePictures();
}, {rootMargin: "50px"});

function cameraUrl(id, what) {
    requestNumber++;
    return `/api/v1/cameras/${encodeURIComponent(id)}/${what}?n=${requestNumber}`;
}

// Taking the address away is what closes the connection.
function closeImage(image) {
    image.removeAttribute("src");
    image.hidden = true;
    image.classList.remove("has-picture");
}

function setMode(tile, mode) {
    if (tile.mode === mode)
        return;
    // A still picture stays until the stream's first one comes over it, and the other way round.
    if (mode === "none")
        closeImage(tile.image);
    else if (tile.mode === "stream")
        tile.image.removeAttribute("src");
    tile.mode = mode;
    if (mode === "none")
        return;
    tile.image.hidden = false;
    if (mode === "stream") {
        tile.image.src = cameraUrl(tile.id, "live");
        tile.image.classList.add("has-picture");
    }
}

function streamFailed(tile) {
    tile.retryAt = performance.now() + STREAM_RETRY_MS;
    tile.mode = "none";
    closeImage(tile.image);
}

function watchImage(tile, image) {
    image.addEventListener("error", () => {
        if (tile.mode === "stream" && tile.image === image)
            streamFailed(tile);
    });
}

// The windows of one browser share its six connections, so they share the permits for streams too.
const permits = [];
let isAskingForPermit = false;

function tryPermit(name) {
    if (!navigator.locks)
        return Promise.resolve(() => {});
    return new Promise((resolve) => {
        navigator.locks.request(name, {ifAvailable: true}, (lock) => {
            if (lock)
                return new Promise((release) => resolve(release));
            resolve(null);
            return null;
        }).catch(() => resolve(null));
    });
}

async function askForPermit() {
    let permit = null;
    isAskingForPermit = true;
    for (let i = 0; i < MAX_STREAMS && !permit; i++)
        permit = await tryPermit(`faceworker-stream-${i}`);
    isAskingForPermit = false;
    if (permit) {
        permits.push(permit);
        schedulePictures();
    }
}

function keepPermits(wanted) {
    while (permits.length > wanted)
        permits.pop()();
    if (permits.length < wanted && !isAskingForPermit)
        askForPermit();
}

function schedulePictures() {
    const now = performance.now();
    const wanted = [...tiles.values()].filter((tile) => isConnected && !document.hidden &&
        tile.isVisible && tile.camera.state === "live" && now >= tile.retryAt);
    // An enlarged camera has a stream of its own.
    const budget = viewer.camera === null ? MAX_STREAMS : MAX_STREAMS - 1;
    keepPermits(Math.min(wanted.length, budget));
    for (const tile of tiles.values()) {
        const place = wanted.indexOf(tile);
        setMode(tile, place < 0 ? "none" : place < permits.length ? "stream" : "still");
    }
}

// The loaded element takes the old one's place: giving its address to the old one might load it anew.
function swapImage(tile, picture) {
    picture.alt = tile.image.alt;
    picture.className = "has-picture";
    watchImage(tile, picture);
    tile.image.replaceWith(picture);
    tile.image = picture;
}

function loadStill(tile) {
    return new Promise((resolve) => {
        const picture = new Image();
        const timer = setTimeout(() => finish(false), REQUEST_TIMEOUT_MS);
        function finish(isLoaded) {
            clearTimeout(timer);
            picture.onload = picture.onerror = null;
            if (!isLoaded)
                picture.removeAttribute("src");
            else if (tile.mode === "still")
                swapImage(tile, picture);
            resolve();
        }
        picture.onload = () => finish(true);
        picture.onerror = () => finish(false);
        picture.src = cameraUrl(tile.id, "snapshot.jpg");
    });
}

async function refreshStills() {
    for (;;) {
        const began = performance.now();
        for (const tile of [...tiles.values()])
            if (tile.mode === "still")
                await loadStill(tile);
        await pause(Math.max(STILL_EVERY_MS - (performance.now() - began), 100));
    }
}

// Cameras

function createTile(camera) {
    const element = byId("camera-template").content.firstElementChild.cloneNode(true);
    const find = (selector) => element.querySelector(selector);
    const tile = {
        id: camera.id, camera, element, mode: "none", isVisible: false, retryAt: 0,
        button: find(".picture"), image: find("img"), headline: find(".placeholder strong"),
        note: find(".note"), since: find(".since"), name: find("h3"), location: find(".location"),
        chip: find(".chip"), fps: find(".fps"), faces: find(".faces"),
        lag: find(".lag"), outputs: find(".outputs"),
    };
    element.dataset.camera = camera.id;
    watchImage(tile, tile.image);
    tile.button.addEventListener("click", () => showCamera(tile));
    byId("cameras").append(element);
    visibility.observe(element);
    return tile;
}

function removeTile(tile) {
    visibility.unobserve(tile.element);
    setMode(tile, "none");
    tile.element.remove();
    tiles.delete(tile.id);
}

function renderOutputs(tile, outputs) {
    const list = Array.isArray(outputs) ? outputs : [];
    while (tile.outputs.children.length > list.length)
        tile.outputs.lastElementChild.remove();
    list.forEach((output, index) => {
        let row = tile.outputs.children[index];
        if (!row) {
            row = document.createElement("li");
            const url = document.createElement("span");
            const how = document.createElement("span");
            url.className = "url";
            how.className = "how";
            row.append(url, how);
            tile.outputs.append(row);
        }
        const [url, how] = row.children;
        setText(url, String(output.url || "output"));
        url.title = url.textContent;
        setText(how, output.open ? "published" : output.reason || "not open");
        setLevel(how, output.open ? "good" : "warn");
    });
}

function renderCamera(tile, camera) {
    const state = stateOf(camera);
    const isLive = camera.state === "live";
    const name = camera.name || camera.id;
    tile.camera = camera;
    setText(tile.name, name);
    setText(tile.location, camera.location || "");
    tile.name.title = camera.id;
    setText(tile.chip, state.label);
    setLevel(tile.chip, state.level);
    tile.chip.title = camera.since ? `Since ${new Date(camera.since).toLocaleString()}` : "";
    setText(tile.headline, state.text);
    setText(tile.note, isLive ? "" : camera.reason || "");
    setText(tile.since, isLive || !camera.away_since ? "" :
        `for ${lasting((Date.now() - Date.parse(camera.away_since)) / 1000)}`);
    setText(tile.fps, isLive && isNumber(camera.fps) ? `${camera.fps.toFixed(1)} fps` : "–");
    setText(tile.faces, isLive ? String(camera.faces || 0) : "–");
    tile.faces.classList.toggle("some", isLive && camera.faces > 0);
    setText(tile.lag, isLive && isNumber(camera.lag_ms) ? `${Math.round(camera.lag_ms)} ms` : "–");
    tile.fps.title = camera.width ? `${camera.width} × ${camera.height}` : "";
    tile.image.alt = `Live picture of ${name}`;
    tile.button.setAttribute("aria-label", [`Enlarge ${name}`, state.label, tile.note.textContent]
        .filter(Boolean).join(", "));
    renderOutputs(tile, camera.outputs);
}

function renderCameras(answer) {
    const cameras = answer.cameras || [];
    const present = new Set(cameras.map((camera) => camera.id));
    for (const tile of [...tiles.values()])
        if (!present.has(tile.id))
            removeTile(tile);
    for (const camera of cameras) {
        let tile = tiles.get(camera.id);
        if (!tile) {
            tile = createTile(camera);
            tiles.set(camera.id, tile);
        }
        renderCamera(tile, camera);
    }
    const live = cameras.filter((camera) => camera.state === "live").length;
    setText(byId("camera-count"), cameras.length ? `${live} of ${cameras.length} live` : "");
    setText(byId("cameras-empty"),
        "No camera is configured. Add one under “cameras” in the configuration file.");
    byId("cameras-empty").hidden = cameras.length > 0;
    setText(byId("worker"), [answer.worker, answer.version && `version ${answer.version}`]
        .filter(Boolean).join(" · "));
    schedulePictures();
    renderViewerCamera();
}

// Alerts

const TITLES = {
    "faceworker.face.appeared": "Face appeared",
    "faceworker.camera.online": "Camera online",
    "faceworker.camera.offline": "Camera offline",
    "faceworker.camera.stalled": "Camera stalled",
    "faceworker.camera.tampered": "Camera tampered with",
    "faceworker.worker.started": "Worker started",
    "faceworker.worker.heartbeat": "Worker alive",
};

// Which colour an event has.
const KINDS = {appeared: "appeared", offline: "trouble", stalled: "trouble", tampered: "trouble"};

function titleOf(event, data) {
    if (event.type in TITLES)
        return TITLES[event.type];
    if (event.type === "faceworker.face.left") {
        return isNumber(data.duration_s) ? `Face left after ${lasting(data.duration_s)}` :
            "Face left";
    }
    return String(event.type || "Event").replace("faceworker.", "").replaceAll(".", " ");
}

function describe(event) {
    const data = event.data || {};
    const camera = data.camera || {};
    const face = (data.faces || [])[0] || {};
    const track = data.track ?? face.track;
    const snapshot = data.snapshot || {};
    const keyOf = (...kinds) => kinds.map((kind) => snapshot[kind] && snapshot[kind].key)
        .find(Boolean) || null;
    return {
        title: titleOf(event, data),
        kind: KINDS[String(event.type || "").split(".").pop()] || "left",
        where: [camera.name || camera.id, camera.location].filter(Boolean).join(" · "),
        detail: [track !== undefined ? `Track ${track}` : "",
            isNumber(face.score) ? `score ${face.score.toFixed(2)}` : "",
            data.zone ? `zone ${data.zone}` : "",
            track === undefined && data.reason ? data.reason : ""]
            .filter(Boolean).join(" · "),
        time: new Date(event.time),
        thumb: keyOf("face_annotated", "face"),
        full: keyOf("full_annotated", "full", "face_annotated", "face"),
    };
}

function snapshotUrl(key) {
    return `/snapshots/${key.split("/").map(encodeURIComponent).join("/")}`;
}

function createAlert(event) {
    const item = byId("alert-template").content.firstElementChild.cloneNode(true);
    const find = (selector) => item.querySelector(selector);
    const alert = describe(event);
    const button = find("button");
    const time = find("time");
    button.dataset.kind = alert.kind;
    find(".alert-title").textContent = alert.title;
    find(".alert-where").textContent = alert.where;
    find(".alert-detail").textContent = alert.detail;
    if (!Number.isNaN(alert.time.getTime())) {
        time.dateTime = alert.time.toISOString();
        time.title = `${alert.time.toISOString().replace("T", " ").replace("Z", "")} UTC`;
        time.textContent = localTime(alert.time);
    }
    if (alert.thumb) {
        const image = find("img");
        image.hidden = false;
        image.addEventListener("error", () => { image.hidden = true; });
        image.src = snapshotUrl(alert.thumb);
    }
    if (alert.full)
        button.addEventListener("click", () => showAlert(alert, button));
    else
        button.disabled = true;
    return {item, button, alert};
}

function renderEvents(answer) {
    const events = answer.events || [];
    const list = byId("alerts");
    const present = new Set(events.map((event) => event.id));
    const fresh = [];
    for (const [id, row] of alertRows) {
        if (!present.has(id)) {
            row.item.remove();
            alertRows.delete(id);
        }
    }
    let before = list.firstElementChild;
    for (const event of events) {
        const known = alertRows.get(event.id);
        if (known) {
            before = known.item.nextElementSibling;
            continue;
        }
        const row = createAlert(event);
        alertRows.set(event.id, row);
        list.insertBefore(row.item, before);
        if (alertsSeen) {
            row.button.classList.add("fresh");
            fresh.push(row.alert);
        }
    }
    if (fresh.length > 0)
        setText(byId("announcer"), fresh.length === 1 ? `${fresh[0].title}, ${fresh[0].where}` :
            `${fresh.length} new alerts, the latest: ${fresh[0].title}, ${fresh[0].where}`);
    alertsSeen = true;
    setText(byId("alert-count"), events.length ? "newest first" : "");
    byId("alerts-older").hidden = !answer.next || alertsShown >= ALERTS_MOST;
    setText(byId("alerts-empty"),
        "Nothing has happened yet. Faces and cameras' troubles appear here as soon as they come.");
    byId("alerts-empty").hidden = events.length > 0;
}

// The large picture

function openViewer(title, text, alt, opener) {
    setText(byId("viewer-title"), title);
    setText(byId("viewer-text"), text);
    byId("viewer-image").alt = alt;
    byId("viewer-image").hidden = true;
    byId("viewer-note").hidden = true;
    viewer.opener = opener;
    byId("viewer").showModal();
    schedulePictures();
}

function showNote(text) {
    closeImage(byId("viewer-image"));
    setText(byId("viewer-note"), text);
    byId("viewer-note").hidden = false;
}

function showAlert(alert, opener) {
    viewer.camera = null;
    openViewer(alert.title, [alert.where, alert.detail, alert.time.toLocaleString()]
        .filter(Boolean).join(" · "), `Picture of the alert: ${alert.title}, ${alert.where}`, opener);
    byId("viewer-image").hidden = false;
    byId("viewer-image").src = snapshotUrl(alert.full);
}

function showCamera(tile) {
    viewer.camera = tile.id;
    openViewer(tile.name.textContent, "", tile.image.alt, tile.button);
    renderViewerCamera();
}

// Keeps an enlarged camera going: its stream begins and ends with the camera's state.
function renderViewerCamera() {
    const image = byId("viewer-image");
    const tile = viewer.camera === null ? null : tiles.get(viewer.camera);
    if (viewer.camera === null || !byId("viewer").open)
        return;
    if (!tile || !isConnected || tile.camera.state !== "live") {
        showNote(!isConnected ? "The connection to faceworker is lost." : !tile ?
            "This camera is no longer there." : tile.camera.reason || tile.headline.textContent);
        return;
    }
    setText(byId("viewer-text"), [tile.camera.location, tile.fps.title, tile.fps.textContent,
        plural(tile.camera.faces || 0, "face", "faces")].filter(Boolean).join(" · "));
    byId("viewer-note").hidden = true;
    if (document.hidden) {
        closeImage(image);
    } else if (!image.hasAttribute("src")) {
        image.hidden = false;
        image.src = cameraUrl(tile.id, "live");
    }
}

function prepareViewer() {
    const dialog = byId("viewer");
    byId("viewer-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
        if (event.target === dialog)
            dialog.close();
    });
    dialog.addEventListener("close", () => {
        closeImage(byId("viewer-image"));
        viewer.camera = null;
        if (viewer.opener && viewer.opener.isConnected)
            viewer.opener.focus();
        schedulePictures();
    });
    byId("viewer-image").addEventListener("error", () => {
        if (viewer.camera === null)
            showNote("This picture is no longer stored here.");
        else
            closeImage(byId("viewer-image"));
    });
}

// Asking the daemon

function pause(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function ask(path, acceptsUnready) {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), REQUEST_TIMEOUT_MS);
    try {
        const response = await fetch(path, {signal: controller.signal, cache: "no-store"});
        if (!response.ok && !(acceptsUnready && response.status === 503))
            throw new Error(`faceworker answered ${response.status}`);
        return await response.json();
    } finally {
        clearTimeout(timer);
    }
}

function renderReady(answer) {
    const reasons = (answer.reasons || []).map(String);
    const pill = byId("health");
    setText(pill, answer.ready ? "Ready" : "Needs attention");
    setLevel(pill, answer.ready ? "good" : "warn");
    pill.title = reasons.join("\n");
    if (answer.ready)
        hideBanner();
    else
        showBanner(`Needs attention: ${reasons.join("; ") || "no reason was given"}`, "warn");
}

function showBanner(text, level) {
    setText(byId("banner"), text);
    setLevel(byId("banner"), level);
    byId("banner").hidden = false;
}

function hideBanner() {
    byId("banner").hidden = true;
}

function connectionLost() {
    isConnected = false;
    document.title = "Connection lost – faceworker";
    setText(byId("health"), "Connection lost");
    setLevel(byId("health"), "bad");
    byId("health").title = "";
    showBanner("Connection lost: faceworker does not answer. What you see is old; " +
        "this page tries again every second and recovers by itself.", "bad");
    for (const tile of tiles.values()) {
        setText(tile.chip, "Unknown");
        setLevel(tile.chip, "unknown");
        setText(tile.headline, "No connection to faceworker");
        setText(tile.note, "");
        setText(tile.since, "");
    }
    document.body.classList.add("stale");
    schedulePictures();
    renderViewerCamera();
}

async function poll() {
    const [cameras, events, ready] = await Promise.all([
        ask("/api/v1/cameras"), ask(`/api/v1/events?without=worker.heartbeat&limit=${alertsShown}`),
        ask("/readyz", true),
    ]);
    isConnected = true;
    document.title = "faceworker";
    document.body.classList.remove("stale");
    renderReady(ready);
    renderCameras(cameras);
    renderEvents(events);
}

async function pollForEver() {
    for (;;) {
        const began = performance.now();
        try {
            await poll();
        } catch (error) {
            console.warn("poll failed:", error);
            connectionLost();
        }
        const isSlow = performance.now() - began > POLL_MS / 2;
        await pause(document.hidden ? HIDDEN_POLL_MS : isSlow ? SLOW_POLL_MS : POLL_MS);
    }
}

document.addEventListener("visibilitychange", () => {
    schedulePictures();
    renderViewerCamera();
});
byId("alerts-older").addEventListener("click", () => {
    alertsShown = Math.min(alertsShown + ALERTS_STEP, ALERTS_MOST);
    alertsSeen = false; // what comes now is old
});
prepareViewer();
pollForEver();
refreshStills();
