//! The environment variables of the flags. An empty one counts as not set, because a manifest may leave a value open.
//! An error about a value names the variable that it came from.

use std::{
    collections::HashSet,
    env,
    ffi::{OsStr, OsString},
};

use clap::{
    ArgMatches, Command,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

/// Flags whose values came from variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins(HashSet<String>);

/// Reads the command line together with the variables.
pub(super) fn matches(command: Command, line: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let mut reading = without_empty(command.clone());
    reading.try_get_matches_from_mut(line).map_err(|error| match error.kind() {
        // The unchanged command also shows the empty variables in its help.
        ErrorKind::DisplayHelp => command.try_get_matches_from(line).err().unwrap_or(error),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => naming_variable(error, &reading, line),
        _ => error,
    })
}

/// The value of a variable that has no flag. `None` if it is empty.
pub(super) fn value(name: &str) -> Option<String> {
    let value = env::var_os(name)?.to_string_lossy().trim().to_owned();
    Some(value).filter(|value| !value.is_empty())
}

/// Variables that were renamed, with their old names, which still work if the new one is not set.
const EARLIER_NAMES: [(&str, &str); 1] = [("TOLLGATE_DENIAL_CACHE", "TOLLGATE_MEMO")];

fn without_empty(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let Some(name) = arg.get_env().map(ToOwned::to_owned) else { return arg };
        let earlier = EARLIER_NAMES.iter().find(|(now, _)| name == **now).map(|(_, earlier)| *earlier);
        let is_set = |name: &OsStr| env::var_os(name).map(|text| !text.to_string_lossy().trim().is_empty());
        match (is_set(&name), earlier) {
            (Some(true), _) => arg,
            (_, Some(earlier)) if is_set(earlier.as_ref()) == Some(true) => arg.env(earlier),
            (Some(false), _) => arg.env(Resettable::Reset),
            (None, _) => arg,
        }
    });
    command.mut_subcommands(without_empty)
}

/// The error with the variable's name instead of the flag's, if the flag was not typed.
fn naming_variable(mut error: clap::Error, command: &Command, line: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return error };
    let subcommand = line.iter().find_map(|word| command.find_subcommand(word));
    let mut args = subcommand.unwrap_or(command).get_arguments();
    let Some(arg) = args.find(|arg| arg.to_string() == *shown) else { return error };
    let (Some(variable), Some(flag)) = (arg.get_env(), arg.get_long()) else { return error };
    if !line.iter().any(|word| is_flag(&word.to_string_lossy(), flag)) {
        let named = format!("{} (the variable of --{flag})", variable.to_string_lossy());
        error.insert(ContextKind::InvalidArg, ContextValue::String(named));
    }
    error
}

fn is_flag(word: &str, flag: &str) -> bool {
    let rest = word.strip_prefix("--").and_then(|word| word.strip_prefix(flag));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

// === impl Origins ===

impl Origins {
    /// The flags of one subcommand whose values came from variables.
    pub(super) fn from_matches(matches: &ArgMatches) -> Origins {
        let ids = matches.ids().map(|id| id.as_str());
        let from_variable = |id: &&str| matches.value_source(id) == Some(ValueSource::EnvVariable);
        Origins(ids.filter(from_variable).map(str::to_owned).collect())
    }

    /// The name of the flag in messages: `--store`, or `TOLLGATE_STORE` if the value came from there.
    pub(super) fn name(&self, flag: &str) -> String {
        let id = flag.replace('-', "_");
        if self.0.contains(&id) { variable(&id) } else { format!("--{flag}") }
    }
}

/// The variable of a flag of `serve`.
pub(super) fn variable(id: &str) -> String {
    format!("TOLLGATE_{}", id.to_ascii_uppercase())
}
