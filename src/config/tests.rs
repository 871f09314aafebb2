mod algorithms;
mod bounds;
mod fixtures;
mod folders;
mod foreign;
mod leases;
mod merged;
mod months;
mod page;
mod refused;
mod refused_limits;
mod scalars;
mod syntax;
mod tiers;
mod warnings;

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;
use tollgate_core::{
    limit::{DefaultAlgorithm, Limit, LimitSpec, Unit},
    matcher::Matcher,
    rules::{Limits, Pattern},
};

/// Files of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tollgate-config-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn load(&self, files: &[(&str, &[u8])]) -> Result<Config, String> {
        self.load_with(files, DefaultAlgorithm::default())
    }

    fn load_with(&self, files: &[(&str, &[u8])], defaults: impl Into<Defaults>) -> Result<Config, String> {
        let paths: Vec<PathBuf> = files.iter().map(|(name, _)| self.0.join(name)).collect();
        for (path, (_, bytes)) in paths.iter().zip(files) {
            fs::write(path, bytes).unwrap();
        }
        self.load_paths_with(&paths, defaults)
    }

    /// The errors without the folder's own name.
    fn load_paths(&self, paths: &[PathBuf]) -> Result<Config, String> {
        self.load_paths_with(paths, DefaultAlgorithm::default())
    }

    fn load_paths_with(&self, paths: &[PathBuf], defaults: impl Into<Defaults>) -> Result<Config, String> {
        let folder = format!("{}/", self.0.display());
        load(paths, defaults).map_err(|refused| refused.errors.to_string().replace(&folder, ""))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load_text(text: &str) -> Result<Config, String> {
    Folder::new().load(&[("a.yaml", text.as_bytes())])
}

/// The descriptors of a file that is fine.
#[track_caller]
fn descriptors(text: &str) -> Vec<Pattern> {
    load_text(text).unwrap().domains.remove(0).descriptors
}

/// The limits of a file with this head, whose only rule has these limits.
fn limits(head: &str, limits: &str, defaults: Defaults) -> Vec<Limit> {
    let text = format!("domain: e\n{head}\ndescriptors: [{{key: a, rate_limits: [{limits}]}}]\n");
    let mut domains = Folder::new().load_with(&[("a.yaml", text.as_bytes())], defaults).unwrap().domains;
    let Limits::All(limits) = domains.remove(0).descriptors.remove(0).limits else { panic!("limits") };
    limits.into_iter().filter_map(|limit| limit.limit).collect()
}

/// All errors of a file.
#[track_caller]
fn errors(text: &str) -> String {
    load_text(text).unwrap_err()
}

fn limit(requests_per_unit: u32, unit: Unit, burst: Option<u32>) -> Limit {
    Limit::new(requests_per_unit, unit, burst).unwrap()
}

/// As it counts in a file that says no more of it.
fn by_period(requests_per_unit: u32, unit: Unit) -> Limit {
    let algorithm = DefaultAlgorithm::ByPeriod.algorithm_for(unit.into(), None);
    LimitSpec { algorithm, ..LimitSpec::new(requests_per_unit, unit) }.check().unwrap()
}

/// The one limit of a pattern.
#[track_caller]
fn limit_of(pattern: &Pattern) -> Limit {
    let Limits::All(limits) = &pattern.limits else { panic!("no limit") };
    limits[0].limit.clone().expect("not unlimited")
}

#[test]
fn a_file_becomes_the_domain_that_it_spells() {
    let config = load_text(
        "# limits of the edge
domain: edge
descriptors:
- key: plan
  value: gold
  rate_limit: {unit: Minute, requests_per_unit: 100, burst: 20}
  descriptors:
  - key: op
    rate_limit:
      unit: second
      requests_per_unit: 6
- key: seat
",
    );
    let op = Pattern::with_limit("op", None, limit(6, Unit::Second, None));
    let mut plan = Pattern::with_limit("plan", Some("gold"), limit(100, Unit::Minute, Some(20)));
    plan.descriptors = vec![op];
    let seat = Pattern { key: "seat".to_owned(), ..Pattern::default() };
    let domains =
        vec![Domain { name: "edge".to_owned(), descriptors: vec![plan, seat], ..Domain::default() }];
    assert_eq!(config.unwrap().domains, domains);
}

#[test]
fn a_null_counts_as_absent() {
    let text = "domain: edge\ndescriptors:\n- {key: a, value: , rate_limit: , descriptors: ~}\n";
    let patterns = descriptors(text);
    let bare = Pattern { key: "a".to_owned(), ..Pattern::default() };
    assert_eq!(patterns, [bare]);
    assert_eq!(descriptors("domain: edge\ndescriptors:\n"), []);
    assert_eq!(descriptors("domain: edge\n"), []);
}

#[test]
fn an_empty_value_is_no_value() {
    assert_eq!(descriptors("domain: edge\ndescriptors: [{key: a, value: ''}]")[0].value, None);
}

#[test]
fn a_limit_without_requests_per_unit_denies_everything() {
    let patterns = descriptors("domain: edge\ndescriptors: [{key: a, rate_limit: {unit: hour}}]");
    assert_eq!(limit_of(&patterns[0]), limit(0, Unit::Hour, None));
}

#[test]
fn files_become_domains_in_their_order_and_no_files_no_domains() {
    let files: [(&str, &[u8]); 2] = [("b.yaml", b"domain: two\n"), ("a.yaml", b"domain: one\n")];
    let config = Folder::new().load(&files).unwrap();
    let names: Vec<&str> = config.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["two", "one"]);
    assert_eq!(load(&[], DefaultAlgorithm::default()).unwrap().domains, []);
}

