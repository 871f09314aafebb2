//! Everything that others can read of a process, to be searched for secrets.

use std::fmt;

/// Texts, and where each of them is from.
#[derive(Default)]
pub(crate) struct Exposed(Vec<(String, Vec<u8>)>);

impl Exposed {
    pub(crate) fn note(&mut self, place: impl fmt::Display, text: impl Into<Vec<u8>>) {
        self.0.push((place.to_string(), text.into()));
    }

    /// # Panics
    /// If a text contains one of these. The message names every such text, and shows nothing of the others.
    #[track_caller]
    pub(crate) fn assert_free_of(&self, secrets: &[&str]) {
        let found = self.0.iter().flat_map(|(place, text)| {
            let shown = secrets.iter().filter(|secret| shows(text, secret));
            shown.map(move |secret| format!("{secret} in {place}: {}", String::from_utf8_lossy(text)))
        });
        let found: Vec<String> = found.collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// Whether the text contains the secret in plain, as `{:?}` writes bytes, in hex, or within base64.
pub(crate) fn shows(text: &[u8], secret: &str) -> bool {
    let decimal = format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned();
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let plain = [secret.to_owned(), decimal, hex];
    let forms = plain.into_iter().chain((0..3).map(|offset| base64(secret, offset)));
    let holds = |form: String| text.windows(form.len()).any(|window| window == form.as_bytes());
    forms.into_iter().any(holds)
}

/// The base64 for URLs of `secret` after this number of bytes, without the letters that encode other bytes too.
fn base64(secret: &str, offset: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bytes = [&[0; 2][..offset], secret.as_bytes()].concat();
    let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
    let letter = |nth: usize| LETTERS[(6 * nth..6 * nth + 6).fold(0, |sextet, at| 2 * sextet + bit(at))];
    ((8 * offset).div_ceil(6)..8 * bytes.len() / 6).map(|nth| char::from(letter(nth))).collect()
}
