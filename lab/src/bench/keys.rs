//! Which keys are asked for, and what becomes of the requests.

use std::{fmt, str::FromStr};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::limits::Rule;

/// The numbers of draws for small and for large sets of keys. They are made before the clock starts and then
/// repeated, so that drawing costs the load generator nothing.
const FEW_DRAWS: usize = 1 << 16;
const MANY_DRAWS: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    One,
    /// This number of keys, each equally often.
    Uniform(u32),
    /// This number of keys; the nth is asked for 1/n times as often as the first.
    Zipf(u32),
    /// This number of keys, one after the other.
    Each(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    Allowed,
    /// Every other request is for a bucket that denies.
    Half,
    /// A bucket of ten a second.
    Denied,
    /// Buckets that allow the first and deny the rest.
    Once,
    /// Two descriptors with different keys; the first [`KEYS_AT_LIMIT`] keys are of ten a second.
    Pairs,
}

/// The number of keys that are asked for more often than their limit allows, if requests are for pairs of keys.
pub const KEYS_AT_LIMIT: u32 = 10;

/// One request to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub key: u32,
    /// The key of the first descriptor. Further ones are under `Rule::Open` and have the same key.
    pub rule: Rule,
    /// The second descriptor's own key and rule, if it has them.
    pub second: Option<(u32, Rule)>,
}

/// Requests in the order in which they are made.
#[derive(Debug)]
pub struct Asks {
    draws: Draws,
    mix: Mix,
    made: u64,
    most: Option<u64>,
}

#[derive(Debug)]
enum Draws {
    Drawn(Vec<u32>),
    Counted(u32),
}

// === impl Asks ===

impl Asks {
    /// The same seed makes the same requests. Ends after `most`, if there is a most.
    pub fn new(keys: Keys, mix: Mix, seed: u64, most: Option<u64>) -> Asks {
        Asks { draws: Draws::new(keys, seed), mix, made: 0, most }
    }
}

impl Iterator for Asks {
    type Item = Demand;

    fn next(&mut self) -> Option<Demand> {
        if self.most.is_some_and(|most| self.made >= most) {
            return None;
        }
        let number = self.made;
        self.made += 1;
        if self.mix == Mix::Pairs {
            return Some(self.draws.pair(number));
        }
        Some(Demand { key: self.draws.at(number, self.mix), rule: self.mix.rule(number), second: None })
    }
}

// === impl Ask ===

impl Demand {
    /// Whether it is for a bucket that ever denies.
    pub fn is_limited(&self) -> bool {
        self.rule.denies() || self.second.is_some_and(|(_, rule)| rule.denies())
    }
}

// === impl Mix ===

impl Mix {
    const ALL: [(Mix, &str); 5] = [
        (Mix::Allowed, "allowed"),
        (Mix::Half, "half"),
        (Mix::Denied, "denied"),
        (Mix::Once, "once"),
        (Mix::Pairs, "pairs"),
    ];

    /// How many requests it takes to ask for each key under each rule.
    pub fn asks_for_each(self, keys: u32) -> u64 {
        u64::from(keys) * if self == Mix::Half { 2 } else { 1 }
    }

    pub fn rule(self, number: u64) -> Rule {
        match self {
            Mix::Half if !number.is_multiple_of(2) => Rule::Once,
            Mix::Allowed | Mix::Half | Mix::Pairs => Rule::Open(0),
            Mix::Denied => Rule::Ten,
            Mix::Once => Rule::Once,
        }
    }
}

// === impl Draws ===

impl Draws {
    fn new(keys: Keys, seed: u64) -> Draws {
        let mut random = SmallRng::seed_from_u64(seed);
        let draws = |count: u32| if count > 65_536 { MANY_DRAWS } else { FEW_DRAWS };
        Draws::Drawn(match keys {
            Keys::One => vec![0],
            Keys::Each(count) => return Draws::Counted(count),
            Keys::Uniform(count) => (0..draws(count)).map(|_| random.random_range(0..count)).collect(),
            Keys::Zipf(count) => {
                let up_to = zipf(count);
                let sum = up_to.last().copied().unwrap_or(0.0);
                (0..draws(count)).map(|_| rank(&up_to, random.random::<f64>() * sum)).collect()
            }
        })
    }

    /// Two different keys, if there are two.
    fn pair(&self, number: u64) -> Demand {
        let first = self.drawn(2 * number);
        let others = (1..100).map(|next| self.drawn(2 * number + next));
        let second = others.into_iter().find(|key| *key != first).unwrap_or(first);
        let rule = |key| if key < KEYS_AT_LIMIT { Rule::Ten } else { Rule::Open(0) };
        Demand { key: first, rule: rule(first), second: Some((second, rule(second))) }
    }

    fn at(&self, number: u64, mix: Mix) -> u32 {
        // Each rule of a mix walks all draws, not those of its own parity.
        self.drawn(if mix == Mix::Half { number / 2 } else { number })
    }

    fn drawn(&self, number: u64) -> u32 {
        match self {
            Draws::Drawn(keys) => keys[(number % keys.len() as u64) as usize],
            Draws::Counted(count) => (number % u64::from(*count)) as u32,
        }
    }
}

/// The sums 1/1, 1/1 + 1/2, …
fn zipf(count: u32) -> Vec<f64> {
    let sum = |sum: &mut f64, n: u32| {
        *sum += 1.0 / f64::from(n);
        Some(*sum)
    };
    (1..=count).scan(0.0, sum).collect()
}

fn rank(up_to: &[f64], at: f64) -> u32 {
    up_to.partition_point(|sum| *sum <= at).min(up_to.len() - 1) as u32
}

// === as they are typed ===

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keys::One => f.write_str("one"),
            Keys::Uniform(count) => write!(f, "uniform:{count}"),
            Keys::Zipf(count) => write!(f, "zipf:{count}"),
            Keys::Each(count) => write!(f, "each:{count}"),
        }
    }
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Keys, String> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let count: u32 = count.parse().map_err(|error| format!("{count:?} is no count: {error}"))?;
        if count == 0 || count > 1_000_000 {
            return Err("1 to 1,000,000 keys".to_owned());
        }
        match name {
            "one" => Ok(Keys::One),
            "uniform" => Ok(Keys::Uniform(count)),
            "zipf" => Ok(Keys::Zipf(count)),
            "each" => Ok(Keys::Each(count)),
            _ => Err("one, uniform:N, zipf:N or each:N".to_owned()),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Mix::ALL.iter().find(|(mix, _)| mix == self).map_or("", |(_, name)| *name);
        f.write_str(name)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let named = Mix::ALL.iter().find(|(_, name)| *name == text);
        named.map(|(mix, _)| *mix).ok_or_else(|| "allowed, half, denied, once or pairs".to_owned())
    }
}

#[cfg(test)]
mod tests;
