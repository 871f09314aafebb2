//! The flags for what operators see.

use std::{net::SocketAddr, path::PathBuf};

use clap::{
    ArgAction, Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::{
    admin::{Admin, HealthyAfter, JsonPage, TokenError, TokenFile},
    cli::values::{self, Item},
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Pages for operators")]
pub(super) struct PageFlags {
    /// Address of a port that shows the limits in force, at /rlconfig [default: none; the admin port shows them too].
    #[arg(long, env = "TOLLGATE_DEBUG_LISTEN", value_name = "IP:PORT", value_parser = values::address)]
    pub(super) debug_listen: Option<SocketAddr>,

    /// Address of a port with metrics alone, at /metrics [default: none; the admin port has them too].
    #[arg(long, env = "TOLLGATE_METRICS_LISTEN", value_name = "IP:PORT", value_parser = values::address)]
    pub(super) metrics_listen: Option<SocketAddr>,

    /// Whether the admin port decides requests that are sent as JSON to /json: on or off.
    ///
    /// Such a request takes tokens, so whoever reaches the admin port could use up any limit.
    #[arg(long, env = "TOLLGATE_ADMIN_JSON", value_name = "SWITCH", default_value = "off",
        action = ArgAction::Set, value_parser = values::switch)]
    admin_json: bool,

    /// File with a token, for whoever may look at buckets, fill them and give hits back by the admin port, as tollgate peek,
    /// reset and grant do with --admin [default: nobody may].
    ///
    /// The token is one line of at least 16 printable ASCII characters. The file is read again for each act. Each act leaves
    /// a line in the log, under tollgate::audit.
    #[arg(long, env = "TOLLGATE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,

    /// What /healthcheck waits for: start, store or rules.
    ///
    /// store means the first contact with the store; once there was one, the store does not matter any more. rules means
    /// that some domain has rules.
    #[arg(long, env = "TOLLGATE_HEALTHY_AFTER", value_name = "EVENT", value_delimiter = ',',
        default_value = "start", hide_possible_values = true, ignore_case = true, value_parser = event())]
    healthy_after: Vec<String>,
}

impl PageFlags {
    /// Shows pages as the flags say. Fails if the token file cannot be used.
    pub(super) fn show(&self, admin: Admin) -> Result<Admin, TokenError> {
        let token = self.admin_token_file.as_deref().map(TokenFile::open).transpose()?;
        Ok(admin.healthy_after(self.healthy_after()).json(self.json()).acts_with(token))
    }

    fn json(&self) -> JsonPage {
        if self.admin_json { JsonPage::On } else { JsonPage::Off }
    }

    fn healthy_after(&self) -> HealthyAfter {
        let has = |wanted: &str| self.healthy_after.iter().any(|event| event == wanted);
        HealthyAfter { store: has("store"), rules: has("rules") }
    }
}

fn event() -> impl TypedValueParser<Value = String> {
    Item(PossibleValuesParser::new(["start", "store", "rules"]).map(|name| name.to_ascii_lowercase()))
}
