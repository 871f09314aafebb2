use super::{AmountSpec, HitsAddend, HitsSpec, whole};

#[test]
fn a_number_is_read_as_c_reads_it_and_cut_to_a_whole_one() {
    for (text, number) in [
        ("5", 5),
        ("007", 7),
        ("+5", 5),
        ("2.9", 2),
        (".5", 0),
        ("-0", 0),
        ("1e3", 1_000),
        ("1000000000", 1_000_000_000),
        ("0x10", 16),
        ("0X1.8p1", 3),
        ("-0x0", 0),
        ("0x3B9ACA00", 1_000_000_000),
        ("1e-400", 0),
    ] {
        assert_eq!(whole(text.as_bytes()), Some(number), "{text}");
    }
    for junk in
        ["", "+", "--1", "0x", "0x.", "0x1p", "5a", "1_0", "1e400", "0x3B9ACA01", "0x1p9999999999", "-0.5"]
    {
        assert_eq!(whole(junk.as_bytes()), None, "{junk}");
    }
}

#[test]
fn a_format_of_hits_is_exactly_one_command() {
    let spec = |amount| HitsSpec { amount, is_negative_hits: false };
    for text in ["7", "%REQ(a)%%REQ(b)%", "x%REQ(a)%", ""] {
        assert!(HitsAddend::new(spec(AmountSpec::Format(text.to_owned()))).is_err(), "{text}");
    }
    assert!(HitsAddend::new(spec(AmountSpec::Number(1_000_000_001))).is_err());
    assert!(HitsAddend::new(spec(AmountSpec::Number(1_000_000_000))).is_ok());
}
