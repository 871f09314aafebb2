//! All keys of a limits file, and where each belongs.

/// The place where a key belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Root,
    Descriptor,
    Limit,
    Members,
    /// In entries of `authz`.
    Authz,
    /// In the lists of an entry of `authz`.
    List,
    /// At the root and in descriptors.
    RootAndDescriptor,
    /// At the root and in limits.
    RootAndLimit,
    /// In limits and in the entries of `replaces`.
    LimitAndReplaces,
    DescriptorAndAuthz,
    /// In descriptors, and beside `file` in `members`.
    DescriptorAndMembers,
}

/// The services that know a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// envoyproxy/ratelimit knows it too, and ignores it where it does not belong.
    Reference,
    Tollgate,
}

const KEYS: [(&str, Home, Origin); 34] = [
    ("domain", Home::Root, Origin::Reference),
    ("descriptors", Home::RootAndDescriptor, Origin::Reference),
    ("key", Home::DescriptorAndMembers, Origin::Reference),
    ("value", Home::Descriptor, Origin::Reference),
    ("rate_limit", Home::Descriptor, Origin::Reference),
    ("shadow_mode", Home::Descriptor, Origin::Reference),
    ("quota_mode", Home::Descriptor, Origin::Reference),
    ("detailed_metric", Home::Descriptor, Origin::Reference),
    ("value_to_metric", Home::Descriptor, Origin::Reference),
    ("share_threshold", Home::Descriptor, Origin::Reference),
    ("metadata", Home::Descriptor, Origin::Reference),
    ("unit", Home::Limit, Origin::Reference),
    ("requests_per_unit", Home::Limit, Origin::Reference),
    ("unlimited", Home::Limit, Origin::Reference),
    ("name", Home::LimitAndReplaces, Origin::Reference),
    ("replaces", Home::Limit, Origin::Reference),
    ("rate_limits", Home::DescriptorAndAuthz, Origin::Tollgate),
    ("tier", Home::Descriptor, Origin::Tollgate),
    ("burst", Home::Limit, Origin::Tollgate),
    ("unit_multiplier", Home::Limit, Origin::Tollgate),
    ("calendar", Home::Limit, Origin::Tollgate),
    ("algorithm", Home::RootAndLimit, Origin::Tollgate),
    ("overdraft", Home::Limit, Origin::Tollgate),
    ("on_store_failure", Home::Limit, Origin::Tollgate),
    ("after_store_loss", Home::Limit, Origin::Tollgate),
    ("lease", Home::Limit, Origin::Tollgate),
    ("tiers", Home::Root, Origin::Tollgate),
    ("members", Home::Root, Origin::Tollgate),
    ("authz", Home::Root, Origin::Tollgate),
    ("match", Home::Authz, Origin::Tollgate),
    ("without_descriptor", Home::Authz, Origin::Tollgate),
    ("actions", Home::List, Origin::Tollgate),
    ("file", Home::Members, Origin::Tollgate),
    ("default", Home::Members, Origin::Tollgate),
];

/// Where a key belongs and which services know it; none for an unknown key.
pub(super) fn known(name: &str) -> Option<(Home, Origin)> {
    KEYS.iter().find(|(key, ..)| *key == name).map(|(_, home, origin)| (*home, *origin))
}

impl Home {
    /// For example after `it belongs …`.
    pub(super) fn words(self) -> &'static str {
        match self {
            Home::Root => "at the top of the file",
            Home::Descriptor => "in a descriptor",
            Home::Limit => "in a limit, such as `rate_limit`",
            Home::Members => "in `members`",
            Home::Authz => "in an entry of `authz`",
            Home::List => "in an item of `rate_limits` of an entry of `authz`",
            Home::DescriptorAndAuthz => "in a descriptor, or in an entry of `authz`",
            Home::RootAndDescriptor => "at the top of the file, or in a descriptor",
            Home::RootAndLimit => "at the top of the file, or in a limit, such as `rate_limit`",
            Home::LimitAndReplaces => "in a limit, such as `rate_limit`, or in an entry of `replaces`",
            Home::DescriptorAndMembers => "in a descriptor, or in `members`",
        }
    }
}
