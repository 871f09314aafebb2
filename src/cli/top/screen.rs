//! The terminal: the alternate screen, keys without Enter, and all of it given back at the end, also after a panic.

use std::{
    env,
    fmt::Write as _,
    io::{self, IsTerminal as _, Read as _, Write as _},
    thread,
};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use tokio::sync::mpsc;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Where the terminal does not say.
const USUAL: (usize, usize) = (80, 24);
const CTRL_C: u8 = 3;

/// What a text is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Soft,
    Denied,
    Near,
}

/// Whether colours are used. No state is told by its colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    On,
    Off,
}

/// The terminal, until it is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    /// As it was. None: the input is no terminal.
    before: Option<Termios>,
}

// === impl Colours ===

impl Colours {
    /// `NO_COLOR`, if it is not empty, turns them off; see <https://no-color.org>.
    pub(super) fn of_environment() -> Colours {
        if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            Colours::Off
        } else {
            Colours::On
        }
    }

    pub(super) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match (self, tone) {
            (Colours::Off, _) | (_, Tone::Plain) => return text.to_owned(),
            (_, Tone::Strong) => "1",
            (_, Tone::Soft) => "2",
            (_, Tone::Denied) => "1;31",
            (_, Tone::Near) => "33",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

// === impl Screen ===

impl Screen {
    /// Also returns what is typed.
    pub(super) fn open() -> io::Result<(Screen, mpsc::UnboundedReceiver<u8>)> {
        let stdin = io::stdin();
        let before = if stdin.is_terminal() { Some(termios::tcgetattr(&stdin)?) } else { None };
        let screen = Screen { before };
        if let Some(before) = &screen.before {
            let mut raw = before.clone();
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            // Ctrl-Z would leave the shell on the other screen.
            raw.special_codes[SpecialCodeIndex::VSUSP] = 0;
            raw.special_codes[SpecialCodeIndex::VMIN] = 1;
            raw.special_codes[SpecialCodeIndex::VTIME] = 0;
            termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        }
        put(ENTER)?;
        let (send, typed) = mpsc::unbounded_channel();
        // A blocked read cannot be given up; the thread ends with the process.
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            let mut key = [0];
            while matches!(io::stdin().read(&mut key), Ok(1)) && send.send(key[0]).is_ok() {}
        })?;
        Ok((screen, typed))
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        match termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => USUAL,
        }
    }

    /// Replaces what is on it.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut frame = String::from("\x1b[H");
        for (at, line) in lines.iter().enumerate() {
            // No line end after the last one: it would scroll a full screen.
            let _ = write!(frame, "{}{line}\x1b[K", if at == 0 { "" } else { "\r\n" });
        }
        frame.push_str("\x1b[J");
        put(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = put(LEAVE);
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Whether this key ends the program.
pub(super) const fn ends(key: u8) -> bool {
    matches!(key, b'q' | b'Q' | CTRL_C)
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