#[test]
fn an_alias_means_what_its_anchor_holds() {
    let patterns = descriptors(
        "domain: edge
descriptors:
- {key: a, rate_limit: &slow {unit: hour, requests_per_unit: 1}}
- {key: &name b, rate_limit: *slow, descriptors: &below [{key: c, rate_limit: *slow}]}
- {key: d, value: *name, descriptors: *below}
",
    );
    assert_eq!(patterns[1].limits, patterns[0].limits);
    assert_eq!(patterns[2].value.as_deref(), Some("b"));
    assert_eq!(patterns[2].descriptors, patterns[1].descriptors);
}

#[test]
fn a_byte_order_mark_and_a_document_start_are_not_content() {
    assert!(load_text("\u{feff}---\ndomain: edge\n...\n").is_ok());
}

#[test]
fn a_file_in_utf_16_with_a_byte_order_mark_is_read_as_one_in_utf_8() {
    let text = "domain: d\r\ndescriptors:\r\n- key: \u{e9}\u{1f600}\r\n  valeu: 1\r\n";
    let little = text.encode_utf16().flat_map(u16::to_le_bytes);
    let big = text.encode_utf16().flat_map(u16::to_be_bytes);
    let told = "a.yaml:4:3: d.descriptors[0]: unknown key `valeu`; did you mean `value`?";
    for bytes in [
        [0xff, 0xfe].into_iter().chain(little).collect::<Vec<u8>>(),
        [0xfe, 0xff].into_iter().chain(big).collect(),
    ] {
        assert_eq!(Folder::new().load(&[("a.yaml", &bytes)]).unwrap_err(), told);
    }
    let right = text.replace("valeu", "value");
    let bytes = [0xff, 0xfe].into_iter().chain(right.encode_utf16().flat_map(u16::to_le_bytes));
    let config = Folder::new().load(&[("a.yaml", &bytes.collect::<Vec<u8>>())]).unwrap();
    assert_eq!(config.domains[0].descriptors[0].key, "\u{e9}\u{1f600}");
}

#[test]
fn what_was_loaded_can_be_looked_up() {
    let text = "domain: shop
descriptors:
- key: plan
  value: gold
  descriptors: [{key: op, value: export, rate_limit: {unit: second, requests_per_unit: 6}}]
- {key: seat, rate_limit: {unit: minute, requests_per_unit: 12}}
- {key: seat, value: vip}
";
    let matcher = Matcher::new(load_text(text).unwrap().domains);
    let shop = matcher.domain(b"shop").unwrap();
    let find = |entries: &[(&str, &str)]| {
        let rule = shop.find(entries.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())))?;
        Some(&*rule.path)
    };
    assert_eq!(find(&[("plan", "gold"), ("op", "export")]), Some("plan_gold.op_export"));
    assert_eq!(find(&[("plan", "gold")]), None);
    assert_eq!(find(&[("seat", "x")]), Some("seat"));
    assert_eq!(find(&[("seat", "vip")]), None);
}
