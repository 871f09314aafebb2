//! `tollgate top`: the live page in a terminal.
//!
//! It reads `/live` of each address. On a terminal it draws every second until q or Ctrl-C, and leaves the terminal as
//! it was; otherwise, or with `--once`, it prints one table.

mod feed;
mod figures;
mod screen;
mod table;
mod text;
mod url;
mod view;

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use thiserror::Error;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time,
};

use self::{
    feed::Heard,
    screen::{Colours, Screen},
    url::AdminUrl,
    view::View,
};
use crate::error::SystemError;

/// How many seconds are read for one table: other replicas have appeared by then.
const SECONDS_FOR_ONE_TABLE: usize = 4;
/// When one table is printed at the latest.
const ONE_TABLE_WITHIN: Duration = Duration::from_secs(8);

// clap wraps these lines.
const EXAMPLES: &str = "\
One address is enough for all replicas that share a Redis. Give several for replicas that keep their buckets in \
memory, or for several installations: their figures are added up.

Exit status: 0; 1 if an address could not be read for the one table, or the terminal could not be used.

Examples:
  tollgate top
  tollgate top --admin http://10.0.0.7:8080 --admin http://10.0.0.8:8080
  tollgate top --once | head";

/// Show who is being denied, by which rule, and whether the limiter is well; every second, in the terminal.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Top {
    /// Admin address of a Tollgate; may be repeated, or have commas.
    #[arg(long, value_name = "URL", value_delimiter = ',', default_value = "http://127.0.0.1:8080")]
    admin: Vec<AdminUrl>,

    /// Print one table after some seconds, and end. So it is too if the output is no terminal.
    #[arg(long)]
    once: bool,
}

/// Why `top` ended.
#[derive(Debug, Error)]
pub enum TopError {
    /// The runtime or a signal handler could not be made.
    #[error("cannot watch")]
    Start(#[source] SystemError),
    /// The terminal could not be changed or written to.
    #[error("cannot use the terminal")]
    Terminal(#[source] SystemError),
}

/// What is known of one address.
#[derive(Debug)]
struct Source {
    url: AdminUrl,
    heard: Option<Heard>,
    messages: usize,
}

// === impl Top ===

impl Top {
    pub(super) fn run(self) -> Result<ExitCode, TopError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
        runtime.block_on(async {
            let (send, heard) = mpsc::channel(16);
            for (number, url) in self.admin.iter().enumerate() {
                tokio::spawn(feed::follow(url.clone(), number, send.clone()));
            }
            let sources = self.admin.iter().map(|url| Source::new(url.clone())).collect();
            if self.once || !io::stdout().is_terminal() {
                once(sources, heard).await
            } else {
                watch(sources, heard).await
            }
        })
    }
}

impl Source {
    const fn new(url: AdminUrl) -> Source {
        Source { url, heard: None, messages: 0 }
    }
}

fn hear(sources: &mut [Source], (number, heard): (usize, Heard)) {
    let source = &mut sources[number];
    source.messages += usize::from(matches!(heard, Heard::Figures(_)));
    // The last figures stay when the connection is lost, marked as old.
    source.heard = Some(match (heard, source.heard.take()) {
        (Heard::Lost { why, .. }, Some(Heard::Figures(last) | Heard::Lost { last: Some(last), .. })) => {
            Heard::Lost { why, last: Some(last) }
        }
        (heard, _) => heard,
    });
}

/// Prints one table.
async fn once(
    mut sources: Vec<Source>,
    mut heard: mpsc::Receiver<(usize, Heard)>,
) -> Result<ExitCode, TopError> {
    let is_done = |source: &Source| {
        source.messages >= SECONDS_FOR_ONE_TABLE || matches!(source.heard, Some(Heard::Lost { .. }))
    };
    let until = time::sleep(ONE_TABLE_WITHIN);
    tokio::pin!(until);
    while !sources.iter().all(is_done) {
        tokio::select! {
            Some(one) = heard.recv() => hear(&mut sources, one),
            () = &mut until => break,
        }
    }
    let view = View::of(&sources);
    let mut out = io::stdout().lock();
    // A reader that has seen enough, such as head, is no failure.
    if !view.is_empty() {
        let _ = out.write_all(table::whole(&view).as_bytes());
    }
    let unread: Vec<String> = sources.iter().filter_map(Source::trouble).collect();
    for trouble in &unread {
        let _ = writeln!(io::stderr(), "{trouble}");
    }
    Ok(if unread.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Draws until it is told to end.
async fn watch(
    mut sources: Vec<Source>,
    mut heard: mpsc::Receiver<(usize, Heard)>,
) -> Result<ExitCode, TopError> {
    let mut resized = signal(SignalKind::window_change()).map_err(start)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(start)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(start)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(start)?;
    let (screen, mut keys) = Screen::open().map_err(terminal)?;
    let colours = Colours::of_environment();
    loop {
        let (width, height) = screen.size();
        screen.draw(&table::screen(&View::of(&sources), width, height, colours)).map_err(terminal)?;
        tokio::select! {
            Some(one) = heard.recv() => hear(&mut sources, one),
            _ = resized.recv() => {}
            Some(key) = keys.recv() => if screen::ends(key) { return Ok(ExitCode::SUCCESS) },
            _ = interrupted.recv() => return Ok(ExitCode::SUCCESS),
            _ = terminated.recv() => return Ok(ExitCode::SUCCESS),
            _ = hung_up.recv() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn start(error: io::Error) -> TopError {
    TopError::Start(error.into())
}

fn terminal(error: io::Error) -> TopError {
    TopError::Terminal(error.into())
}

#[cfg(test)]
mod tests;
