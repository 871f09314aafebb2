//! Replicas of Tollgate are restarted one after the other, and killed, behind three nodes under load.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    FaultsError, Row, limits_file,
    nodes::{Load, worst_share},
    stack::Stack,
};
use crate::tollgate::{Serve, Tollgate};

const LIMITS: &str = "\
domain: edge
descriptors:
- key: route
  descriptors:
  - { key: api_key, rate_limit: { unit: second, requests_per_unit: 50 } }
";
const BURST: u64 = 50;
const OPENED: &str = "cluster.upstream.ratelimit.failure_mode_allowed";
const ERRORS: &str = "cluster.upstream.ratelimit.error";
const STOPS_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let mut stack = Stack::start(&limits_file("replicas", LIMITS)?, 2).await?;
    let rolling = rolling_restart(&mut stack).await?;
    Ok(vec![rolling, killed(&mut stack).await?])
}

/// With the shipped configuration of the nodes and default settings of Tollgate.
async fn rolling_restart(stack: &mut Stack) -> Result<Row, FaultsError> {
    let load = Load::start(stack.topology.addr(), &["restart"], 12, Duration::from_millis(20));
    sleep(Duration::from_secs(1)).await;
    let mut exits = Vec::new();
    for number in 0..stack.replicas.len() {
        let replica = &mut stack.replicas[number];
        let serve =
            Serve { grpc_listen: replica.grpc(), admin_listen: replica.admin(), ..stack.serve.clone() };
        exits.push(replica.terminate(STOPS_WITHIN).await?.code());
        *replica = Tollgate::start(&serve).await?;
        // Until the nodes have found it.
        sleep(Duration::from_secs(2)).await;
    }
    let (sent, visits) = (load.sent(), load.stop().await);
    let (errors, opened) = (stack.topology.counter(ERRORS).await?, stack.topology.counter(OPENED).await?);
    let admitted: Vec<_> = visits.iter().filter(|visit| visit.status == 200).copied().collect();
    let others = visits.iter().filter(|visit| ![200, 429].contains(&visit.status)).count();
    let worst = worst_share(&admitted, BURST, BURST);
    let is_clean = exits.iter().all(|exit| *exit == Some(0));
    Ok(Row::new("SIGTERM to each of two replicas in turn")
        .promised("exit 0, no error at the nodes, nothing let pass undecided, and the limit holds")
        .measured(format!(
            "{sent} requests; exit {}; {errors} errors, {opened} let pass, {others} other answers; the worst \
             interval has {worst:.2} (burst + refill · length)",
            if is_clean { "0 and 0" } else { "NOT 0" }
        ))
        .kept_if(is_clean && errors + opened == 0 && others == 0 && worst <= 1.0 && sent > 1_000))
}

async fn killed(stack: &mut Stack) -> Result<Row, FaultsError> {
    /// Calls that were under way to it, of which a busy machine may not retry all in time.
    const UNDER_WAY: u64 = 12;
    let counted = async |stack: &Stack| -> Result<[u64; 2], FaultsError> {
        Ok([stack.topology.counter(OPENED).await?, stack.topology.counter(ERRORS).await?])
    };
    let before = counted(stack).await?;
    let load = Load::start(stack.topology.addr(), &["kill"], 12, Duration::from_millis(20));
    sleep(Duration::from_secs(1)).await;
    stack.replicas[0].kill();
    sleep(Duration::from_secs(3)).await;
    let visits = load.stop().await;
    let after = counted(stack).await?;
    let [opened, errors] = [after[0] - before[0], after[1] - before[1]];
    let admitted: Vec<_> = visits.iter().filter(|visit| visit.status == 200).copied().collect();
    let others = visits.iter().filter(|visit| ![200, 429].contains(&visit.status)).count();
    let worst = worst_share(&admitted, BURST + opened, BURST);
    Ok(Row::new("kill -9 of one of two replicas")
        .promised(format!(
            "the nodes retry on the other: at most the {UNDER_WAY} requests under way are errors at the nodes, \
             and pass undecided"
        ))
        .measured(format!(
            "{} requests, {errors} errors, {opened} let pass, {others} other answers; the worst interval has \
             {worst:.2} (burst + refill · length), those let pass aside",
            visits.len()
        ))
        .kept_if(
            errors <= UNDER_WAY && opened <= errors && others == 0 && worst <= 1.0 && visits.len() > 1_000,
        ))
}
