//! The algorithm of each limit: its own; else that of its file or of another file of the domain; else that of the
//! process.

use std::collections::HashMap;

use super::{
    fields::Fields,
    report::{Reported, shorten},
    yaml::Node,
};
use tollgate_core::limit::{Algorithm, DefaultAlgorithm};

/// What a file says about its whole domain. Other files of the domain need it.
pub(super) struct Said {
    pub(super) domain: Option<String>,
    pub(super) algorithm: Option<DefaultAlgorithm>,
}

/// Reports nothing: the check of the file does.
pub(super) fn said(root: &Node) -> Said {
    let look = |fields: &mut Fields<'_>| Said {
        domain: fields.required_text("domain").ok(),
        algorithm: of_domain(fields).ok().flatten(),
    };
    Fields::peek(root, look)
}

/// The algorithm for limits that name none, for each file: that of its domain, else `otherwise`.
///
/// If two files of a domain disagree, each has its own. That is refused later.
pub(super) fn of_files<'n>(
    roots: impl Iterator<Item = &'n Node>,
    otherwise: DefaultAlgorithm,
) -> Vec<DefaultAlgorithm> {
    let said: Vec<Said> = roots.map(said).collect();
    let mut of_domain: HashMap<&str, DefaultAlgorithm> = HashMap::new();
    for Said { domain, algorithm } in &said {
        if let (Some(domain), Some(algorithm)) = (domain, algorithm) {
            of_domain.entry(domain).or_insert(*algorithm);
        }
    }
    let algorithm_for = |Said { domain, algorithm }: &Said| {
        algorithm.or_else(|| of_domain.get(domain.as_deref()?).copied()).unwrap_or(otherwise)
    };
    said.iter().map(algorithm_for).collect()
}

/// The algorithm of a domain's limits that name none.
pub(super) fn of_domain(fields: &mut Fields<'_>) -> Result<Option<DefaultAlgorithm>, Reported> {
    let at = fields.at_value("algorithm");
    let Some(name) = fields.text("algorithm")? else { return Ok(None) };
    DefaultAlgorithm::from_name(&name).map(Some).ok_or_else(|| {
        let all = DefaultAlgorithm::ALL.map(DefaultAlgorithm::name).join(", ");
        let hint = match Algorithm::from_name(&name) {
            Some(_) => ", and each limit may name its own",
            None => "",
        };
        let name = shorten(&name);
        fields
            .refuse(at, format_args!("the algorithm of a domain must be one of {all}{hint}; found `{name}`"))
    })
}

/// The algorithm that a limit names.
pub(super) fn of_limit(fields: &mut Fields<'_>) -> Result<Option<Algorithm>, Reported> {
    let at = fields.at_value("algorithm");
    let Some(name) = fields.text("algorithm")? else { return Ok(None) };
    Algorithm::from_name(&name).map(Some).ok_or_else(|| {
        let all = Algorithm::ALL.map(Algorithm::name).join(", ");
        let hint = match DefaultAlgorithm::from_name(&name) {
            Some(_) => "; it is only for the top of a file, as the algorithm of limits that name none",
            None => "",
        };
        let name = shorten(&name);
        fields.refuse(at, format_args!("unknown algorithm `{name}`; it must be one of {all}{hint}"))
    })
}
