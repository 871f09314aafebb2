//! compose.yaml: its profiles are whole, and each port is told. `make compose-test` runs it.

use std::{collections::BTreeSet, fs};

use lab::binaries;

const PROFILES: [&str; 2] = ["cluster", "sentinel"];

fn read(file: &str) -> String {
    fs::read_to_string(binaries::checkout().join(file)).expect("can be read")
}

/// The names of the services, with their lines.
fn services() -> Vec<(String, String)> {
    let text = read("compose.yaml");
    let (_, services) = text.split_once("\nservices:\n").expect("services");
    let (services, _) = services.split_once("\nnetworks:\n").expect("networks");
    let mut found: Vec<(String, String)> = Vec::new();
    for line in services.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if line.starts_with("  ") && !line.starts_with("   ") {
            let (name, rest) = line.trim().split_once(':').expect("a service");
            found.push((name.to_owned(), format!("{rest}\n")));
        } else if let Some((_, lines)) = found.last_mut() {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    assert!(found.len() > 30, "{} services", found.len());
    found
}

/// The lines of that service, and before them those of the service whose settings it takes over.
fn whole(services: &[(String, String)], name: &str) -> String {
    let lines = |name: &str| services.iter().find(|(other, _)| other == name).map(|(_, lines)| lines.clone());
    let own = lines(name).unwrap_or_else(|| panic!("no service {name}"));
    // An anchor above the services has no profile and no networks.
    let from = own.split([' ', ',', '\n']).filter_map(|word| word.strip_prefix('*')).find_map(|anchor| {
        let definition = format!("&{anchor}\n");
        services.iter().find(|(_, lines)| lines.contains(&definition)).map(|(_, lines)| lines.clone())
    });
    format!("{}{own}", from.unwrap_or_default())
}

fn of_profile<'a>(services: &'a [(String, String)], profile: &str) -> Vec<&'a str> {
    let belongs = |name: &&str| name.starts_with(&format!("{profile}-"));
    services.iter().map(|(name, _)| name.as_str()).filter(belongs).collect()
}

#[test]
fn a_profile_starts_what_is_named_for_it_and_nothing_else_does() {
    let services = services();
    let all: Vec<_> = PROFILES.iter().flat_map(|profile| of_profile(&services, profile)).collect();
    for (name, lines) in &services {
        if all.contains(&name.as_str()) {
            let profile = name.split('-').next().expect("a name");
            assert!(whole(&services, name).contains(&format!("profiles: [{profile}]")), "{name}");
        } else {
            assert!(!lines.contains("profiles:"), "{name}");
        }
    }
}

/// A node fails open, so one that asked a name that nobody has would let every request pass.
#[test]
fn the_proxies_of_a_profile_find_all_that_they_name() {
    let services = services();
    for profile in PROFILES {
        let names = of_profile(&services, profile);
        let having = |alias: &str| {
            let network = format!("{profile}: {{ aliases: [{alias}] }}");
            let has = |name: &&&str| {
                let text = whole(&services, name);
                // Of several, the last one counts.
                text.rsplit("networks:").next().is_some_and(|networks| networks.contains(&network))
            };
            names.iter().filter(has).map(|name| (*name).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(having("tollgate"), ["a", "b"].map(|replica| format!("{profile}-tollgate-{replica}")));
        assert_eq!(having("upstream"), [format!("{profile}-upstream")]);
        for node in ["node1", "node2", "node3"] {
            let service = format!("{profile}-{node}");
            assert_eq!(having(node), [service.as_str()]);
            for replica in ["a", "b"] {
                let waits = format!("{profile}-tollgate-{replica}: {{ condition: service_healthy }}");
                assert!(whole(&services, &service).contains(&waits), "{service} does not wait for Tollgate");
            }
        }
    }
}

#[test]
fn every_store_that_tollgate_asks_is_a_service_of_the_same_profile() {
    let services = services();
    for profile in PROFILES {
        let text = whole(&services, &format!("{profile}-tollgate-b"));
        let (_, store) = text.split_once("TOLLGATE_STORE: redis+").expect("a store");
        let hosts = store.lines().next().and_then(|line| line.split("://").nth(1)).expect("hosts");
        let hosts: Vec<_> = hosts.split('/').next().expect("hosts").split(',').collect();
        assert_eq!(hosts.len(), 3, "{hosts:?}");
        for host in hosts {
            assert!(of_profile(&services, profile).contains(&host), "{profile} has no {host}");
        }
    }
}

#[test]
fn every_published_port_is_on_loopback_and_told_and_free_in_the_test() {
    let (page, test) = (read("docs/containers.md"), read("scripts/compose-test"));
    let mut ports = BTreeSet::new();
    let text = read("compose.yaml");
    for line in text.lines().filter(|line| line.contains("\"127.0.0.1:") || line.contains("ports: [")) {
        let published = line.split("\"127.0.0.1:${").nth(1).unwrap_or_else(|| panic!("{line}"));
        let (variable, rest) = published.split_once(":-").expect("a variable with a default");
        let (port, _) = rest.split_once('}').expect("a port");
        assert!(ports.insert(port.to_owned()), "{port} is published twice");
        assert!(page.contains(port), "docs/containers.md does not tell {port}");
        assert!(test.contains(&format!("{variable}=0")), "scripts/compose-test does not set {variable}");
    }
    assert_eq!(ports.len(), 12, "{ports:?}");
}
