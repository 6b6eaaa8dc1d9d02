//! Contracts of tools in a file.

use std::path::Path;

use onex_types::ids::Token;
use semver::VersionReq;
use serde_json::{Value, value::RawValue};

use crate::{
    contract::{self, below, canonical::contract_hash},
    protocol::{
        error::{Error, ErrorCode},
        frame,
        json::JsonText,
        tool::Tool,
        violation::Violation,
    },
};

use super::{
    cells::listed,
    failure::{Exit, Failure},
    input,
};

/// Longest file of contracts, in bytes: a hundred of the longest contracts.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The contracts that a file has, in its order; at least one.
pub(super) struct ContractFile {
    /// What people call it.
    name: String,
    contracts: Vec<Tool>,
}

impl ContractFile {
    /// Reads and checks all of it, as a registry checks what is announced.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let file = Some(path).filter(|path| *path != Path::new(input::STDIN));
        let name = file.map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
        let text = input::read(file, &name, FILE_BYTES_MAX)?;
        let documents = serde_json::Deserializer::from_str(&text).into_iter::<Box<RawValue>>();
        let documents: Result<Vec<_>, _> = documents.collect();
        let not_json =
            |error| Failure::usage(format!("{name} is not JSON: {error}")).hint(expected());
        let documents = documents.map_err(not_json)?;
        let mut contracts: Vec<Tool> = Vec::new();
        for (at, document) in documents.iter().enumerate() {
            let name = match documents.len() {
                1 => name.clone(),
                _ => format!("{name}, document {}", at + 1),
            };
            let json = JsonText::parse(document.get().as_bytes()).map_err(not_json)?;
            let document = json.kept().map_err(|Violation { pointer, message }| {
                refusal(&name, &Error::invalid(pointer, message))
            })?;
            add(&document, &name, &mut contracts)?;
        }
        if contracts.is_empty() {
            return Err(Failure::usage(format!("{name} has no contract")).hint(expected()));
        }
        Ok(Self { name, contracts })
    }

    pub(super) fn contracts(&self) -> &[Tool] {
        &self.contracts
    }

    /// The newest contract of that name, within that range.
    pub(super) fn newest(
        &self,
        tool: &Token,
        range: Option<&VersionReq>,
    ) -> Result<&Tool, Failure> {
        let named = || self.contracts.iter().filter(|it| it.name == *tool);
        let within = named().filter(|it| range.is_none_or(|range| range.matches(&it.version)));
        if let Some(newest) = within.max_by(|one, other| one.version.cmp(&other.version)) {
            return Ok(newest);
        }
        let code = ErrorCode::ToolNotFound.as_str();
        let versions: Vec<_> = named().map(|it| it.version.clone()).collect();
        if versions.is_empty() {
            let names: Vec<_> = self.contracts.iter().map(|it| it.name.clone()).collect();
            let message = format!("{} has no contract of {tool}", self.name);
            let failure = Failure::new(Exit::Failed, code, message);
            return Err(failure.hint(format!("it has contracts of {}", listed(&names))));
        }
        let message = format!("{} has no contract of {tool} in that range", self.name);
        let failure = Failure::new(Exit::Failed, code, message);
        Err(failure.hint(format!("it has {tool} {}", listed(&versions))))
    }
}

/// Adds the contracts of a document that are not there yet.
fn add(document: &Value, name: &str, contracts: &mut Vec<Tool>) -> Result<(), Failure> {
    let mut found = Vec::new();
    find(document, String::new(), &mut found);
    for (pointer, value) in found {
        let contract = checked(value).map_err(|error| refusal(name, &below(&pointer, error)))?;
        let same = |it: &&Tool| it.name == contract.name && it.version == contract.version;
        match contracts.iter().find(same) {
            Some(have) if contract_hash(have) == contract_hash(&contract) => {}
            Some(_) => {
                let message = format!(
                    "is another contract of {} {} than one before it",
                    contract.name, contract.version
                );
                return Err(refusal(name, &Error::invalid(pointer, message)));
            }
            None => contracts.push(contract),
        }
    }
    Ok(())
}

/// Where contracts stand in a document, each with a JSON Pointer to it.
fn find<'a>(value: &'a Value, at: String, found: &mut Vec<(String, &'a Value)>) {
    let mut all = |items: &'a [Value], at: &str| {
        for (index, item) in items.iter().enumerate() {
            find(item, format!("{at}/{index}"), found);
        }
    };
    match value {
        Value::Array(items) => all(items, &at),
        Value::Object(members) => match (members.get("contract"), members.get("tools")) {
            (Some(contract @ Value::Object(_)), _) => found.push((at + "/contract", contract)),
            (_, Some(Value::Array(tools))) => all(tools, &(at + "/tools")),
            _ => found.push((at, value)),
        },
        _ => found.push((at, value)),
    }
}

fn checked(value: &Value) -> Result<Tool, Error> {
    if !value.is_object() {
        return Err(Error::invalid("", "must be an object: a contract"));
    }
    let contract = frame::parse_contract(value.to_string().as_bytes())?;
    contract::compile(&contract)?;
    Ok(contract)
}

fn refusal(name: &str, error: &Error) -> Failure {
    let pointer = error.details.get("pointer").and_then(Value::as_str);
    let pointer = pointer.unwrap_or_default().to_owned();
    let at = if pointer.is_empty() { "" } else { ": " };
    let message = format!("{name}: {pointer}{at}{}", error.message);
    Failure::usage(message)
        .with("pointer", pointer)
        .hint(expected())
}

fn expected() -> &'static str {
    "a contract is what `tool.register` takes as `tool`, as {\"name\": \"add\", \"version\": \"1.0.0\", \"input_schema\": {…}}"
}
