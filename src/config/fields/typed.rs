//! Reads a key as the type that it must have.

use std::{collections::HashSet, fmt};

use super::{Fields, Part, found, is_null, key_name, merge};
use crate::config::{
    error::Position,
    report::{Place, Reported, shorten},
    scalar::{self, Value},
    yaml::Kind,
};

/// The items under one name, and the position of the name.
type Named<T> = (String, Position, Vec<T>);

impl Fields<'_> {
    /// Text, or a number or boolean as it is spelled, which is how the reference reads them too.
    pub(in crate::config) fn text(&mut self, name: &'static str) -> Result<Option<String>, Reported> {
        let Some(Part { node, overlooked }) = self.take(name) else { return Ok(None) };
        if let Kind::Scalar(scalar) = node.kind()
            && (overlooked || scalar::resolve(scalar) != Value::Float)
        {
            return Ok(Some(scalar.text.clone()));
        }
        Err(self.refuse(node.at, format_args!("{name} must be a string, found {}", found(node))))
    }

    /// Text that must be present and not empty.
    pub(in crate::config) fn required_text(&mut self, name: &'static str) -> Result<String, Reported> {
        match self.text(name)? {
            Some(text) if text.is_empty() => {
                let at = self.at_value(name);
                Err(self.refuse(at, format_args!("{name} must not be empty")))
            }
            Some(text) => Ok(text),
            None => {
                let at = self.at_value(name);
                Err(self.refuse(at, format_args!("{name} is missing")))
            }
        }
    }

    pub(in crate::config) fn number(&mut self, name: &'static str) -> Result<Option<u32>, Reported> {
        let Some(Part { node, overlooked }) = self.take(name) else { return Ok(None) };
        let number = match node.kind() {
            Kind::Scalar(scalar) if overlooked => scalar::cut_to_u32(scalar),
            Kind::Scalar(scalar) => scalar::to_u32(scalar),
            _ => None,
        };
        if number.is_some() {
            return Ok(number);
        }
        let (wanted, found) = (scalar::U32, found(node));
        Err(self.refuse(node.at, format_args!("{name} must be {wanted}, found {found}")))
    }

    /// A map. If there are several, it has the keys of all. A null before them does not hide them.
    pub(in crate::config) fn map<T>(
        &mut self,
        name: &'static str,
        check: impl FnOnce(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<Option<T>, Reported> {
        let parts = self.take_all(name);
        if parts.is_empty() {
            return Ok(None);
        }
        let place = Place::Key(self.place, name);
        Fields::read(&parts, format_args!("{name}"), &place, self.report, check).map(Some)
    }

    /// The items of a list of maps; none if it is absent. An item with an error is left out.
    pub(in crate::config) fn list<T>(
        &mut self,
        name: &'static str,
        mut check: impl FnMut(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<Vec<T>, Reported> {
        let Some(Part { node, overlooked }) = self.take(name) else { return Ok(Vec::new()) };
        let Kind::List(items) = node.kind() else {
            return Err(self.refuse(node.at, format_args!("{name} must be a list, found {}", found(node))));
        };
        let mut checked = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = Place::Item(self.place, name, index);
            let what = format_args!("{name}[{index}]");
            // The error is reported; its siblings are still checked.
            let item = Part { node: item, overlooked };
            checked.extend(Fields::read(&[item], what, &place, self.report, &mut check).ok());
        }
        Ok(checked)
    }

    /// A boolean; absent is false.
    pub(in crate::config) fn flag(&mut self, name: &'static str) -> Result<bool, Reported> {
        let Some(Part { node, .. }) = self.take(name) else { return Ok(false) };
        if let Kind::Scalar(scalar) = node.kind()
            && let Value::Bool(flag) = scalar::resolve(scalar)
        {
            return Ok(flag);
        }
        Err(self.refuse(node.at, format_args!("{name} must be true or false, found {}", found(node))))
    }

    /// A boolean; none if it is absent.
    pub(in crate::config) fn optional_flag(&mut self, name: &'static str) -> Result<Option<bool>, Reported> {
        let is_given = self.has(name);
        Ok(Some(self.flag(name)?).filter(|_| is_given))
    }

    /// A whole number that may be negative.
    pub(in crate::config) fn integer(&mut self, name: &'static str) -> Result<Option<i64>, Reported> {
        let Some(Part { node, .. }) = self.take(name) else { return Ok(None) };
        if let Kind::Scalar(scalar) = node.kind()
            && let Ok(number) = scalar.text.parse()
        {
            return Ok(Some(number));
        }
        Err(self.refuse(node.at, format_args!("{name} must be a whole number, found {}", found(node))))
    }

    /// The items of a list of texts, each with its position; none if it is absent.
    pub(in crate::config) fn texts(
        &mut self,
        name: &'static str,
    ) -> Result<Vec<(String, Position)>, Reported> {
        let Some(Part { node, .. }) = self.take(name) else { return Ok(Vec::new()) };
        let Kind::List(items) = node.kind() else {
            return Err(self.refuse(node.at, format_args!("{name} must be a list, found {}", found(node))));
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.kind() {
                Kind::Scalar(scalar) if !is_null(item) => texts.push((scalar.text.clone(), item.at)),
                _ => {
                    let found = found(item);
                    self.refuse(item.at, format_args!("{name}[{index}] must be a string, found {found}"));
                }
            }
        }
        Ok(texts)
    }

    /// Refuses a key that has a meaning elsewhere, but none here.
    pub(in crate::config) fn forbid(&mut self, name: &'static str, reason: impl fmt::Display) {
        if self.has_key(name) {
            let at = self.at_key(name);
            self.take(name);
            self.refuse(at, format_args!("{reason}"));
        }
    }

    /// One of a handful of words.
    pub(in crate::config) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        all: &[T],
        spelled: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, Reported> {
        let at = self.at_value(name);
        let Some(text) = self.text(name)? else { return Ok(None) };
        if let Some(word) = all.iter().copied().find(|word| spelled(*word) == text) {
            return Ok(Some(word));
        }
        let words: Vec<&str> = all.iter().map(|word| spelled(*word)).collect();
        let words = words.join(", ");
        Err(self.refuse(at, format_args!("unknown {name} `{}`; it must be one of {words}", shorten(&text))))
    }

    pub(in crate::config) fn positive_number(&mut self, name: &'static str) -> Result<Option<u32>, Reported> {
        let at = self.at_value(name);
        match self.number(name)? {
            Some(0) => Err(self.refuse(at, format_args!("{name} must be at least 1"))),
            number => Ok(number),
        }
    }

    /// A map from names to lists of maps. An item with an error is left out.
    pub(in crate::config) fn lists<T>(
        &mut self,
        name: &'static str,
        mut check: impl FnMut(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<Vec<Named<T>>, Reported> {
        let Some(Part { node, .. }) = self.take(name) else { return Ok(Vec::new()) };
        let Kind::Map(pairs) = node.kind() else {
            return Err(self.refuse(node.at, format_args!("{name} must be a map, found {}", found(node))));
        };
        let (mut named, mut names): (Vec<Named<T>>, HashSet<&str>) = (Vec::new(), HashSet::new());
        for step in merge::steps(pairs) {
            let Some(merge::Setting { key, value, .. }) = self.decoded(step) else { continue };
            let Some(key_text) = key_name(key) else {
                self.refuse(key.at, format_args!("a name in {name} must be a string, found {}", found(key)));
                continue;
            };
            if !names.insert(key_text) {
                self.refuse(key.at, format_args!("`{}` is given twice in {name}", shorten(key_text)));
                continue;
            }
            let Kind::List(items) = value.kind() else {
                let what = found(value);
                self.refuse(
                    value.at,
                    format_args!("{name}.{} must be a list of limits, found {what}", shorten(key_text)),
                );
                continue;
            };
            let parent = Place::Key(self.place, name);
            let place = Place::Name(&parent, key_text);
            let mut checked = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let place = Place::Nth(&place, index);
                let what = format_args!("[{index}]");
                let item = [Part::whole(item)];
                checked.extend(Fields::read(&item, what, &place, self.report, &mut check).ok());
            }
            // An item with an error is reported; a list that lost one is not empty.
            if checked.len() == items.len() {
                named.push((key_text.to_owned(), key.at, checked));
            }
        }
        Ok(named)
    }
}
