//! What a provider says when a call of its tool fails.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::JsonText;

/// What a provider says of an error, in the form that replies of a registry have as well. All of it is optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProviderError {
    /// The error's name.
    #[serde(default)]
    pub code: Option<String>,
    /// For people.
    #[serde(default)]
    pub message: Option<String>,
    /// Whether the same call may succeed later.
    #[serde(default)]
    pub retryable: Option<bool>,
}

impl ProviderError {
    /// What a provider says of its error, and its body: as JSON where that changes nothing of it, else as text.
    pub fn read(body: &[u8]) -> (Value, Self) {
        #[derive(Deserialize)]
        struct Body {
            error: ProviderError,
        }
        // Whatever else there is in it, and however deep.
        let said = serde_json::from_slice(body).map(|Body { error }| error);
        let text = || Value::from(String::from_utf8_lossy(body));
        let document = JsonText::parse(body).ok().map(|json| json.document());
        let body = match document {
            Some(Ok(document)) => document.into_value().unwrap_or_else(text),
            _ => text(),
        };
        (body, said.unwrap_or_default())
    }

    /// An error's name and its text, for people: each once.
    pub fn line(code: &str, message: &str) -> String {
        if message.is_empty() || message == code {
            code.to_owned()
        } else if code.is_empty() || message.starts_with(&format!("{code}:")) {
            message.to_owned()
        } else {
            format!("{code}: {message}")
        }
    }
}
