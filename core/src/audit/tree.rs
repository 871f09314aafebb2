//! A row of numbers: add to the first n of them, ask for the largest of the first n, in O(log n).
//!
//! An addition to the first n is noted once, at leaf n−1; a leaf is worth its own number plus all notes
//! at or behind it. A node keeps the sum of its notes and the largest worth that those notes alone give.

/// Far below every number in use (under 2^107 in size), and far from overflowing when notes are added.
const NOTHING: i128 = i128::MIN / 2;

#[derive(Debug, Clone, Copy)]
struct Node {
    noted: i128,
    largest: i128,
}

#[derive(Debug)]
pub(super) struct Tree {
    /// The root is 1, the children of i are 2i and 2i+1, the leaves come last; 0 is not used.
    nodes: Vec<Node>,
    leaves: usize,
}

impl Node {
    /// Two neighbours as one: notes on the right count for everything on the left.
    fn joined(left: Node, right: Node) -> Node {
        Node { noted: left.noted + right.noted, largest: right.largest.max(left.largest + right.noted) }
    }
}

impl Tree {
    pub(super) fn new(numbers: impl ExactSizeIterator<Item = i128>) -> Tree {
        let mut tree = Tree::without_numbers(numbers.len());
        for (leaf, number) in tree.nodes[tree.leaves..].iter_mut().zip(numbers) {
            leaf.largest = number;
        }
        for i in (1..tree.leaves).rev() {
            tree.join(i);
        }
        tree
    }

    /// `n` places, all empty: none is the largest of anything until it is filled.
    pub(super) fn without_numbers(n: usize) -> Tree {
        let leaves = n.next_power_of_two();
        Tree { nodes: vec![Node { noted: 0, largest: NOTHING }; 2 * leaves], leaves }
    }

    /// Fills the last of the first `n` places; what was added there before counts. Nothing if `n` is 0.
    pub(super) fn fill_last_of_first(&mut self, n: usize, number: i128) {
        let Some(last) = n.checked_sub(1) else { return };
        let leaf = &mut self.nodes[self.leaves + last];
        leaf.largest = number + leaf.noted;
        self.rejoin_above(self.leaves + last);
    }

    /// Adds to each of the first `n` numbers; to none if `n` is 0.
    pub(super) fn add_to_first(&mut self, n: usize, amount: i128) {
        let Some(last) = n.checked_sub(1) else { return };
        let i = self.leaves + last;
        self.nodes[i].noted += amount;
        self.nodes[i].largest += amount;
        self.rejoin_above(i);
    }

    /// The largest of the first `n` numbers with all that was added to them; none if `n` is 0. One of
    /// them must have been filled.
    pub(super) fn max_of_first(&self, n: usize) -> Option<i128> {
        let mut i = self.leaves + n.checked_sub(1)?;
        let mut first = self.nodes[i];
        let mut noted_behind = 0;
        while i > 1 {
            if i % 2 == 1 {
                first = Node::joined(self.nodes[i - 1], first);
            } else {
                noted_behind += self.nodes[i + 1].noted;
            }
            i /= 2;
        }
        Some(first.largest + noted_behind)
    }

    fn rejoin_above(&mut self, mut i: usize) {
        while i > 1 {
            i /= 2;
            self.join(i);
        }
    }

    fn join(&mut self, i: usize) {
        self.nodes[i] = Node::joined(self.nodes[2 * i], self.nodes[2 * i + 1]);
    }
}
