//! The last step of `make test`: what all the other tests sent, got and left in the streams, judged by the schemas.
//! Every message has to be well; and of what the schemas name and the endpoints declare nothing may be missing.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use onex_registry::protocol::endpoint::Endpoint;
use onex_registry::protocol::error::ErrorCode;
use onex_registry::protocol::frame;
use onex_registry::protocol::names::{
    HEADER_CORRELATION_ID, HEADER_ERROR, HEADER_ERROR_NUMBER, HEADER_PROTOCOL, PROTOCOL_MINOR,
};
use serde_json::{Value, json};
use strict::Schemas;

mod strict;

/// Codes that no test can bring about, at any endpoint.
const NEVER_SAID: &[(ErrorCode, &str)] = &[(
    ErrorCode::Internal,
    "for faults of the registry's own that nobody knows how to bring about",
)];

/// Fields that no request may have yet.
const NEVER_ACCEPTED: &[(&str, &str, &str)] = &[
    ("port.lease", "node_id", "nodes are not offered yet"),
    ("port.list", "node_id", "nodes are not offered yet"),
    ("describe", "node_id", "nodes are not offered yet"),
    ("describe", "sections", "sections are not offered yet"),
];

/// Kinds of complaints that are printed, and characters of one.
const COMPLAINTS_MAX: usize = 40;
const COMPLAINT_CHARS_MAX: usize = 600;

/// What was seen of one endpoint.
#[derive(Default)]
struct Seen {
    /// Times that a field was in a request that was not refused, and times that it was refused.
    fields: BTreeMap<String, (u64, u64)>,
    codes: BTreeMap<String, u64>,
    replies: u64,
}

/// Everything that was recorded, and what is wrong with it.
struct Traffic {
    schemas: Schemas,
    endpoints: BTreeMap<String, Seen>,
    /// Events and records, by the names of their schemas.
    others: BTreeMap<String, u64>,
    complaints: BTreeMap<String, Complaint>,
}

/// What is wrong at the same place of the same kind of message.
struct Complaint {
    count: u64,
    /// One of them: the test binary, what is wrong, and the message.
    example: String,
}

fn folder() -> PathBuf {
    let folder = std::env::var_os("ONEX_TRAFFIC");
    PathBuf::from(folder.expect("ONEX_TRAFFIC names the folder; make test sets it"))
}

