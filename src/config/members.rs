//! The members file: a map from tiers to lists of keys, in plain text or as `sha256:` and a digest.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{
    Files, Holds, Look, Position,
    domain::names,
    fields::{found, key_name},
    raw::RawMembers,
    read,
    report::{Place, Report, shorten},
    root,
    scalar::{self, Value},
    yaml::{Kind, Node},
};
use tollgate_core::rules::{MemberTable, Members, NamedLimit};

const DIGEST: &str = "sha256:";

/// Reads the file that `members` names, relative to the folder of file number `named_in`.
pub(super) fn load(
    domain: &str,
    named_in: usize,
    raw: RawMembers,
    tiers: &BTreeMap<String, (usize, Position, Vec<NamedLimit>)>,
    files: &mut Files,
) -> Option<Members> {
    if !tiers.contains_key(&raw.default) {
        let (name, known) = (shorten(&raw.default), names(tiers.keys()));
        files.reports[named_in].refuse(
            raw.default_at,
            &Place::Key(&Place::Domain(domain), "members"),
            format_args!("there is no tier `{name}`{known}"),
        );
    }
    let path = raw.path(files.path(named_in));
    // A missing file is watched too, so that it is noticed when it appears.
    let number = files.add(&path, Holds::Members);
    if let Look::Absent(io::ErrorKind::NotFound) = files.seen[number].look {
        let path = path.display().to_string();
        files.reports[named_in].refuse(
            raw.file_at,
            &Place::Key(&Place::Domain(domain), "members"),
            format_args!("there is no file {path}"),
        );
        return None;
    }
    let report = &mut files.reports[number];
    // It may hold secrets, so the text is not kept.
    let text = read(&path, report).ok()?;
    let root = root(&text, report).ok()?;
    let table = table(&root, tiers, report)?;
    let tiers = tiers.iter().map(|(name, (.., limits))| (name.clone(), limits.clone())).collect();
    Some(Members { key: raw.key, default: raw.default, tiers, table: Arc::new(table) })
}

fn table<T>(root: &Node, tiers: &BTreeMap<String, T>, report: &mut Report) -> Option<MemberTable> {
    let Kind::Map(pairs) = root.kind() else {
        let what = found(root);
        report.refuse(
            root.at,
            &Place::Root,
            format_args!("the file must be a map from tiers to lists of keys, found {what}"),
        );
        return None;
    };
    let mut table = MemberTable::default();
    for (key, value) in pairs {
        let Some(tier) = key_name(key).filter(|name| tiers.contains_key(*name)) else {
            // Not repeated: in a map from keys to tiers it would be a client's key.
            let known = names(tiers.keys());
            report.refuse(key.at, &Place::Root, format_args!("there is no tier of this name{known}"));
            continue;
        };
        let Kind::List(keys) = value.kind() else {
            let (what, tier) = (found(value), shorten(tier));
            report.refuse(
                value.at,
                &Place::Root,
                format_args!("`{tier}` must be a list of keys, found {what}"),
            );
            continue;
        };
        let tier: Arc<str> = Arc::from(tier);
        for key in keys {
            member(key, &tier, &mut table, report);
        }
    }
    Some(table)
}

/// No message repeats a key: it may be a secret.
fn member(node: &Node, tier: &Arc<str>, table: &mut MemberTable, report: &mut Report) {
    let text = match node.kind() {
        Kind::Scalar(scalar) if !matches!(scalar::resolve(scalar), Value::Float | Value::Null) => {
            &scalar.text
        }
        _ => {
            let hint = "a key must be a string; quote it";
            report.refuse(node.at, &Place::Root, format_args!("{hint}"));
            return;
        }
    };
    let earlier = match text.strip_prefix(DIGEST) {
        None => table.plain.insert(text.as_bytes().into(), Arc::clone(tier)),
        Some(hex) => match digest(hex) {
            Some(digest) => table.sha256.insert(digest, Arc::clone(tier)),
            None => {
                let hint = "`sha256:` takes 64 hexadecimal digits";
                report.refuse(node.at, &Place::Root, format_args!("{hint}"));
                return;
            }
        },
    };
    if let Some(earlier) = earlier {
        let earlier = shorten(&earlier);
        report.refuse(node.at, &Place::Root, format_args!("this key is already in tier `{earlier}`"));
    }
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|letter| letter.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(digest)
}
