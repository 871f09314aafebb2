//! A free map, as JSON could hold it.

use std::collections::HashMap;

use super::{Fields, found, merge};
use crate::config::{
    error::Position,
    report::{Reported, shorten},
    scalar::{self, Value},
    yaml::{Kind, Node, Scalar},
};
use tollgate_core::rules::{Metadata, MetadataValue};

impl Fields<'_> {
    /// The content of all maps of this name. If several have a key, the last counts.
    pub(in crate::config) fn metadata(&mut self, name: &'static str) -> Result<Metadata, Reported> {
        let mut map = Metadata::new();
        for part in self.take_all(name) {
            let Kind::Map(pairs) = part.node.kind() else {
                let found = found(part.node);
                return Err(self.refuse(part.node.at, format_args!("{name} must be a map, found {found}")));
            };
            self.add(pairs, &mut map)?;
        }
        Ok(map)
    }

    fn add(&mut self, pairs: &[(Node, Node)], map: &mut Metadata) -> Result<(), Reported> {
        let mut places: HashMap<&str, Position> = HashMap::new();
        for step in merge::steps(pairs) {
            let Some(set) = self.decoded(step) else { return Err(Reported) };
            let Kind::Scalar(key) = set.key.kind() else { continue };
            let name = name(key);
            if set.by.is_none()
                && let Some(first) = places.insert(name, set.key.at)
            {
                let (shown, line) = (shorten(name), first.line);
                self.warn(
                    set.key.at,
                    format_args!(
                        "`{shown}` is given twice in this map, and the last counts; the first is at line \
                             {line}"
                    ),
                );
            }
            let value = self.free_value(set.value)?;
            map.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn free_value(&mut self, node: &Node) -> Result<MetadataValue, Reported> {
        Ok(match node.kind() {
            Kind::Map(pairs) => {
                let mut map = Metadata::new();
                self.add(pairs, &mut map)?;
                MetadataValue::Map(map)
            }
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

/// A number or a boolean as it is spelled; null is empty. The reference reads them so.
fn name(key: &Scalar) -> &str {
    if scalar::resolve(key) == Value::Null { "" } else { &key.text }
}
