//! How envoyproxy/ratelimit loads a file, step by step: `yaml.v2` decodes it once into maps, of which every key is
//! checked, and once into its structs, of which the rules are made. Shares no code with what it is compared to.

use std::collections::BTreeMap;

use super::{
    checks::{keys_are_known, rules_are_sound},
    tree::{Is, Pairs, Scalar, Tree},
};

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Root {
    pub(super) domain: String,
    pub(super) descriptors: Vec<Descriptor>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Descriptor {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) limit: Option<Limit>,
    pub(super) shadow_mode: bool,
    pub(super) quota_mode: bool,
    pub(super) detailed_metric: bool,
    pub(super) metadata: BTreeMap<String, Any>,
    pub(super) descriptors: Vec<Descriptor>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Limit {
    pub(super) requests_per_unit: u32,
    pub(super) unit: String,
    pub(super) unlimited: bool,
    pub(super) name: String,
    pub(super) replaces: Vec<String>,
}

/// What is decoded without a type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Any {
    Scalar(Scalar),
    List(Vec<Any>),
    Map(Vec<(Scalar, Any)>),
}

struct Decoder<'t> {
    anchors: Vec<&'t Tree>,
    is_wrong: bool,
}

/// None: it is refused.
pub(super) fn load(root: &Pairs) -> Option<Root> {
    let mut decoder = Decoder { anchors: Vec::new(), is_wrong: false };
    root.iter().for_each(|(_, value)| decoder.find_anchors(value));
    let mut all = Vec::new();
    decoder.any_map(root, &mut all);
    let mut decoded = Root::default();
    decoder.root(root, &mut decoded);
    let is_sound = !decoder.is_wrong && keys_are_known(&all) && !decoded.domain.is_empty();
    (is_sound && rules_are_sound(&decoded.descriptors)).then_some(decoded)
}

impl<'t> Decoder<'t> {
    fn find_anchors(&mut self, tree: &'t Tree) {
        match tree {
            Tree::Scalar(_) | Tree::Alias(_) => {}
            Tree::List(items) => items.iter().for_each(|item| self.find_anchors(item)),
            Tree::Map(pairs) => pairs.iter().for_each(|(_, value)| self.find_anchors(value)),
            Tree::Anchor(number, tree) => {
                self.find_anchors(tree);
                if self.anchors.len() <= *number {
                    self.anchors.resize(number + 1, tree);
                }
                self.anchors[*number] = tree;
            }
        }
    }

