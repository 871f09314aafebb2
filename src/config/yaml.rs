//! Parses YAML text into a tree in which every node knows its position.
//!
//! It keeps what good messages need and deserializing loses: positions, quotes, and duplicate keys. An alias shares the
//! content of its anchor, so memory stays near the size of the file. The bounds count aliases as if they were written
//! out, so that walking the tree is bounded too. Other modules decide what the nodes mean.

mod words;

use std::{collections::HashMap, rc::Rc};

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::error::Position;

/// Levels of descriptors; each is a list and a map.
const MAX_DESCRIPTOR_LEVELS: usize = 64;
/// The root map, then the descriptors, then the map of a limit. The walks recurse this deep at most.
const MAX_DEPTH: usize = 1 + 2 * MAX_DESCRIPTOR_LEVELS + 1;
/// A rule has about 13 nodes, so this is some 300,000 rules.
const MAX_NODES: usize = 4_000_000;
/// The most bytes of text, counting the text of an alias at each use: four times the largest file.
const MAX_TEXT_BYTES: usize = 64 << 20;

/// The first document of a file.
pub(super) struct Document {
    /// None in a file of blanks and comments.
    pub(super) root: Option<Node>,
    /// The position of a second document, if there is one. It is not read.
    pub(super) second: Option<Position>,
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) at: Position,
    pub(super) message: String,
}

#[derive(Clone)]
pub(super) struct Node {
    /// Its position; for an alias, the position of the alias.
    pub(super) at: Position,
    is_alias: bool,
    content: Rc<Content>,
}

struct Content {
    kind: Kind,
    /// The number of nodes from here down, with aliases written out.
    nodes: usize,
    /// The bytes of text in all of these.
    text_bytes: usize,
    /// The number of collections from here to the deepest.
    depth: usize,
}

pub(super) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

pub(super) struct Scalar {
    pub(super) text: String,
    /// Without quotes, so that it may be a number, a boolean or null.
    pub(super) plain: bool,
}

/// Reads the first document. Fails at the first error of syntax, and beyond the bounds above.
pub(super) fn parse(text: &str) -> Result<Document, SyntaxError> {
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::default();
    let mut second = None;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            event.map_err(|error| words::explain(error.kind(), position(*error.marker()), text))?;
        let at = position(span.start);
        if matches!(event, Event::DocumentStart(..)) && builder.root.is_some() {
            second = Some(at);
            break;
        }
        let event = match event {
            // The parser reports a missing value as `~`.
            Event::Scalar(_, ScalarStyle::Plain, anchor, tag) if position(span.end) == at => {
                Event::Scalar("".into(), ScalarStyle::Plain, anchor, tag)
            }
            event => event,
        };
        builder.add(event, at).map_err(|message| SyntaxError { at, message })?;
    }
    Ok(Document { root: builder.root, second })
}

// === impl Node ===

impl Node {
    pub(super) fn new(at: Position, kind: Kind) -> Node {
        Node { at, is_alias: false, content: Rc::new(Content::new(kind)) }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.content.kind
    }

    /// Whether this is an alias.
    pub(super) fn is_alias(&self) -> bool {
        self.is_alias
    }
}

// === Builder ===

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// Anchors by the parser's number, from 1. A collection is added when it is closed.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    text_bytes: usize,
    root: Option<Node>,
}

/// A list or map that has not ended.
struct Open {
    at: Position,
    anchor: usize,
    children: Vec<Node>,
}

