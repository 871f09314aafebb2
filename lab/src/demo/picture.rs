//! Pictures of Tollgate's live page while the demo hammers, if this machine has a Chromium.

use std::time::Duration;

use super::Stack;
use crate::{
    binaries::BinaryError,
    chromium::{Chromium, ChromiumError, Look, Scheme},
};

/// As it fits into the report.
const WIDTH: u32 = 1_240;
const HEIGHT: u32 = 800;
const LIVE_WITHIN: Duration = Duration::from_secs(20);
/// A row must have been denied; the herd sees to that all the time.
const DENIES: &str = "document.querySelector('tr.row.over') !== null";
/// Some seconds of it are more to look at than one.
const LOOK_ON_FOR: Duration = Duration::from_secs(4);

/// The page as PNG in base64.
#[derive(Debug, Clone)]
pub struct Picture {
    pub light: String,
    pub dark: String,
}

/// The error says why there is none. It is no failure of the demo.
pub(super) async fn take(stack: &Stack) -> Result<Picture, String> {
    attempt(stack).await.map_err(|error| match error {
        ChromiumError::Binary(BinaryError::Missing { .. }) => {
            "No Chromium was found on this machine, so there is no picture of it.".to_owned()
        }
        other => format!("There is no picture of it: {}.", tollgate::error::chain(&other)),
    })
}

async fn attempt(stack: &Stack) -> Result<Picture, ChromiumError> {
    let mut chromium = Chromium::start().await?;
    let look = Look { width: WIDTH, height: HEIGHT, scheme: Scheme::Light };
    chromium.look(look).await?;
    chromium.open(&format!("http://{}/", stack.tollgate.admin())).await?;
    chromium.until(DENIES, LIVE_WITHIN).await?;
    tokio::time::sleep(LOOK_ON_FOR).await;
    let light = chromium.picture().await?;
    chromium.look(Look { scheme: Scheme::Dark, ..look }).await?;
    let dark = chromium.picture().await?;
    Ok(Picture { light, dark })
}
