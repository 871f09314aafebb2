//! Base64: the usual alphabet with padding for Secrets, and that of URLs without for tokens.

const USUAL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn encode(bytes: &[u8]) -> String {
    let digits = |chunk: &[u8]| {
        let bits = chunk.iter().chain([&0; 2]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let digit = |place: usize| char::from(USUAL[(bits >> (18 - 6 * place)) as usize & 63]);
        (0..4).map(|place| if place <= chunk.len() { digit(place) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

pub(crate) fn encode_for_urls(bytes: &[u8]) -> String {
    encode(bytes).replace('+', "-").replace('/', "_").replace('=', "")
}
