//! Shared by the tests of this package: a real Redis, a store on it, and a file.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod ads;
pub(crate) mod authority;
pub(crate) mod exposed;
pub(crate) mod load;

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use lab::{binaries::Part, redis::Redis};
use redis::{Client, Connection};
use tollgate::store::{Backend, Store, StoreError};
use tollgate_core::{
    decision::{Demand, Take, Takes},
    descriptor::{BucketKey, Hits},
    limit::{Limit, Unit},
};

/// A Redis for this test alone. `None`, with a message, if there is no Redis and that is allowed.
pub(crate) async fn redis() -> Option<Redis> {
    if !lab::real::available(&[Part::Redis]) {
        return None;
    }
    Some(Redis::start().await.expect("Redis starts"))
}

/// A file with this text. Its name is for this test alone, or others write the same.
pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (path, unfinished) = (folder.join(name), folder.join("unfinished"));
    let written = unfinished.join(format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    // Tests that share a file must not find it empty, while another one writes it.
    fs::create_dir_all(unfinished).expect("the target folder can be written");
    fs::write(&written, text).expect("the target folder can be written");
    fs::rename(written, &path).expect("the target folder can be written");
    path
}

pub(crate) fn connection(redis: &Redis) -> Connection {
    Client::open(redis.url()).expect("a URL").get_connection().expect("connects")
}

/// A store on that Redis, which is connected.
pub(crate) async fn open(redis: &Redis, deadline: Duration) -> Store {
    let store = Backend::parse(&redis.url()).expect("a URL").open(deadline);
    let limit = Limit::new(1, Unit::Second, None).expect("sound");
    let peek = Take { key: BucketKey::from_bytes([0; 16]), demand: Demand::new(Hits::Peek, &limit) };
    for _ in 0..500 {
        match store.take(Takes::from_elem(peek, 1)).await {
            Err(StoreError::Disconnected | StoreError::Deadline) => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            other => {
                other.expect("a connected store answers");
                return store;
            }
        }
    }
    panic!("no connection to {} within 5 s", redis.url())
}
