//! Puts the parts together: logs, what makes descriptors of their lines, and one or two sides that decide.

use std::{
    fs,
    io::{self, Write as _},
    process::ExitCode,
};

use super::{
    Format, Simulate, SimulateError,
    changes::Changes,
    log::{self, Logs},
    making::{Maker, Way},
    packed::Unpacker,
    progress::Progress,
    report::{self, Simulated},
    side::Side,
    suggest::{Ladder, Suggesting},
    tally::Values,
};
use crate::config::envoy::{self, EnvoyFile};
use tollgate_core::{actions::HttpRequest, matcher::Matcher};

/// All logs were read, but one of them ends too early.
const CUT_SHORT: u8 = 3;

impl Simulate {
    pub(super) fn run_limits(&self) -> Result<ExitCode, SimulateError> {
        let tried = Matcher::new(self.rules.load(&self.rules.config)?.domains);
        let against = match self.rules.against.as_slice() {
            [] => None,
            paths => Some(Matcher::new(self.rules.load(paths)?.domains)),
        };
        let envoy = self.envoy()?;
        let mut makers = vec![Maker::new(self.way(Some(&tried), envoy.as_ref())?)];
        // An Envoy, or fields, make the same descriptors for both; `authz` is part of each file.
        if let Some(against) = against.as_ref().filter(|_| makers[0].is_authz()) {
            makers.push(Maker::new(self.way(Some(against), None)?));
        }
        let mut logs = self.open()?;
        let values = if self.show_values { Values::Shown } else { Values::Hashed };
        let mode = self.rules.quota_mode();
        let mut side = Side::new(&tried, mode, values).with_windows();
        let mut other =
            against.as_ref().map(|against| (Side::new(against, mode, values), Changes::default()));
        let mut progress = Progress::new(log::size(&self.logs), logs.bytes.clone());
        while let Some((now_us, packed)) = logs.next(&mut |names, fields| pack(&mut makers, names, fields)) {
            progress.line();
            let mut unpacker = Unpacker::new(&packed);
            let unpacked = unpacker.request();
            let decided = side.decide(now_us, &unpacked.request);
            if let Some((other, changes)) = &mut other {
                let own = unpacker.next_request();
                let request = own.as_ref().map_or(&unpacked.request, |own| &own.request);
                changes.add(now_us, &decided, &other.decide(now_us, request));
            }
        }
        progress.finish();
        self.check(&logs, &makers[0])?;
        side.tally.finish();
        let (other, changes) = other.unzip();
        let simulated = Simulated {
            seen: &logs.seen,
            missed: &makers[0].missed,
            fields: logs.names.list(),
            side: &side,
            against: other.as_ref().zip(changes.as_ref()),
            top: usize::from(self.top),
            values,
        };
        if let Some(file) = &self.html {
            let written = fs::write(file, report::html(&simulated));
            written.map_err(|error| SimulateError::Html { file: file.clone(), source: error.into() })?;
        }
        print(&match self.format() {
            Format::Text => report::text(&simulated),
            Format::Json => report::json(&simulated),
        })?;
        Ok(status(&logs))
    }

    pub(super) fn run_suggest(&self) -> Result<ExitCode, SimulateError> {
        let limits = match self.rules.config.as_slice() {
            [] => None,
            paths => Some(Matcher::new(self.rules.load(paths)?.domains)),
        };
        let ladder = Ladder::new(self.suggest.unit, self.suggest.burst).map_err(SimulateError::Burst)?;
        let envoy = self.envoy()?;
        let mut makers = vec![Maker::new(self.way(limits.as_ref(), envoy.as_ref())?)];
        let mut logs = self.open()?;
        let mut suggesting = Suggesting::new(ladder);
        let mut progress = Progress::new(log::size(&self.logs), logs.bytes.clone());
        while let Some((now_us, packed)) = logs.next(&mut |names, fields| pack(&mut makers, names, fields)) {
            progress.line();
            suggesting.add(now_us, &Unpacker::new(&packed).request());
        }
        progress.finish();
        self.check(&logs, &makers[0])?;
        let proposed = report::Proposed {
            seen: &logs.seen,
            missed: &makers[0].missed,
            suggesting: &suggesting,
            unit: self.suggest.unit,
            burst: self.suggest.burst,
            percentile: self.suggest.percentile,
        };
        print(&match self.format() {
            Format::Text => report::yaml(&proposed),
            Format::Json => report::proposals_json(&proposed),
        })?;
        Ok(status(&logs))
    }

