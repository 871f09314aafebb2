//! A folder in the place of a file.

use std::{fs, os::unix::fs::symlink, path::PathBuf, slice};

use super::Folder;
use crate::config::{Checked, Holds, InFolders, check, load_from};
use tollgate_core::limit::DefaultAlgorithm;

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

/// The domains of a folder and of those below it, or what is wrong.
fn deep(folder: &Folder, in_folders: InFolders) -> Result<Vec<String>, String> {
    let loaded = load_from(slice::from_ref(&folder.0), in_folders, DefaultAlgorithm::default());
    let name = |domain: tollgate_core::rules::Domain| domain.name;
    loaded
        .map(|config| config.domains.into_iter().map(name).collect())
        .map_err(|refused| refused.errors.to_string())
}

fn domain(name: &str) -> String {
    ONE.replace("one", name)
}

#[test]
fn with_subfolders_every_file_counts_whatever_it_is_called() {
    let (one, two, three) = (domain("one"), domain("two"), domain("three"));
    let folder =
        folder(&[("b.conf", &one), ("below/a", &two), (".hidden/c", &three), ("empty/.keep", &three)]);
    assert_eq!(deep(&folder, InFolders::Visible).unwrap(), ["one", "two"]);
    let told = deep(&folder, InFolders::All).unwrap_err();
    assert!(
        told.contains("three") && told.contains(".hidden"),
        "the two files have one domain and key: {told}"
    );
}

#[test]
fn a_mounted_config_map_is_read_once_with_and_without_its_hidden_names() {
    let folder = folder(&[("..2026_11_28/limits.yaml", ONE)]);
    symlink("..2026_11_28", folder.0.join("..data")).unwrap();
    symlink("..data/limits.yaml", folder.0.join("limits.yaml")).unwrap();
    for in_folders in [InFolders::Visible, InFolders::All] {
        assert_eq!(deep(&folder, in_folders).unwrap(), ["one"], "{in_folders:?}");
    }
    // What is wrong with it is told by the name that the operator gave it.
    fs::write(folder.0.join("..2026_11_28/limits.yaml"), "domain: [").unwrap();
    let told = deep(&folder, InFolders::All).unwrap_err();
    assert!(told.contains("/limits.yaml:") && !told.contains(".."), "{told}");
}

