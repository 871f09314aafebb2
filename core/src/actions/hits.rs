//! The number of hits that a descriptor asks for.

use super::{ActionError, HttpRequest, Problem, format::Format};
use crate::descriptor::Hits;

/// Envoy's upper bound.
const MOST: u32 = 1_000_000_000;

/// `hits_addend` as written in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HitsSpec {
    pub amount: AmountSpec,
    pub is_negative_hits: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmountSpec {
    Number(u64),
    /// Exactly one command, such as `%REQ(x-cost)%`.
    Format(String),
}

/// A checked `hits_addend`.
#[derive(Debug, Clone, PartialEq)]
pub struct HitsAddend {
    amount: Amount,
    is_negative: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Amount {
    Number(u64),
    Format(Format),
}

// === impl HitsAddend ===

impl HitsAddend {
    pub fn new(spec: HitsSpec) -> Result<HitsAddend, ActionError> {
        let amount = match spec.amount {
            AmountSpec::Number(number) if number > u64::from(MOST) => {
                return Err(ActionError::new("hits_addend.number", Problem::TooManyHits));
            }
            AmountSpec::Number(number) => Amount::Number(number),
            AmountSpec::Format(text) => {
                let problem = |problem| ActionError::new("hits_addend.format", problem);
                let format = Format::new(&text).map_err(|error| problem(error.into()))?;
                if !format.is_one_command() {
                    return Err(problem(Problem::NotOneCommand));
                }
                Amount::Format(format)
            }
        };
        Ok(HitsAddend { amount, is_negative: spec.is_negative_hits })
    }

    /// None if the value of the format is not a number from 0 to 10^9, which drops the descriptor.
    ///
    /// Envoy 1.40 deviates in one case: it sends 2^63 hits for `nan`, far above its own bound.
    pub(super) fn hits(&self, request: &HttpRequest<'_>) -> Option<Hits> {
        let number = match &self.amount {
            Amount::Number(number) => *number,
            Amount::Format(format) => u64::from(whole(&format.value(request))?),
        };
        Some(Hits::new(Some(number), 1, self.is_negative))
    }
}

/// The number in the text, without its fraction. Like Envoy, it accepts the notation of C, so `0x1p4` is 16.
fn whole(text: &[u8]) -> Option<u32> {
    let text = str::from_utf8(text).ok()?.trim_ascii();
    let number: f64 = hexadecimal(text).or_else(|| text.parse().ok())?;
    let is_in_bounds = (0.0..=f64::from(MOST)).contains(&number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 10^9, and cut on purpose"
    )]
    is_in_bounds.then_some(number as u32)
}

fn hexadecimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"))?;
    let (digits, exponent) = digits.split_once(['p', 'P']).unwrap_or((digits, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut number = None;
    for digit in whole.chars().chain(fraction.chars()) {
        number = Some(number.unwrap_or(0.0) * 16.0 + f64::from(digit.to_digit(16)?));
    }
    let (number, places) = (number?, i32::try_from(fraction.len()).ok()?);
    let exponent: i32 = exponent.parse().ok()?;
    let number = number * 2_f64.powi(exponent.saturating_sub(places.saturating_mul(4)));
    Some(if text.starts_with('-') { -number } else { number })
}

#[cfg(test)]
mod tests;
