//! The grammar of limits files and what it means. A new key is a line here and one in `keys`.

use super::{
    algorithm::{of_domain, of_limit},
    apart::all_apart,
    authz::authz,
    error::Position,
    fields::{Fields, Part, peek_text},
    raw::{RawDomain, RawLimit, RawLimits, RawMembers, RawPattern, RawTier},
    report::{Place, Report, Reported, shorten},
    yaml::Node,
};
use tollgate_core::{
    decision::lease::{FEWEST_LEASED, FEWEST_LEFT},
    limit::{self, AfterStoreLoss, Defaults, LimitError, LimitSpec, Overdraft, Period, Unit, Windows},
    matcher::is_wildcard,
    rules::{NamedLimit, OnStoreFailure, Options, Pattern},
};

/// In place of a tier's name, this means the tier from the members file.
const FROM_MEMBERS: &str = "from_members";

/// Checks file number `file`. `defaults` are for its limits that leave open how they count.
pub(super) fn check(
    root: &Node,
    file: usize,
    defaults: Defaults,
    report: &mut Report,
) -> Result<RawDomain, Reported> {
    let place = peek_text(root, "domain").map_or(Place::Root, Place::Domain);
    Fields::read(&[Part::whole(root)], format_args!("the file"), &place, report, |fields| {
        domain(fields, file, defaults)
    })
}

fn domain(fields: &mut Fields<'_>, file: usize, defaults: Defaults) -> Result<RawDomain, Reported> {
    let name = fields.required_text("domain");
    let said = of_domain(fields);
    let algorithm_at = said.is_ok_and(|said| said.is_some()).then(|| fields.at_value("algorithm"));
    let descriptors = descriptors(fields, defaults);
    let tiers = fields.lists("tiers", |fields| limit(fields, defaults));
    let members = fields.map("members", members);
    let authz = authz(fields);
    let tiers: Vec<RawTier> =
        tiers?.into_iter().map(|(name, at, limits)| RawTier { name, at, limits }).collect();
    for tier in &tiers {
        let RawTier { name, at, limits } = tier;
        if name == FROM_MEMBERS {
            fields.refuse(*at, format_args!("`{FROM_MEMBERS}` cannot be the name of a tier"));
        }
        all_apart(fields, *at, limits);
    }
    // The rest is checked even without a name.
    let name = name.unwrap_or_default();
    let (descriptors, members, authz) = (descriptors?, members?, authz?);
    Ok(RawDomain { file, name, defaults, algorithm_at, descriptors, tiers, members, authz })
}

fn members(fields: &mut Fields<'_>) -> Result<RawMembers, Reported> {
    let (file, key, default) =
        (fields.required_text("file"), fields.required_text("key"), fields.required_text("default"));
    let (at, file_at, default_at) = (fields.at(), fields.at_value("file"), fields.at_value("default"));
    Ok(RawMembers { at, file: file?, file_at, key: key?, default: default?, default_at })
}

fn descriptors(fields: &mut Fields<'_>, defaults: Defaults) -> Result<Vec<RawPattern>, Reported> {
    let mut index = 0;
    fields.list("descriptors", |fields| {
        index += 1;
        descriptor(fields, index - 1, defaults)
    })
}

fn descriptor(fields: &mut Fields<'_>, index: usize, defaults: Defaults) -> Result<RawPattern, Reported> {
    let at = fields.at();
    let key = fields.required_text("key");
    // An empty value means any, as in the reference.
    let value = fields.text("value").map(|value| value.filter(|text| !text.is_empty()));
    let limits = limits(fields, defaults);
    let options = options(fields);
    let metadata = fields.metadata("metadata");
    let below = descriptors(fields, defaults);
    let (key, value, options) = (key?, value?, options?);
    if options.share_threshold && !is_wildcard(&key) && !value.as_deref().is_some_and(is_wildcard) {
        let at = fields.at_value("share_threshold");
        fields.refuse(at, format_args!("share_threshold needs a `*` in the key or the value"));
    }
    let pattern = Pattern { key, value, options, metadata: metadata?, ..Pattern::default() };
    // Errors are reported; the rest of the map is still checked.
    let (limits, below) = (limits.unwrap_or(RawLimits::Wrong), below.unwrap_or_default());
    Ok(RawPattern { at, index, pattern, limits, below })
}

