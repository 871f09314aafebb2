//! A headless Chromium of our own, for the live page: opens it, asks it, takes pictures of it.
//!
//! It speaks the DevTools protocol through two named pipes: no port is opened, and no other program is needed. It asks
//! nothing of the network by itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    time,
};

use crate::{
    binaries::{BinaryError, Part},
    process::{Process, ProcessError, next_number, run_folder},
};

/// How long an answer may take; a start on a busy machine takes several seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a page is asked whether something has come true.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Error)]
pub enum ChromiumError {
    #[error(transparent)]
    Binary(#[from] BinaryError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("cannot speak to Chromium")]
    Pipe(#[from] io::Error),
    #[error("Chromium does not answer {method} within {} s", PATIENCE.as_secs())]
    Silent { method: String },
    #[error("Chromium refuses {method}: {answer}")]
    Refused { method: String, answer: Value },
    #[error("the page throws: {answer}")]
    Thrown { answer: Value },
    #[error("{expression} has not come true within {} s", within.as_secs())]
    NotTrue { expression: String, within: Duration },
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub scheme: Scheme,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

/// With one page.
#[derive(Debug)]
pub struct Chromium {
    process: Process,
    folder: PathBuf,
    commands: pipe::Sender,
    answers: pipe::Receiver,
    unread: Vec<u8>,
    session: Option<String>,
    last_id: u64,
    complaints: Vec<String>,
}

// === impl Chromium ===

impl Chromium {
    pub async fn start() -> Result<Chromium, ChromiumError> {
        let binary = Part::Chromium.find()?;
        let folder = run_folder()?.join(format!("chromium-{}", next_number()));
        fs::create_dir_all(&folder)?;
        let pipes = [folder.join("commands"), folder.join("answers")];
        let made = Command::new("mkfifo").args(&pipes).status()?;
        if !made.success() {
            return Err(io::Error::other(format!("mkfifo ended with {made}")).into());
        }
        // Both ways, so that neither side waits for the other to open its end.
        let mut both = pipe::OpenOptions::new();
        both.read_write(true);
        let (commands, answers) = (both.open_sender(&pipes[0])?, both.open_receiver(&pipes[1])?);
        let process = Process::spawn("chromium", &command(&binary, &folder, &pipes))?;
        let mut chromium = Chromium {
            process,
            folder,
            commands,
            answers,
            unread: Vec::new(),
            session: None,
            last_id: 0,
            complaints: Vec::new(),
        };
        let page = chromium.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = chromium.call("Target.attachToTarget", attach).await?;
        chromium.session = attached["sessionId"].as_str().map(str::to_owned);
        for part in ["Page.enable", "Runtime.enable", "Log.enable"] {
            chromium.call(part, json!({})).await?;
        }
        Ok(chromium)
    }

    pub async fn look(&mut self, look: Look) -> Result<(), ChromiumError> {
        let Look { width, height, scheme } = look;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.call("Emulation.setEmulatedMedia", media).await?;
        Ok(())
    }

    pub async fn open(&mut self, url: &str) -> Result<(), ChromiumError> {
        self.call("Page.navigate", json!({ "url": url })).await?;
        self.until("document.readyState === 'complete'", PATIENCE).await
    }

    /// The value of a JavaScript expression in the page.
    pub async fn value(&mut self, expression: &str) -> Result<Value, ChromiumError> {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", asked).await?;
        if answer.get("exceptionDetails").is_some() {
            return Err(ChromiumError::Thrown { answer });
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true. If it throws, it is not true yet.
    pub async fn until(&mut self, expression: &str, within: Duration) -> Result<(), ChromiumError> {
        let deadline = time::Instant::now() + within;
        loop {
            match self.value(expression).await {
                Ok(Value::Bool(true)) => return Ok(()),
                Ok(_) | Err(ChromiumError::Thrown { .. }) => {}
                Err(error) => return Err(error),
            }
            if time::Instant::now() > deadline {
                return Err(ChromiumError::NotTrue { expression: expression.to_owned(), within });
            }
            time::sleep(LOOK_EVERY).await;
        }
    }

    /// What is to be seen, as PNG in base64.
    pub async fn picture(&mut self) -> Result<String, ChromiumError> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        Ok(answer["data"].as_str().unwrap_or_default().to_owned())
    }

    /// Errors in the console and exceptions that nobody caught, so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value, ChromiumError> {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).await?;
        let answer = time::timeout(PATIENCE, self.answer(id)).await;
        let answer = answer.map_err(|_| ChromiumError::Silent { method: method.to_owned() })??;
        match answer.get("error") {
            Some(error) => Err(ChromiumError::Refused { method: method.to_owned(), answer: error.clone() }),
            None => Ok(answer["result"].clone()),
        }
    }

    async fn answer(&mut self, id: u64) -> Result<Value, ChromiumError> {
        loop {
            let message = self.message().await?;
            if message["id"] == id {
                return Ok(message);
            }
            let params = &message["params"];
            let is_complaint = match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded") => params["entry"]["level"] == "error",
                Some("Runtime.consoleAPICalled") => params["type"] == "error",
                _ => false,
            };
            if is_complaint {
                self.complaints.push(params.to_string());
            }
        }
    }

    async fn message(&mut self) -> Result<Value, ChromiumError> {
        let mut part = vec![0; 64 << 10];
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == 0) {
                let rest = self.unread.split_off(end + 1);
                let message = std::mem::replace(&mut self.unread, rest);
                return Ok(serde_json::from_slice(&message[..end]).map_err(io::Error::from)?);
            }
            let read = self.answers.read(&mut part).await?;
            self.unread.extend_from_slice(&part[..read]);
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.process.kill();
        // What is left of a profile does no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// It reads its file descriptor 3, and writes 4.
fn command(binary: &Path, folder: &Path, pipes: &[PathBuf; 2]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"in=$1 out=$2; shift 2; exec "$@" 3<"$in" 4>"$out""#, "chromium"])
        .args(pipes)
        .arg(binary)
        .args(["--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-quic"])
        // An unpacked one has no sandbox; it shows nothing but pages of ours.
        .arg("--no-sandbox")
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg("about:blank");
    command
}
