//! Reads values of JSON by type. An error names the place.

use std::fmt;

use serde_json::Value;

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// From the inside to the outside, such as `unit`, `limit`, `[0]`, `descriptors`.
    place: Vec<String>,
    what: &'static str,
}

// === impl Wrong ===

impl Wrong {
    pub(super) const UNKNOWN: Wrong = Wrong::new("no such field");
    pub(super) const UNIT: Wrong = Wrong::new("a unit is SECOND, MINUTE, HOUR, DAY, WEEK, MONTH or YEAR");

    const fn new(what: &'static str) -> Wrong {
        Wrong { place: Vec::new(), what }
    }

    fn inside(mut self, place: String) -> Wrong {
        self.place.push(place);
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, place) in self.place.iter().rev().enumerate() {
            let separator = if number > 0 && !place.starts_with('[') { "." } else { "" };
            write!(f, "{separator}{place}")?;
        }
        let separator = if self.place.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}", self.what)
    }
}

/// Hands over the fields of an object that are not null.
pub(super) fn each(
    value: &Value,
    mut field: impl FnMut(&str, &Value) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let Value::Object(fields) = value else { return Err(Wrong::new("an object is wanted here")) };
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        field(name, value).map_err(|wrong| wrong.inside(name.clone()))?;
    }
    Ok(())
}

pub(super) fn list<T>(value: &Value, item: impl Fn(&Value) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    let Value::Array(items) = value else { return Err(Wrong::new("a list is wanted here")) };
    let items = items.iter().enumerate();
    items.map(|(at, value)| item(value).map_err(|wrong| wrong.inside(format!("[{at}]")))).collect()
}

pub(super) fn text(value: &Value) -> Result<&str, Wrong> {
    value.as_str().ok_or(Wrong::new("a text is wanted here"))
}

pub(super) fn flag(value: &Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or(Wrong::new("true or false is wanted here"))
}

/// A whole number of the type, as a number or as text.
pub(super) fn number<N: TryFrom<i128>>(value: &Value) -> Result<N, Wrong> {
    let number = match value {
        Value::String(digits) => digits.parse::<i128>().ok(),
        Value::Number(number) => number.as_i128().or_else(|| number.as_f64().and_then(whole)),
        _ => None,
    };
    number.and_then(|number| N::try_from(number).ok()).ok_or(Wrong::new("a whole number is wanted here"))
}

/// Numbers such as 1e3 and 2.0.
fn whole(number: f64) -> Option<i128> {
    // Its text has no exponent.
    if number.fract() == 0.0 { format!("{number:.0}").parse().ok() } else { None }
}
