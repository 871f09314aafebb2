//! Tiers, and who belongs to them.

use super::Folder;
use crate::config::Config;
use tollgate_core::{
    limit::{Algorithm, Unit},
    rules::Limits,
};

const TIERS: &str = "domain: e
tiers:
  free: [{unit: minute, requests_per_unit: 60, burst: 10}, {unit: day, requests_per_unit: 1000, algorithm: fixed_window}]
  paid: [{unit: minute, requests_per_unit: 600}]
";

fn load(limits: &str, members: &str) -> Result<Config, String> {
    let folder = Folder::new();
    std::fs::write(folder.0.join("members.yaml"), members).unwrap();
    let text = format!("{TIERS}{limits}");
    folder.load(&[("a.yaml", text.as_bytes())])
}

#[track_caller]
fn assert_refused(limits: &str, members: &str, expected: &str) {
    assert_eq!(load(limits, members).unwrap_err(), expected);
}

const MEMBERS: &str = "members: {file: members.yaml, key: api_key, default: free}\n";

#[test]
fn a_tier_stands_for_its_limits() {
    let config =
        load("descriptors: [{key: plan, value: paid, tier: paid}, {key: api_key, tier: free}]", "").unwrap();
    let descriptors = &config.domains[0].descriptors;
    let Limits::All(paid) = &descriptors[0].limits else { panic!("limits") };
    assert_eq!(paid[0].limit.as_ref().unwrap().requests_per_unit(), 600);
    let Limits::All(free) = &descriptors[1].limits else { panic!("limits") };
    let day = free[1].limit.as_ref().unwrap();
    assert_eq!((free.len(), day.unit(), day.algorithm()), (2, Unit::Day, Algorithm::FixedWindow));
}

#[test]
fn members_are_read_from_a_file_beside_the_limits() {
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let members = format!("paid: [k1, 404, 'sha256:{digest}']\nfree:\n- k2\n");
    let config =
        load(&format!("{MEMBERS}descriptors: [{{key: api_key, tier: from_members}}]"), &members).unwrap();
    let domain = &config.domains[0];
    assert_eq!(domain.descriptors[0].limits, Limits::OfMember);
    let members = domain.members.as_ref().unwrap();
    assert_eq!((members.key.as_str(), members.default.as_str()), ("api_key", "free"));
    assert_eq!(members.table.plain.len(), 3);
    assert_eq!(&*members.table.plain[&b"404"[..]], "paid");
    assert_eq!(members.table.sha256[&hex(digest)[..]].as_ref(), "paid");
    let names: Vec<_> = config.files.iter().map(|file| file.path.file_name().unwrap()).collect();
    assert_eq!(names, ["a.yaml", "members.yaml"], "both are followed");
}

fn hex(digits: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    }
    bytes
}

#[test]
fn a_tier_that_is_nowhere_is_refused() {
    assert_refused(
        "descriptors: [{key: a, tier: gold}]",
        "",
        "a.yaml:5:30: e.descriptors[0]: there is no tier `gold`; there are `free`, `paid`",
    );
    assert_refused(
        "members: {file: members.yaml, key: api_key, default: gold}\n",
        "",
        "a.yaml:5:54: e.members: there is no tier `gold`; there are `free`, `paid`\n\
         members.yaml:1:1: the file is empty",
    );
    let told = super::errors("domain: e\ndescriptors: [{key: a, tier: gold}]");
    assert_eq!(told, "a.yaml:2:30: e.descriptors[0]: there is no tier `gold`; `tiers` defines none");
}

