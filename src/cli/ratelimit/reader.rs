//! Reads variables, and collects what becomes of them: flags, warnings and errors.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt,
    time::Duration,
};

use thiserror::Error;

use super::{
    go,
    table::{self, Becomes},
};
use crate::cli::variables::variable;

/// The environment of a process, or of a test. An empty variable counts as not set, unless it is asked for.
#[derive(Debug, Default)]
pub(in crate::cli) struct Environment(BTreeMap<String, String>);

/// A variable whose value cannot be honoured.
#[derive(Debug, PartialEq, Eq, Error)]
pub(in crate::cli) struct Wrong {
    variable: &'static str,
    /// None if no message may repeat it, or if it is not set.
    value: Option<String>,
    /// What to write instead.
    instead: String,
}

/// Everything that is wrong.
#[derive(Debug, PartialEq, Eq, Error)]
pub(in crate::cli) struct Refused(pub(super) Vec<Wrong>);

/// A flag of `serve`, and the variables that it was made of. It has none if it is a default of the name `ratelimit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) value: OsString,
    pub(super) by: Vec<&'static str>,
}

/// What has become of the variables so far.
#[derive(Debug)]
pub(super) struct Reader<'e> {
    environment: &'e Environment,
    pub(super) flags: Vec<Flag>,
    pub(super) honoured: BTreeSet<String>,
    /// Not read, because of this variable.
    pub(super) overridden: BTreeMap<&'static str, String>,
    pub(super) warnings: Vec<String>,
    pub(super) wrong: Vec<Wrong>,
}

// === impl Environment ===

impl Environment {
    pub(in crate::cli) fn of_process() -> Environment {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// The value without the blanks around it; it may be empty. None: it is not set.
    fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// The names of variables that are set.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| self.get(name).is_some())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Environment {
        Environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

// === impl Reader ===

impl<'e> Reader<'e> {
    /// Checks that each value looks as the reference wants it.
    pub(super) fn new(environment: &'e Environment) -> Reader<'e> {
        let mut reader = Reader {
            environment,
            flags: Vec::new(),
            honoured: BTreeSet::new(),
            overridden: BTreeMap::new(),
            warnings: Vec::new(),
            wrong: Vec::new(),
        };
        for row in table::TABLE {
            if let Some(Err(expected)) = environment.get(row.name).map(|value| row.kind.check(value)) {
                reader.refuse(row.name, expected);
            }
        }
        reader
    }

    pub(super) fn text(&self, name: &str) -> Option<&'e str> {
        self.environment.get(name)
    }

    /// Like [`Reader::text`], but tells an empty value from none.
    pub(super) fn text_or_empty(&self, name: &str) -> Option<&'e str> {
        self.environment.raw(name)
    }

    /// False if it is not set. A value that is none was refused before.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| go::switch(value) == Ok(true))
    }

    pub(super) fn time(&self, name: &str) -> Option<Duration> {
        self.text(name).and_then(|value| go::time(value).ok())
    }

    pub(super) fn port(&self, name: &str) -> Option<u16> {
        self.text(name).and_then(|value| go::port(value).ok())
    }

    /// A variable of Tollgate that is set, and takes precedence over those of the reference.
    pub(super) fn tollgate(&self, flag: &str) -> Option<String> {
        let variable = variable(&flag.replace('-', "_"));
        self.environment.get(&variable).is_some().then_some(variable)
    }

    /// Sets a flag, unless Tollgate's own variable sets it. `by` names the variables that this honours.
    pub(super) fn put(
        &mut self,
        name: &'static str,
        value: impl Into<OsString>,
        by: &'static [&'static str],
    ) {
        match self.tollgate(name) {
            Some(variable) => self.leave_to(&variable, by),
            None => {
                self.honour(by);
                let set = by.iter().filter(|name| self.environment.get(name).is_some());
                let flag = Flag { name, value: value.into(), by: set.copied().collect() };
                self.flags.push(flag);
            }
        }
    }

    /// Sets a flag to the value of a variable, if there is one.
    pub(super) fn put_text(&mut self, flag: &'static str, by: &'static [&'static str; 1]) {
        if let Some(text) = self.text(by[0]) {
            self.put(flag, text, by);
        }
    }

    pub(super) fn honour(&mut self, names: &[&'static str]) {
        let set = names.iter().filter(|name| self.environment.get(name).is_some());
        self.honoured.extend(set.map(|name| (*name).to_owned()));
    }

    /// All variables of this row, whose name ends in `*`, are read.
    pub(super) fn honour_prefix(&mut self, row: &'static str) {
        let is_of = |name: &str| table::find(name).is_some_and(|found| found.name == row);
        self.honoured.extend(self.environment.names().filter(|name| is_of(name)).map(str::to_owned));
    }

    /// These variables are not read, because another one is set.
    pub(super) fn leave_to(&mut self, variable: &str, names: &[&'static str]) {
        let set = names.iter().filter(|name| self.environment.get(name).is_some());
        self.overridden.extend(set.map(|name| (*name, variable.to_owned())));
    }

    /// The value of a variable cannot be honoured.
    pub(super) fn refuse(&mut self, name: &'static str, instead: impl Into<String>) {
        let is_secret = table::find(name).is_some_and(|row| row.kind.is_secret());
        let value = self.text(name).filter(|_| !is_secret).map(str::to_owned);
        self.wrong.push(Wrong { variable: name, value, instead: instead.into() });
    }

    /// Variables that are set and change nothing.
    pub(super) fn without_effect(&self) -> Vec<String> {
        let known = self.environment.names().filter(|name| table::find(name).is_some());
        let is_left = |name: &str| !self.honoured.contains(name) && !self.overridden.contains_key(name);
        known.filter(|name| is_left(name)).map(str::to_owned).collect()
    }

    /// A variable whose value is checked was found to be one that Tollgate honours.
    pub(super) fn honour_checked(&mut self) {
        let checked = table::TABLE.iter().filter(|row| row.becomes == Becomes::Checked);
        let names: Vec<&'static str> = checked.map(|row| row.name).collect();
        let left: Vec<_> = names.into_iter().filter(|name| !self.overridden.contains_key(name)).collect();
        self.honour(&left);
    }
}

// === impl Wrong, Refused ===

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} is {value:?}: {}", self.variable, self.instead),
            None => write!(f, "{}: {}", self.variable, self.instead),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, wrong) in self.0.iter().enumerate() {
            let separator = if number > 0 { "\n" } else { "" };
            write!(f, "{separator}{wrong}")?;
        }
        Ok(())
    }
}
