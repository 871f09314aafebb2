//! Accepts until it is time to leave, then drains, then cuts what is left: the phases of an orderly end.

use std::{convert::Infallible, future, time::Duration};

use tokio::{select, time};
use tracing::{error, info, warn};

use super::{Options, ServerError, accept::Acceptor, routes::Health, runtimes::Runtimes};
use crate::{
    error::SystemError,
    lifecycle::{Lifecycle, Phase},
};

/// How long the runtimes may take to end once their connections are cut. They need microseconds; a stuck one must not
/// keep the process from ending.
pub(super) const CUT_GRACE: Duration = Duration::from_secs(1);

/// Returns once all runtimes have ended. Fails if one does not end though its connections are cut.
pub(super) async fn serve_and_drain(
    (grpc, authz_http): (Acceptor, Option<Acceptor>),
    runtimes: &mut Runtimes,
    health: &Health,
    lifecycle: &Lifecycle,
    options: &Options,
) -> Result<(), ServerError> {
    // A runtime that ends by itself has panicked, and its connections have failed. The others are drained, and the
    // process ends with an error, which `join` finds.
    select! {
        never = grpc.accept(runtimes) => match never {},
        never = accept_if_any(authz_http.as_ref(), runtimes) => match never {},
        () = leave(health, lifecycle, options.drain_wait) => {}
        () = runtimes.one_ended() => {
            error!("a runtime has ended unexpectedly; stopping");
            health.not_serving().await;
        }
    }
    let closed = authz_http.map_or(Ok(()), |acceptor| acceptor.close(runtimes));
    if let Err(error) = grpc.close(runtimes).and(closed) {
        warn!(error = %SystemError::from(error), "connections that were not accepted yet may be lost");
    }
    lifecycle.advance_to(Phase::Draining);

    runtimes.stop_dealing();
    select! {
        () = runtimes.all_ended() => {}
        () = time::sleep(options.drain_timeout) => {}
        () = lifecycle.reached(Phase::Ended) => {}
    }
    lifecycle.advance_to(Phase::Ended);
    let ended = time::timeout(CUT_GRACE, runtimes.all_ended()).await;
    let cut = runtimes.endings().cut();
    if cut > 0 {
        warn!(connections = cut, "cut the connections that were still open");
    }
    ended.map_err(|_elapsed| ServerError::RuntimesStuck { count: runtimes.running() })?;
    info!("stopped");
    Ok(())
}

async fn accept_if_any(acceptor: Option<&Acceptor>, runtimes: &Runtimes) -> Infallible {
    match acceptor {
        Some(acceptor) => acceptor.accept(runtimes).await,
        None => future::pending().await,
    }
}

/// Returns when it is time to drain: `drain_wait` after health checks began to fail, or earlier if the lifecycle says
/// so.
async fn leave(health: &Health, lifecycle: &Lifecycle, drain_wait: Duration) {
    lifecycle.reached(Phase::Leaving).await;
    health.not_serving().await;
    select! {
        () = time::sleep(drain_wait) => {}
        () = lifecycle.reached(Phase::Draining) => {}
    }
}