fn options(fields: &mut Fields<'_>) -> Result<Options, Reported> {
    let (shadow_mode, quota_mode) = (fields.flag("shadow_mode"), fields.flag("quota_mode"));
    let (detailed_metric, value_to_metric) = (fields.flag("detailed_metric"), fields.flag("value_to_metric"));
    let share_threshold = fields.flag("share_threshold");
    Ok(Options {
        shadow_mode: shadow_mode?,
        quota_mode: quota_mode?,
        detailed_metric: detailed_metric?,
        value_to_metric: value_to_metric?,
        share_threshold: share_threshold?,
    })
}

// === limits ===

/// One of `rate_limit`, `rate_limits` and `tier`, or none.
fn limits(fields: &mut Fields<'_>, defaults: Defaults) -> Result<RawLimits, Reported> {
    let present = ["rate_limit", "rate_limits", "tier"].map(|name| fields.has(name).then_some(name));
    let mut present = present.into_iter().flatten();
    if let (Some(first), Some(second)) = (present.next(), present.next()) {
        let at = fields.at_key(second);
        fields.refuse(at, format_args!("`{second}` cannot be combined with `{first}`"));
    }
    let limit = |fields: &mut Fields<'_>| limit(fields, defaults);
    let one = fields.map("rate_limit", limit);
    let has_list = fields.has("rate_limits");
    let list = fields.list("rate_limits", limit);
    let list_at = fields.at_value("rate_limits");
    let tier_at = fields.at_value("tier");
    let tier = fields.text("tier");
    let left_empty =
        ["rate_limit", "rate_limits", "tier"].into_iter().find(|name| fields.is_left_empty(name));
    if let Some(limit) = one? {
        return Ok(RawLimits::Own(vec![limit]));
    }
    let list = list?;
    if has_list {
        if list.is_empty() {
            return Err(fields.refuse(list_at, format_args!("rate_limits must have at least one limit")));
        }
        all_apart(fields, list_at, &list);
        return Ok(RawLimits::Own(list));
    }
    Ok(match tier? {
        None => {
            left_empty.map_or(RawLimits::None, |key| RawLimits::LeftEmpty { key, at: fields.at_key(key) })
        }
        Some(name) if name == FROM_MEMBERS => RawLimits::OfMember { at: tier_at },
        Some(name) => RawLimits::Tier { name, at: tier_at },
    })
}

fn limit(fields: &mut Fields<'_>, defaults: Defaults) -> Result<RawLimit, Reported> {
    let at = fields.at();
    let unlimited = fields.flag("unlimited");
    let (name, replaces) = (fields.text("name"), replaces(fields));
    let on_store_failure = fields.word("on_store_failure", &OnStoreFailure::ALL, |mode| mode.name());
    let is_unlimited = matches!(unlimited, Ok(true));
    let spec = if is_unlimited { no_limit(fields) } else { spec(fields, defaults).map(Some) };
    let (name, replaces) = (name?.unwrap_or_default(), replaces?);
    if let Some((_, at)) = replaces.iter().find(|(replaced, _)| !name.is_empty() && *replaced == name) {
        fields.refuse(
            *at,
            format_args!("a limit cannot replace itself, and `{}` is its own name", shorten(&name)),
        );
    }
    let (spec, on_store_failure, _) = (spec?, on_store_failure?, unlimited?);
    let limit = match spec {
        None => None,
        Some(spec) => Some(spec.check().map_err(|error| refuse_limit(fields, spec, error))?),
    };
    let (replaces, replaces_at) = replaces.into_iter().unzip();
    Ok(RawLimit { at, limit: NamedLimit { limit, name, replaces, on_store_failure }, replaces_at })
}

/// With `unlimited` a unit has no effect. The reference nevertheless refuses a valid one.
fn no_limit(fields: &mut Fields<'_>) -> Result<Option<LimitSpec>, Reported> {
    let at = fields.at_value("unit");
    let name = fields.text("unit")?.filter(|name| !name.is_empty());
    let others =
        [fields.number("requests_per_unit")?, fields.number("burst")?, fields.number("unit_multiplier")?];
    let words = [
        fields.text("algorithm")?,
        fields.text("overdraft")?,
        fields.text("after_store_loss")?,
        fields.text("lease")?,
    ];
    let calendar = fields.optional_flag("calendar")?;
    match name {
        Some(name) if Unit::from_name(&name).is_some() => {
            return Err(fields.refuse(at, format_args!("unit and unlimited exclude each other")));
        }
        Some(name) => {
            let name = shorten(&name);
            fields.warn(at, format_args!("unknown unit `{name}`; it has no effect with unlimited"));
        }
        None if calendar.is_some()
            || others.iter().any(Option::is_some)
            || words.iter().any(Option::is_some) =>
        {
            let at = fields.at();
            fields.warn(at, format_args!("with unlimited, the other keys of a limit have no effect"));
        }
        None => {}
    }
    Ok(None)
}