#[test]
fn links_in_a_circle_end() {
    let folder = folder(&[("below/limits", ONE)]);
    symlink("..", folder.0.join("below/up")).unwrap();
    symlink(".", folder.0.join("below/self")).unwrap();
    assert_eq!(deep(&folder, InFolders::All).unwrap(), ["one"]);
    let empty = Folder::new();
    fs::create_dir(empty.0.join("below")).unwrap();
    assert!(
        deep(&empty, InFolders::All)
            .unwrap_err()
            .ends_with("neither this folder nor any below it has a file")
    );
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
    let said = ": this folder has no *.yaml or *.yml file (its subfolders are not read)";
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
    assert_eq!(config.domains.len(), 1, "the members file is none");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    // What is wrong with it is told once, and it counts as what it is.
    let wrong = folder(&[("limits.yaml", limits), ("members.yaml", "paid: [alice]\n")]);
    let checked = check(slice::from_ref(&wrong.0), DefaultAlgorithm::default());
    let told = checked.domains.unwrap_err().to_string();
    assert!(told.ends_with("members.yaml:1:1: there is no tier of this name; there is `free`"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(checked.files.iter().any(|seen| seen.holds == Holds::Members));
}

const CANARY: &str = "sk-secret-canary";
const MEMBERS_OF: &str = "domain: e
tiers: { paid: [{ unit: day, requests_per_unit: 1 }] }
members: { file: FILE, key: k, default: paid }
descriptors: [{ key: k, tier: from_members }]
";

/// All that is told of these files, with every text that may be shown.
#[track_caller]
fn told_without_canary(paths: &[PathBuf]) -> Checked {
    let checked = check(paths, DefaultAlgorithm::default());
    let told = format!("{:?} {:?} {:?}", checked.domains, checked.warnings, checked.texts);
    assert!(checked.domains.is_ok() || !told.contains(CANARY), "{told}");
    assert!(!format!("{:?} {:?}", checked.warnings, checked.texts).contains(CANARY), "{told}");
    checked
}

#[test]
fn nothing_is_shown_of_a_members_file_beside_limits_that_are_wrong() {
    let named = MEMBERS_OF.replace("FILE", "members.yaml");
    let limits = [
        (named.replace("descriptors: [", "descriptors: [ ["), true),
        (named.replace("default:", "defaul:"), false),
        (named.replace("members:", "membres:"), true),
        (named.replace("domain:", "domian:"), false),
        (ONE.to_owned(), true),
    ];
    let members = [
        format!("paid: [{CANARY}]\n"),
        format!("{CANARY}: paid\n"),
        format!("- {CANARY}\n"),
        format!("paid: [{CANARY}\n"),
        format!("paid: [\n  domain-{CANARY},\n"),
        format!("paid: [*{CANARY}]\n"),
        format!("{CANARY}: 1\n{CANARY}: 2\n"),
    ];
    for (limits, is_told) in &limits {
        for members in &members {
            let folder = folder(&[("limits.yaml", limits), ("members.yaml", members)]);
            let apart = ["limits.yaml", "members.yaml"].map(|name| folder.0.join(name));
            for paths in [slice::from_ref(&folder.0), &apart] {
                let checked = told_without_canary(paths);
                let told = checked.domains.unwrap_err().to_string();
                let unnamed = told.lines().filter(|line| line.contains("/members.yaml:"));
                let unnamed = unnamed
                    .filter(|line| line.contains("no `domain`") || line.contains("this is a members file"));
                assert_eq!(unnamed.count(), usize::from(*is_told), "{told}");
                let last = checked.files.last().unwrap();
                assert_eq!((last.path.ends_with("members.yaml"), last.holds), (true, Holds::Members));
            }
        }
    }
}

/// By another spelling of its path, and by links to it and to the folder.
#[test]
fn a_members_file_is_known_by_whatever_path_it_is_named() {
    for members in [format!("paid: [{CANARY}]\n"), format!("paid: [{CANARY}, {CANARY}]\n")] {
        let folder = folder(&[("set/members.yaml", &members), ("keys/none", "")]);
        let (set, real) = (folder.0.join("set"), folder.0.join("set/members.yaml"));
        symlink(&real, folder.0.join("keys/link.yaml")).unwrap();
        symlink(&set, folder.0.join("other")).unwrap();
        let absolute = real.display().to_string();
        let spelled =
            [absolute.as_str(), "../set/members.yaml", "../other/./members.yaml", "../keys/link.yaml"];
        for file in spelled {
            fs::write(set.join("limits.yaml"), MEMBERS_OF.replace("FILE", file)).unwrap();
            for given in [&set, &folder.0.join("other")] {
                let checked = told_without_canary(slice::from_ref(given));
                match checked.domains {
                    Ok(domains) => assert_eq!(domains.len(), 1, "{file}"),
                    Err(errors) => {
                        let told = errors.to_string();
                        assert!(told.ends_with("this key is already in tier `paid`"), "{file}: {told}");
                        assert_eq!(told.lines().count(), 1, "{file}: {told}");
                    }
                }
            }
        }
    }
}

#[test]
fn limits_that_are_named_as_members_still_count_as_limits() {
    let folder = folder(&[("limits.yaml", &MEMBERS_OF.replace("FILE", "limits.yaml")), ("one.yaml", ONE)]);
    let told = folder.load_paths(slice::from_ref(&folder.0)).unwrap_err();
    assert!(told.starts_with("limits.yaml:1:1: there is no tier of this name"), "{told}");
}
