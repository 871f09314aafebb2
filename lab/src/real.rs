//! Whether a test that needs a real Redis or Envoy can run here.

use std::{
    env,
    io::{self, Write as _},
    thread,
};

use crate::binaries::{BinaryError, Part};

/// Whether all `parts` are here. If not, says so and the test should return: on a laptop it is skipped aloud.
/// Under TOLLGATE_REQUIRE_REAL=1, as `make test` and CI set it, it fails instead.
///
/// ```no_run
/// # use lab::{binaries::Part, real};
/// if !real::available(&[Part::Redis]) {
///     return;
/// }
/// ```
///
/// # Panics
/// If a part is missing and required, or if a variable names something else.
pub fn available(parts: &[Part]) -> bool {
    let Some(reason) = parts.iter().find_map(|part| part.find().err()) else { return true };
    let skip = matches!(reason, BinaryError::Missing { .. }) && !required();
    assert!(skip, "{reason}");
    let line = format!("\nSKIPPED {}: {reason}\n", thread::current().name().unwrap_or("a test"));
    // Not eprintln!, which the test runner swallows when the test passes.
    let _ = io::stderr().write_all(line.as_bytes());
    false
}

fn required() -> bool {
    env::var_os("TOLLGATE_REQUIRE_REAL").is_some_and(|value| value == "1")
}
