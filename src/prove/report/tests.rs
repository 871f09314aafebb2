use super::{milli, problem_status, seconds, thousandths};

#[test]
fn figures_are_cut_and_never_rounded_up_to_what_was_not_reached() {
    assert_eq!(milli(14_099), "14");
    assert_eq!(milli(14_199), "14.1");
    assert_eq!(milli(0), "0");
    assert_eq!(seconds(412_999), "0.412 s");
    assert_eq!(seconds(61_000_000), "61.000 s");
    assert_eq!(thousandths(1_002).to_string(), "1.002");
}

#[test]
fn only_a_number_called_status_is_the_status_of_a_problem() {
    assert_eq!(problem_status(br#"{"status": 429, "title": "x"}"#), Some(429));
    assert_eq!(problem_status(br#"[429]"#), None);
    assert_eq!(problem_status(b"\xff\xfe"), None);
}