impl Builder {
    fn add(&mut self, event: Event<'_>, at: Position) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = is_plain(style, tag.as_deref())?;
                self.place(at, anchor, Kind::Scalar(Scalar { text: text.into_owned(), plain }))
            }
            Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag) => {
                self.open(at, anchor, tag.as_deref())
            }
            Event::SequenceEnd => {
                let Open { at, anchor, children } = self.open.pop().expect("an end follows its start");
                self.place(at, anchor, Kind::List(children))
            }
            Event::MappingEnd => {
                let Open { at, anchor, children } = self.open.pop().expect("an end follows its start");
                self.place(at, anchor, Kind::Map(pairs(children)))
            }
            Event::Alias(anchor) => self.alias(at, anchor),
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: Position, anchor: usize, tag: Option<&Tag>) -> Result<(), String> {
        match tag {
            Some(tag) if !matches!(tag.core_suffix(), Some("map" | "seq")) => return Err(unsupported()),
            _ if self.open.len() >= MAX_DEPTH => return Err(too_deep()),
            _ => self.open.push(Open { at, anchor, children: Vec::new() }),
        }
        Ok(())
    }

    fn alias(&mut self, at: Position, anchor: usize) -> Result<(), String> {
        let Some(target) = self.anchors.get(&anchor) else {
            return Err("the alias is inside the anchor that it refers to".to_owned());
        };
        let node = Node { at, is_alias: true, content: Rc::clone(&target.content) };
        if self.open.len() + node.content.depth > MAX_DEPTH {
            return Err(too_deep());
        }
        self.count(node.content.nodes, node.content.text_bytes)?;
        self.attach(node);
        Ok(())
    }

    fn place(&mut self, at: Position, anchor: usize, kind: Kind) -> Result<(), String> {
        let text_bytes = match &kind {
            Kind::Scalar(scalar) => scalar.text.len(),
            Kind::List(_) | Kind::Map(_) => 0,
        };
        self.count(1, text_bytes)?;
        let node = Node::new(at, kind);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node);
        Ok(())
    }

    fn attach(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(node),
            None => self.root = Some(node),
        }
    }

    fn count(&mut self, nodes: usize, text_bytes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.text_bytes = self.text_bytes.saturating_add(text_bytes);
        if self.text_bytes > MAX_TEXT_BYTES {
            let most = MAX_TEXT_BYTES >> 20;
            return Err(format!(
                "more than {most} MiB of text, counting the text behind an alias at each use"
            ));
        }
        if self.nodes > MAX_NODES {
            return Err(format!(
                "more than {MAX_NODES} values, counting the values behind an alias at each \
                use"
            ));
        }
        Ok(())
    }
}

impl Content {
    fn new(kind: Kind) -> Content {
        let mut content = Content { kind, nodes: 1, text_bytes: 0, depth: 0 };
        let mut include = |child: &Node| {
            content.nodes = content.nodes.saturating_add(child.content.nodes);
            content.text_bytes = content.text_bytes.saturating_add(child.content.text_bytes);
            content.depth = content.depth.max(child.content.depth);
        };
        match &content.kind {
            Kind::Scalar(scalar) => {
                content.text_bytes = scalar.text.len();
                return content;
            }
            Kind::List(items) => items.iter().for_each(include),
            Kind::Map(pairs) => pairs.iter().for_each(|(key, value)| {
                include(key);
                include(value);
            }),
        }
        content.depth += 1;
        content
    }
}

/// The parser alternates keys and values, and reports a missing one as an empty scalar.
fn pairs(children: Vec<Node>) -> Vec<(Node, Node)> {
    let mut children = children.into_iter();
    let mut pairs = Vec::with_capacity(children.len() / 2);
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        pairs.push((key, value));
    }
    pairs
}

fn is_plain(style: ScalarStyle, tag: Option<&Tag>) -> Result<bool, String> {
    match tag {
        None => Ok(style == ScalarStyle::Plain),
        Some(tag) if tag.core_suffix() == Some("str") => Ok(false),
        Some(_) => Err(unsupported()),
    }
}

/// The tag is not repeated: in a members file it is a client's key that was not quoted.
fn unsupported() -> String {
    "tags are not supported; quote a text that begins with `!`".to_owned()
}

fn too_deep() -> String {
    format!("nested too deeply; {MAX_DESCRIPTOR_LEVELS} levels of descriptors are the maximum")
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}
