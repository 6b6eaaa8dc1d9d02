//! `schemas/` is what the code says, every message has its schema, and the schemas say the truth of the types.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::strict::Schemas;
use onex_core::entry::EventKind;
use onex_registry::protocol::endpoint::Endpoint;
use onex_registry::protocol::error::ErrorCode;
use onex_registry::protocol::names::Namespace;
use onex_registry::protocol::teach;
use onex_registry::registry::stored::all_schemas;
use serde_json::{Value, json};

const WRITE: &str = "ONEX_WRITE_SCHEMAS=1 cargo test --test project schemas";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn found() -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder()).into_iter().flatten();
    let text = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    entries.map(text).collect()
}

#[test]
fn the_folder_is_what_the_code_says() {
    let text = |schema: &Value| format!("{schema:#}\n");
    let wanted: BTreeMap<String, String> = all_schemas()
        .iter()
        .map(|message| (format!("{}.json", message.name), text(&message.schema)))
        .collect();
    let found = found();
    if std::env::var_os("ONEX_WRITE_SCHEMAS").is_some() {
        fs::create_dir_all(folder()).unwrap();
        for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
            fs::remove_file(folder().join(name)).unwrap();
        }
        for (name, text) in &wanted {
            fs::write(folder().join(name), text).unwrap();
        }
        return;
    }
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let differ: Vec<&String> = names
        .into_iter()
        .filter(|name| wanted.get(*name) != found.get(*name))
        .collect();
    assert!(
        differ.is_empty(),
        "schemas/ is not what the code says: {differ:?}; to write it anew: {WRITE}"
    );
}

/// Adding an endpoint, a kind of event or a code without its schema is noticed here.
#[test]
fn every_message_has_a_schema() {
    let schemas = Schemas::new();
    let mut wanted = BTreeSet::from(["error".to_owned()]);
    for endpoint in Endpoint::ALL {
        for of in ["request", "reply"] {
            wanted.insert(format!("{}.{of}", endpoint.name()));
        }
    }
    let events = EventKind::PUBLISHED.iter();
    wanted.extend(events.map(|kind| format!("event.{}", kind.as_str())));
    wanted.extend(["entry", "view.port", "view.node", "view.live"].map(str::to_owned));
    let named: BTreeSet<String> = schemas.names().map(str::to_owned).collect();
    assert_eq!(named, wanted);
    let codes: Vec<&Value> = schemas.get("error").unwrap()["properties"]["error"]["allOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|by_code| &by_code["if"]["properties"]["code"]["const"])
        .collect();
    let all: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes, all);
}

/// serde's complaint names all kinds that there are. Of a node's changed tools each has an event of its own.
#[test]
fn the_list_of_published_kinds_is_complete() {
    let complaint = serde_json::from_str::<EventKind>("\"no-such\"").unwrap_err();
    let complaint = complaint.to_string();
    let (_, listed) = complaint.split_once("expected one of ").unwrap();
    let all: BTreeSet<&str> = listed.split('`').skip(1).step_by(2).collect();
    let published = EventKind::PUBLISHED.iter().map(|kind| kind.as_str());
    let own = EventKind::ToolsChanged.as_str();
    assert_eq!(all, published.chain([own]).collect());
}

#[test]
fn every_schema_says_what_it_is_and_shows_it() {
    let schemas = Schemas::new();
    for name in schemas.names() {
        let schema = schemas.get(name).unwrap();
        assert!(jsonschema::meta::is_valid(schema), "{name}");
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(schema["$id"], format!("urn:onex:registry:v1:{name}"));
        for member in ["title", "description"] {
            assert!(
                schema[member].as_str().is_some_and(|text| !text.is_empty()),
                "{name}: {member}"
            );
        }
        let examples = schema["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{name}");
        for example in examples {
            let errors = schemas.errors(name, example);
            assert!(errors.is_empty(), "{name}: {errors:#?}\n{example:#}");
        }
    }
}

#[test]
fn help_has_the_same_schemas() {
    let schemas = Schemas::new();
    let help = json!(teach::help(&Namespace::default()));
    for one in help["endpoints"].as_array().unwrap() {
        let name = one["endpoint"].as_str().unwrap();
        let request = schemas.get(&format!("{name}.request")).unwrap();
        let reply = schemas.get(&format!("{name}.reply")).unwrap();
        assert_eq!(
            (&one["request_schema"], &one["response_schema"]),
            (request, reply)
        );
    }
    assert_eq!(schemas.errors("help.reply", &help), [""; 0]);
}
