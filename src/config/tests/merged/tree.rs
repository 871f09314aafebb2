//! YAML before it is text.

use std::fmt::Write as _;

/// What a file says, before it is text.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Scalar(Scalar),
    List(Vec<Tree>),
    Map(Pairs),
    Anchor(usize, Box<Tree>),
    Alias(usize),
}

pub(super) type Pairs = Vec<(Scalar, Tree)>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scalar {
    pub(super) written: &'static str,
    pub(super) is: Is,
}

/// What a scalar is by YAML 1.1; all texts here are written as they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Is {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text,
}

pub(super) const fn text(written: &'static str) -> Scalar {
    Scalar { written, is: Is::Text }
}

pub(super) const fn null(written: &'static str) -> Scalar {
    Scalar { written, is: Is::Null }
}

pub(super) const fn int(written: &'static str, int: i64) -> Scalar {
    Scalar { written, is: Is::Int(int) }
}

pub(super) const fn float(written: &'static str, float: f64) -> Scalar {
    Scalar { written, is: Is::Float(float) }
}

pub(super) const fn flag(written: &'static str, flag: bool) -> Scalar {
    Scalar { written, is: Is::Bool(flag) }
}

impl Scalar {
    /// As the name of a field.
    pub(super) fn name(&self) -> &'static str {
        if self.is == Is::Null { "" } else { self.written }
    }
}

// === Writing ===

impl Tree {
    pub(super) fn write(&self, into: &mut String) {
        match self {
            Tree::Scalar(scalar) => into.push_str(scalar.written),
            Tree::Anchor(number, tree) => {
                let _ = write!(into, "&a{number} ");
                tree.write(into);
            }
            Tree::Alias(number) => {
                let _ = write!(into, "*a{number} ");
            }
            Tree::List(items) => {
                into.push('[');
                for (index, item) in items.iter().enumerate() {
                    into.push_str(if index == 0 { " " } else { ", " });
                    match item {
                        // Nothing at all would be no item.
                        Tree::Scalar(Scalar { written: "", .. }) => into.push('~'),
                        item => item.write(into),
                    }
                }
                into.push_str(" ]");
            }
            Tree::Map(pairs) => {
                into.push('{');
                for (index, (key, value)) in pairs.iter().enumerate() {
                    let _ = write!(into, "{} {}: ", if index == 0 { "" } else { "," }, key.written);
                    value.write(into);
                }
                into.push_str(" }");
            }
        }
    }
}

/// The lines of a file, the root's keys at their beginning.
pub(super) fn file(root: &Pairs) -> String {
    let mut file = String::new();
    for (key, value) in root {
        let _ = write!(file, "{}: ", key.written);
        match value {
            Tree::List(items) if !items.is_empty() => {
                for item in items {
                    file.push_str("\n- ");
                    item.write(&mut file);
                }
            }
            other => other.write(&mut file),
        }
        file.push('\n');
    }
    file
}
