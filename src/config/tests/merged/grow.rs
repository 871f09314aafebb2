//! Random limits files in which maps stand twice, come by `<<`, by aliases, or in all of these ways.

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};

use super::tree::{Pairs, Scalar, Tree, flag, float, int, null, text};

const NULLS: [Scalar; 3] = [null("~"), null("null"), null("")];
const UNITS: [Scalar; 4] = [text("second"), text("minute"), text("Hour"), text("days")];
const NUMBERS: [Scalar; 5] = [int("5", 5), int("7", 7), int("010", 8), int("0", 0), int("1_000", 1000)];
const FLAGS: [Scalar; 4] = [flag("true", true), flag("yes", true), flag("off", false), flag("n", false)];
const VALUES: [Scalar; 6] =
    [text("v"), text("w"), int("404", 404), flag("on", true), text("2024-01-31"), text("1.2.3")];
const NAMES: [Scalar; 3] = [text("fast"), text("slow"), int("12", 12)];
/// Of a kind that few keys take.
const ODD: [Scalar; 6] =
    [float("1.5", 1.5), float("-0.5", -0.5), int("-1", -1), float("1e3", 1e3), text("x"), flag("y", true)];
const KEYS: [Scalar; 8] =
    [text("k"), text("l"), text("m"), text("o"), text("p"), text("q"), text("r"), text("s")];

/// The keys of a file of domain `d`.
pub(super) fn root(random: &mut SmallRng) -> Pairs {
    let mut grower = Grower { random, anchors: Vec::new(), keys: 0 };
    let mut root = vec![(text("domain"), Tree::Scalar(text("d")))];
    let count = grower.random.random_range(1..4);
    let descriptors = grower.descriptors(count, 0);
    root.push((text("descriptors"), descriptors));
    if grower.one_in(30) {
        let place = grower.random.random_range(0..2);
        // Anchors that are set again name the same.
        root.push(root[place].clone());
    }
    if grower.one_in(20) {
        root.push((text("<<"), Tree::Map(vec![(text("domain"), Tree::Scalar(text("e")))])));
    }
    root
}

/// Which of its kind an anchor holds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sort {
    Limit,
    Descriptor,
    Metadata,
    List,
}

struct Grower<'r> {
    random: &'r mut SmallRng,
    anchors: Vec<Sort>,
    keys: usize,
}

