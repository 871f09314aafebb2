//! The name of this process among the replicas, in what operators read.

use std::sync::LazyLock;

/// Eight hexadecimal digits, chosen at random when first asked for; the same until the process ends.
pub fn name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| format!("{:08x}", rand::random::<u32>()));
    &NAME
}
