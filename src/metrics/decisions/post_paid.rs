//! Writes to the page which rules count as charged after the response.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use super::{LabelCounter, LimitCounters};
use crate::metrics::text::Escaped;

const HEAD: &str = "\
# HELP tollgate_rule_post_paid 1 while a rule with overdraft auto counts as charged after the response, so that stated \
    hits that do not fit are denied and charged all the same; 0: they are denied and cost nothing. A series appears \
    with the first demand that shows either. Each replica finds out for itself. If a rule is taken for the wrong one, \
    say overdraft: charge or never.
# TYPE tollgate_rule_post_paid gauge
";

pub(super) fn write(current: &LimitCounters, page: &mut String) -> fmt::Result {
    let billed =
        current.labels.iter().filter_map(|LabelCounter { limit, .. }| Some((limit, limit.billing.as_ref()?)));
    let known = billed.filter(|(_, billing)| !billing.is_unknown());
    let rules: BTreeMap<(&str, &str), bool> =
        known.map(|(limit, billing)| ((&*limit.domain, &*limit.path), billing.is_post_paid())).collect();
    page.push_str(HEAD);
    for ((domain, rule), is_post_paid) in rules {
        let (domain, rule, value) = (Escaped(domain), Escaped(rule), u8::from(is_post_paid));
        writeln!(page, "tollgate_rule_post_paid{{domain=\"{domain}\",rule=\"{rule}\"}} {value}")?;
    }
    Ok(())
}
