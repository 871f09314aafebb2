//! How far a limit may be used before it counts as near.

use std::{num::ParseFloatError, str::FromStr};

use thiserror::Error;

/// The part of a limit, from 0 to 1, beyond which hits count as near it. It is kept and multiplied in single precision,
/// as in envoyproxy/ratelimit, so that both draw the border at the same hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearLimitRatio(f32);

/// The text is no such part.
#[derive(Debug, Error)]
pub enum BadRatio {
    /// It is no number.
    #[error("the ratio must be a number from 0 to 1")]
    NotANumber(#[from] ParseFloatError),
    /// It is a number, but none from 0 to 1.
    #[error("the ratio must be a number from 0 to 1, for example 0.8")]
    OutOfRange,
}

// === impl NearLimitRatio ===

impl Default for NearLimitRatio {
    fn default() -> NearLimitRatio {
        NearLimitRatio(0.8)
    }
}

impl FromStr for NearLimitRatio {
    type Err = BadRatio;

    fn from_str(text: &str) -> Result<NearLimitRatio, BadRatio> {
        let ratio: f32 = text.parse()?;
        if (0.0..=1.0).contains(&ratio) { Ok(NearLimitRatio(ratio)) } else { Err(BadRatio::OutOfRange) }
    }
}

impl NearLimitRatio {
    /// How many of the `hits` that were just taken lie beyond the border, given what `remains` of the burst.
    pub(super) fn hits_beyond(self, burst: u32, remains: u32, hits: u64) -> u32 {
        let used = burst.saturating_sub(remains);
        let beyond = used.saturating_sub(self.border(burst));
        u32::try_from(hits).map_or(beyond, |hits| hits.min(beyond))
    }

    /// The hits that may be taken from a full bucket before it counts as near its limit.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32")]
    #[allow(clippy::cast_precision_loss, reason = "as in envoyproxy/ratelimit")]
    pub(super) fn border(self, burst: u32) -> u32 {
        (burst as f32 * self.0).floor() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_that_cross_the_border_are_split() {
        let ratio = NearLimitRatio::default();
        // Of 10, the border is 8.
        for (remains, hits, beyond) in [
            (5, 5, 0),
            (2, 8, 0),
            (1, 1, 1),
            (1, 9, 1),
            (0, 5, 2),
            (0, 10, 2),
            (0, 1, 1),
            (10, 0, 0),
            (9, 0, 0),
        ] {
            assert_eq!(ratio.hits_beyond(10, remains, hits), beyond, "{hits} hits leave {remains}");
        }
    }

    #[test]
    fn the_border_is_the_whole_hit_below_the_ratio() {
        for (ratio, burst, border) in
            [("0.8", 10, 8), ("0.7", 10, 7), ("0.8", 1, 0), ("0.8", 3, 2), ("1", 7, 7), ("0", 7, 0)]
        {
            assert_eq!(
                ratio.parse::<NearLimitRatio>().expect("a ratio").border(burst),
                border,
                "{ratio} of {burst}"
            );
        }
        for bad in ["", "x", "-0.1", "1.01", "NaN", "inf"] {
            assert!(bad.parse::<NearLimitRatio>().is_err(), "{bad:?}");
        }
    }
}
