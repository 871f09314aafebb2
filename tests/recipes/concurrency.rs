//! At most three requests of a client at once.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Recipes, recipes, recipes_with};

const SLOTS: usize = 3;
const AT_ONCE: u64 = 30;

/// Sends 30 requests within a fifth of a second, three times; each stays for half a second. Returns the number of those that
/// passed in each round.
async fn rounds(recipes: &Recipes) -> Vec<usize> {
    let mut passed = Vec::new();
    for _ in 0..3 {
        let mut requests = JoinSet::new();
        for number in 0..AT_ONCE {
            let addr = recipes.envoy.listen();
            let headers = [("x-user", "a"), ("x-say-after-ms", "500"), ("x-passed", "1")];
            let after = Duration::from_millis(200 * number / AT_ONCE);
            requests.spawn(async move {
                tokio::time::sleep(after).await;
                lab::http::get(addr, "/slots", &headers).await.expect("an answer")
            });
        }
        let answers = requests.join_all().await;
        passed.push(answers.iter().filter(|answer| answer.status == 200).count());
        // The calls on stream done come after the answers.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    passed
}

#[tokio::test]
async fn of_thirty_requests_three_are_inside_at_once_and_their_slots_are_free_again_afterwards() {
    let Some(recipes) = recipes(&[]).await else { return };
    assert_eq!(rounds(&recipes).await, [SLOTS; 3]);
    assert_eq!(recipes.application.most_inside(), SLOTS);
}

/// Envoy makes its calls on stream done also for requests that were refused, so what they did not take would be given back.
#[tokio::test]
async fn without_the_mark_more_are_inside() {
    let naive = (
        "hits_addend: { format: \"%REQ(x-passed)%\", is_negative_hits: true }",
        "hits_addend: { number: 1, is_negative_hits: true }",
    );
    let Some(recipes) = recipes(&[naive]).await else { return };
    let passed = rounds(&recipes).await;
    assert!(
        recipes.application.most_inside() > SLOTS,
        "{passed:?}: if this has changed, the recipe can be simpler"
    );
}

#[tokio::test]
async fn a_slot_whose_end_is_lost_is_free_again_after_the_period() {
    let text = std::fs::read_to_string(lab::binaries::checkout().join("examples/recipes/limits.yaml"));
    let short = text.expect("the example").replace("unit_multiplier: 30", "unit_multiplier: 2");
    let limits = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("recipes-short.yaml");
    std::fs::write(&limits, short).expect("can be written");
    // Nothing is ever given back.
    let lost = (
        "hits_addend: { format: \"%REQ(x-passed)%\", is_negative_hits: true }",
        "hits_addend: { format: \"%REQ(x-none)%\", is_negative_hits: true }",
    );
    let Some(recipes) = recipes_with(limits, &[lost]).await else { return };
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(recipes.get("/slots", &[("x-user", "a")]).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(recipes.get("/slots", &[("x-user", "a")]).await.status, 200);
}
