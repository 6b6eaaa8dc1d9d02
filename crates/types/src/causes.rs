//! Errors with all that caused them.

/// An error with all that caused it, on one line. What an error and its cause both say is said once, where the cause
/// says it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        // Some errors say of what caused them themselves.
        for part in error.to_string().split(": ") {
            said.retain(|before| before != part);
            said.push(part.to_owned());
        }
        next = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    /// An error of these texts, the outermost first.
    #[track_caller]
    fn check(texts: &[&'static str], chain: &str) {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Said(
            &'static str,
            #[source] Option<Box<dyn std::error::Error + Send + Sync>>,
        );
        let causes = texts.iter().rev();
        let error = causes.fold(None, |cause, text| {
            Some(Box::new(Said(text, cause)) as Box<dyn std::error::Error + Send + Sync>)
        });
        let error = Error::other(error.unwrap());
        assert_eq!(super::chain(&error), chain);
    }

    #[test]
    fn chain_says_everything_once() {
        check(&["no connection", "refused"], "no connection: refused");
        let once = "cannot connect: nats: authorization violation";
        let refused = "authorization violation: nats: authorization violation";
        check(&["cannot connect", refused], once);
        check(
            &["cannot connect", refused, "nats: authorization violation"],
            once,
        );
        check(&["IO error: gone", "gone"], "IO error: gone");
        check(&["a", "b", "b"], "a: b");
    }
}
