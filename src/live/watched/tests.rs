use super::*;

fn limit() -> LookedLimit {
    LookedLimit {
        key: BucketKey::from_bytes([7; 16]),
        rule: "api_key".to_owned(),
        tier: None,
        algorithm: Algorithm::TokenBucket,
        requests: 60,
        period_seconds: 60,
        burst: 10,
        level: 4,
        fits: true,
        next_us: 0,
        full_us: Some(6_000_001),
    }
}

/// The course of a key under which so many hits were taken in each second.
fn course(taken: &[u64]) -> Value {
    let (mut course, mut counted) = (Course::default(), 100);
    let see = |course: &mut Course, second: u64, counted: u64| {
        let looked = Looked { domain: "edge".to_owned(), limits: vec![limit()], text: "because".to_owned() };
        course.see(1_000_000_000 + second * 1_000_000, Ok(looked), |_| counted)
    };
    assert!(see(&mut course, 0, counted));
    for (second, taken) in (1..).zip(taken) {
        counted += taken;
        assert!(!see(&mut course, second, counted));
    }
    let asked = Asked { domain: None, entries: vec!["api_key=abc".to_owned()] };
    course.json(&asked, &Names::new(), Points::All)
}

#[test]
fn the_worst_interval_is_the_one_that_came_closest_to_its_bound() {
    let shown = course(&[1, 0, 0, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    let limit = &shown["limits"][0];
    assert_eq!((&limit["admitted"], &limit["allowed"]), (&json!(15), &json!(24.0)));
    assert_eq!(limit["worst"], json!({ "admitted": 11.0, "allowed": 12.0, "seconds": 2.0 }));
    assert_eq!(limit["points"].as_array().unwrap().len(), 15);
    assert_eq!((&limit["full_ms"], &shown["explain"]), (&json!(6_001), &json!("because")));
}

#[test]
fn a_key_that_cannot_be_looked_at_says_why() {
    let mut course = Course::default();
    course.see(5, Err("no such domain".to_owned()), |_| 0);
    let asked = Asked { domain: Some("x".to_owned()), entries: vec!["a=b".to_owned()] };
    let shown = course.json(&asked, &Names::new(), Points::Newest);
    assert_eq!((&shown["error"], &shown["limits"]), (&json!("no such domain"), &json!([])));
}
