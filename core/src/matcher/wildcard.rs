//! Texts in which each `*` stands for zero or more bytes.

/// Matches a whole key or a whole value, never the two joined. Bytes: values may be no UTF-8.
#[derive(Debug)]
pub(super) struct Wildcard {
    /// What stands before, between and after the `*`s; alone if there is none.
    pieces: Box<[Box<[u8]>]>,
}

pub(super) fn is_wildcard(text: &str) -> bool {
    text.contains('*')
}

impl Wildcard {
    pub(super) fn new(pattern: &str) -> Wildcard {
        Wildcard { pieces: pattern.split('*').map(|piece| piece.as_bytes().into()).collect() }
    }

    /// As it was configured.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.pieces.join(&b'*')).into_owned()
    }

    /// The first piece is a prefix and the last a suffix of what is left; each one between is taken where it
    /// stands first, which leaves the most room for those behind it.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
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

/// What of the text stands behind the first occurrence of the piece.
fn behind_first<'t>(text: &'t [u8], piece: &[u8]) -> Option<&'t [u8]> {
    // `windows` takes no length of 0, and an empty piece (`**`) stands everywhere.
    let at = match piece.len() {
        0 => 0,
        length => text.windows(length).position(|window| window == piece)?,
    };
    Some(&text[at + piece.len()..])
}

#[cfg(test)]
mod tests;
