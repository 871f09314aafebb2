//! The parameters behind the `?` of a path.

/// The most parameters.
const MOST: usize = 64;

/// Names and values in their order, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Fails with what is wrong, for the client to read.
    pub(super) fn parse(text: &str) -> Result<Query, String> {
        let pairs: Vec<&str> = text.split('&').filter(|pair| !pair.is_empty()).take(MOST + 1).collect();
        if pairs.len() > MOST {
            return Err(format!("there are more than {MOST} parameters"));
        }
        let decoded = pairs.iter().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Query(decoded.collect::<Result<_, String>>()?))
    }

    pub(super) fn first<'q>(&'q self, name: &'q str) -> Option<&'q str> {
        self.all(name).next()
    }

    /// The values of a parameter that may be repeated.
    pub(super) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let number = |text: &str| text.parse().map_err(|_error| format!("{name} must be a whole number"));
        self.first(name).map(number).transpose()
    }
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, more)) = rest.split_first() {
        rest = more;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |at: usize| more.get(at).and_then(|byte| (*byte as char).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    return Err(
                        "a % must be followed by two hexadecimal digits; write % itself as %25".to_owned()
                    );
                };
                rest = &more[2..];
                u8::try_from(high << 4 | low).unwrap_or_default()
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).map_err(|_error| "the parameters must be UTF-8, percent-encoded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_in_their_order() {
        let query = Query::parse("domain=edge&entries=a%3Db%20c&&entries=d=e+f&history").unwrap();
        assert_eq!(query.first("domain"), Some("edge"));
        assert_eq!(query.all("entries").collect::<Vec<_>>(), ["a=b c", "d=e f"]);
        assert_eq!((query.first("history"), query.first("nothing")), (Some(""), None));
    }

    #[test]
    fn what_is_wrong_with_parameters_is_said() {
        for (text, why) in
            [("a=%", "hexadecimal"), ("a=%4", "hexadecimal"), ("a=%zz", "hexadecimal"), ("a=%ff", "UTF-8")]
        {
            assert!(Query::parse(text).unwrap_err().contains(why), "{text}");
        }
        assert!(Query::parse(&"a&".repeat(65)).is_err());
        assert!(Query::parse("after=x").unwrap().number("after").unwrap_err().contains("after"));
        assert_eq!(Query::parse("after=7").unwrap().number("after"), Ok(Some(7)));
    }
}