impl Traffic {
    fn read() -> Self {
        let mut traffic = Self {
            schemas: Schemas::new(),
            endpoints: BTreeMap::new(),
            others: BTreeMap::new(),
            complaints: BTreeMap::new(),
        };
        for entry in fs::read_dir(folder()).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_none_or(|extension| extension != "jsonl")
            {
                continue;
            }
            let binary = path.file_stem().unwrap().to_str().unwrap().to_owned();
            for line in fs::read_to_string(&path).unwrap().lines() {
                // The last line of a test binary that was killed may be a part of one.
                let Ok(line) = serde_json::from_str::<Value>(line) else {
                    continue;
                };
                for wrong in traffic.judge(&line) {
                    traffic.complain(&binary, &wrong, &line);
                }
            }
        }
        traffic
    }

    fn complain(&mut self, binary: &str, wrong: &str, line: &Value) {
        let cut = |text: &str| text.chars().take(COMPLAINT_CHARS_MAX).collect::<String>();
        // The schema's name and the place in the message, whichever item of a list that is.
        let place = wrong.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ");
        let place = place.replace(|c: char| c.is_ascii_digit(), "");
        let example = || format!("{binary}: {}\n    {}", cut(wrong), cut(&line.to_string()));
        let entry = self.complaints.entry(place);
        let first = || Complaint {
            count: 0,
            example: example(),
        };
        entry.or_insert_with(first).count += 1;
    }

    /// What is wrong with one line.
    fn judge(&mut self, line: &Value) -> Vec<String> {
        if let Some(endpoint) = line["exchange"].as_str() {
            self.exchange(endpoint, line)
        } else if let Some(subject) = line["event"].as_str() {
            self.event(subject, line)
        } else {
            self.record(line["record"].as_str().unwrap(), &line["body"])
        }
    }

    fn exchange(&mut self, name: &str, line: &Value) -> Vec<String> {
        let Some(endpoint) = Endpoint::ALL.iter().find(|one| one.name() == name) else {
            return vec![format!("{name} answered, and is no endpoint")];
        };
        let (headers, request, reply) = (&line["headers"], &line["request"], &line["reply"]);
        let reply_headers = &line["reply_headers"];
        let seen = self.endpoints.entry(name.to_owned()).or_default();
        let mut wrong = Vec::new();
        if reply_headers[HEADER_CORRELATION_ID].as_str().is_none() {
            wrong.push(format!("{name}: a reply without {HEADER_CORRELATION_ID}"));
        }
        if reply.get("error").is_none() {
            seen.replies += 1;
            for (field, value) in request.as_object().into_iter().flatten() {
                if !value.is_null() {
                    seen.fields.entry(field.clone()).or_default().0 += 1;
                }
            }
            let minor = frame::protocol_minor(headers[HEADER_PROTOCOL].as_str()).unwrap();
            let later = minor > PROTOCOL_MINOR;
            if !later {
                wrong.extend(self.errors(&format!("{name}.request"), request));
            }
            wrong.extend(self.errors(&format!("{name}.reply"), reply));
            return wrong;
        }
        let error = &reply["error"];
        let code = error["code"].as_str().unwrap_or_default();
        *seen.codes.entry(code.to_owned()).or_default() += 1;
        let field = error["details"]["pointer"].as_str().unwrap_or_default();
        if code == ErrorCode::InvalidRequest.as_str()
            && let Some(field) = field.split('/').nth(1)
        {
            seen.fields.entry(field.to_owned()).or_default().1 += 1;
        }
        match endpoint.errors().iter().find(|one| one.as_str() == code) {
            None => wrong.push(format!("{name} answered {code}, which it does not declare")),
            Some(declared) => {
                let said = (
                    &reply_headers[HEADER_ERROR],
                    &reply_headers[HEADER_ERROR_NUMBER],
                );
                let wanted = (
                    &json!(declared.as_str()),
                    &json!(declared.number().to_string()),
                );
                if said != wanted {
                    wrong.push(format!("{name}: headers say {said:?}, and the body {code}"));
                }
            }
        }
        wrong.extend(self.errors("error", reply));
        wrong
    }

    fn event(&mut self, subject: &str, line: &Value) -> Vec<String> {
        let kind = line["body"]["event"].as_str().unwrap_or_default();
        let name = format!("event.{kind}");
        let mut wrong = self.errors(&name, &line["body"]);
        let headers = self.schemas.header_errors(&name, &line["headers"]);
        wrong.extend(
            headers
                .into_iter()
                .map(|error| format!("{name}, headers: {error}")),
        );
        if !subject.contains(&format!(".registry.v1.event.{kind}.")) {
            wrong.push(format!("{name} came on {subject}"));
        }
        *self.others.entry(name).or_default() += 1;
        wrong
    }

    fn record(&mut self, key: &str, body: &Value) -> Vec<String> {
        let Some(name) = self.schemas.of_record(key, body) else {
            return vec![format!("no schema is for the record {key}")];
        };
        let wrong = self.errors(&name, body);
        *self.others.entry(name).or_default() += 1;
        wrong
    }

    fn errors(&self, name: &str, message: &Value) -> Vec<String> {
        let errors = self.schemas.errors(name, message);
        errors
            .into_iter()
            .map(|error| format!("{name}: {error}"))
            .collect()
    }

    /// The fields that a request to `endpoint` may have.
    fn fields(&self, endpoint: Endpoint) -> Vec<String> {
        let schema = self.schemas.get(&format!("{}.request", endpoint.name()));
        let properties = schema.unwrap()["properties"].as_object();
        properties
            .into_iter()
            .flat_map(|all| all.keys().cloned())
            .collect()
    }

    /// How often each field was taken and refused, and each declared code was said; events and records.
    fn table(&self) -> String {
        let none = Seen::default();
        let mut table = String::new();
        for endpoint in Endpoint::ALL {
            let seen = self.endpoints.get(endpoint.name()).unwrap_or(&none);
            let name = endpoint.name();
            writeln!(table, "{name}: {} replies", seen.replies).unwrap();
            for field in self.fields(endpoint) {
                let (taken, refused) = seen.fields.get(&field).unwrap_or(&(0, 0));
                writeln!(
                    table,
                    "    {field:<24} taken {taken:>5}   refused {refused:>5}"
                )
                .unwrap();
            }
            let codes = endpoint.errors();
            let counts = codes.iter().map(|code| {
                let count = seen.codes.get(code.as_str()).unwrap_or(&0);
                format!("{} {count}", code.as_str())
            });
            writeln!(table, "    {}", counts.collect::<Vec<_>>().join(", ")).unwrap();
        }
        for name in self.events_and_records() {
            let count = self.others.get(name).unwrap_or(&0);
            writeln!(table, "{name}: {count}").unwrap();
        }
        table
    }

    fn events_and_records(&self) -> impl Iterator<Item = &str> {
        let kinds = ["event.", "record."];
        self.schemas
            .names()
            .filter(move |name| kinds.iter().any(|kind| name.starts_with(kind)))
    }

    /// What was never seen and should have been; and what was seen of which it is said that it cannot be.
    fn missing(&self) -> Vec<String> {
        let none = Seen::default();
        let mut missing = Vec::new();
        let mut expect = |seen: bool, never: bool, what: String| match (seen, never) {
            (false, false) => missing.push(format!("never seen: {what}")),
            (true, true) => missing.push(format!("no exception any more: {what}")),
            (true, false) | (false, true) => {}
        };
        for endpoint in Endpoint::ALL {
            let name = endpoint.name();
            let seen = self.endpoints.get(name).unwrap_or(&none);
            expect(seen.replies > 0, false, format!("{name}: a reply"));
            for field in self.fields(endpoint) {
                let (taken, refused) = seen.fields.get(&field).unwrap_or(&(0, 0));
                let never = |(at, of, _): &(&str, &str, &str)| (*at, *of) == (name, &field);
                let never = NEVER_ACCEPTED.iter().any(never);
                expect(*taken > 0, never, format!("{name}: {field} taken"));
                expect(*refused > 0, false, format!("{name}: {field} refused"));
            }
            for code in endpoint.errors() {
                let said = seen.codes.contains_key(code.as_str());
                let never = NEVER_SAID.iter().any(|(one, _)| *one == code);
                expect(said, never, format!("{name}: {}", code.as_str()));
            }
        }
        for name in self.events_and_records() {
            expect(self.others.contains_key(name), false, name.to_owned());
        }
        missing
    }
}

#[test]
#[ignore = "reads what the other tests leave: make test"]
fn every_message_is_well() {
    let traffic = Traffic::read();
    let shown = traffic.complaints.values().take(COMPLAINTS_MAX);
    let shown: Vec<String> = shown
        .map(|one| format!("{} like this: {}", one.count, one.example))
        .collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

#[test]
#[ignore = "reads what the other tests leave: make test"]
fn none_is_missing() {
    let traffic = Traffic::read();
    let table = traffic.table();
    println!("{table}");
    fs::write(folder().join("table.txt"), table).unwrap();
    let missing = traffic.missing();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
