//! The variables of the reference, of which the program and the docs have one table.

use super::{
    super::{
        Told, Translated,
        table::{self, Becomes, Kind, TABLE},
    },
    translated, with_redis,
};

/// A value of each kind that the reference takes.
fn sample(row: &table::Row) -> &'static str {
    match (row.name, row.kind) {
        ("CONFIG_TYPE", _) => "FILE",
        ("BACKEND_TYPE", _) => "redis",
        ("REDIS_TYPE", _) => "SINGLE",
        ("REDIS_SOCKET_TYPE", _) => "tcp",
        ("REDIS_URL", _) => "redis:6379",
        ("PROMETHEUS_ADDR", _) => ":19001",
        ("LOG_LEVEL", _) => "WARN",
        ("HOST" | "GRPC_HOST" | "DEBUG_HOST", _) => "127.0.0.1",
        (_, Kind::Text | Kind::Secret) => "text",
        (_, Kind::Switch) => "false",
        (_, Kind::Time) => "150us",
        (_, Kind::Whole | Kind::Port) => "7",
        (_, Kind::Fraction) => "0.5",
        (_, Kind::Map | Kind::SecretMap) => "a:b",
    }
}

#[test]
fn no_variable_of_the_reference_is_passed_over_in_silence() {
    for row in TABLE {
        let name = row.name.replace('*', "X");
        let variables = [("REDIS_URL", "redis:6379"), (&name, sample(row))];
        match translated(&variables) {
            Ok(Translated { told, .. }) => {
                let Told { honoured, without_effect, overridden, .. } = told;
                let lists = [honoured.contains(&name), without_effect.contains(&name)];
                assert_eq!(lists.into_iter().filter(|is_in| *is_in).count(), 1, "{name}: {honoured:?}");
                assert!(overridden.is_empty(), "{name}");
                if row.becomes == Becomes::Nothing {
                    assert!(without_effect.contains(&name), "{name} does nothing");
                }
            }
            Err(told) => {
                assert!(told.contains(&name) && row.becomes == Becomes::Checked, "{name}: {told}");
            }
        }
    }
    let translated =
        translated(&with_redis(&[("PATH", "/bin"), ("env_a", "1"), ("KUBERNETES_PORT", "tcp://1")]));
    assert_eq!(
        translated.unwrap().told.without_effect,
        Vec::<String>::new(),
        "others are no variables of the reference"
    );
}

/// The table in the docs, as it has to be.
fn documented() -> String {
    let row = |row: &table::Row| {
        let becomes = match row.becomes {
            Becomes::Flag(flag) => format!("`--{flag}`"),
            Becomes::Checked => "checked".to_owned(),
            Becomes::Nothing => "nothing".to_owned(),
        };
        format!("| `{}` | {becomes} | {} |\n", row.name, row.says).replace("|  |", "| |")
    };
    TABLE.iter().map(row).collect()
}

#[test]
fn the_table_in_the_docs_is_the_table_of_the_program() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ratelimit.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let (_, table) = docs.split_once("| variable | becomes | |\n|---|---|---|\n").expect("the table");
    let table = table.split("\n\n").next().unwrap();
    for (written, wanted) in table.lines().zip(documented().lines()) {
        assert_eq!(written, wanted);
    }
    assert_eq!(table.lines().count(), TABLE.len(), "{}", documented());
}
