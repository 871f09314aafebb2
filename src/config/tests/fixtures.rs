//! Every example and every bad file, by the checker and by the schema.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use serde_json::{Map, Value as Json};

use crate::{
    cli::schema::SCHEMA,
    config::{
        check,
        fields::key_name,
        scalar::{self, Value},
        yaml::{self, Kind, Node},
    },
};
use tollgate_core::limit::DefaultAlgorithm;

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files
}

fn validator() -> Validator {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn json(node: &Node) -> Json {
    match node.kind() {
        Kind::List(items) => Json::Array(items.iter().map(json).collect()),
        Kind::Map(pairs) => {
            let pairs =
                pairs.iter().map(|(key, value)| (key_name(key).unwrap_or_default().to_owned(), json(value)));
            Json::Object(Map::from_iter(pairs))
        }
        Kind::Scalar(scalar) => match scalar::resolve(scalar) {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(flag),
            Value::Int(int) => int.into(),
            Value::Float => scalar::float(&scalar.text).into(),
            Value::Text => Json::String(scalar.text.clone()),
        },
    }
}

/// What the schema is shown: what editors make of the file. None where it is no YAML.
fn document(text: &str) -> Option<Json> {
    let root = yaml::parse(text).ok()?.root;
    Some(root.as_ref().map_or(Json::Null, json))
}

/// What is wrong and what is warned of, without the file's name.
fn told(file: &Path) -> (Vec<String>, Vec<String>) {
    let checked = check(&[file.to_owned()], DefaultAlgorithm::default());
    let name = format!("{}:", file.display());
    let line = |problem: &dyn ToString| problem.to_string().replacen(&name, "", 1);
    let errors =
        checked.domains.err().map_or(Vec::new(), |errors| errors.iter().map(|error| line(error)).collect());
    (errors, checked.warnings.iter().map(|warning| line(warning)).collect())
}

#[test]
fn each_bad_file_gets_the_message_that_it_names_and_the_schema_refuses_it() {
    let (files, validator) = (yaml_files("tests/bad_limits"), validator());
    assert!(files.len() >= 40, "there are only {}", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut notes: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#! ")).collect();
        let unseen =
            notes.iter().position(|note| *note == "only the checker sees it").map(|at| notes.remove(at));
        let expected: Vec<String> =
            notes.into_iter().map(|note| note.replace("gone.yaml", &gone(&file))).collect();
        assert_eq!(told(&file).0, expected, "{}", file.display());
        let is_refused = document(&text).is_none_or(|document| !validator.is_valid(&document));
        // It is said which ones an editor cannot know, so that a schema that has gone soft is noticed.
        assert!(is_refused || unseen.is_some(), "the schema takes {}", file.display());
        let is_yaml = document(&text).is_some();
        assert!(!(is_refused && unseen.is_some() && is_yaml), "the schema sees {}", file.display());
    }
}

/// The members file that is not there is told with its whole path.
fn gone(file: &Path) -> String {
    file.with_file_name("gone.yaml").display().to_string()
}

#[test]
fn each_example_is_right_and_without_a_warning_and_the_schema_takes_it() {
    let validator = validator();
    for file in yaml_files("examples").into_iter().chain(yaml_files("examples/recipes")) {
        let text = fs::read_to_string(&file).unwrap();
        // Members have a file of their own, which the limits name; and a node is Envoy's to read.
        if file.file_name().is_some_and(|name| name == "members.yaml" || name == "envoy.yaml") {
            continue;
        }
        assert_eq!(told(&file), (vec![], vec![]), "{}", file.display());
        let document = document(&text).unwrap();
        let refused: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(refused.is_empty(), "{}: {refused:?}", file.display());
        let up = if file.parent().is_some_and(|folder| folder.ends_with("recipes")) { "../.." } else { ".." };
        let schema = format!("# yaml-language-server: $schema={up}/schema/limits.schema.json");
        assert_eq!(text.lines().next(), Some(schema.as_str()), "{}", file.display());
    }
}
