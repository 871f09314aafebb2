//! What is charged when the response is known.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{Recipes, recipes};

/// Takes the default away that a response without a count is charged.
const WITHOUT_DEFAULT: (&str, &str) = ("value: { tokens: 500 }", "value: { unused: 500 }");

#[tokio::test]
async fn tokens_are_charged_when_they_are_known_and_what_does_not_fit_is_owed() {
    let Some(recipes) = recipes(&[]).await else { return };
    let asked = |tokens: &'static str| [("x-user", "a"), ("x-say-tokens", tokens)];
    assert_eq!(recipes.left("/llm", &asked("400")).await, 1_000);
    recipes.until_decided(2).await;
    let left = recipes.left("/llm", &asked("900")).await;
    assert!((600..650).contains(&left), "{left}");
    recipes.until_decided(4).await;
    let denied = recipes.get("/llm", &asked("1")).await;
    assert_eq!((denied.status.as_u16(), denied.header("ratelimit-remaining")), (429, Some("0")));
    // It owes about 300 tokens of 1,000 a minute.
    let wait: u64 = denied.header("retry-after").and_then(|text| text.parse().ok()).expect("it is told");
    assert!((14..=19).contains(&wait), "{wait}");
    // The refused request is charged nothing: the debt does not grow.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again: u64 = recipes
        .get("/llm", &asked("1"))
        .await
        .header("retry-after")
        .and_then(|text| text.parse().ok())
        .unwrap();
    assert!(again <= wait, "{again} after {wait}");
}

#[tokio::test]
async fn a_response_without_a_count_is_charged_the_default_and_would_be_free_without_it() {
    let user = [("x-user", "b")];
    for (edits, at_most) in [(&[][..], 520), (&[WITHOUT_DEFAULT], 1_000)] {
        let Some(recipes) = recipes(edits).await else { return };
        assert_eq!(recipes.left("/llm", &user).await, 1_000);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let left = recipes.left("/llm", &user).await;
        assert!(left <= at_most && left > at_most - 30, "{left}, at most {at_most}");
    }
}

#[tokio::test]
async fn a_reservation_is_settled_with_the_real_amount_in_one_call() {
    let Some(recipes) = recipes(&[]).await else { return };
    let asked = |user: &'static str, tokens: &'static str| [("x-user", user), ("x-say-tokens", tokens)];
    // 1,000 - 400, then + 400 - 30.
    assert_eq!(recipes.left("/reserve", &asked("a", "30")).await, 600);
    recipes.until_decided(2).await;
    let left = recipes.left("/reserve", &asked("a", "700")).await;
    assert!((570..620).contains(&left), "{left}: 970 less the next estimate");
    recipes.until_decided(4).await;
    // 970 - 700 leaves 270, so the estimate of another request does not fit.
    let denied = recipes.get("/reserve", &asked("a", "1")).await;
    assert_eq!(denied.status, 429);
    // It lacks about 130 tokens of 1,000 a minute.
    let wait: u64 = denied.header("retry-after").and_then(|text| text.parse().ok()).unwrap();
    assert!((4..=8).contains(&wait), "{wait}");
    // What was refused is not given back.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(recipes.get("/reserve", &asked("a", "1")).await.status, 429);
}

#[tokio::test]
async fn a_real_amount_that_does_not_fit_leaves_the_estimate_charged() {
    let Some(recipes) = recipes(&[]).await else { return };
    let asked = |tokens: &'static str| [("x-user", "c"), ("x-say-tokens", tokens)];
    assert_eq!(recipes.left("/reserve", &asked("5000")).await, 600);
    recipes.until_decided(2).await;
    let left = recipes.left("/reserve", &asked("400")).await;
    assert!((200..250).contains(&left), "{left}: 600 less the next estimate");
}

#[tokio::test]
async fn only_failed_logins_are_charged() {
    let Some(recipes) = recipes(&[]).await else { return };
    for _ in 0..8 {
        assert_eq!(recipes.get("/login", &[]).await.status, 200);
    }
    recipes.until_decided(16).await;
    for failed in 1..=5 {
        assert_eq!(recipes.get("/login", &[("x-say-status", "401")]).await.status, 401, "{failed}");
        recipes.until_decided(16 + 2 * failed).await;
    }
    let denied = recipes.get("/login", &[]).await;
    assert_eq!(denied.status, 429);
    assert!(denied.header("retry-after").is_some());
}

/// Thirty at once, of which most are refused: refused ones must neither give back nor be charged.
#[tokio::test]
async fn thirty_reservations_at_once_never_hold_more_than_the_budget() {
    let Some(recipes) = recipes(&[]).await else { return };
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let addr = recipes.envoy.listen();
        let headers = [("x-user", "d"), ("x-say-tokens", "10"), ("x-say-after-ms", "300")];
        requests.spawn(async move { lab::http::get(addr, "/reserve", &headers).await.expect("an answer") });
    }
    let answers = requests.join_all().await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        2,
        "two estimates of 400 fit into 1,000"
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    // 1,000 - 2 x 10, and what a second or two brought back, less the next estimate.
    let left = recipes.left("/reserve", &[("x-user", "d"), ("x-say-tokens", "10")]).await;
    assert!((580..=600).contains(&left), "{left}");
}

/// A client that goes before there is a response.
async fn hang_up(recipes: &Recipes, path: &str, user: &str) {
    let mut stream = TcpStream::connect(recipes.envoy.listen()).await.expect("Envoy listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-user: {user}\r\nx-say-after-ms: 3000\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// Without a response no filter of responses runs, so what it would have set must be there before.
#[tokio::test]
async fn a_client_that_hangs_up_is_charged_the_default_too() {
    for (path, edits, left) in [
        ("/llm", &[][..], 500),
        ("/reserve", &[], 100),
        ("/llm", &[WITHOUT_DEFAULT], 1_000),
        ("/reserve", &[WITHOUT_DEFAULT], 600),
    ] {
        let Some(recipes) = recipes(edits).await else { return };
        hang_up(&recipes, path, "a").await;
        // What a second or two brings back may have come too. A reservation also takes the next estimate.
        let found = recipes.left(path, &[("x-user", "a"), ("x-say-tokens", "1")]).await;
        assert!((left..left + 60).contains(&found), "{path}: {found}, not {left}");
    }
}