    fn open(&self) -> Result<Logs, SimulateError> {
        let (names, pattern) = self.log.read()?;
        Logs::open(&self.logs, names, pattern, self.log.sort_window)
            .map_err(|(log, error)| SimulateError::Open { log, source: error.into() })
    }

    fn envoy(&self) -> Result<Option<EnvoyFile>, SimulateError> {
        let Some(path) = &self.making.envoy else { return Ok(None) };
        let file = envoy::load(path)?;
        // What is wrong with the file is wrong for every request.
        let choice = file.choose(&HttpRequest::default(), self.making.route.as_deref()).map(drop);
        choice.map_err(|source| SimulateError::Envoy { file: path.clone(), source })?;
        Ok(Some(file))
    }

    /// What makes the descriptors. Without limits files there is no `authz`, and any name will do for the domain.
    fn way<'c>(
        &'c self,
        matcher: Option<&'c Matcher>,
        envoy: Option<&'c EnvoyFile>,
    ) -> Result<Way<'c>, SimulateError> {
        let domain = self.making.domain.clone();
        if let Some(file) = envoy {
            return Ok(Way::Envoy { file, route: self.making.route.as_deref(), domain });
        }
        if !self.making.descriptor.is_empty() {
            let domain = match (domain, matcher) {
                (Some(domain), _) => domain,
                (None, None) => "edge".to_owned(),
                (None, Some(matcher)) => only_domain(matcher)?,
            };
            return Ok(Way::Fields { domain, descriptors: self.making.descriptor.clone() });
        }
        let matcher = matcher.ok_or(SimulateError::NoWay("no limits file is given"))?;
        let domain = domain.or_else(|| matcher.authz_domain().map(str::to_owned));
        let lacks = "no domain has it, or several have and --domain names none of these";
        let domain = domain.ok_or(SimulateError::NoWay(lacks))?;
        let rules = matcher.domain(domain.as_bytes()).filter(|rules| !rules.authz.is_empty());
        Ok(Way::Authz { rules: rules.ok_or(SimulateError::NoWay(lacks))?, domain })
    }

    /// Fails if there is nothing to report on, which would look like limits that deny nobody.
    fn check(&self, logs: &Logs, maker: &Maker<'_>) -> Result<(), SimulateError> {
        let known = logs.names.list();
        let seen = &logs.seen;
        let told = self.log.fields().filter(|field| logs.names.known(field).is_none());
        let unknown: Vec<String> = told.chain(maker.unknown_fields(&logs.names)).map(str::to_owned).collect();
        if !unknown.is_empty() && (seen.requests > 0 || known != "none") {
            return Err(SimulateError::NoSuchField { unknown, known });
        }
        if seen.requests > 0 {
            return Ok(());
        }
        let mut why = match seen.broken {
            0 if seen.cut.is_empty() => "they are empty".to_owned(),
            0 => seen.cut.join("; "),
            broken => format!("{broken} are broken: {}", seen.shown.join("; ")),
        };
        if known != "none" {
            why.push_str("; the log has the fields ");
            why.push_str(&known);
            why.push_str(", and --time-field names the one with the time");
        } else if seen.broken > 0 {
            why.push_str("; lines are read as JSON objects, or as --pattern says");
        }
        Err(SimulateError::NoRequests(why))
    }
}

fn only_domain(matcher: &Matcher) -> Result<String, SimulateError> {
    let mut names: Vec<String> = matcher.domains().map(str::to_owned).collect();
    names.sort_unstable();
    match names.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(SimulateError::WhichDomain(names)),
    }
}

fn pack(makers: &mut [Maker<'_>], names: &log::Names, fields: &log::Fields) -> Vec<u8> {
    let mut packed = Vec::with_capacity(128);
    for maker in makers {
        maker.make(names, fields, &mut packed);
    }
    packed
}

fn print(text: &str) -> Result<(), SimulateError> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| SimulateError::Stdout(error.into()))
}

fn status(logs: &Logs) -> ExitCode {
    if logs.seen.cut.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CUT_SHORT) }
}
