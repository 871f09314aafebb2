//! Where the real programs are: named by a variable, else fetched by `scripts/setup`, else on PATH.
//!
//! The same places in the same order as in `scripts/setup`, so what it printed is what runs.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Envoy,
    Redis,
    Nginx,
    /// Only for the live page: nothing else needs it.
    Chromium,
}

#[derive(Debug, Error)]
pub enum BinaryError {
    #[error(
        "no {program} {oldest} or later in .tools/bin or on PATH: run scripts/setup, or name one in {variable}"
    )]
    Missing { program: &'static str, oldest: &'static str, variable: &'static str },
    #[error("{variable} names {path}, which is not {program} {oldest} or later")]
    NotThat { variable: &'static str, path: String, program: &'static str, oldest: &'static str },
    #[error("no tollgate at {path}: run cargo build, or name one in TOLLGATE_BIN")]
    NoTollgate { path: String },
    #[error("no libfaketime at {path}: run scripts/setup faketime, or name one in TOLLGATE_LIBFAKETIME")]
    NoFaketime { path: String },
    #[error("cannot tell where this program itself lies")]
    NoSelf(#[source] io::Error),
}

// === impl Part ===

impl Part {
    /// The binary that tests and the demo run.
    pub fn find(self) -> Result<PathBuf, BinaryError> {
        if let Some(named) = env::var_os(self.variable()).filter(|value| !value.is_empty()) {
            return self.checked(PathBuf::from(&named)).ok_or_else(|| BinaryError::NotThat {
                variable: self.variable(),
                path: named.to_string_lossy().into_owned(),
                program: self.program(),
                oldest: self.oldest(),
            });
        }
        let path = env::var_os("PATH").unwrap_or_default();
        std::iter::once(checkout().join(".tools/bin"))
            .chain(env::split_paths(&path))
            .find_map(|folder| self.checked(folder.join(self.program())))
            .ok_or(BinaryError::Missing {
                program: self.program(),
                oldest: self.oldest(),
                variable: self.variable(),
            })
    }

    pub const fn program(self) -> &'static str {
        match self {
            Part::Envoy => "envoy",
            Part::Redis => "redis-server",
            Part::Nginx => "nginx",
            Part::Chromium => "chromium",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Part::Envoy => "TOLLGATE_ENVOY",
            Part::Redis => "TOLLGATE_REDIS_SERVER",
            Part::Nginx => "TOLLGATE_NGINX",
            Part::Chromium => "TOLLGATE_CHROMIUM",
        }
    }

    const fn oldest(self) -> &'static str {
        match self {
            Part::Envoy => "1.40",
            Part::Redis => "6.2",
            Part::Nginx => "1.18",
            Part::Chromium => "112.0",
        }
    }

    /// What stands before the version in what `--version` prints.
    const fn marker(self) -> &'static str {
        match self {
            Part::Envoy | Part::Nginx => "/",
            Part::Redis => "v=",
            Part::Chromium => "Chromium ",
        }
    }

    fn checked(self, binary: PathBuf) -> Option<PathBuf> {
        if !binary.is_file() {
            return None;
        }
        let oldest = version(self.oldest())?;
        let found = version(&self.says(&binary)?)?;
        (found >= oldest).then_some(binary)
    }

    /// The version of the binary that is found, such as `1.40.0`; none if it does not say.
    pub fn version(self) -> Option<String> {
        self.says(&self.find().ok()?)
    }

    fn says(self, binary: &Path) -> Option<String> {
        // nginx knows only this one, and answers on stderr.
        let flag = if self == Part::Nginx { "-v" } else { "--version" };
        let output = Command::new(binary).arg(flag).output().ok()?;
        let said = if self == Part::Nginx { &output.stderr } else { &output.stdout };
        let said = String::from_utf8_lossy(said);
        let numbered = said.split(self.marker()).find(|rest| version(rest).is_some())?;
        let end = numbered.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(numbered.len());
        Some(numbered[..end].to_owned())
    }
}

/// The major and minor version that a text begins with.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let rest = text.strip_prefix(&format!("{major}."))?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some((major, minor))
}

/// The service's own binary: TOLLGATE_BIN, else the one that cargo put beside this program.
pub fn tollgate() -> Result<PathBuf, BinaryError> {
    let path = match env::var_os("TOLLGATE_BIN").filter(|value| !value.is_empty()) {
        Some(named) => PathBuf::from(named),
        None => beside_this_program()?,
    };
    if path.is_file() { Ok(path) } else { Err(BinaryError::NoTollgate { path: path.display().to_string() }) }
}

fn beside_this_program() -> Result<PathBuf, BinaryError> {
    let this = env::current_exe().map_err(BinaryError::NoSelf)?;
    let mut folder = this.parent().expect("a program lies in a folder");
    // Tests lie one folder deeper than binaries.
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap_or(folder);
    }
    Ok(folder.join("tollgate"))
}

/// Debian's library that moves the clock of a program.
pub fn libfaketime() -> Result<PathBuf, BinaryError> {
    let named = env::var_os("TOLLGATE_LIBFAKETIME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = named.unwrap_or_else(|| checkout().join(".tools/faketime/libfaketime.so.1"));
    if path.is_file() { Ok(path) } else { Err(BinaryError::NoFaketime { path: path.display().to_string() }) }
}

/// The top of the checkout that this was built from.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("lab/ lies in the checkout")
}
