//! A folder in the place of a file.

use std::{fs, slice};

use super::Folder;
use crate::{
    config::{Holds, check},
    limit::DefaultAlgorithm,
};

const ONE: &str = "domain: one\ndescriptors: [{ key: k, rate_limit: { unit: day, requests_per_unit: 1 } }]\n";

fn folder(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    for (name, text) in files {
        let path = folder.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn all_limits_files_of_a_folder_are_loaded_but_those_that_begin_with_a_dot() {
    let two = ONE.replace("one", "two");
    let files = [
        ("b.yml", ONE),
        ("a.yaml", two.as_str()),
        (".c.yaml", "domain: ["),
        ("..2026_11_28/a.yaml", "domain: ["),
        ("below/d.yaml", "domain: ["),
        ("e.yaml/f.yaml", "domain: ["),
        ("README.md", "domain: ["),
    ];
    let folder = folder(&files);
    let config = folder.load_paths(slice::from_ref(&folder.0)).unwrap();
    let names: Vec<&str> = config.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["two", "one"], "by the names of the files");
    let paths: Vec<_> = config.files.iter().map(|seen| seen.path.clone()).collect();
    assert_eq!(paths, [folder.0.clone(), folder.0.join("a.yaml"), folder.0.join("b.yml")]);
}

#[test]
fn an_error_in_a_folder_names_the_file() {
    let folder = folder(&[("a.yaml", ONE), ("b.yaml", "domain: two\ndescriptors: [{ key: k, kye: k }]\n")]);
    let told = folder.load_paths(slice::from_ref(&folder.0)).unwrap_err();
    assert!(told.starts_with("b.yaml:2:25: two.descriptors[0]: unknown key `kye`"), "{told}");
}

#[test]
fn a_folder_without_limits_files_is_an_error_that_says_so() {
    let folder = folder(&[("limits.yaml.bak", ONE), ("edge/limits.yaml", ONE)]);
    let told = folder.load_paths(slice::from_ref(&folder.0)).unwrap_err();
    let said = ": there is no *.yaml or *.yml in this folder (folders in it are not looked into)";
    assert_eq!(told, format!("{}{said}", folder.0.display()));
}

#[test]
fn a_members_file_may_lie_in_the_folder_of_the_limits_that_name_it() {
    let limits = "domain: e
tiers: { free: [{ unit: day, requests_per_unit: 1 }] }
members: { file: ./members.yaml, key: k, default: free }
descriptors: [{ key: k, tier: from_members }]
";
    let good = folder(&[("limits.yaml", limits), ("members.yaml", "free: [alice]\n")]);
    let config = good.load_paths(slice::from_ref(&good.0)).unwrap();
    assert!(config.domains[0].members.is_some());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    // What is wrong with it is told once, and it counts as what it is.
    let wrong = folder(&[("limits.yaml", limits), ("members.yaml", "paid: [alice]\n")]);
    let checked = check(slice::from_ref(&wrong.0), DefaultAlgorithm::default());
    let told = checked.domains.unwrap_err().to_string();
    assert!(told.ends_with("members.yaml:1:1: there is no tier of this name; there is `free`"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(checked.files.iter().any(|seen| seen.holds == Holds::Members));
}
