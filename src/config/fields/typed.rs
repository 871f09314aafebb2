//! Reading a key as what it must be.

use std::collections::HashSet;

use super::{Fields, found, key_name};
use crate::{
    config::{
        error::Position,
        report::{Place, Reported, shorten},
        scalar::{self, Value},
        yaml::{Kind, Node},
    },
    rules::{Metadata, MetadataValue},
};

/// The items that stand under one name, and where the name does.
type Named<T> = (String, Position, Vec<T>);

impl Fields<'_> {
    /// Text, or a number or boolean as it is spelled, which is how the reference reads them too.
    pub(in crate::config) fn text(&mut self, name: &'static str) -> Result<Option<String>, Reported> {
        let Some(node) = self.take(name) else { return Ok(None) };
        if let Kind::Scalar(scalar) = node.kind()
            && scalar::resolve(scalar) != Value::Float
        {
            return Ok(Some(scalar.text.clone()));
        }
        Err(self.refuse(node.at, format_args!("{name} must be a string, found {}", found(node))))
    }

    /// Text that must be there and hold something.
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
        let Some(node) = self.take(name) else { return Ok(None) };
        if let Kind::Scalar(scalar) = node.kind()
            && let Value::Int(int) = scalar::resolve(scalar)
            && let Ok(number) = u32::try_from(int)
        {
            return Ok(Some(number));
        }
        let found = found(node);
        let most = u32::MAX;
        Err(self
            .refuse(node.at, format_args!("{name} must be a whole number from 0 to {most}, found {found}")))
    }

    pub(in crate::config) fn map<T>(
        &mut self,
        name: &'static str,
        check: impl FnOnce(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<Option<T>, Reported> {
        let Some(node) = self.take(name) else { return Ok(None) };
        let place = Place::Key(self.place, name);
        Fields::read(node, format_args!("{name}"), &place, self.report, check).map(Some)
    }

    /// Every item of a list of maps; absent is empty. Goes on after an item that is wrong.
    pub(in crate::config) fn list<T>(
        &mut self,
        name: &'static str,
        mut check: impl FnMut(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<Vec<T>, Reported> {
        let Some(node) = self.take(name) else { return Ok(Vec::new()) };
        let Kind::List(items) = node.kind() else {
            return Err(self.refuse(node.at, format_args!("{name} must be a list, found {}", found(node))));
        };
        let mut checked = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = Place::Item(self.place, name, index);
            let what = format_args!("{name}[{index}]");
            // The error is in the report; its siblings are still worth a look.
            checked.extend(Fields::read(item, what, &place, self.report, &mut check).ok());
        }
        Ok(checked)
    }

    /// A boolean; absent is false.
    pub(in crate::config) fn flag(&mut self, name: &'static str) -> Result<bool, Reported> {
        let Some(node) = self.take(name) else { return Ok(false) };
        if let Kind::Scalar(scalar) = node.kind()
            && let Value::Bool(flag) = scalar::resolve(scalar)
        {
            return Ok(flag);
        }
        Err(self.refuse(node.at, format_args!("{name} must be true or false, found {}", found(node))))
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

    /// A map from names to lists of maps. Goes on after an item that is wrong.
    pub(in crate::config) fn lists<T>(
        &mut self,
        name: &'static str,
        mut check: impl FnMut(&mut Fields<'_>) -> Result<T, Reported>,
    ) -> Result<Vec<Named<T>>, Reported> {
        let Some(node) = self.take(name) else { return Ok(Vec::new()) };
        let Kind::Map(pairs) = node.kind() else {
            return Err(self.refuse(node.at, format_args!("{name} must be a map, found {}", found(node))));
        };
        let (mut named, mut names): (Vec<Named<T>>, HashSet<&str>) = (Vec::new(), HashSet::new());
        for (key, value) in pairs {
            let Some(key_text) = key_name(key) else {
                self.refuse(key.at, format_args!("a name in {name} must be a string, found {}", found(key)));
                continue;
            };
            if !names.insert(key_text) {
                self.refuse(key.at, format_args!("`{}` stands twice in {name}", shorten(key_text)));
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
                checked.extend(Fields::read(item, what, &place, self.report, &mut check).ok());
            }
            // An item that was wrong is in the report; a list that lost one is not empty.
            if checked.len() == items.len() {
                named.push((key_text.to_owned(), key.at, checked));
            }
        }
        Ok(named)
    }

    /// A free map, as JSON could hold it.
    pub(in crate::config) fn metadata(&mut self, name: &'static str) -> Result<Metadata, Reported> {
        let Some(node) = self.take(name) else { return Ok(Metadata::new()) };
        let Kind::Map(pairs) = node.kind() else {
            return Err(self.refuse(node.at, format_args!("{name} must be a map, found {}", found(node))));
        };
        self.free_map(pairs)
    }

    fn free_map(&mut self, pairs: &[(Node, Node)]) -> Result<Metadata, Reported> {
        let mut map = Metadata::new();
        for (key, value) in pairs {
            let Some(name) = key_name(key).filter(|_| is_text(key)) else {
                return Err(self.refuse(
                    key.at,
                    format_args!("a key of metadata must be a string, found {}", found(key)),
                ));
            };
            let value = self.free_value(value)?;
            map.insert(name.to_owned(), value);
        }
        Ok(map)
    }

    fn free_value(&mut self, node: &Node) -> Result<MetadataValue, Reported> {
        Ok(match node.kind() {
            Kind::Map(pairs) => MetadataValue::Map(self.free_map(pairs)?),
            Kind::List(items) => {
                let items = items.iter().map(|item| self.free_value(item));
                MetadataValue::List(items.collect::<Result<_, _>>()?)
            }
            Kind::Scalar(scalar) => match scalar::resolve(scalar) {
                Value::Null => MetadataValue::Null,
                Value::Bool(flag) => MetadataValue::Bool(flag),
                #[allow(clippy::cast_precision_loss, reason = "JSON has no other numbers")]
                Value::Int(int) => MetadataValue::Number(int as f64),
                Value::Float => MetadataValue::Number(scalar::float(&scalar.text)),
                Value::Text => MetadataValue::Text(scalar.text.clone()),
            },
        })
    }
}

/// Not a number or a boolean, which yaml.v2 would not take for the name of a field.
fn is_text(key: &Node) -> bool {
    matches!(key.kind(), Kind::Scalar(scalar) if scalar::resolve(scalar) == Value::Text)
}
