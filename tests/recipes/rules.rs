//! Recipes that need only the right rule or the right descriptor.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::recipes;

/// The number of requests that pass, of this many.
async fn passed(recipes: &super::Recipes, path: &str, headers: &[(&str, &str)], of: usize) -> usize {
    let mut passed = 0;
    for _ in 0..of {
        passed += usize::from(recipes.get(path, headers).await.status == 200);
    }
    passed
}

#[tokio::test]
async fn a_default_has_exceptions() {
    let Some(recipes) = recipes(&[]).await else { return };
    for (key, expected) in [("somebody", 2), ("anybody", 2), ("partner", 5), ("monitoring", 9)] {
        assert_eq!(passed(&recipes, "/exceptions", &[("x-api-key", key)], 9).await, expected, "{key}");
    }
}

#[tokio::test]
async fn metadata_brings_a_limit_along() {
    let Some(recipes) = recipes(&[]).await else { return };
    assert_eq!(passed(&recipes, "/override", &[("x-api-key", "k")], 9).await, 3, "not the 100 of the file");
}

/// The signatures are wrong: this filter does not verify them.
#[tokio::test]
async fn the_claim_of_a_jwt_is_a_descriptor() {
    // {"alg":"HS256"}, {"sub":"alice"} and {"sub":"bob"}
    let alice = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln";
    let bob = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2ln";
    let Some(recipes) = recipes(&[]).await else { return };
    for token in [alice, bob] {
        assert_eq!(passed(&recipes, "/claim", &[("authorization", token)], 5).await, 2, "{token}");
    }
    assert_eq!(passed(&recipes, "/claim", &[], 5).await, 5, "without a token there is no descriptor");
}

#[tokio::test]
async fn a_request_is_charged_to_both_of_its_limits_or_to_neither() {
    let Some(recipes) = recipes(&[]).await else { return };
    let units = |units: &'static str| [("x-user", "a"), ("x-units", units)];
    assert_eq!(recipes.get("/costs", &units("90")).await.status, 200);
    assert_eq!(recipes.get("/costs", &units("50")).await.status, 429, "it has ten units left");
    assert_eq!(passed(&recipes, "/costs", &units("1"), 9).await, 4, "the denied one cost no request");
}

#[tokio::test]
async fn connections_are_limited() {
    let Some(recipes) = recipes(&[]).await else { return };
    let mut answered = 0;
    for _ in 0..5 {
        let mut stream = TcpStream::connect(recipes.tcp).await.expect("Envoy accepts it");
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answered += usize::from(answer.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(answered, 3, "the others are closed");
}