fn spec(fields: &mut Fields<'_>, defaults: Defaults) -> Result<LimitSpec, Reported> {
    let unit = unit(fields);
    let requests_per_unit = fields.number("requests_per_unit");
    let multiplier = fields.positive_number("unit_multiplier");
    let burst = fields.number("burst");
    let (algorithm, calendar) = (of_limit(fields), fields.optional_flag("calendar"));
    let overdraft = fields.word("overdraft", &Overdraft::ALL, |overdraft| overdraft.name());
    let lease_us = lease(fields);
    let after_store_loss = fields.word("after_store_loss", &AfterStoreLoss::ALL, |after| after.name());
    if matches!((&requests_per_unit, &unit), (Ok(None), Ok(_))) {
        let at = fields.at();
        fields.warn(at, format_args!("requests_per_unit is missing, so every request is denied"));
    }
    let (period, burst) = (Period { unit: unit?, multiplier: multiplier?.unwrap_or(1) }, burst?);
    let windows = calendar?.map(|calendar| if calendar { Windows::CalendarMonth } else { Windows::Aligned });
    let (algorithm, windows) = defaults.counting(period, burst, algorithm?, windows);
    let lease_us = lease_us?;
    let spec = LimitSpec {
        // Without it a rule denies everything, as in the reference.
        requests_per_unit: requests_per_unit?.unwrap_or(0),
        period,
        algorithm,
        windows,
        burst,
        overdraft: overdraft?.unwrap_or_default(),
        after_store_loss: after_store_loss?.unwrap_or_default(),
        lease_us: defaults.lease_us(algorithm, lease_us),
    };
    if lease_us.is_some_and(|lease_us| lease_us > 0) {
        warn_of_no_lease(fields, &spec);
    }
    Ok(spec)
}

/// A limit asks for leases, and never has one.
fn warn_of_no_lease(fields: &mut Fields<'_>, spec: &LimitSpec) {
    let at = fields.at_value("lease");
    if spec.overdraft == Overdraft::Charge {
        fields.warn(
            at,
            format_args!("`lease` has no effect beside `overdraft: charge`: each of its takes asks Redis"),
        );
    } else if spec.burst.unwrap_or(spec.requests_per_unit) < FEWEST_LEFT {
        fields.warn(
            at,
            format_args!(
                "`lease` has no effect on a limit that admits fewer than {FEWEST_LEFT} hits at once: a lease is of at \
                 least {FEWEST_LEASED}, and of at most a quarter of what is left"
            ),
        );
    }
}

/// In microseconds; 0 for `off`.
fn lease(fields: &mut Fields<'_>) -> Result<Option<u32>, Reported> {
    let Some(text) = fields.text("lease")? else { return Ok(None) };
    limit::lease_us(&text).map(Some).map_err(|no_lease| {
        let at = fields.at_value("lease");
        fields.refuse(at, format_args!("lease {no_lease}, found `{}`", shorten(&text)))
    })
}

/// The position of the key that the error is about.
fn refuse_limit(fields: &mut Fields<'_>, spec: LimitSpec, error: LimitError) -> Reported {
    let key = match error {
        LimitError::BurstNotTaken(_) => "burst",
        LimitError::LogCannotOwe(_) => "overdraft",
        LimitError::LogLease | LimitError::LeaseLength { .. } => "lease",
        LimitError::LogTooLong(_) | LimitError::WindowTooLarge { .. } => "requests_per_unit",
        LimitError::PeriodTooLong { .. } | LimitError::CalendarMonths { .. } => "unit_multiplier",
        LimitError::CalendarUnit(_) => "calendar",
        LimitError::CalendarAlgorithm(_) => "algorithm",
        _ if spec.burst.is_some() => "burst",
        _ => "",
    };
    let at = fields.at_value(key);
    fields.refuse_limit(at, error)
}

fn unit(fields: &mut Fields<'_>) -> Result<Unit, Reported> {
    let name = fields.required_text("unit")?;
    Unit::from_name(&name).ok_or_else(|| {
        let at = fields.at_value("unit");
        let all = Unit::ALL.map(Unit::name).join(", ");
        fields.refuse(at, format_args!("unknown unit `{}`; it must be one of {all}", shorten(&name)))
    })
}

fn replaces(fields: &mut Fields<'_>) -> Result<Vec<(String, Position)>, Reported> {
    fields.list("replaces", |fields| {
        let name = fields.required_text("name")?;
        Ok((name, fields.at_value("name")))
    })
}
