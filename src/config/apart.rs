//! Several limits of one descriptor: whether each has a bucket of its own.

use super::{error::Position, fields::Fields, raw::RawLimit};

/// The most limits of one descriptor.
const MAX_LIMITS_IN_LIST: usize = 64;

/// Several limits of one descriptor need a bucket each, and `unlimited` excludes others.
pub(super) fn all_apart(fields: &mut Fields<'_>, at: Position, limits: &[RawLimit]) {
    if limits.is_empty() {
        fields.refuse(at, format_args!("a list of limits must have at least one"));
    }
    // No request could ask for more, and each is compared with all others.
    if limits.len() > MAX_LIMITS_IN_LIST {
        let (most, found) = (MAX_LIMITS_IN_LIST, limits.len());
        fields.refuse(at, format_args!("a list of limits may have at most {most}, found {found}"));
        return;
    }
    for (index, limit) in limits.iter().enumerate() {
        if limit.limit.limit.is_none() && limits.len() > 1 {
            fields.refuse(limit.at, format_args!("unlimited cannot be combined with other limits"));
        }
        has_its_own_bucket(fields, &limits[..index], limit);
    }
}

/// Of limits with the same algorithm and period, the first has the bucket of the entries; each other has its name in
/// its key.
fn has_its_own_bucket(fields: &mut Fields<'_>, earlier: &[RawLimit], limit: &RawLimit) {
    let Some(own) = &limit.limit.limit else { return };
    let counts_like =
        |other: &RawLimit| other.limit.limit.as_ref().is_some_and(|other| other.counts_like(own));
    let mut alike = earlier.iter().filter(|earlier| counts_like(earlier)).peekable();
    let Some(first) = alike.peek() else { return };
    let (line, name) = (first.at.line, limit.limit.name.as_str());
    let wanted = match name {
        "" => "a `name`",
        name if alike.any(|other| other.limit.name == name) => "a `name` that none of the others has",
        _ => return,
    };
    let (algorithm, period) = (own.algorithm().name(), own.per());
    let what = format_args!(
        "a {algorithm} per {period} stands at line {line} too, and both would share one bucket; give this one {wanted}"
    );
    fields.refuse(limit.at, what);
}
