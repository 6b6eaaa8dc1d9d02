//! The name that was probably meant.

use crate::{client, protocol::error::ErrorCode};

use super::failure::Failure;

/// A name is like another one when not more than a third of its characters differ.
const DIFFERENT_PARTS: usize = 3;

/// The failure, with the name of those in `list` that is most like `name`, when the registry says with `code` that
/// there is none of that name. The list is asked for only then.
pub(super) async fn suggest(
    failure: Failure,
    code: ErrorCode,
    name: &str,
    list: impl Future<Output = Result<Vec<String>, client::Error>>,
) -> Failure {
    if !failure.is(code) {
        return failure;
    }
    match list.await {
        Ok(names) => match nearest(name, names) {
            Some(nearest) => failure.did_you_mean(&nearest),
            None => failure,
        },
        // What is told already is what matters.
        Err(_) => failure,
    }
}

fn nearest(name: &str, names: Vec<String>) -> Option<String> {
    if names.iter().any(|other| other == name) {
        return None;
    }
    let allowed = (name.chars().count() / DIFFERENT_PARTS).max(1);
    let near = names.into_iter().filter_map(|other| {
        let distance = strsim::damerau_levenshtein(name, &other);
        (distance <= allowed).then_some((distance, other))
    });
    near.min().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_near_when_little_differs() {
        let near =
            |name, names: &[&str]| nearest(name, names.iter().map(ToString::to_string).collect());
        let names = ["calc.1", "calc.2", "store"];
        assert_eq!(near("calc1", &names).as_deref(), Some("calc.1"));
        assert_eq!(near("stroe", &names).as_deref(), Some("store"));
        assert_eq!(near("search", &names), None);
        assert_eq!(near("a", &["b"]).as_deref(), Some("b"));
        assert_eq!(near("a", &[]), None);
        assert_eq!(
            near("calc.1", &names),
            None,
            "it is there, and something else is wrong"
        );
    }
}
