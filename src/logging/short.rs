//! Makes texts that clients choose fit for a log line.

/// The maximum number of characters that are shown.
const LONGEST: usize = 64;

/// The first 64 characters, and `…` if there are more. Characters that would break the line, or change how it reads,
/// are escaped; bytes that are not UTF-8 are replaced.
pub fn short(text: &[u8]) -> String {
    // A long text is not read to its end.
    let head = &text[..text.len().min(4 * LONGEST)];
    let lossy = String::from_utf8_lossy(head);
    let mut letters = lossy.chars();
    let mut shown = String::new();
    for letter in letters.by_ref().take(LONGEST) {
        // The format of the log escapes quotes and backslashes itself.
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    if letters.next().is_some() || head.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn what_breaks_a_line_is_escaped_and_what_is_long_is_cut() {
        assert_eq!(short(b"user"), "user");
        assert_eq!(short("größe \"a\\b\"".as_bytes()), "größe \"a\\b\"");
        assert_eq!(short(b"a\nWARN b\x1b[31m\0"), "a\\nWARN b\\u{1b}[31m\\0");
        // Right to left, from here on.
        assert_eq!(short("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(short(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(short(&[b'x'; 64]), "x".repeat(64));
        assert_eq!(short(&[b'x'; 65]), format!("{}…", "x".repeat(64)));
        assert_eq!(short(&vec![0xf0; 1 << 20]).chars().count(), 65);
    }
}
