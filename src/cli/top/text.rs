//! Text from outside, and numbers, for a terminal.

/// At most so many characters. What would move the cursor, change colours or turn the direction is spelled out.
pub(super) fn cut(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count == longest {
            shown.push('…');
            break;
        }
        if letter.is_control() || turns(letter) {
            shown.extend(letter.escape_unicode())
        } else {
            shown.push(letter)
        }
    }
    shown
}

/// Letters without a look of their own: separators, joiners, direction marks, tags.
const fn turns(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// With a comma between thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn plural(number: u64, word: &str) -> String {
    format!("{} {word}{}", count(number), if number == 1 { "" } else { "s" })
}

pub(super) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

pub(super) fn seconds(s: u64) -> String {
    match s {
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        assert_eq!(cut("a\x1b[2Jb\u{202e}c\n", 80), "a\\u{1b}[2Jb\\u{202e}c\\u{a}");
        assert_eq!(cut("żółć", 3), "żół…");
        assert_eq!(cut(&"x".repeat(60_000), 5), "xxxxx…");
    }

    #[test]
    fn numbers_have_their_units() {
        assert_eq!([count(7), count(1_000), count(1_234_567)], ["7", "1,000", "1,234,567"]);
        assert_eq!([micros(250), micros(1_250), micros(1_000_000)], ["250 µs", "1.2 ms", "1.0 s"]);
        assert_eq!(
            [seconds(9), seconds(120), seconds(7_200), seconds(200_000)],
            ["9 s", "2 min", "2 h", "2 d"]
        );
    }
}
