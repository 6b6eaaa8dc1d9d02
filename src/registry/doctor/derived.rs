//! Checks of the streams that are made from the log: events, and the view.

use onex_log::{Difference, Stream};

use super::{
    facts::{Facts, Named},
    problem::{Judged, Problem},
};

pub(super) const CHECKS: &[Named] = &[
    ("events.settings", events),
    ("events.published", published),
    ("view.settings", view),
    ("view.complete", complete),
];

fn events(facts: &Facts) -> Judged {
    settings(facts, &facts.events)
}

fn view(facts: &Facts) -> Judged {
    settings(facts, &facts.view)
}

fn settings(facts: &Facts, stream: &Result<Stream, onex_log::Error>) -> Judged {
    match stream {
        Ok(stream) if stream.differences.is_empty() => Ok(()),
        Ok(stream) => Err(Problem::fail(
            format!(
                "of stream {}: {}",
                stream.name,
                Difference::list(&stream.differences)
            ),
            Difference::remedy(&stream.name, &stream.differences),
        )),
        Err(onex_log::Error::Missing { stream }) => {
            facts.log()?;
            Err(Problem::warn(
                format!("stream {stream} does not exist"),
                "restart an instance: it makes the stream anew from the log",
            ))
        }
        Err(error) => Err(Problem::not_checked(onex_types::chain(error))),
    }
}

fn published(facts: &Facts) -> Judged {
    facts.loaded()?;
    if facts.lag.events == 0 {
        return Ok(());
    }
    let waiting = format!("{} events are not published", facts.lag.events);
    publishes(facts, &waiting)
}

fn complete(facts: &Facts) -> Judged {
    facts.loaded()?;
    if facts.lag.records == 0 {
        return Ok(());
    }
    let missing = format!(
        "stream {} lacks {} records of the log",
        facts.view_stream, facts.lag.records
    );
    publishes(facts, &missing)
}

/// What waits is no fault where nobody runs who would see to it.
fn publishes(facts: &Facts, waiting: &str) -> Judged {
    if facts.instances().is_err() {
        let why = format!("{waiting}: an instance does that when it runs");
        return Err(Problem::not_checked(why));
    }
    Err(Problem::fail(
        format!("{waiting} after three seconds"),
        "see what the instances have logged, and the settings of that stream; restart the instances one after the other",
    ))
}
