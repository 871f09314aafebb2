//! The environment variables of the flags. An empty one counts as not set, because a manifest may leave a value open.
//! An error about a value names the variable that it came from.

use std::{
    collections::{HashMap, HashSet},
    env,
    ffi::{OsStr, OsString},
};

use clap::{
    ArgMatches, Command,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

/// Where the values of flags came from, if nobody typed them.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    /// The ids of flags whose values came from their own variables.
    variables: HashSet<String>,
    /// Flags that were made of other variables, with the names of these.
    made_of: HashMap<&'static str, String>,
}

/// Reads the command line together with the variables. `origins` are those of flags in the line.
pub(super) fn matches(
    command: Command,
    line: &[OsString],
    origins: &Origins,
) -> Result<ArgMatches, clap::Error> {
    let mut reading = without_empty(command.clone(), &of_image(line));
    reading.try_get_matches_from_mut(line).map_err(|error| match error.kind() {
        // The unchanged command also shows the empty variables in its help.
        ErrorKind::DisplayHelp => command.try_get_matches_from(line).err().unwrap_or(error),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            naming_variable(error, &reading, line, origins)
        }
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

/// What the image sets in place of these variables, so that whatever its user sets takes precedence.
const OF_IMAGE: [(&str, &str); 3] = [
    ("TOLLGATE_CONFIG", "TOLLGATE_IMAGE_CONFIG"),
    ("TOLLGATE_GRPC_LISTEN", "TOLLGATE_IMAGE_GRPC_LISTEN"),
    ("TOLLGATE_ADMIN_LISTEN", "TOLLGATE_IMAGE_ADMIN_LISTEN"),
];

/// Those of the image's variables that count: without the file if rules come by xDS.
fn of_image(line: &[OsString]) -> Vec<(&'static str, &'static str)> {
    let has_server = is_set(OsStr::new("TOLLGATE_XDS_SERVER")) == Some(true)
        || line.iter().any(|word| is_flag(&word.to_string_lossy(), "xds-server"));
    OF_IMAGE.into_iter().filter(|(name, _)| !(has_server && *name == "TOLLGATE_CONFIG")).collect()
}

/// None: the variable is not there. False: it is empty.
fn is_set(name: &OsStr) -> Option<bool> {
    env::var_os(name).map(|text| !text.to_string_lossy().trim().is_empty())
}

fn without_empty(command: Command, of_image: &[(&'static str, &'static str)]) -> Command {
    let command = command.mut_args(|arg| {
        let Some(name) = arg.get_env().map(ToOwned::to_owned) else { return arg };
        let other = |names: &[(&'static str, &'static str)]| {
            names.iter().find(|(now, _)| name == **now).map(|(_, other)| *other)
        };
        let earlier = other(&EARLIER_NAMES)
            .into_iter()
            .chain(other(of_image))
            .find(|other| is_set(other.as_ref()) == Some(true));
        match (is_set(&name), earlier) {
            (Some(true), _) => arg,
            (_, Some(earlier)) => arg.env(earlier),
            (Some(false), _) => arg.env(Resettable::Reset),
            (None, _) => arg,
        }
    });
    command.mut_subcommands(|subcommand| without_empty(subcommand, of_image))
}

/// The error with the variable's name instead of the flag's, if the flag was not typed.
fn naming_variable(
    mut error: clap::Error,
    command: &Command,
    line: &[OsString],
    origins: &Origins,
) -> clap::Error {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return error };
    let subcommand = line.iter().find_map(|word| command.find_subcommand(word));
    let mut args = subcommand.unwrap_or(command).get_arguments();
    let Some(arg) = args.find(|arg| arg.to_string() == *shown) else { return error };
    let (Some(variable), Some(flag)) = (arg.get_env(), arg.get_long()) else { return error };
    if let Some(names) = origins.made_of.get(flag) {
        let named = format!("{names} (as --{flag})");
        error.insert(ContextKind::InvalidArg, ContextValue::String(named));
    } else if !line.iter().any(|word| is_flag(&word.to_string_lossy(), flag)) {
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
    /// The origins of flags that were made of other variables.
    pub(super) fn made_of(flags: impl Iterator<Item = (&'static str, String)>) -> Origins {
        Origins { variables: HashSet::new(), made_of: flags.collect() }
    }

    /// The same, with the flags of one subcommand whose values came from their variables.
    pub(super) fn with_variables(self, matches: &ArgMatches) -> Origins {
        let ids = matches.ids().map(|id| id.as_str());
        let from_variable = |id: &&str| matches.value_source(id) == Some(ValueSource::EnvVariable);
        Origins { variables: ids.filter(from_variable).map(str::to_owned).collect(), ..self }
    }

    /// The name of the flag in messages: `--store`, or `TOLLGATE_STORE` if the value came from there, or the variable
    /// that it was made of.
    pub(super) fn name(&self, flag: &str) -> String {
        let id = flag.replace('-', "_");
        match self.made_of.get(flag) {
            Some(names) => names.clone(),
            None if self.variables.contains(&id) => variable(&id),
            None => format!("--{flag}"),
        }
    }
}

/// The variable of a flag of `serve`.
pub(super) fn variable(id: &str) -> String {
    format!("TOLLGATE_{}", id.to_ascii_uppercase())
}
