use tollgate_core::limit::Algorithm;

use super::{Contender, admitted, admitted::worst, redis::Script};
use crate::{binaries::Part, real};

#[test]
fn the_worst_interval_leaves_out_one_of_its_ends() {
    assert_eq!(worst(&[], 10), 0);
    assert_eq!(worst(&[0, 5, 10, 11, 30], 10), 3);
    assert_eq!(worst(&[0, 10], 10), 1);
    assert_eq!(worst(&[0, 0, 9], 10), 3);
}

#[tokio::test]
async fn a_log_admits_its_number_a_window_twice_that_and_a_bucket_burst_and_refill() {
    if !real::available(&[Part::Redis]) {
        return;
    }
    let redis = crate::redis::Redis::start().await.unwrap();
    let mut script = Script::load(redis.addr(), redis.pid()).unwrap();
    let mut worst = |algorithm, burst| {
        let contender = Contender { n: 20, algorithm, burst };
        admitted::measure(&mut script, contender).unwrap().worst
    };
    assert_eq!(worst(Algorithm::SlidingWindowLog, None), 20);
    assert_eq!(worst(Algorithm::FixedWindow, None), 40);
    // The minute's last refill falls on its end, which is left out.
    assert_eq!(worst(Algorithm::TokenBucket, None), 39);
    assert_eq!(worst(Algorithm::TokenBucket, Some(2)), 21);
}