#[test]
fn tiers_are_lists_of_limits_by_name() {
    assert_eq!(super::errors("domain: e\ntiers: [a]"), "a.yaml:2:8: e: tiers must be a map, found a list");
    assert_eq!(
        super::errors("domain: e\ntiers: {a: {unit: day}}"),
        "a.yaml:2:12: e: tiers.a must be a list of limits, found a map"
    );
    assert_eq!(
        super::errors("domain: e\ntiers: {a: [{unit: eon}]}"),
        "a.yaml:2:20: e.tiers.a[0]: unknown unit `eon`; it must be one of \
         second, minute, hour, day, week, month, year"
    );
    assert_eq!(
        super::errors("domain: e\ntiers: {a: []}"),
        "a.yaml:2:9: e: a list of limits must have at least one"
    );
    assert_eq!(
        super::errors("domain: e\ntiers: {a: [{unlimited: true}], a: [{unlimited: true}]}"),
        "a.yaml:2:33: e: `a` is given twice in tiers"
    );
    assert_eq!(
        super::errors("domain: e\ntiers: {from_members: [{unlimited: true}]}"),
        "a.yaml:2:9: e: `from_members` cannot be the name of a tier"
    );
}

#[test]
fn a_tier_of_members_needs_members_and_their_key() {
    assert_refused(
        "descriptors: [{key: api_key, tier: from_members}]",
        "",
        "a.yaml:5:36: e.descriptors[0]: `tier: from_members` needs `members` at the top of the file",
    );
    assert_refused(
        &format!("{MEMBERS}descriptors: [{{key: path, tier: from_members}}]"),
        "free: []",
        "a.yaml:6:33: e.descriptors[0]: `tier: from_members` needs the key `api_key` here or above, \
         where members are looked up by it",
    );
    let below =
        format!("{MEMBERS}descriptors: [{{key: api_key, descriptors: [{{key: path, tier: from_members}}]}}]");
    assert!(load(&below, "free: []").is_ok());
}

#[test]
fn members_need_a_file_a_key_and_a_default() {
    assert_refused(
        "members: {}",
        "",
        "a.yaml:5:10: e.members: file is missing\n\
         a.yaml:5:10: e.members: key is missing\n\
         a.yaml:5:10: e.members: default is missing",
    );
    let folder = Folder::new();
    let text = format!("{TIERS}members: {{file: gone.yaml, key: k, default: free}}");
    let told = folder.load(&[("a.yaml", text.as_bytes())]).unwrap_err();
    assert_eq!(told, "a.yaml:5:17: e.members: there is no file gone.yaml");
}

#[test]
fn a_members_file_is_a_map_from_tiers_to_lists_of_keys() {
    let refused = |members: &str, expected: &str| assert_refused(MEMBERS, members, expected);
    refused("[a]", "members.yaml:1:1: the file must be a map from tiers to lists of keys, found a list");
    refused("gold: [a]", "members.yaml:1:1: there is no tier of this name; there are `free`, `paid`");
    refused("paid: k1", "members.yaml:1:7: `paid` must be a list of keys, found a string");
    refused("paid: [1.5]", "members.yaml:1:8: a key must be a string; quote it");
    refused("paid: [{a: b}]", "members.yaml:1:8: a key must be a string; quote it");
    refused("paid: ['sha256:xyz']", "members.yaml:1:8: `sha256:` takes 64 hexadecimal digits");
    refused("paid: [k1]\nfree: [k1]", "members.yaml:2:8: this key is already in tier `paid`");
    refused("paid: [k1", "members.yaml:1:7: not valid YAML: the `[` is never closed");
}

#[test]
fn a_domain_of_several_files_has_each_tier_and_its_members_once() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("members.yaml"), "free: []").unwrap();
    let text = format!("{TIERS}{MEMBERS}");
    let told = folder.load(&[("a.yaml", text.as_bytes()), ("b.yaml", text.as_bytes())]).unwrap_err();
    let expected = "b.yaml:3:3: e: the tier `free` is already in a.yaml:3\n\
                    b.yaml:4:3: e: the tier `paid` is already in a.yaml:4\n\
                    b.yaml:5:10: e: the members of this domain are already in a.yaml:5";
    assert_eq!(told, expected);
}
