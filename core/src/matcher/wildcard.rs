//! Patterns in which each `*` stands for zero or more bytes: the one place that matches them.

/// A pattern for a whole key or a whole value, never for the two joined. It matches bytes, since values need not be
/// UTF-8.
#[derive(Debug)]
pub struct Wildcard {
    /// The text before, between and after the `*`s; a single piece if there is none.
    pieces: Box<[Box<[u8]>]>,
}

/// Whether a configured key or value holds a `*`.
pub fn is_wildcard(text: &str) -> bool {
    text.contains('*')
}

impl Wildcard {
    /// Compiles a pattern. One without a `*` matches itself alone.
    pub fn new(pattern: &str) -> Wildcard {
        Wildcard { pieces: pattern.split('*').map(|piece| piece.as_bytes().into()).collect() }
    }

    /// The pattern as it was configured.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.pieces.join(&b'*')).into_owned()
    }

    /// Whether the pattern matches all of `text`. It takes time in proportion to the product of both lengths at worst.
    pub fn matches(&self, text: &[u8]) -> bool {
        // The first piece must be a prefix, and the last a suffix of the rest. Each piece between them is taken where
        // it occurs first, which leaves the most room for those that follow.
        let Some((first, rest)) = self.pieces.split_first() else { return false };
        let Some((last, between)) = rest.split_last() else { return text == &**first };
        let Some(mut left) = text.strip_prefix(&**first).and_then(|left| left.strip_suffix(&**last)) else {
            return false;
        };
        for piece in between {
            let Some(behind) = behind_first(left, piece) else { return false };
            left = behind;
        }
        true
    }
}

/// The text behind the first occurrence of the piece.
fn behind_first<'t>(text: &'t [u8], piece: &[u8]) -> Option<&'t [u8]> {
    // `windows` panics on a length of 0, and an empty piece (from `**`) occurs everywhere.
    let at = match piece.len() {
        0 => 0,
        length => text.windows(length).position(|window| window == piece)?,
    };
    Some(&text[at + piece.len()..])
}

#[cfg(test)]
mod tests;