impl Grower<'_> {
    fn one_in(&mut self, many: u32) -> bool {
        self.random.random_ratio(1, many)
    }

    fn pick(&mut self, from: &[Scalar]) -> Tree {
        let from = match self.random.random_range(0..60) {
            0 => &ODD[..],
            1 | 2 => &NULLS[..],
            _ => from,
        };
        Tree::Scalar(*from.choose(self.random).expect("none is empty"))
    }

    fn descriptors(&mut self, count: usize, depth: usize) -> Tree {
        let items = (0..count).map(|_| self.descriptor(depth)).collect();
        self.anchored(Sort::List, Tree::List(items))
    }

    fn descriptor(&mut self, depth: usize) -> Tree {
        let mut pairs = Pairs::new();
        let is_late = self.one_in(4);
        if !is_late {
            self.merges(Sort::Descriptor, depth, &mut pairs);
        }
        for _ in 0..self.random.random_range(1..5) {
            self.of_descriptor(depth, &mut pairs);
        }
        if is_late {
            self.merges(Sort::Descriptor, depth, &mut pairs);
        }
        // Two of one key and value would be refused.
        if !self.one_in(12) {
            let key = KEYS[self.keys % KEYS.len()];
            self.keys += 1;
            let place = if self.one_in(3) { 0 } else { pairs.len() };
            pairs.insert(place, (text("key"), Tree::Scalar(key)));
        }
        self.anchored(Sort::Descriptor, Tree::Map(pairs))
    }

    fn of_descriptor(&mut self, depth: usize, pairs: &mut Pairs) {
        let (key, value) = match self.random.random_range(0..16) {
            0..7 => (text("rate_limit"), self.limit()),
            7..10 => (text("metadata"), self.metadata(0)),
            10 | 11 => (text("value"), self.pick(&VALUES)),
            12 => (text("shadow_mode"), self.pick(&FLAGS)),
            13 => (text("quota_mode"), self.pick(&FLAGS)),
            14 if depth < 2 => {
                let count = self.random.random_range(0..3);
                (text("descriptors"), self.descriptors(count, depth + 1))
            }
            14 => (text("detailed_metric"), self.pick(&FLAGS)),
            _ => self.stray(),
        };
        pairs.push((key, value));
    }

    /// Out of place, or unknown.
    fn stray(&mut self) -> (Scalar, Tree) {
        match self.random.random_range(0..6) {
            0 => (text("foo"), self.metadata(1)),
            1 => (null("~"), self.pick(&VALUES)),
            2 => (int("1", 1), self.pick(&VALUES)),
            3 => (text("unit"), self.pick(&UNITS)),
            4 => (text("rate_limit"), self.pick(&NULLS)),
            _ => (text("replaces"), Tree::List(vec![self.metadata(1)])),
        }
    }

    fn limit(&mut self) -> Tree {
        if self.one_in(20) {
            return self.pick(&NULLS);
        }
        if let Some(alias) = self.alias(Sort::Limit, 8) {
            return alias;
        }
        let mut pairs = Pairs::new();
        if !self.one_in(4) {
            self.merges(Sort::Limit, 2, &mut pairs);
        }
        for _ in 0..self.random.random_range(1..4) {
            let (key, value) = match self.random.random_range(0..22) {
                0..8 => (text("unit"), self.pick(&UNITS[..3])),
                8..16 => (text("requests_per_unit"), self.pick(&NUMBERS)),
                16 => (text("unlimited"), self.pick(&FLAGS)),
                17 => (text("name"), self.pick(&NAMES)),
                18 => (text("replaces"), self.replaces()),
                19 => (text("unit"), self.pick(&UNITS)),
                20 => (text("metadata"), self.metadata(0)),
                _ => self.stray(),
            };
            pairs.push((key, value));
        }
        if self.one_in(6) {
            self.merges(Sort::Limit, 2, &mut pairs);
        }
        self.anchored(Sort::Limit, Tree::Map(pairs))
    }

    fn replaces(&mut self) -> Tree {
        let items = (0..self.random.random_range(0..3)).map(|_| match self.random.random_range(0..8) {
            0 => self.pick(&NULLS),
            1 => Tree::Map(vec![(text("nme"), self.pick(&NAMES)), (text("name"), self.pick(&NAMES))]),
            _ => Tree::Map(vec![(text("name"), self.pick(&NAMES))]),
        });
        Tree::List(items.collect())
    }

    fn metadata(&mut self, depth: usize) -> Tree {
        if let Some(alias) = self.alias(Sort::Metadata, 6) {
            return alias;
        }
        let mut pairs = Pairs::new();
        self.merges(Sort::Metadata, 2, &mut pairs);
        for _ in 0..self.random.random_range(0..4) {
            let all =
                [null("~"), text("a"), text("b"), text("c"), flag("y", true), int("1", 1), float("1.5", 1.5)];
            let key = *all.choose(self.random).expect("seven");
            let value = match self.random.random_range(0..5) {
                0 if depth < 2 => self.metadata(depth + 1),
                1 => Tree::List(vec![self.pick(&NUMBERS), self.pick(&VALUES)]),
                _ => self.pick(&NUMBERS),
            };
            pairs.push((key, value));
        }
        self.anchored(Sort::Metadata, Tree::Map(pairs))
    }

    // --- anchors ---

    fn anchored(&mut self, sort: Sort, tree: Tree) -> Tree {
        if !self.one_in(2) {
            return tree;
        }
        self.anchors.push(sort);
        Tree::Anchor(self.anchors.len() - 1, Box::new(tree))
    }

    fn alias(&mut self, sort: Sort, one_in: u32) -> Option<Tree> {
        let all: Vec<usize> =
            (0..self.anchors.len()).filter(|number| self.anchors[*number] == sort).collect();
        let number = all.choose(self.random).copied().filter(|_| self.random.random_ratio(1, one_in))?;
        Some(Tree::Alias(number))
    }

    /// A `<<`, now and then; hardly ever of what it does not take.
    fn merges(&mut self, sort: Sort, depth: usize, pairs: &mut Pairs) {
        if !self.one_in(3) {
            return;
        }
        let value = match self.random.random_range(0..40) {
            0 => self.pick(&VALUES),
            1 => self.alias(Sort::List, 1).unwrap_or(Tree::List(Vec::new())),
            2..10 if depth < 2 || sort != Sort::Descriptor => self.inline(sort, depth),
            10..20 => {
                let first = self.alias(sort, 1).unwrap_or(Tree::Map(Vec::new()));
                Tree::List(vec![first, self.inline(sort, depth)])
            }
            _ => self.alias(sort, 1).unwrap_or(Tree::Map(Vec::new())),
        };
        pairs.push((text("<<"), value));
    }

    fn inline(&mut self, sort: Sort, depth: usize) -> Tree {
        match sort {
            Sort::Limit => Tree::Map(vec![(text("unit"), self.pick(&UNITS[..3]))]),
            Sort::Metadata => Tree::Map(vec![(text("a"), self.pick(&NUMBERS))]),
            Sort::Descriptor | Sort::List if depth > 1 => Tree::Map(Vec::new()),
            Sort::Descriptor | Sort::List => {
                let mut pairs = Pairs::new();
                self.of_descriptor(depth + 1, &mut pairs);
                Tree::Map(pairs)
            }
        }
    }
}