    fn followed(&self, tree: &'t Tree) -> &'t Tree {
        match tree {
            Tree::Alias(number) => self.anchors[*number],
            Tree::Anchor(_, tree) => tree,
            tree => tree,
        }
    }

    /// Those of a `<<`, in the order in which they are decoded into the map that it stands in.
    fn merged(&mut self, from: &'t Tree) -> Vec<&'t Pairs> {
        let maps: Vec<&Tree> = match (from, self.followed(from)) {
            (Tree::Alias(_), map @ Tree::Map(_)) => vec![map],
            (Tree::Alias(_), _) => Vec::new(),
            (_, map @ Tree::Map(_)) => vec![map],
            (_, Tree::List(items)) => items.iter().rev().map(|item| self.followed(item)).collect(),
            _ => Vec::new(),
        };
        self.is_wrong |= maps.is_empty()
            && !matches!((from, self.followed(from)), (Tree::List(_), _) | (Tree::Anchor(..), Tree::List(_)));
        let mut merged = Vec::new();
        for map in maps {
            match map {
                Tree::Map(pairs) => merged.push(pairs),
                _ => self.is_wrong = true,
            }
        }
        merged
    }

    // --- without types ---

    fn any(&mut self, tree: &'t Tree) -> Any {
        match self.followed(tree) {
            Tree::Scalar(scalar) => Any::Scalar(*scalar),
            Tree::List(items) => Any::List(items.iter().map(|item| self.any(item)).collect()),
            Tree::Map(pairs) => {
                let mut map = Vec::new();
                self.any_map(pairs, &mut map);
                Any::Map(map)
            }
            Tree::Alias(_) | Tree::Anchor(..) => unreachable!("an anchor holds no other"),
        }
    }

    fn any_map(&mut self, pairs: &'t Pairs, map: &mut Vec<(Scalar, Any)>) {
        for (key, value) in pairs {
            if key.written == "<<" {
                self.merged(value).into_iter().for_each(|pairs| self.any_map(pairs, map));
                continue;
            }
            let value = self.any(value);
            match map.iter_mut().find(|(known, _)| known == key) {
                Some((_, known)) => *known = value,
                None => map.push((*key, value)),
            }
        }
    }

    // --- into structs ---

    fn root(&mut self, pairs: &'t Pairs, root: &mut Root) {
        for (key, value) in pairs {
            match key.written {
                "<<" => self.merged(value).into_iter().for_each(|pairs| self.root(pairs, root)),
                "domain" => self.text(value, &mut root.domain),
                "descriptors" => self.descriptors(value, &mut root.descriptors),
                _ => {}
            }
        }
    }

    fn descriptors(&mut self, tree: &'t Tree, list: &mut Vec<Descriptor>) {
        let Some(items) = self.list(tree) else { return list.clear() };
        *list = Vec::new();
        for item in items {
            let mut descriptor = Descriptor::default();
            if let Some(pairs) = self.map(item) {
                self.descriptor(pairs, &mut descriptor);
            }
            list.push(descriptor);
        }
    }

    fn descriptor(&mut self, pairs: &'t Pairs, into: &mut Descriptor) {
        for (key, value) in pairs {
            match key.written {
                "<<" => self.merged(value).into_iter().for_each(|pairs| self.descriptor(pairs, into)),
                "key" => self.text(value, &mut into.key),
                "value" => self.text(value, &mut into.value),
                "shadow_mode" => self.flag(value, &mut into.shadow_mode),
                "quota_mode" => self.flag(value, &mut into.quota_mode),
                "detailed_metric" => self.flag(value, &mut into.detailed_metric),
                "descriptors" => self.descriptors(value, &mut into.descriptors),
                "rate_limit" => match self.map(value) {
                    // What is there already is decoded into.
                    Some(pairs) => self.limit(pairs, into.limit.get_or_insert_default()),
                    None => into.limit = None,
                },
                "metadata" => match self.map(value) {
                    Some(pairs) => self.metadata(pairs, &mut into.metadata),
                    None => into.metadata.clear(),
                },
                _ => {}
            }
        }
    }

    fn limit(&mut self, pairs: &'t Pairs, into: &mut Limit) {
        for (key, value) in pairs {
            match key.written {
                "<<" => self.merged(value).into_iter().for_each(|pairs| self.limit(pairs, into)),
                "requests_per_unit" => self.number(value, &mut into.requests_per_unit),
                "unit" => self.text(value, &mut into.unit),
                "unlimited" => self.flag(value, &mut into.unlimited),
                "name" => self.text(value, &mut into.name),
                "replaces" => {
                    let items = self.list(value).unwrap_or_default();
                    into.replaces = Vec::new();
                    for item in items {
                        let mut name = String::new();
                        if let Some(pairs) = self.map(item) {
                            self.replaced(pairs, &mut name);
                        }
                        into.replaces.push(name);
                    }
                }
                _ => {}
            }
        }
    }

    fn replaced(&mut self, pairs: &'t Pairs, name: &mut String) {
        for (key, value) in pairs {
            match key.written {
                "<<" => self.merged(value).into_iter().for_each(|pairs| self.replaced(pairs, name)),
                "name" => self.text(value, name),
                _ => {}
            }
        }
    }

    fn metadata(&mut self, pairs: &'t Pairs, into: &mut BTreeMap<String, Any>) {
        for (key, value) in pairs {
            if key.written == "<<" {
                self.merged(value).into_iter().for_each(|pairs| self.metadata(pairs, into));
            } else {
                let value = self.any(value);
                into.insert(key.name().to_owned(), value);
            }
        }
    }

    // --- into what a field is ---

    /// None: null, or wrong.
    fn map(&mut self, tree: &'t Tree) -> Option<&'t Pairs> {
        match self.followed(tree) {
            Tree::Map(pairs) => return Some(pairs),
            tree => self.is_wrong |= !is_null(tree),
        }
        None
    }

    fn list(&mut self, tree: &'t Tree) -> Option<&'t [Tree]> {
        match self.followed(tree) {
            Tree::List(items) => return Some(items),
            tree => self.is_wrong |= !is_null(tree),
        }
        None
    }

    fn scalar(&mut self, tree: &'t Tree) -> Option<Scalar> {
        match self.followed(tree) {
            Tree::Scalar(scalar) => Some(*scalar),
            _ => {
                self.is_wrong = true;
                None
            }
        }
    }

    fn text(&mut self, tree: &'t Tree, into: &mut String) {
        match self.scalar(tree) {
            Some(Scalar { is: Is::Null, .. }) => into.clear(),
            Some(scalar) => *into = scalar.written.to_owned(),
            None => {}
        }
    }

    fn flag(&mut self, tree: &'t Tree, into: &mut bool) {
        match self.scalar(tree).map(|scalar| scalar.is) {
            Some(Is::Null) => *into = false,
            Some(Is::Bool(flag)) => *into = flag,
            _ => self.is_wrong = true,
        }
    }

    fn number(&mut self, tree: &'t Tree, into: &mut u32) {
        match self.scalar(tree).map(|scalar| scalar.is) {
            Some(Is::Null) => *into = 0,
            Some(Is::Int(int)) => match u32::try_from(int) {
                Ok(int) => *into = int,
                Err(_) => self.is_wrong = true,
            },
            Some(Is::Float(1.5)) => *into = 1,
            Some(Is::Float(1e3)) => *into = 1000,
            Some(Is::Float(-0.5)) => *into = 0,
            _ => self.is_wrong = true,
        }
    }
}

fn is_null(tree: &Tree) -> bool {
    matches!(tree, Tree::Scalar(Scalar { is: Is::Null, .. }))
}
