//! The part of the fault matrix that is quick: Redis misbehaves, and loses what it held.

use lab::{
    binaries::Part,
    faults::{self, FaultsArgs, Scenario},
    real,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_promised_of_a_redis_that_misbehaves_or_forgets_is_kept() {
    if !real::available(&[Part::Redis]) {
        return;
    }
    let matrix = faults::measure(&FaultsArgs::only(&[Scenario::Replies, Scenario::Loss])).await;
    let matrix = matrix.expect("every scenario runs");
    assert!(matrix.rows() > 15, "{}", matrix.text());
    assert_eq!(matrix.broken(), 0, "{}", matrix.text());
}
