//! Checks rules that came as a message as if they had been a file.
//!
//! A message has no lines. Its maps are numbered instead, and the number stands where a file's line would:
//! [`Position::line`]. What the numbers mean is left to the caller, which made them.

use std::path::PathBuf;

use super::{
    Checked, Files, Holds, InFolders, Look, Position, Seen,
    report::Report,
    rules,
    yaml::{Kind, Node, Scalar},
};
use tollgate_core::limit::Defaults;

/// A value of a message, in the words of a limits file.
pub struct Value(Node);

// === impl Value ===

impl Value {
    /// A text, whatever it looks like.
    pub fn text(number: usize, text: impl Into<String>) -> Value {
        Value::new(number, Kind::Scalar(Scalar { text: text.into(), plain: false }))
    }

    /// A number, a boolean or `null`, as YAML spells it.
    pub fn plain(number: usize, spelled: impl Into<String>) -> Value {
        Value::new(number, Kind::Scalar(Scalar { text: spelled.into(), plain: true }))
    }

    /// A list.
    pub fn list(number: usize, items: impl IntoIterator<Item = Value>) -> Value {
        Value::new(number, Kind::List(items.into_iter().map(|Value(node)| node).collect()))
    }

    /// A map.
    pub fn map<K: Into<String>>(number: usize, pairs: impl IntoIterator<Item = (K, Value)>) -> Value {
        let pair = |(key, Value(value)): (K, Value)| (Value::text(number, key).0, value);
        Value::new(number, Kind::Map(pairs.into_iter().map(pair).collect()))
    }

    fn new(number: usize, kind: Kind) -> Value {
        Value(Node::new(Position { line: number, column: 1 }, kind))
    }
}

/// Checks one domain. `defaults` are for limits that leave open how they count. The file of each error is `domain`.
pub fn check_message(domain: &str, Value(root): &Value, defaults: Defaults) -> Checked {
    let path = PathBuf::from(domain);
    let mut report = Report::of_message(path.clone());
    let found = rules::check(root, 0, defaults, &mut report).ok();
    let in_folders = InFolders::default();
    let seen = Seen { path, look: Look::Stream, holds: Holds::Limits, in_folders };
    let files = Files { in_folders, reports: vec![report], seen: vec![seen] };
    super::finish(found.into_iter().collect(), files)
}
