use super::{milli, problem, seconds, thousandths};

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
    assert_eq!(problem(br#"{"status": 429, "title": "x"}"#).status, Some(429));
    assert_eq!(problem(br#"[429]"#).status, None);
    assert_eq!(problem(b"\xff\xfe").status, None);
}

#[test]
fn a_problem_names_the_rules_that_denied_if_it_is_of_that_shape() {
    let body = br#"{"status": 429, "violated-policies": ["edge.route=default.api_key", "edge.b:day", 7]}"#;
    assert_eq!(problem(body).violated, ["edge.route=default.api_key", "edge.b:day"]);
    for other in [&br#"{"violated-policies": "all"}"#[..], br#"{"violated-policies": {}}"#, b"{}", b"no"] {
        assert!(problem(other).violated.is_empty());
    }
}
