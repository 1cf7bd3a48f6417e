//! The page of `topo graph` in a browser: Chromium, driven over WebDriver (<https://www.w3.org/TR/webdriver2/>) by chromedriver.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The key of an element in answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with a page.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
    directory: PathBuf,
}

impl Browser {
    /// Starts one. `None` if there is no chromedriver, which must not be so where TOPO_REQUIRE_BROWSER is set.
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver =
            Command::new("chromedriver").arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(driver) = driver else {
            assert!(std::env::var_os("TOPO_REQUIRE_BROWSER").is_none(), "chromedriver is missing: package chromium-driver");
            println!("skipped: chromedriver is missing (package chromium-driver)");
            return None;
        };
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let mut browser = Self { driver, port, session: String::new(), directory };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "chromedriver does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let profile = format!("--user-data-dir={}", browser.directory.join("profile").display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--window-size=1200,800",
            &profile,
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments } } } });
        let session = browser.request("POST", "/session", &capabilities);
        session["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        Some(browser)
    }

    /// Sends a command and returns its value.
    fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // The connection may stay open, so that the length decides.
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
                if length.is_some_and(|length: usize| rest.len() >= length) {
                    let value: Value = serde_json::from_str(rest).unwrap();
                    assert!(value["value"]["error"].is_null(), "{method} {path}: {}", value["value"]);
                    return value["value"].clone();
                }
            }
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{method} {path}: {text}");
            answer.extend_from_slice(&buffer[..read]);
        }
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        self.request("POST", &format!("/session/{}{path}", self.session), body)
    }

    fn open(&self, page: &Path) {
        self.command("/url", &json!({ "url": format!("file://{}", page.display()) }));
    }

    fn element(&self, selector: &str) -> String {
        let found = self.command("/element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks with the mouse in the middle of an element.
    fn click(&self, selector: &str) {
        self.command(&format!("/element/{}/click", self.element(selector)), &json!({}));
    }

    fn type_text(&self, selector: &str, text: &str) {
        self.command(&format!("/element/{}/value", self.element(selector)), &json!({ "text": text }));
    }

    /// The value of an expression.
    fn value(&self, expression: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": format!("return {expression}"), "args": [] }))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.request("DELETE", &format!("/session/{}", self.session), &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn page(browser: &Browser, name: &str, lab: &str) -> PathBuf {
    let (file, page) = (browser.directory.join(format!("{name}.yaml")), browser.directory.join(format!("{name}.html")));
    std::fs::write(&file, lab).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_topo")).arg("graph").arg(&file).arg("--out").arg(&page).status().unwrap();
    assert!(status.success());
    page
}

/// Two routers behind the switch, so that an edge leads to its block.
const ROUTERS: &str = "  gw: { interfaces: { eth0: {}, wan: {} } }\n  isp: { interfaces: { eth0: {} } }\n";
const UPLINKS: &str = "  - endpoints: [sw:up, gw:eth0]\n  - endpoints: [gw:wan, isp:eth0]\n";

#[test]
fn a_page_can_be_clicked_searched_folded_and_zoomed() {
    let Some(browser) = Browser::start() else { return };
    let hosts: String =
        (0..20).map(|n| format!("  h{n}: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.{}/24] }} }} }}\n", n + 1)).collect();
    let ports: Vec<_> = (0..20).map(|n| format!("p{n}")).chain(["up".to_owned()]).collect();
    let links: String = (0..20).map(|n| format!("  - endpoints: [sw:p{n}, h{n}:eth0]\n")).collect();
    let switch = format!("  sw: {{ interfaces: {{ br0: {{ bridge: {{ ports: [{}] }} }} }} }}\n", ports.join(", "));
    browser.open(&page(&browser, "star", &format!("name: star\nnamespaces:\n{switch}{hosts}{ROUTERS}links:\n{links}{UPLINKS}")));
    assert_eq!(browser.value("document.querySelector('h1').textContent"), "Lab star");

    // A node is clicked: what the lab file says of it, and the way to its neighbour.
    let node = "document.querySelector('#details h2')?.textContent";
    assert_eq!(browser.value("document.getElementById('details').hidden"), true);
    let position = browser.value("data.nodes.findIndex(node => node.id === 'h7')");
    browser.click(&format!("[data-node='{position}'] .title"));
    assert_eq!(browser.value(node), "h7");
    assert!(browser.value("document.querySelector('#details pre').textContent").as_str().unwrap().contains("10.0.0.8/24"));
    browser.click("#details li a");
    assert_eq!(browser.value(node), "sw:br0");
    browser.click("#details .close");
    assert_eq!(browser.value("document.getElementById('details').hidden"), true);

    // The mouse over a node: all but its neighbours are dim.
    browser.click("#fit");
    let dim = "document.querySelectorAll('.node.dim').length";
    let actions = json!({ "actions": [{ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": [
        { "type": "pointerMove", "duration": 0, "x": 0, "y": 0,
          "origin": { ELEMENT: browser.element(&format!("[data-node='{position}'] .title")) } },
    ] }] });
    browser.command("/actions", &actions);
    assert_eq!(browser.value(dim), 21);

    // Search.
    browser.type_text("#search", "10.0.0.12");
    assert_eq!(browser.value("document.getElementById('found').textContent"), "1");
    assert_eq!(browser.value("document.querySelectorAll('.node.found').length"), 1);
    assert_eq!(browser.value(dim), 21);
    browser.type_text("#search", "\u{E007}");
    assert_eq!(browser.value(node), "h11");
    browser.type_text("#search", "\u{E00C}");
    assert_eq!(browser.value("document.querySelectorAll('.dim').length"), 0);

    // Fold and unfold.
    let hidden = "[...document.querySelectorAll('.node.folded')].filter(e => getComputedStyle(e).display === 'none').length";
    let length = "edges.find(edge => edge.ends.includes(data.blocks[0].head)).e.querySelector('path').getTotalLength()";
    let before = browser.value(length).as_f64().unwrap();
    let longer = &format!("{length} > {before} + 10");
    browser.click("#fold");
    assert_eq!(browser.value(hidden), 20);
    assert_eq!(browser.value("document.querySelector('.badge.shown').textContent"), "+20");
    // An edge ends at the box of the switch itself now.
    assert_eq!(browser.value(longer), true);
    browser.click("#fold");
    assert_eq!(browser.value(hidden), 0);

    // Zoom and themes.
    let width = || browser.value("picture.viewBox.baseVal.width").as_f64().unwrap();
    browser.click("#fit");
    let all = width();
    browser.click("#in");
    assert!(width() < all);
    browser.click("#fit");
    assert!((width() - all).abs() < 0.01);
    let ground = || browser.value("getComputedStyle(document.body).backgroundColor");
    let before = ground();
    browser.click("#theme");
    assert_ne!(ground(), before);
    assert_eq!(browser.value("performance.getEntriesByType('resource').length"), 0);
}
