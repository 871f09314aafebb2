//! The program under the name of envoyproxy/ratelimit: its environment becomes the flags of `tollgate serve`.
//!
//! An operator changes the name of an image, and nothing else. `table` says for each variable what becomes of it. The
//! other files read variables by subject and set flags, by a `Reader`, which also collects what cannot be honoured.
//! Variables of Tollgate's own take precedence, so that an operator can add what the reference has no word for.

mod go;
mod listen;
mod reader;
mod redis;
mod rules;
mod settings;
pub(super) mod table;
mod traces;

use std::{ffi::OsString, path::Path};

use clap::Args;
use tracing::{info, warn};

pub(super) use reader::{Environment, Refused};
use reader::{Flag, Reader};

/// The name of the reference's program.
const NAME: &str = "ratelimit";

/// Serve with the environment variables of envoyproxy/ratelimit, as the program does when it is called `ratelimit`.
///
/// Arguments are ignored, as envoyproxy/ratelimit ignores them. docs/ratelimit.md says what becomes of each variable.
/// The variables of `tollgate serve` work too, and take precedence.
#[derive(Debug, Args)]
pub(super) struct Ratelimit {
    /// Ignored.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    ignored: Vec<OsString>,
}

/// The flags that an environment means, and what to say of it once there is a log.
#[derive(Debug)]
pub(super) struct Translated {
    flags: Vec<Flag>,
    pub(super) told: Told,
}

/// What operators are told at the start.
#[derive(Debug, Default)]
pub(super) struct Told {
    honoured: Vec<String>,
    without_effect: Vec<String>,
    overridden: Vec<String>,
    warnings: Vec<String>,
}

/// The arguments that are ignored, if this command line asks for the reference's program; None otherwise, and if it asks
/// for help.
pub(super) fn ignored(line: &[OsString]) -> Option<&[OsString]> {
    let (program, arguments) = line.split_first()?;
    let arguments = match arguments.split_first() {
        _ if Path::new(program).file_name()? == NAME => arguments,
        Some((subcommand, rest)) if subcommand == NAME => rest,
        _ => return None,
    };
    let asks = |word: &OsString| ["--help", "-h", "--version", "-V"].iter().any(|asked| word == asked);
    Some(arguments).filter(|arguments| !arguments.first().is_some_and(asks))
}

/// Reads the environment. Fails with everything that cannot be honoured.
pub(super) fn translate(environment: &Environment, ignored: &[OsString]) -> Result<Translated, Refused> {
    let mut reader = Reader::new(environment);
    listen::translate(&mut reader);
    rules::translate(&mut reader);
    redis::translate(&mut reader);
    settings::translate(&mut reader);
    traces::translate(&mut reader);
    reader.honour_checked();
    let without_effect = reader.without_effect();
    let Reader { flags, honoured, overridden, mut warnings, wrong, .. } = reader;
    if !wrong.is_empty() {
        return Err(Refused(wrong));
    }
    if !ignored.is_empty() {
        warnings.push(format!("these arguments are ignored, because only variables count: {ignored:?}"));
    }
    let overridden = overridden.iter().map(|(name, by)| format!("{name} (by {by})"));
    let told = Told {
        honoured: honoured.into_iter().collect(),
        without_effect,
        overridden: overridden.collect(),
        warnings,
    };
    Ok(Translated { flags, told })
}

// === impl Translated ===

impl Translated {
    /// The command line of `serve` with these flags.
    pub(super) fn line(&self) -> Vec<OsString> {
        let flags = self.flags.iter().map(|flag| {
            let mut word = OsString::from(format!("--{}=", flag.name));
            word.push(&flag.value);
            word
        });
        ["tollgate", "serve"].into_iter().map(OsString::from).chain(flags).collect()
    }

    /// Each flag that was made of variables, and their names.
    pub(super) fn origins(&self) -> impl Iterator<Item = (&'static str, String)> {
        let made = self.flags.iter().filter(|flag| !flag.by.is_empty());
        made.map(|flag| (flag.name, flag.by.join(" and ")))
    }
}

// === impl Told ===

impl Told {
    /// One line that accounts for every variable of the reference, and the warnings.
    pub(super) fn log(&self) {
        let Told { honoured, without_effect, overridden, warnings } = self;
        let list = |names: &[String]| names.join(", ");
        info!(
            honoured = honoured.join(", "),
            without_effect = list(without_effect),
            overridden = list(overridden),
            "serving as envoyproxy/ratelimit; docs/ratelimit.md says what becomes of each variable"
        );
        for warning in warnings {
            warn!("{warning}");
        }
    }
}

#[cfg(test)]
mod tests;
